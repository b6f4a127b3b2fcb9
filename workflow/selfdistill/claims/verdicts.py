"""From p-values of tests to verdicts of statements, and to how many base models would decide.

The rules are those of docs/preregistration.md. A statement holds when all its tests do; it is contradicted when one of
them is.
"""

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

Array = npt.NDArray[np.float64]

HOLDS, CONTRADICTED, NO_EFFECT, OPEN = "holds", "contradicted", "no effect beyond the margin", "open"
NOT_TESTABLE, ONE_MODEL = "not testable in this study", "this base model only"
PROVISIONAL = "provisional"  # said of verdicts from fewer base models than
FIRM = 5
LEVEL = 0.05  # of all families of statements
POWER = 0.8
FURTHEST = 1000  # base models that are still worth a number


@dataclass(frozen=True)
class Evidence:
    """The one-sided p-values of one test: for the claim, against it, and that the effect lies within the margin.

    ``within`` is 1 where the test names no smallest effect.
    """

    supports: float
    opposes: float
    within: float = 1.0


def p_holds(tests: Sequence[Evidence]) -> float:
    """p-value of the null that some test is not as claimed: the largest one, doubled for two-sidedness."""
    return min(1.0, 2 * max(test.supports for test in tests))


def p_contradicted(tests: Sequence[Evidence]) -> float:
    """p-value of the null that no test goes the other way: the smallest opposite one, times their number, doubled."""
    return min(1.0, 2 * len(tests) * min(test.opposes for test in tests))


def p_no_effect(tests: Sequence[Evidence]) -> float:
    """p-value of the null that some effect reaches its margin: the largest of the equivalence tests' (TOST)."""
    return max(test.within for test in tests)


def holm(p: Array) -> Array:
    """Holm's step-down correction of p-values [tests] (Holm 1979, Scand. J. Stat. 6:65)."""
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * (len(p) - np.arange(len(p))))
    return _placed(np.minimum(stepped, 1), order)


def benjamini_hochberg(p: Array) -> Array:
    """Step-up correction of p-values [tests] for the false discovery rate (1995, J. R. Stat. Soc. B 57:289)."""
    order = np.argsort(p, kind="stable")
    scaled = p[order] * len(p) / np.arange(1, len(p) + 1)
    return _placed(np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1), order)


def _placed(ordered: Array, order: npt.NDArray[np.intp]) -> Array:
    adjusted = np.empty(len(ordered))
    adjusted[order] = ordered
    return adjusted


def verdict_of(holds: float, contradicted: float, adjusted: float, no_effect: float, models: int) -> str:
    """The verdict of a statement tested on ``models`` base models (at least two).

    ``holds`` and ``contradicted`` are its two p-values, ``adjusted`` the smaller one, corrected, and ``no_effect`` the
    corrected p-value of that.
    """
    if adjusted <= LEVEL:
        found = HOLDS if holds <= contradicted else CONTRADICTED
    elif no_effect <= LEVEL:
        found = NO_EFFECT
    else:
        return OPEN
    return found if models >= FIRM else f"{found} ({PROVISIONAL})"


def p_in_words(p: float) -> str:
    """A p-value as it is shown, with its sign."""
    return "p < 0.0001" if p < 1e-4 else f"p = {p:.2g}"


def plain(verdict: str) -> str:
    """A verdict without what is said of its number of base models."""
    return verdict.removesuffix(f" ({PROVISIONAL})")


def least_certain(tests: Sequence[Evidence]) -> int:
    """The place of the test that is farthest from being decided either way."""
    return max(range(len(tests)), key=lambda place: min(tests[place].supports, tests[place].opposes))


def models_needed(distance: float, se: float, models: int, level: float, se_problems: float = 0.0) -> int | None:
    """Base models at which a two-sided t-test at ``level`` finds an effect with a power of 80 %; None beyond 1,000.

    ``distance`` of the effect from the null; ``se`` its standard error with ``models`` of them. What it has from
    problems (``se_problems``) stays, and the rest is taken to fall with the square root of their number.
    """
    if not np.isfinite(se) or distance == 0:
        return None
    if se == 0:
        return 2
    spread = models * max(se**2 - se_problems**2, 0.0)

    def powerful(number: int) -> bool:
        df = number - 1
        reached = abs(distance) / math.sqrt(spread / number + se_problems**2)
        return bool(stats.nct.sf(stats.t.isf(level / 2, df), df, reached) >= POWER)

    high = 2
    while not powerful(high):
        if high > FURTHEST:
            return None
        high *= 2
    found = bisect.bisect_left(range(2, high), True, key=powerful) + 2
    return found if found <= FURTHEST else None
