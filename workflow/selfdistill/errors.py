"""The one exception that a user is meant to read."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(ValueError):
    """Bad input, told in one sentence: what is wrong, where, and what is allowed."""


def nearest(word: str, allowed: Iterable[str]) -> str:
    """A hint ``" (did you mean 'x'?)"`` with the nearest allowed spelling of ``word``, or an empty string."""
    matches = get_close_matches(word, list(allowed), n=1)
    return f" (did you mean '{matches[0]}'?)" if matches else ""
