"""Command line: ``selfdistill STAGE --flag value ...``, one command per function of `stages`.

Flags are read off a function's signature, so that the two cannot drift apart. A parameter that is a class of settings
becomes one flag per setting, ``--PARAMETER.SETTING``, with the help, default and bounds of its declaration; `words`
writes such flags. Parameters called ``out`` or ``out_*`` are outputs and get a provenance sidecar.
"""

import argparse
import atexit
import contextlib
import dataclasses
import gc
import inspect
import json
import logging
import os
import shlex
import sys
import time
import typing
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic_core import PydanticUndefined

from selfdistill import interrupts, processes, stages
from selfdistill.disk import existing_folder, remedy
from selfdistill.errors import UserError, nearest
from selfdistill.files import sha256_meaning
from selfdistill.models import MANIFEST, is_along_training
from selfdistill.parameters import OutFolder
from selfdistill.records import attempts, provenance
from selfdistill.settings import annotation_of, choices, is_settings, keys, validated

NULL = "null"  # a setting that is switched off
MOST_FLAGS = 8  # that a sentence lists


@dataclasses.dataclass(frozen=True)
class Flag:
    """One flag of a stage: where its value belongs (parameter, setting, ...), its type, and what the help says."""

    place: tuple[str, ...]
    kind: Any
    default: Any
    required: bool
    help: str = ""
    group: str = ""

    @property
    def name(self) -> str:
        return flag_name(self.dest.rstrip("_"))  # from_: Python keeps `from` for itself

    @property
    def dest(self) -> str:
        return ".".join(self.place)


def main(argv: list[str] | None = None) -> int:
    """Run one stage. Exit status: 0 done, 1 a comparison failed, 2 bad input or a failing disk (told in a sentence)."""
    sys.excepthook = interrupts.tell
    arguments = sys.argv[1:] if argv is None else argv
    level = logging.INFO if processes.is_main() else logging.ERROR
    logging.basicConfig(level=level, stream=sys.stderr, format="%(message)s")
    started = time.monotonic()
    given: dict[str, Any] = {}
    try:
        stage, group, given = _understood(arguments)
        _check_outputs(stage, given)
        recorded = processes.is_main() and group == stages.STEP
        goes_on = recorded and _goes_on(arguments, given)
        status = stage(**given)
        if recorded:
            seconds = time.monotonic() - started
            _write_sidecars(["selfdistill", *arguments], given, seconds)
            _tell(arguments, given, seconds, goes_on)
        sys.stdout.flush()
    except UserError as error:
        print(f"selfdistill: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # whoever read the output, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if (told := remedy(error) or _unreadable(error, given)) is None:
            raise
        print(f"selfdistill: {told}", file=sys.stderr)
        return 2
    return status or 0


def _unreadable(error: Exception, given: Mapping[str, Any]) -> str | None:
    """A sentence about a file of the command line that is not there, or no file; None for any other error."""
    if not isinstance(error, FileNotFoundError | IsADirectoryError | NotADirectoryError):
        return None
    named = {str(path) for value in _flat(given).values() for path in _paths(value)}
    if error.filename2 is not None and str(error.filename2) in named:  # a whole file, put in its place
        return f"{error.filename2}: cannot be written: {error.strerror}"
    return f"{error.filename}: cannot be read: {error.strerror}" if str(error.filename) in named else None


def spare_collector() -> None:
    """Keep Python's garbage collector from what outlives a process's work: for one that ends with a stage or a plan.

    Importing transformers and TRL makes a million objects. To walk through all of them again and again as they become
    more took a quarter of the import's time, and once more at the end of the process a second. Young objects are
    collected as ever.
    """
    youngest, middle, _ = gc.get_threshold()
    gc.set_threshold(youngest, middle, 1_000_000)
    atexit.register(gc.freeze)


def words(parameter: str, values: object, kind: type | None = None, *, leave_out: Container[str] = ()) -> str:
    """Settings as the flags of a stage's ``parameter``, quoted for a shell: any value is one word.

    ``kind``: the class whose settings are written, where ``values`` has more.
    """
    return shlex.join(_words((parameter,), values, kind or type(values), leave_out))


def _words(place: tuple[str, ...], values: object, kind: type, leave_out: Container[str]) -> Iterator[str]:
    for name, declared in keys(kind).items():
        value = getattr(values, name)
        if name in leave_out or (value is None and declared.default is None):
            continue
        if is_settings(type(value)):
            yield from _words((*place, name), value, type(value), leave_out)
        else:
            yield flag_word(".".join([*place, name]), value)


def flag_name(dest: str) -> str:
    """How the flag of a parameter, or of a setting ("parameter.setting"), is written."""
    return f"--{dest.replace('_', '-')}"


def flag_word(dest: str, value: object) -> str:
    """A flag with its value, in one word that is not yet quoted."""
    return f"{flag_name(dest)}={_word(value)}"


def _word(value: object) -> str:
    if value is None:
        return NULL
    if isinstance(value, list | dict):
        return json.dumps(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


# --- reading --------------------------------------------------------------------------------------------------------


def read(arguments: list[str]) -> tuple[stages.Stage, str, dict[str, Any]]:
    """The stage that is meant, its group, and its parameters."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_overview())
        raise SystemExit(0 if arguments else 2)
    command, *rest = arguments
    if command not in stages.STAGES:
        raise UserError(f"unknown command '{command}'{nearest(command, stages.STAGES)}; `selfdistill --help` lists all")
    stage, group = stages.STAGES[command]
    flags = list(_flags(stage))
    found, unknown = _parser(command, stage, flags).parse_known_args(rest)
    for word in unknown:
        name = word.partition("=")[0]
        known = [flag.name for flag in flags if flag.place[0] not in _positional(stage)]
        raise UserError(f"{command}: unknown flag '{name}'{nearest(name, known)}; {_more(command)}")
    bare = _positional(stage)
    missing = [flag for flag in flags if flag.required and flag.dest not in vars(found)]
    if missing:
        named = ", ".join(flag.dest.upper() if flag.dest in bare else flag.name for flag in missing)
        raise UserError(f"{command}: missing {named}; {_more(command)}")
    return stage, group, _parameters(stage, flags, vars(found))


def _understood(arguments: list[str]) -> tuple[stages.Stage, str, dict[str, Any]]:
    """`read`, with sentences of its own about words without a flag, and about a reader's flag without words.

    They stand here because the digests of all jobs hold `read`. A rule may have no file for a flag of several.
    """
    try:
        stage, group, given = read(arguments)
    except UserError:
        _check_bare_words(arguments)
        raise
    empty = [name for name, value in given.items() if value == []]
    if empty and group != stages.STEP:
        raise UserError(f"{arguments[0]}: {flag_name(empty[0])} expects a word behind it; {_more(arguments[0])}")
    return stage, group, given


def _check_bare_words(arguments: Sequence[str]) -> None:
    """`UserError` for a word that belongs to no flag: which flags may be meant, those that are missing first."""
    command, *rest = arguments
    if command not in stages.STAGES:
        return
    stage, _ = stages.STAGES[command]
    flags, bare = list(_flags(stage)), _positional(stage)
    found, unknown = _parser(command, stage, flags).parse_known_args(rest)
    if not unknown or unknown[0].startswith("-"):
        return
    open_flags = [flag for flag in flags if flag.dest not in bare and flag.dest not in vars(found)]
    meant = [flag.name for flag in open_flags if flag.required] or [flag.name for flag in open_flags]
    if meant:
        others = f" or one of {len(meant) - MOST_FLAGS} others" if len(meant) > MOST_FLAGS else ""
        named = f"{', '.join(meant[:MOST_FLAGS])}{others}"
        raise UserError(f"{command}: '{unknown[0]}' needs a flag before it: {named}; {_more(command)}")
    form = " ".join(["selfdistill", command, *(name.upper() for name in vars(found) if name in bare)])
    raise UserError(f"{command}: '{unknown[0]}' is a word too many: `{form}` takes no other; {_more(command)}")


def _more(command: str) -> str:
    return f"`selfdistill {command} --help`"


def _overview() -> str:
    """All commands with a line each, in their groups."""
    lines = ["usage: selfdistill COMMAND --flag value ...; `selfdistill COMMAND --help` says more"]
    width = max(map(len, stages.STAGES)) + 2
    for wanted in dict.fromkeys(group for _, group in stages.STAGES.values()):
        lines += ["", f"{wanted}:"]
        for command, (stage, group) in stages.STAGES.items():
            if group == wanted:
                lines.append(f"  {command:{width}}{(inspect.getdoc(stage) or '').partition(chr(10))[0]}")
    return "\n".join(lines)


def _parser(command: str, stage: stages.Stage, flags: list[Flag]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"selfdistill {command}",
        usage=f"selfdistill {command} --flag value ...",
        description=inspect.getdoc(stage),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
    )
    groups: dict[str, Any] = {"": parser}
    for flag in flags:
        if flag.group not in groups:
            groups[flag.group] = parser.add_argument_group(flag.group)
        group = groups[flag.group]
        if flag.place[0] in _positional(stage):
            group.add_argument(flag.dest, nargs="?", metavar=flag.place[0].upper(), help=_help(flag))
            continue
        several: dict[str, Any] = {}
        if _is_words(flag.kind) and len(flag.place) == 1:  # also where the flag is written again before each word
            several = {"nargs": "+" if flag.required else "*", "action": "extend"}
        group.add_argument(flag.name, dest=flag.dest, metavar="VALUE", help=_help(flag), **several)
    return parser


def _help(flag: Flag) -> str:
    shown = [flag.help] if flag.help else []
    if not flag.required and flag.default not in (None, PydanticUndefined, [], (), ""):
        shown.append(f"(default {flag.default})")
    return " ".join(shown).replace("%", "%%")


def _flags(stage: Callable[..., object]) -> Iterator[Flag]:
    """Every flag of a stage, in the order of its signature."""
    yield from _flags_of((), stage)


def _flags_of(place: tuple[str, ...], target: Callable[..., object]) -> Iterator[Flag]:
    hints = typing.get_type_hints(target, include_extras=True)
    for name, parameter in inspect.signature(target).parameters.items():
        kind, told = _without_help(hints[name])
        if is_settings(kind):
            yield from _settings_flags((*place, name), kind)
        elif dataclasses.is_dataclass(kind):  # a parameter that bundles others
            yield from _flags_of(place, typing.cast(Callable[..., object], kind))
        else:
            required = parameter.default is inspect.Parameter.empty
            yield Flag((*place, name), kind, None if required else parameter.default, required, told)


def _settings_flags(place: tuple[str, ...], kind: type) -> Iterator[Flag]:
    group = f"{'.'.join(place)}: {(inspect.getdoc(kind) or '').partition(chr(10))[0].rstrip('.')}"
    for name, declared in keys(kind).items():
        if is_settings(declared.annotation):
            yield from _settings_flags((*place, name), typing.cast(type, declared.annotation))
            continue
        paper = (declared.json_schema_extra or {}).get("paper", "")
        told = f"{declared.description} {f'Paper: {paper}.' if paper else ''}".strip()
        yield Flag((*place, name), annotation_of(declared), declared.default, declared.is_required(), told, group)


def _without_help(hint: Any) -> tuple[Any, str]:
    """A parameter's type, and the text that `Annotated` gives it."""
    if typing.get_origin(hint) is not Annotated:
        return hint, ""
    kind, *told = typing.get_args(hint)
    return kind, " ".join(part for part in told if isinstance(part, str))


def _positional(stage: Callable[..., object]) -> set[str]:
    """Parameters that are given without a flag: those before the ``*`` of a signature."""
    free = inspect.Parameter.POSITIONAL_OR_KEYWORD
    return {name for name, parameter in inspect.signature(stage).parameters.items() if parameter.kind is free}


def _is_words(kind: Any) -> bool:
    """Whether a flag of this type takes several words; a list of tables is one word of JSON."""
    origin = typing.get_origin(kind)
    of_tables = any(typing.get_origin(part) is dict for part in typing.get_args(kind))
    return isinstance(origin, type) and issubclass(origin, Sequence) and not of_tables


def _parameters(stage: stages.Stage, flags: list[Flag], given: Mapping[str, Any]) -> dict[str, Any]:
    """The stage's parameters from the words that were given; `UserError` naming the flag of a wrong one."""
    return _built(stage, _nested(flags, given))


def _nested(flags: list[Flag], given: Mapping[str, Any]) -> dict[str, Any]:
    """The values that were given, by parameter; those of settings in dictionaries."""
    values: dict[str, Any] = {}
    for flag in flags:
        if flag.dest not in given:
            continue
        *sections, name = flag.place
        place = values
        for section in sections:
            place = place.setdefault(section, {})
        place[name] = validated(flag.kind, _value(given[flag.dest], flag.kind), flag.name)
    return values


def _value(word: Any, kind: Any) -> Any:
    """A word as pydantic takes it: tables, and lists in one word, are JSON."""
    if word == NULL and _may_be_null(kind):
        return None
    if isinstance(word, str) and any(typing.get_origin(choice) in (list, dict) for choice in choices(kind)):
        with contextlib.suppress(json.JSONDecodeError):  # pydantic says what is wrong with it
            return json.loads(word)
    return word


def _may_be_null(kind: Any) -> bool:
    """Whether the word `NULL` switches a setting off: not where it may be the setting's own text."""
    union = typing.get_args(kind)[0] if typing.get_origin(kind) is Annotated else kind
    return type(None) in typing.get_args(union) and str not in choices(union)


def _built(target: Callable[..., object], values: Mapping[str, Any]) -> dict[str, Any]:
    """``values`` as the parameters of ``target``: settings and bundles made of theirs."""
    hints = typing.get_type_hints(target)
    built: dict[str, Any] = {}
    for name in inspect.signature(target).parameters:
        kind = hints[name]
        if is_settings(kind):
            built[name] = validated(kind, values.get(name, {}), f"--{name.replace('_', '-')}")
        elif dataclasses.is_dataclass(kind):
            built[name] = kind(**_built(typing.cast(Callable[..., object], kind), values))
        elif name in values:
            built[name] = values[name]
    return built


# --- records --------------------------------------------------------------------------------------------------------


def _check_outputs(stage: stages.Stage, given: Mapping[str, Any]) -> None:
    """`UserError` for an output that is one of the inputs, or that cannot be made where it is to be.

    What stands there otherwise is written over: jobs do so with their own results.
    """
    parameters = _flat(given)
    read = [path for name, value in parameters.items() if not _is_output(name) for path in _paths(value)]
    for name, value in parameters.items():
        for out in _paths(value) if _is_output(name) else []:
            if any(out.resolve() == path.resolve() for path in read):
                raise UserError(f"{flag_name(name)}: {out} is read by this command; name another place")
            existing_folder(out)
    out, kind = given.get("out"), typing.get_type_hints(stage, include_extras=True).get("out")
    if isinstance(out, Path) and out.exists() and out.is_dir() != (kind == OutFolder):
        there, wanted = ("folder", "file") if out.is_dir() else ("file", "folder")
        raise UserError(f"--out: {out} is a {there}, where a {wanted} is to be written")


def _flat(given: Mapping[str, Any]) -> dict[str, Any]:
    """A stage's parameters by name; those in bundles and settings by their own names."""
    parameters: dict[str, Any] = {}
    for name, value in given.items():
        is_bundle = dataclasses.is_dataclass(value) and not is_settings(type(value))
        parameters |= provenance.flat(vars(value) if is_bundle else {name: value})
    return parameters


def _is_output(name: str) -> bool:
    return name == "out" or name.startswith("out_")


def _paths(value: Any) -> list[Path]:
    return [path for path in (value if isinstance(value, list | tuple) else [value]) if isinstance(path, Path)]


def _write_sidecars(command: list[str], given: Mapping[str, Any], seconds: float) -> None:
    """A record beside every output; inputs are parameters, and settings, that are files.

    Of a folder with models along training the manifests count: as inputs, or as what was made beside the outputs.
    """
    parameters = _flat(given)
    outputs, inputs = {name: value for name, value in parameters.items() if _is_output(name)}, _inputs(parameters)
    rest = {name: value for name, value in parameters.items() if name not in outputs and name not in inputs}
    made = [path for path in outputs.values() if isinstance(path, Path)]
    models = {name: file for folder in made for name, file in _along_training(folder)}
    for path in made:
        if path.is_file():
            provenance.write_sidecar(
                path, command=command, inputs=inputs, parameters=rest, seconds=seconds, along=models
            )


def _inputs(parameters: Mapping[str, Any]) -> dict[str, Path]:
    """What a stage reads, by parameter."""
    inputs = {}
    for name, value in parameters.items():
        for index, path in enumerate(value if isinstance(value, list) else [value]):
            if not _is_output(name) and isinstance(path, Path):
                inputs |= _files(f"{name}[{index}]" if isinstance(value, list) else name, path)
    return inputs


def _files(name: str, path: Path) -> dict[str, Path]:
    """What is recorded of an input, by name."""
    return {name: path} if path.is_file() else {f"{name}[{step}]": file for step, file in _along_training(path)}


def _along_training(folder: Path) -> list[tuple[str, Path]]:
    """The manifests of a folder's models along training, by the names of their folders, in order."""
    found = [(path.parent.name, path) for path in folder.glob(f"*/{MANIFEST}") if is_along_training(path)]
    return sorted(found, key=lambda each: int(each[0].removeprefix("step-")))


# --- attempts -------------------------------------------------------------------------------------------------------


def _goes_on(arguments: list[str], given: Mapping[str, Any]) -> bool:
    """Whether a job with these words and inputs has begun before, where it keeps what is unfinished."""
    parameters = _flat(given)
    if "work_dir" not in parameters:
        return False
    digests = {name: sha256_meaning(path) for name, path in _inputs(parameters).items()}
    return attempts.begin(parameters["work_dir"], [arguments, digests])


def _tell(arguments: list[str], given: Mapping[str, Any], seconds: float, goes_on: bool) -> None:
    """The last line of a job's log: what it took, and whether that is the whole of it."""
    parameters = _flat(given)
    if "work_dir" in parameters:
        attempts.end(parameters["work_dir"])
    told = f", {attempts.GOES_ON}" if goes_on else ""
    logging.info("%s: %.1f s%s", shlex.join(["selfdistill", *arguments[:1]]), seconds, told)
