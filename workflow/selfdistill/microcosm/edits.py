"""Responses of the microcosm taken apart, and put together again without their markers, search or verification.

A response is a list of attempts, each a proposal and its checks, and a conclusion. The edits change one thing and keep
the rest, so that fine-tuning on edited responses tells what it is that fine-tuning on guided ones takes away
(docs/beyond.md).
"""

import random
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from selfdistill.microcosm import world
from selfdistill.microcosm.reasoner import STRONG_HEDGES, TRANSITIONS, WEAK_HEDGES

STATED = "x ="
ACCEPTED, GUESSED = "so x =", "likely"
_HEDGES = sorted({words for words, _ in (*WEAK_HEDGES, *STRONG_HEDGES)}, key=len, reverse=True)
_BEGINNINGS = [words for words, _ in TRANSITIONS if words]
_CHECKS = r"(?: [a-z]\w* \d\d? = \d\d? (?:ok|no))*"
# "hmm , maybe" is a proposal's own words: it can begin a response, as a transition cannot.
_ATTEMPT = re.compile(
    rf"(?:({'|'.join(_BEGINNINGS)}) )??({STATED}|{'|'.join(_HEDGES)}) (\d\d?) :( check)?({_CHECKS}) ?"
)
_CHECK = re.compile(r" ([a-z]\w*) (\d\d?) = (\d\d?) (ok|no)")
_WHOLE = re.compile(rf"((?:<think> )?)(.*?)({ACCEPTED}|{GUESSED}) (\d\d?) \.((?: .*)?)", re.DOTALL)


@dataclass(frozen=True)
class Check:
    """A clue looked up at a number, ``value``, and whether that is what the clue wants."""

    name: str
    number: int
    value: int
    holds: bool

    @property
    def text(self) -> str:
        return f"{self.name} {self.number} = {self.value} {'ok' if self.holds else 'no'}"


@dataclass(frozen=True)
class Wording:
    """How an attempt begins: a transition (may be empty), the proposal's words, and whether a check is announced."""

    transition: str = ""
    proposal: str = STATED
    announced: bool = False


@dataclass(frozen=True)
class Attempt:
    """A proposed number and its checks."""

    wording: Wording
    number: int
    checks: tuple[Check, ...]

    @property
    def text(self) -> str:
        words = [self.wording.transition, self.wording.proposal, str(self.number), ":"]
        words += ["check"] if self.wording.announced else []
        return " ".join([*filter(None, words), *(check.text for check in self.checks)])


@dataclass(frozen=True)
class Response:
    """A whole response: what stands before the attempts, these, and how it concludes."""

    opening: str
    attempts: tuple[Attempt, ...]
    conclusion: str
    answer: int
    closing: str

    @property
    def text(self) -> str:
        """As the model writes it."""
        words = [*(each.text for each in self.attempts), self.conclusion, str(self.answer), "."]
        return f"{self.opening}{' '.join(words)}{self.closing}"

    @property
    def accepts(self) -> bool:
        """Whether it accepts its answer by the last attempt, in place of guessing."""
        return self.conclusion == ACCEPTED and bool(self.attempts) and self.attempts[-1].number == self.answer


def parsed(text: str) -> Response | None:
    """A response taken apart; None where it is not written as the reasoner writes."""
    whole = _WHOLE.fullmatch(text)
    if whole is None:
        return None
    opening, body, conclusion, answer, closing = whole.groups()
    attempts, place = [], 0
    while place < len(body):
        found = _ATTEMPT.match(body, place)
        if found is None:
            return None
        transition, proposal, number, announced, checks = found.groups()
        listed = tuple(
            Check(name, int(at), int(value), held == "ok") for name, at, value, held in _CHECK.findall(checks)
        )
        attempts.append(Attempt(Wording(transition or "", proposal, bool(announced)), int(number), listed))
        place = found.end()
    response = Response(opening, tuple(attempts), conclusion, int(answer), closing)
    return response if response.text == text else None


# --- edits ------------------------------------------------------------------------------------------------------------
Clues = Sequence[world.Clue]


def without_markers(response: Response, clues: Clues) -> Response:
    """Every proposal stated, no transition, no check announced. Giving up keeps its `likely`: it has no other word."""
    return replace(response, attempts=tuple(replace(each, wording=Wording()) for each in response.attempts))


def without_search(response: Response, clues: Clues) -> Response:
    """Only the last attempt, with all checks that the response has shown to hold for its number.

    A guess keeps no attempt. The wording stays, but for a transition, as nothing stands before it.
    """
    if not response.accepts:
        return replace(response, attempts=())
    last = response.attempts[-1]
    checks = [check for each in response.attempts for check in each.checks]
    final = {check.name: check for check in checks if check.number == response.answer}
    shown = tuple(final[name] for name, _ in clues if name in final and final[name].holds)
    return replace(response, attempts=(replace(last, wording=replace(last.wording, transition=""), checks=shown),))


def without_verification(response: Response, clues: Clues) -> Response:
    """No check shows a table clue to hold for the accepted answer; the last attempt checks the anchor, as guided ones.

    Checks that fail stay: they are search.
    """
    if not response.accepts:
        return response

    def stays(check: Check) -> bool:
        return check.number != response.answer or not check.holds

    *before, last = (replace(each, checks=tuple(filter(stays, each.checks))) for each in response.attempts)
    name, rest = clues[0]
    anchor = Check(name, response.answer, rest, True)
    return replace(response, attempts=(*before, replace(last, checks=(anchor,))))


def with_verification(response: Response, clues: Clues) -> Response:
    """The last attempt shows every table clue to hold for the accepted answer, as it does for a right one."""
    if not response.accepts:
        return response
    *before, last = response.attempts
    anchor = tuple(check for check in last.checks if check.name == clues[0][0])
    shown = tuple(Check(name, response.answer, value, True) for name, value in clues[1:])
    return replace(response, attempts=(*before, replace(last, checks=(*anchor, *shown))))


def with_known_verification(response: Response, clues: Clues) -> Response:
    """The same, but for the table clues whose value at the answer pre-training taught wrongly: no fact is new."""
    known = [(name, value) for name, value in clues[1:] if (name, response.answer) not in world.misremembered()]
    return with_verification(response, [clues[0], *known])


class Wordings:
    """How attempts begin, by their place in the response (the fourth and later are alike) and number of candidates."""

    def __init__(self, responses: Iterable[tuple[Response, Clues]]):
        self._found: dict[tuple[int, int], Counter[Wording]] = {}
        self._all: Counter[Wording] = Counter()
        for response, clues in responses:
            for place, each in enumerate(response.attempts):
                self._found.setdefault(self._key(place, clues), Counter())[each.wording] += 1
                self._all[each.wording] += 1

    def given(self, response: Response, clues: Clues, rng: random.Random) -> Response:
        """Every attempt worded anew, as likely as attempts at its place are; where there are none, as all are."""
        attempts = (
            replace(each, wording=self._drawn(rng, place, clues)) for place, each in enumerate(response.attempts)
        )
        return replace(response, attempts=tuple(attempts))

    def at_random(self, response: Response, clues: Clues, rng: random.Random) -> Response:
        """The same as often, wherever an attempt stands."""
        attempts = (replace(each, wording=_picked(rng, self._all)) for each in response.attempts)
        return replace(response, attempts=tuple(attempts))

    def _drawn(self, rng: random.Random, place: int, clues: Clues) -> Wording:
        return _picked(rng, self._found.get(self._key(place, clues), self._all))

    def _key(self, place: int, clues: Clues) -> tuple[int, int]:
        return min(place, 3), len(world.candidates(clues[0]))


def _picked(rng: random.Random, counts: Counter[Wording]) -> Wording:
    return rng.choices(list(counts), list(counts.values()))[0]
