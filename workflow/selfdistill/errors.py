"""The exception for bad input, and its sentence about unknown names."""

import re
from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches
from typing import TypeVar, overload

Value = TypeVar("Value")
MOST_LISTED = 16  # names at the end of a sentence


class UserError(ValueError):
    """Bad input. The message is one sentence: the mistake, its place, and the allowed values."""


def closest(word: str, allowed: Iterable[str]) -> str | None:
    """The nearest allowed spelling of ``word``, in any case; None where none is near."""
    by_letters = {name.casefold(): name for name in allowed}
    matches = get_close_matches(word.casefold(), by_letters, n=1)
    return by_letters[matches[0]] if matches else None


def nearest(word: str, allowed: Iterable[str]) -> str:
    """A hint ``" (did you mean 'x'?)"`` with the `closest` spelling of ``word``; may be empty."""
    found = closest(word, allowed)
    return "" if found is None else f" (did you mean '{found}'?)"


@overload
def one_of(what: str, name: str, known: Mapping[str, Value], *, where: str = "") -> Value: ...


@overload
def one_of(what: str, name: str, known: Collection[str], *, where: str = "") -> str: ...


def one_of(what: str, name: str, known: Mapping[str, Value] | Collection[str], *, where: str = "") -> Value | str:
    """``known[name]`` of a mapping, ``name`` of any other collection.

    Raises `UserError` for an unknown name: the kind of thing (``what``), the nearest spelling and all known names,
    after the place (``where``, such as a file) if there is one.
    """
    if name not in known:
        place = f"{where}: " if where else ""
        raise UserError(f"{place}unknown {what} '{name}'{nearest(name, known)}; known: {', '.join(known)}")
    return known[name] if isinstance(known, Mapping) else name


def shortened(sentence: str) -> str:
    """A sentence that ends with more than `MOST_LISTED` known names without them, where it has the nearest spelling.

    Without a nearest one it keeps the first of them, and says how many others there are.
    """
    found = re.fullmatch(r"(.*); known: (.*)", sentence, re.DOTALL)
    names = found[2].split(", ") if found else []
    if found is None or len(names) <= MOST_LISTED:
        return sentence
    if "(did you mean '" in found[1]:
        return found[1]
    return f"{found[1]}; known: {', '.join(names[:MOST_LISTED])} and {len(names) - MOST_LISTED} others"
