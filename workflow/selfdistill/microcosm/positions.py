"""Which words of a microcosm's response are decisions and which verify, whatever was drawn there."""

from collections.abc import Iterable, Iterator
from enum import IntEnum

from selfdistill.prompts import OPEN


class Kind(IntEnum):
    """What is said at a place of a response."""

    OTHER = 0
    DECISION = 1  # how an attempt begins, or that there is none: a proposal's wording
    VERIFICATION = 2  # what is checked first, perhaps announced; checks, what they find; that the answer is accepted


def kinds(words: Iterable[str]) -> list[int]:
    """A `Kind` for each of the ``words`` of one response.

    The place counts, not the word: where a marker may stand, the words that were drawn in its place are decisions too.
    All markers but ``check`` stand at decisions. Where that one may, what is checked first is chosen: a guided response
    goes to the anchor there, which verifies nothing, and so gives up verification at this one word.
    """
    return [int(kind) for kind in _kinds(words)]


def _kinds(words: Iterable[str]) -> Iterator[Kind]:
    part = "wording"
    for word in words:
        if part == "wording" and word == OPEN:
            yield Kind.OTHER
        elif part in ("wording", "checks") and word == "so":
            part = "accepting"
            yield Kind.VERIFICATION
        elif part == "wording" and word.isdigit():
            part = "proposed"
            yield Kind.OTHER
        elif part == "wording":
            yield Kind.DECISION
        elif part == "proposed":
            part = "announcing" if word == ":" else "over"  # a guess ends in a full stop
            yield Kind.OTHER
        elif part == "announcing":
            part = "checks"
            yield Kind.VERIFICATION
        elif part == "checks":
            part = "wording" if word == "no" else part
            yield Kind.VERIFICATION
        elif part == "accepting":
            part = "over" if word == "." else part
            yield Kind.VERIFICATION
        else:
            yield Kind.OTHER
