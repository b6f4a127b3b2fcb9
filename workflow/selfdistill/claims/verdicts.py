"""From the effects that the claims ledger finds to verdicts, and to how much more data would decide.

"holds" and "contradicted": an effect has the claimed or the opposite sign and is significant after Holm's correction
over all tests of the ledger; "inconclusive" otherwise; "not testable": the study lacks the runs; "conflict": statements
that contradict each other as published.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from selfdistill.analysis.intervals import Array, Bootstrap

HOLDS, CONTRADICTED, INCONCLUSIVE = "holds", "contradicted", "inconclusive"
NOT_TESTABLE, CONFLICT = "not testable in this study", "conflict as published"
# How many times as much data is still worth a number; beyond it the effect is as good as absent.
FURTHEST = 1000


@dataclass(frozen=True)
class Effect:
    """An effect with its resamples, oriented so that the claim says that it is above 0."""

    value: float
    resamples: Array
    runs: int
    problems: int


def p_value(resamples: Array, within: float | None = None) -> float:
    """Two-sided, that an effect is 0; with ``within``, one-sided, that it lies on the other side of that margin.

    From the share of resamples beyond the null, with one added so that no p is 0. 1 where the effect has no interval.
    """
    if not np.isfinite(resamples).all():
        return 1.0
    number = len(resamples)
    if within is None:
        below, above = (resamples <= 0).sum(), (resamples >= 0).sum()
        return min(1.0, 2 * (min(below, above) + 1) / (number + 1))
    inside = np.abs(resamples) <= within
    if np.abs(resamples.mean()) > within:
        return (inside.sum() + 1) / (number + 1)
    return (max((resamples > within).sum(), (resamples < -within).sum()) + 1) / (number + 1)


def holm(p: Array) -> Array:
    """Holm's step-down correction of p-values [tests] (Holm 1979, Scand. J. Stat. 6:65)."""
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * (len(p) - np.arange(len(p))))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(stepped, 1)
    return adjusted


def verdict_of(value: float, within: float | None, significant: bool) -> str:
    """Of one test: an effect as claimed is above 0, or with ``within`` no larger than that."""
    if not significant:
        return INCONCLUSIVE
    as_claimed = value > 0 if within is None else abs(value) <= within
    return HOLDS if as_claimed else CONTRADICTED


def overall_verdict(verdicts: list[str]) -> str:
    """Of a claim: contradicted if one of its tests is; it holds, or cannot be tested, if that is true of all."""
    for verdict in (CONTRADICTED, CONFLICT):
        if verdict in verdicts:
            return verdict
    testable = [verdict for verdict in verdicts if verdict != NOT_TESTABLE]
    if not testable:
        return NOT_TESTABLE
    return HOLDS if set(verdicts) == {HOLDS} else INCONCLUSIVE


def would_decide(effect: Effect, within: float | None, bootstrap: Bootstrap, tests: int) -> str:
    """How much more data an effect of this size would need to be significant at Bonferroni's level."""
    spread = effect.resamples.std()
    distance = abs(effect.value) if within is None else abs(within - abs(effect.value))
    if not np.isfinite(spread):
        return "more than one problem or run"
    z = NormalDist().inv_cdf(1 - (1 - bootstrap.confidence) / (2 * tests))
    factor = math.inf if distance == 0 else (z * spread / distance) ** 2
    what, have = ("runs", effect.runs) if effect.runs > 1 else ("problems", effect.problems)
    if factor > FURTHEST:
        return f"more than {FURTHEST} times as many {what}"
    return f"about {math.ceil(have * factor)} {what} (here {have})"
