"""Intervals: the percentile bootstrap with problems as the resampling unit, and with problems held fixed.

Problems are drawn from a population of problems, samples from a model: the first interval says what another set of
problems could have given (it contains the noise of the samples), the second what other samples of these would have.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from selfdistill.errors import UserError
from selfdistill.settings import Seed, key, settings

Array = npt.NDArray[np.float64]
# Resamples that are held in memory at once, and of samples the most numbers; neither changes what is drawn.
CHUNK, LARGEST_DRAW = 500, 2**24


@settings
class Bootstrap:
    """How intervals are computed; equal settings give equal numbers."""

    confidence: float = key(0.95, doc="Level of every interval.", paper="none given", gt=0, lt=1)
    resamples: int = key(10_000, doc="Bootstrap resamples.", gt=0, le=100_000)
    seed: Seed = key(0, doc="Seed of the bootstrap.")

    def interval(self, values: Array) -> tuple[float, float]:
        """Interval of the mean of ``values`` [problems]."""
        return self._percentiles(self.means(values[:, None])[:, 0])

    def interval_of(self, statistic: Callable[..., Array], *columns: Array) -> tuple[float, float]:
        """Interval of ``statistic`` of the means of ``columns``, each [problems] and resampled together.

        Null (NaN) where some resample has no such statistic, as a ratio has none without a denominator.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            estimates = statistic(*self.means(np.column_stack(columns)).T)
        return self._percentiles(estimates)

    def difference(self, values: Array, baseline: Array) -> tuple[float, float]:
        """Interval of the mean paired difference; row i of either is problem i."""
        if values.shape != baseline.shape:
            raise UserError(f"paired values need the same problems: {values.shape[0]} against {baseline.shape[0]}")
        return self.interval(values - baseline)

    def sampling_interval(self, values: Array) -> tuple[float, float]:
        """Interval of the mean of ``values`` [problems, samples] when only samples are redrawn, within problems.

        One sample fewer than there are is drawn: with as many, the variance would be too small by (k - 1) / k, however
        many problems there are (Rao and Wu 1988, J. Am. Stat. Assoc. 83:231). Null (NaN) where k is 1.
        """
        _check(values)
        rng = np.random.default_rng(self.seed)
        problems, samples = values.shape
        if samples == 1:
            return np.nan, np.nan
        means = []
        chunk = min(CHUNK, max(1, LARGEST_DRAW // values.size))
        for start in range(0, self.resamples, chunk):
            count = min(chunk, self.resamples - start)
            drawn = rng.integers(samples, size=(count, problems, samples - 1), dtype=np.int32)
            means.append(np.take_along_axis(values[None], drawn, axis=2).mean(axis=(1, 2)))
        return self._percentiles(np.concatenate(means))

    def means(self, values: Array, weights: Array | None = None) -> Array:
        """Means [resamples, columns] of ``values`` [problems, columns] over resampled problems.

        ``weights`` [problems], positive: what a problem counts, for instance its number of rollouts.
        Null (NaN) for a single problem, which says nothing about others.
        """
        _check(values)
        if len(values) == 1:
            return np.full((self.resamples, values.shape[1]), np.nan)
        if weights is None or (weights == weights[0]).all():
            return self._resampled(values)
        sums = self._resampled(np.column_stack([values * weights[:, None], weights]))
        return sums[:, :-1] / sums[:, -1:]

    def nested(self, values_by_run: Sequence[Array], weights_by_run: Sequence[Array] | None = None) -> Array:
        """Means [resamples, columns] over runs of means over problems, both resampled: problems within each drawn run.

        ``values_by_run``: [problems, columns] of each run, whose problems are its own; ``weights_by_run``: as in
        `means`. A single run gives what `means` gives; a single problem of several runs is kept as it is.
        As many runs are drawn as there are. That leaves the variance between runs too small by (R - 1) / R, and the
        noise of the problems, which is part of that variance, counts on both levels. What a drawn run contributes is
        one of its `means`, taken at random, so that the memory needed does not grow with runs or problems.
        """
        weighted = list(zip(values_by_run, weights_by_run or [None] * len(values_by_run), strict=True))
        if not weighted:
            raise UserError("an interval needs at least one run")
        if len(weighted) == 1:
            return self.means(*weighted[0])
        # Not the stream that draws problems (the seed alone), with which the drawn runs would be correlated.
        rng = np.random.default_rng([self.seed, 1])
        runs = rng.integers(len(weighted), size=(len(weighted), self.resamples))
        rows = rng.integers(self.resamples, size=runs.shape)
        sums = np.zeros((self.resamples, values_by_run[0].shape[1]))
        for run, (values, weights) in enumerate(weighted):
            means = self.means(values, weights) if len(values) > 1 else np.repeat(values, self.resamples, axis=0)
            for drawn, row in zip(runs == run, rows, strict=True):
                sums[drawn] += means[row[drawn]]
        return sums / len(weighted)

    def crossed(self, values: Array) -> Array:
        """Means [resamples, columns] of ``values`` [runs, problems, columns] where all runs share their problems.

        Runs and problems are resampled independently of one another (Owen 2007, Ann. Appl. Stat. 1:386): how hard the
        drawn problems are is common to all runs, and more runs do not average it out. A single run gives what `means`
        gives; a single problem of several runs is kept as it is.
        """
        number, problems, columns = values.shape
        if number == 1:
            return self.means(values[0])
        rng = np.random.default_rng([self.seed, 1])
        shares = rng.multinomial(number, np.full(number, 1 / number), size=self.resamples) / number
        sums = np.zeros((self.resamples, columns))
        for share, run in zip(shares.T, values, strict=True):
            sums += share[:, None] * (self.means(run) if problems > 1 else run)
        return sums

    def percentiles(self, estimates: Array) -> tuple[Array, Array]:
        """Low and high [columns] of ``estimates`` [resamples, columns]; null (NaN) where one of them is not finite."""
        finite = np.isfinite(estimates).all(axis=0)
        tail = (1 - self.confidence) / 2
        low, high = np.quantile(np.where(finite, estimates, 0), [tail, 1 - tail], axis=0)
        return np.where(finite, low, np.nan), np.where(finite, high, np.nan)

    def _resampled(self, values: Array) -> Array:
        counts, problems = _counts(len(values), self.resamples, self.seed), len(values)
        chunks = range(0, self.resamples, CHUNK)
        return np.concatenate([counts[start : start + CHUNK].astype(float) / problems @ values for start in chunks])

    def _percentiles(self, estimates: Array) -> tuple[float, float]:
        low, high = self.percentiles(estimates[:, None])
        return float(low[0]), float(high[0])


@lru_cache(maxsize=8)
def _counts(problems: int, resamples: int, seed: int) -> npt.NDArray[np.unsignedinteger]:
    """How often [resamples, problems] each problem stands in each resample, in the smallest type that holds it."""
    rng = np.random.default_rng(seed)
    shares = np.full(problems, 1 / problems)
    counts = np.empty((resamples, problems), dtype=np.min_scalar_type(problems))
    for start in range(0, resamples, CHUNK):
        rows = counts[start : start + CHUNK]
        rows[:] = rng.multinomial(problems, shares, size=len(rows))
    return counts


def _check(values: Array) -> None:
    if not len(values):
        raise UserError("an interval needs at least one problem")
    if not np.isfinite(values).all():
        raise UserError("an interval needs finite values")
