"""Settings: declared once, where they are used, with type, default, bounds, meaning and the paper's value.

The configuration, its schema and key table, and the flags and help texts of the command line all read these
declarations (`config`, `cli`). A class of settings checks its values, whichever way it is made.
"""

import dataclasses
import functools
import re
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal, TypeVar, dataclass_transform

from pydantic import AfterValidator, ConfigDict, Discriminator, Field, Tag, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass
from pydantic.fields import FieldInfo
from pydantic_core import core_schema

from selfdistill.errors import UserError, nearest
from selfdistill.written import unwritable

Kind = TypeVar("Kind", bound=type)
Item = TypeVar("Item")
Location = tuple[int | str, ...]


class Among:
    """One of some names, as an annotation: ``Annotated[str, Among(names)]``; for names that are listed elsewhere."""

    def __init__(self, names: Iterable[str]):
        self.names = tuple(names)

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        return core_schema.literal_schema(list(self.names))


# No study that means something goes beyond these; what tables hold as int32 stays within 2**31.
REPO = r"^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9._-]+)?$"  # of the hub
Count = Annotated[int, Field(gt=0, le=1_000_000)]  # of problems, responses, steps
Tokens = Annotated[int, Field(gt=0, le=10_000_000)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]


def _without_repeats(listed: list[Any]) -> list[Any]:
    for place, value in enumerate(listed):
        if value in listed[:place]:
            raise ValueError(f"{value!r} stands twice")
    return listed


Distinct = Annotated[list[Item], Field(min_length=1), AfterValidator(_without_repeats)]
DistinctOrNone = Annotated[list[Item], AfterValidator(_without_repeats)]
TRUTH = " (YAML reads yes, no, on and off as truths: put the word in quotes)"
LISTED = 16  # keys at most that are listed beside the nearest one
_CONFIG = ConfigDict(extra="forbid", allow_inf_nan=False)


def key(
    default: Any = ..., *, doc: str, paper: str = "", factory: Callable[[], Any] | None = None, **bounds: Any
) -> Any:
    """One setting: ``doc`` is its meaning and unit, ``paper`` the paper's value and where it stands.

    Without ``default`` and ``factory`` (which makes one) the setting has to be given.
    """
    start: dict[str, Any] = {"default": default} if factory is None else {"default_factory": factory}
    return Field(description=doc, json_schema_extra={"paper": paper}, **start, **bounds)


@dataclass_transform(field_specifiers=(key,), frozen_default=True)
def settings(kind: Kind) -> Kind:
    """Make a class of `key`s an immutable dataclass; `UserError` for a wrong value, an unknown or a missing key.

    Subclasses may add keys without defaults; those beyond the base class's are given by name.
    """
    base = any(dataclasses.is_dataclass(parent) for parent in kind.__mro__[1:])
    made = dataclass(frozen=True, config=_CONFIG, kw_only=base)(kind)
    validated = made.__init__

    @functools.wraps(validated)
    def checked(self: object, *args: Any, **values: Any) -> None:
        if len(args) > len(keys(made)):
            raise TypeError(f"{kind.__name__} has {len(keys(made))} settings, {len(args)} were given by place")
        try:
            validated(self, **dict(zip(keys(made), args, strict=False)), **values)
        except ValidationError as error:
            raise UserError("; ".join(sentences(error, made, kind.__name__))) from None

    made.__init__ = checked
    return made


def is_settings(kind: object) -> bool:
    """Whether ``kind`` is a class that `settings` made."""
    return isinstance(kind, type) and hasattr(kind, "__pydantic_fields__")


def keys(kind: type) -> dict[str, FieldInfo]:
    """The declarations of a class of settings, by name."""
    return kind.__pydantic_fields__


def annotation_of(declared: FieldInfo) -> Any:
    """The type of a setting with its bounds."""
    return Annotated[(declared.annotation, *declared.metadata)] if declared.metadata else declared.annotation


def sweep(kind: type, name: str, words: Mapping[str, str]) -> type:
    """A class of settings with the keys of ``kind``, each of which may hold a list of values: all of them are meant.

    ``words``: by key of numbers, a word that it may hold instead.
    """
    annotations, defaults = {}, {}
    for key_name, declared in keys(kind).items():
        one = annotation_of(declared)
        several = Annotated[list[one], Field(min_length=1), Tag("list")]
        allowed = Annotated[one, Tag("value")] | several
        told = _list_or_value
        if key_name in words:
            allowed |= Annotated[Literal[words[key_name]], Tag("word")]
            told = _list_word_or_value
        annotations[key_name] = Annotated[allowed, Discriminator(told)]
        defaults[key_name] = Field(
            default=declared.default, description=declared.description, json_schema_extra=declared.json_schema_extra
        )
    return settings(type(name, (), {"__annotations__": annotations, "__module__": kind.__module__, **defaults}))


def _list_or_value(value: object) -> str:
    return "list" if isinstance(value, list) else "value"


def _list_word_or_value(value: object) -> str:
    return "word" if isinstance(value, str) else _list_or_value(value)


def validated(kind: Any, values: Any, where: str) -> Any:
    """``values`` as ``kind``, a class of settings or any type; `UserError` with a sentence for each fault.

    ``where`` precedes every sentence, as "config".
    """
    try:
        return TypeAdapter(kind).validate_python(values)
    except ValidationError as error:
        raise UserError("\n".join(sentences(error, kind, where))) from None


def as_json(values: object) -> Any:
    """Settings as plain values that JSON and YAML can hold."""
    return TypeAdapter(type(values)).dump_python(values, mode="json")


def misread(values: Any, kind: Any, place: Location = ()) -> Iterator[tuple[Location, str]]:
    """Place and fault of each value that pydantic would take for another than was meant, or that no job can be given.

    Those are truths for numbers (YAML reads ``yes`` and ``on`` as truths), and texts with a NUL or half a character.
    """
    if isinstance(values, dict | list):
        for part, value in values.items() if isinstance(values, dict) else enumerate(values):
            if isinstance(part, str) and unwritable(part):
                yield place, f"a key with {unwritable(part)}"
            else:
                yield from misread(value, _inner(kind, part), (*place, part))
    elif isinstance(values, bool) and bool not in choices(kind) and {int, float} & set(map(_plain, choices(kind))):
        yield place, f"a number is expected (found {str(values).lower()})"
    elif isinstance(values, str) and unwritable(values):
        yield place, f"a text with {unwritable(values)}"


def without_dropped(values: Any, kind: Any) -> Any:
    """``values`` of type ``kind`` without what null drops: entries of tables by name, unless they may be null."""
    if isinstance(values, list):
        return [without_dropped(value, _inner(kind, place)) for place, value in enumerate(values)]
    if not isinstance(values, Mapping):
        return values
    named = any(typing.get_origin(choice) is dict for choice in choices(kind))
    kept = {name: (value, _inner(kind, name)) for name, value in values.items()}
    return {
        name: without_dropped(value, inner)
        for name, (value, inner) in kept.items()
        if value is not None or not named or type(None) in typing.get_args(inner)
    }


def _plain(kind: Any) -> Any:
    """The type of a list's entries, or ``kind``."""
    return choices(typing.get_args(kind)[0])[0] if typing.get_origin(kind) is list else kind


def sentences(error: ValidationError, kind: Any, where: str) -> Iterator[str]:
    """One sentence for each fault: the key, what is wrong, what is allowed and the nearest spelling."""
    seen = set()
    for problem in error.errors():
        place = ".".join(str(part) for part in _named(problem["loc"], kind) if part != "[key]")
        sentence = f"{where}: {_sentence(problem, place, kind)}"
        if sentence not in seen:
            seen.add(sentence)
            yield sentence


def _sentence(problem: Any, place: str, kind: Any) -> str:
    if problem["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        section, name = _section(problem["loc"][:-1], kind), str(problem["loc"][-1])
        near = _below(section, name) or nearest(name, section)
        listed = "" if near and len(section) > LISTED else f"; known here: {', '.join(section)}"
        return f"unknown key '{place}'{near}{listed}"
    if problem["type"] in ("missing", "missing_argument"):
        return f"'{place}' is missing"
    if problem["type"] == "literal_error":
        known = re.findall(r"'([^']*)'", problem["ctx"]["expected"])
        found = problem["input"]
        where = f"{place}: " if place else ""
        hint = TRUTH if isinstance(found, bool) else nearest(str(found), known)
        return f"{where}unknown {found!r:.80}{hint}; known: {', '.join(known)}"
    shown = not isinstance(problem["input"], dict | tuple) and "Kwargs" not in type(problem["input"]).__name__
    found = f" (found {problem['input']!r:.80})" if shown else ""
    if isinstance(problem["input"], bool) and problem["type"] == "string_type":
        found += TRUTH
    message = problem["msg"].removeprefix("Value error, ")
    message = re.sub(" or (an )?instance of .*", "", message)
    return f"{place}: {message}{found}" if place else f"{message}{found}"


def _named(location: Location, kind: Any) -> list[int | str]:
    """The keys and places of a location, without the names of types that pydantic adds where several are allowed."""
    named: list[int | str] = []
    for part in location:
        inner = _inner(kind, part)
        if inner is None and isinstance(part, str) and not any(map(is_settings, choices(kind))):
            continue
        named.append(part)
        kind = inner
    return named


def _inner(kind: Any, part: int | str) -> Any:
    """The type of what stands at ``part`` in a value of type ``kind``; None where it holds nothing else."""
    for choice in choices(kind):
        if is_settings(choice):
            return keys(choice)[str(part)].annotation if str(part) in keys(choice) else None
        if typing.get_origin(choice) is dict or (typing.get_origin(choice) is list and isinstance(part, int)):
            return typing.get_args(choice)[-1]
    return None


def choices(kind: Any) -> list[Any]:
    """The types a value may have: members of a union without None, or ``kind`` itself, stripped of `Annotated`."""
    if typing.get_origin(kind) is Annotated:
        return choices(typing.get_args(kind)[0])
    if isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union:
        return [choice for part in typing.get_args(kind) if part is not type(None) for choice in choices(part)]
    return [kind]


def _section(location: Location, kind: Any) -> dict[str, FieldInfo]:
    """The keys that are known at a location."""
    for part in location:
        kind = _inner(kind, part)
    found = next((choice for choice in choices(kind) if is_settings(choice)), None)
    return {} if found is None else keys(found)


def _below(section: dict[str, FieldInfo], name: str) -> str:
    """A hint that a key belongs to a section below, as those of one method do."""
    places = [
        f"{inner}.{name}"
        for inner, declared in section.items()
        if is_settings(declared.annotation) and name in keys(declared.annotation)
    ]
    return f" (did you mean '{places[0]}'?)" if places else ""
