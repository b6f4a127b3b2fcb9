"""The simulated self-Bayesian reasoner whose traces the model is pre-trained on (paper, Section 2).

It holds a posterior over the candidates, proposes by sampling from it, verifies by looking facts up, and words
its doubt by the posterior alone. Looked-up facts can be misremembered, so a "no" lowers a candidate's
probability without excluding it: keeping alternatives alive, and saying so, has a use in this world.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from selfdistill.microcosm import world
from selfdistill.microcosm.world import Clue, Problem

# P(an entry is misremembered), and P(the wrong value is written | it is).
RHO = world.MISREMEMBERED_PER_TABLE / world.NUMBERS
MU = 1 - world.RIGHT_WHEN_MISREMEMBERED

# Odds at which verification stops (sequential probability-ratio test) and a bare answer counts as certain.
CERTAIN_ODDS = 99.0
# Chance to stop searching after a failed check, with and without a thinking block; chosen by simulating this
# reasoner alone, before any model was trained (docs/microcosm.md).
GIVE_UP = 0.04
GIVE_UP_WITHOUT_THINKING = 0.5
MOST_PROPOSALS = 40

# (words, weight): how a further attempt begins, how a proposal is hedged when improbable and when fairly probable.
TRANSITIONS = (("wait ,", 40), ("alternatively ,", 20), ("actually ,", 15), ("hmm ,", 10), ("", 15))
WEAK_HEDGES = (("maybe", 35), ("perhaps", 30), ("might be", 15), ("hmm , maybe", 20))
STRONG_HEDGES = (("likely", 1), ("seems", 1), ("perhaps", 1))
WEAK_BELOW = 0.3


@dataclass(frozen=True)
class Context:
    """The reasoner's belief from a context: an ``answer``, its probability, and the clues that are shown to hold."""

    answer: int
    belief: float
    known: frozenset[str] = frozenset()


@dataclass
class Trace:
    """Words of a trace, its answer, and whether the answer was accepted by verification (not by giving up)."""

    words: list[str] = field(default_factory=list)
    answer: int = -1
    verified: bool = False
    known: frozenset[str] = frozenset()  # table clues that the trace shows to hold for its answer


def look_up(rng: random.Random, name: str, x: int) -> int:
    """The value of ``name`` at ``x`` as the reasoner remembers it: wrong at times for misremembered entries."""
    wrong = world.misremembered().get((name, x))
    if wrong is not None and rng.random() < MU:
        return wrong
    return world.value(name, x)


def likelihood_ratio(noes: int, oks: int) -> float:
    """P(look-ups of one entry | x is the solution) / P(the same | it is not), after ``noes`` and ``oks``.

    If x is the solution the entry holds the clue's value: every "no" is a misremembering. If it is not, the
    entry holds the clue's value by chance (1 in 7), or is mistaken for it (misremembered, and 1 wrong value in 6).
    """
    right = 1 - MU
    holds = RHO * MU**noes * right**oks + (1 - RHO) * (noes == 0)
    mistaken = RHO / (world.TABLE_VALUES - 1)
    differs = mistaken * right**noes * MU**oks + (1 - mistaken) * (oks == 0)
    return holds / (holds / world.TABLE_VALUES + differs * (1 - 1 / world.TABLE_VALUES))


class Reasoner:
    """One attempt at one problem; `run` gives the trace."""

    def __init__(self, rng: random.Random, problem: Problem, context: Context | None = None, give_up: float = GIVE_UP):
        self.rng, self.problem, self.context, self.give_up = rng, problem, context, give_up
        self.anchor: Clue = problem.clues[0]
        self.weights = self._prior()
        self.history: dict[tuple[int, str], tuple[int, int]] = {}
        self.passed: dict[int, set[str]] = {x: {self.anchor[0]} for x in world.candidates(self.anchor)}
        if context is not None:
            self.passed[context.answer] = set(context.known)

    def _prior(self) -> dict[int, float]:
        numbers = world.candidates(self.anchor)
        if self.context is None:
            return dict.fromkeys(numbers, 1.0)
        others = [x for x in numbers if x != self.context.answer]
        share = (1 - self.context.belief) / max(len(others), 1)
        return {**dict.fromkeys(others, share), self.context.answer: self.context.belief}

    def run(self) -> Trace:
        words: list[str] = []
        for attempt in range(MOST_PROPOSALS):
            x, belief = self._propose()
            words += self._wording(x, belief, first=attempt == 0)
            accepted, checks = self._verify(x, belief)
            words += checks
            if accepted:
                shown = frozenset(self.passed[x] - {self.anchor[0]})
                return Trace([*words, "so", "x", "=", str(x), "."], x, True, shown)
            if self._remaining_context_belief() < 0.5 and self.rng.random() < self.give_up:
                break
        guess = self._propose()[0]
        return Trace([*words, "likely", str(guess), "."], guess, False)

    def _propose(self) -> tuple[int, float]:
        numbers, weights = list(self.weights), list(self.weights.values())
        x = self.rng.choices(numbers, weights)[0]
        return x, self._belief(x)

    def _belief(self, x: int) -> float:
        return self.weights[x] / sum(self.weights.values())

    def _remaining_context_belief(self) -> float:
        return 0.0 if self.context is None else self._belief(self.context.answer)

    def _wording(self, x: int, belief: float, *, first: bool) -> list[str]:
        """Doubt from the posterior alone: with probability ``belief`` the proposal is stated, else hedged."""
        confident = self.rng.random() < belief
        words = [] if first or confident else choose(self.rng, TRANSITIONS)
        if confident:
            return [*words, "x", "=", str(x), ":"]
        hedges = WEAK_HEDGES if belief < WEAK_BELOW else STRONG_HEDGES
        return [*words, *choose(self.rng, hedges), str(x), ":"]

    def _verify(self, x: int, belief: float) -> tuple[bool, list[str]]:
        """Check the clues not yet known to hold for ``x``, in order, until one fails or x is certain."""
        if _odds(belief) >= CERTAIN_ODDS:
            return True, check(self.anchor, x, x % int(self.anchor[0][1:]))
        words = ["check"] if self.rng.random() < 0.5 * (1 - belief) else []
        for clue in self.problem.clues:
            if clue[0] in self.passed[x]:
                continue
            found = look_up(self.rng, clue[0], x)
            words += check(clue, x, found)
            self._update(x, clue[0], found == clue[1])
            if found != clue[1]:
                return False, words
            self.passed[x].add(clue[0])
            if self._is_certain(x):
                break
        return True, words

    def _is_certain(self, x: int) -> bool:
        return _odds(self._belief(x)) >= CERTAIN_ODDS

    def _update(self, x: int, name: str, holds: bool) -> None:
        if name == self.anchor[0]:  # arithmetic, never misremembered
            self.weights[x] *= int(name[1:]) if holds else 0.0
            return
        before = self.history.get((x, name), (0, 0))
        after = (before[0], before[1] + 1) if holds else (before[0] + 1, before[1])
        self.history[x, name] = after
        self.weights[x] *= likelihood_ratio(*after) / likelihood_ratio(*before)


def check(clue: Clue, x: int, found: int) -> list[str]:
    """The words of one check: ``a 17 = 6 ok``."""
    return [clue[0], str(x), "=", str(found), "ok" if found == clue[1] else "no"]


def stated_fact(rng: random.Random, letter: str, x: int) -> list[str]:
    """The words of one entry as the reasoner remembers it: ``a 17 = 6 .``"""
    return [letter, str(x), "=", str(look_up(rng, letter, x)), "."]


def _odds(probability: float) -> float:
    return probability / max(1 - probability, 1e-12)


def choose(rng: random.Random, options: Sequence[tuple[str, int]]) -> list[str]:
    """The words of one of ``options`` (words, weight), by weight."""
    return rng.choices([words for words, _ in options], [weight for _, weight in options])[0].split()
