"""Whether a run lies where repetitions of a study lie that differ by seed and base model alone.

A repetition draws all values of a run together: a strong base model lifts most of them. So a correct run may have many
values outside their own intervals, or none, and their number tells little. Two numbers of a run are therefore held
against those of the repetitions, each of which is left out in turn and set against the others:

- how many values lie outside their prediction intervals;
- how far the run lies from every mixture of repetitions (the least squares of its values on theirs), as the root mean
  square over values, in standard deviations. What base models do to many values at once is a mixture; a fault is none.

Each is allowed up to the one-sided prediction bound of the left-out repetitions, or their largest where that is more.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

FEWEST = 8  # repetitions, the reference among them, of which each is set against the seven others
CONFIDENCE = 0.95  # of a value's interval
BOUND = 0.995  # of either number: a correct run is to fail in one of a hundred
# A value's standard deviation is at least this share of that of its like (same table and metric): a share of 1 or a
# count may by chance be the same in all repetitions.
FLOOR = 0.1
ROUNDING = 1e-9  # relative: what is nearer is equal
LIKE = ["artifact", "metric"]


@dataclass(frozen=True)
class Place:
    """Where a run lies among N repetitions.

    ``deviations``: of each value from the repetitions' mean, in standard deviations of a further run (infinite where
    all repetitions are equal and the run is not). ``outside``: how many exceed their interval. ``unexplained``: what no
    mixture of the repetitions explains, in standard deviations; NaN where no more than N values vary.
    """

    deviations: np.ndarray
    outside: int
    unexplained: float


@dataclass(frozen=True)
class Judgement:
    """The place of a run, the places of the repetitions among the others, and what chance allows of both numbers."""

    run: Place
    left_out: list[Place]
    most_outside: float
    most_unexplained: float

    @property
    def reproduced(self) -> bool:
        """An unexplained part that cannot be computed decides nothing."""
        return self.run.outside <= self.most_outside and not self.run.unexplained > self.most_unexplained


def limit(repetitions: int) -> float:
    """How many standard deviations of a further run the interval of a value reaches to either side."""
    return float(stats.t.ppf((1 + CONFIDENCE) / 2, repetitions - 1))


def judge(repetitions: pd.DataFrame, run: pd.Series) -> Judgement:
    """The ``run``'s values among those of ``repetitions``: a column each, rows as in ``run``, indexed by `LIKE` too."""
    like = run.groupby(level=LIKE).ngroup().to_numpy()
    values = repetitions.to_numpy(dtype=float).T
    left_out = [place(np.delete(values, i, axis=0), own, like) for i, own in enumerate(values)]
    return Judgement(
        place(values, run.to_numpy(dtype=float), like),
        left_out,
        _most([float(other.outside) for other in left_out], np.sqrt, np.square),
        _most([other.unexplained for other in left_out], np.log, np.exp),
    )


def place(repetitions: np.ndarray, run: np.ndarray, like: np.ndarray) -> Place:
    """The place of ``run`` [M] among ``repetitions`` [N, M]; ``like`` [M] numbers values of one kind."""
    n = len(repetitions)
    mean, spread = repetitions.mean(axis=0), _spread(repetitions, like)
    away = np.where(np.isclose(run, mean, rtol=ROUNDING, atol=0), 0.0, run - mean)
    with np.errstate(divide="ignore", invalid="ignore"):
        deviations = np.where(away == 0, 0.0, away / (spread * np.sqrt(1 + 1 / n)))
    varying = spread > 0
    unexplained = np.nan
    if varying.sum() > n:
        shown = (repetitions - mean)[:, varying] / spread[varying]
        wanted = away[varying] / spread[varying]
        mixture = np.linalg.lstsq(shown.T, wanted, rcond=None)[0]
        unexplained = float(np.sqrt(np.mean((wanted - shown.T @ mixture) ** 2)))
    return Place(deviations, int((np.abs(deviations) > limit(n)).sum()), unexplained)


def _spread(repetitions: np.ndarray, like: np.ndarray) -> np.ndarray:
    """The standard deviation of every value over repetitions, 0 where that is rounding, and at least its floor."""
    variances = repetitions.var(axis=0, ddof=1)
    variances[variances < (ROUNDING * np.abs(repetitions).max(axis=0)) ** 2] = 0
    usual = np.bincount(like, variances) / np.bincount(like)
    return np.sqrt(np.maximum(variances, FLOOR**2 * usual[like]))


def _most(found: list[float], scale: Callable, back: Callable) -> float:
    """The largest number that chance allows, from those ``found`` for the left-out repetitions.

    ``scale`` and ``back`` even out the spread: the root of a count, the logarithm of a distance.
    """
    with np.errstate(divide="ignore"):
        scaled = scale(np.array(found))
    if not np.isfinite(scaled).all():
        return max(found)
    reach = stats.t.ppf(BOUND, len(found) - 1) * scaled.std(ddof=1) * np.sqrt(1 + 1 / len(found))
    return max(float(back(scaled.mean() + reach)), *found)
