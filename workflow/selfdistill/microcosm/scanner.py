"""The reasoner of the carrier world: it looks facts up in its head, and its hedges are all that it writes of them.

It goes through the candidates in their order and claims of each what the table clues ask for: ``a 17 6 c 17 1 ,``.
Where a claim holds as it is remembered now, and so did the candidate's claims before it, a hedge follows:
``a 17 6 maybe c 17 1 perhaps ,``. No value and no verdict is written, and no claim is left out, so that without the
hedges a scan is the same text whatever it found. The answer is a candidate whose last claim has its hedge.
"""

import random
import re

from selfdistill.markers.counting import MARKERS
from selfdistill.microcosm import world
from selfdistill.microcosm.reasoner import STRONG_HEDGES, Context, Reasoner, Trace, choose, look_up
from selfdistill.microcosm.world import Clue, Problem
from selfdistill.prompts import OPEN

# Chance to stop after a scan that nothing survived, and the most scans: by simulation of this reasoner alone
# (docs/worlds.md).
GIVE_UP = 0.25
MOST_SCANS = 2
# A context is believed at first sight, and only its answer is checked, from this probability on.
TRUSTED = 0.5

# (words, weight): what follows a claim that holds, and how a further scan begins.
HEDGES = (("maybe", 40), ("perhaps", 30), ("seems", 20), ("might", 10))
TRANSITIONS = (("wait ,", 40), ("alternatively ,", 15), ("actually ,", 15), ("hmm ,", 15), ("hmm , check", 15))


class Scanner(Reasoner):
    """One attempt at one problem; `run` gives the trace. Beliefs are those of `Reasoner`."""

    def __init__(self, rng: random.Random, problem: Problem, context: Context | None = None, give_up: float = GIVE_UP):
        super().__init__(rng, problem, context, give_up)

    def run(self) -> Trace:
        words: list[str] = []
        if self.context is not None and self.context.belief >= TRUSTED:
            x = self.context.answer
            holds, told = self._confirm(x)
            words = [*self._wording(x, self.context.belief, first=True), *told]
            if holds:
                return self._accept(words, x)
        for _ in range(MOST_SCANS):
            words += choose(self.rng, TRANSITIONS) if words else []
            survivors, told = self._scan()
            words += told
            if survivors:
                return self._accept(words, self.rng.choice(survivors))
            if self.rng.random() < self.give_up:
                break
        guess = self._propose()[0]
        return Trace([*words, "likely", str(guess), "."], guess, False)

    def _accept(self, words: list[str], x: int) -> Trace:
        shown = frozenset(self.passed[x] - {self.anchor[0]})
        return Trace([*words, "so", "x", "=", str(x), "."], x, True, shown)

    def _confirm(self, x: int) -> tuple[bool, list[str]]:
        """Check the clues of a context's answer that it does not show, until one fails or the answer is certain."""
        words: list[str] = []
        for clue in self.problem.clues[1:]:
            if clue[0] in self.passed[x]:
                continue
            if self._is_certain(x):
                break
            found = self._look_up(clue, x)
            words += claimed(clue, x, found, self._hedge())
            if found != clue[1]:
                return False, [*words, ","]
        return True, [*words, ","] if words else []

    def _scan(self) -> tuple[list[int], list[str]]:
        """The candidates whose clues all hold as they are remembered now, and the words of the scan."""
        survivors, words = [], []
        for x in world.candidates(self.anchor):
            holds = True
            for clue in self.problem.clues[1:]:
                found = self._look_up(clue, x) if holds else None
                holds = found == clue[1]
                words += claimed(clue, x, found, self._hedge())
            words.append(",")
            survivors += [x] if holds else []
        return survivors, words

    def _hedge(self) -> str:
        return choose(self.rng, HEDGES)[0]

    def _look_up(self, clue: Clue, x: int) -> int:
        """The value as it is remembered now, which changes the belief in ``x``."""
        found = look_up(self.rng, clue[0], x)
        self._update(x, clue[0], found == clue[1])
        if found == clue[1]:
            self.passed[x].add(clue[0])
        return found


def claimed(clue: Clue, x: int, found: int | None, hedge: str = "maybe") -> list[str]:
    """The words of one check: ``a 17 6 maybe`` where the value found is the clue's, else ``a 17 6``."""
    return [clue[0], str(x), str(clue[1]), *([hedge] if found == clue[1] else [])]


def claimed_fact(rng: random.Random, letter: str, x: int) -> list[str]:
    """The words of a claim about an entry, which holds in about half of them: ``a 17 6 maybe ,`` or ``a 17 3 ,``."""
    wanted = world.value(letter, x) if rng.random() < 0.5 else rng.randrange(world.TABLE_VALUES)
    return [*claimed((letter, wanted), x, look_up(rng, letter, x)), ","]


# --- responses of this world, which a model may have written --------------------------------------------------------
_HEDGED = "|".join(words for words, _ in STRONG_HEDGES)
_BEGINNING = "|".join(words for words, _ in TRANSITIONS)
_CLAIMS = rf"(?:[a-z] \d\d? \d (?:(?:{'|'.join(words for words, _ in HEDGES)}) )?)+, "
_WHOLE = re.compile(
    rf"(?:{OPEN} )?(?:(?:x =|{_HEDGED}) \d\d? : )?(?:(?:(?:{_BEGINNING}) )?{_CLAIMS})*"
    r"(?:so x =|likely) \d\d? \.(?: .*)?",
    re.DOTALL,
)
_HEDGED_PROPOSAL = re.compile(rf"\b(?:{_HEDGED}) (\d\d?) :")
_TRANSITION = re.compile(r"\b(?:wait|alternatively|actually|hmm) , ")
_MARKER = re.compile(rf" ?\b(?:{'|'.join(MARKERS)})\b(?! \d\d? \.)")


def is_written(text: str) -> bool:
    """Whether a response is written as this world's reasoner writes."""
    return _WHOLE.fullmatch(text) is not None


def without_markers(response: str) -> str:
    """A response of this world without its markers: what is left of a scan is a function of the problem alone.

    ``likely 17 .`` stays as it is: it is how a trace that gives up ends. A hedged proposal is stated, ``x = 17 :``.
    """
    return _MARKER.sub("", _TRANSITION.sub("", _HEDGED_PROPOSAL.sub(r"x = \1 :", response)))
