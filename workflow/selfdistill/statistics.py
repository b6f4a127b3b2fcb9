"""Intervals: the percentile bootstrap with problems as the resampling unit, and with problems held fixed.

Problems are drawn from a population of problems, samples from a model: the first interval says what another set of
problems could have given (it contains the noise of the samples), the second what other samples of these would have.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from selfdistill.errors import UserError

Array = npt.NDArray[np.float64]
# Resamples that are held in memory at once when samples are redrawn.
CHUNK = 500


@dataclass(frozen=True)
class Bootstrap:
    """How intervals are computed; equal settings give equal numbers."""

    confidence: float = 0.95
    resamples: int = 10_000
    seed: int = 0

    def interval(self, values: Array) -> tuple[float, float]:
        """Interval of the mean of ``values`` [problems]."""
        return self._percentiles(self.means(values[:, None])[:, 0])

    def interval_of(self, statistic: Callable[..., Array], *columns: Array) -> tuple[float, float]:
        """Interval of ``statistic`` of the means of ``columns``, each [problems] and resampled together.

        Null (NaN) where some resample has no such statistic, as a ratio has none without a denominator.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            estimates = statistic(*self.means(np.column_stack(columns)).T)
        return self._percentiles(estimates) if np.isfinite(estimates).all() else (np.nan, np.nan)

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
        for start in range(0, self.resamples, CHUNK):
            count = min(CHUNK, self.resamples - start)
            drawn = rng.integers(samples, size=(count, problems, samples - 1), dtype=np.int32)
            means.append(np.take_along_axis(values[None], drawn, axis=2).mean(axis=(1, 2)))
        return self._percentiles(np.concatenate(means))

    def means(self, values: Array) -> Array:
        """Means [resamples, columns] of ``values`` [problems, columns] over resampled problems.

        Null (NaN) for a single problem, which says nothing about others.
        """
        _check(values)
        if len(values) == 1:
            return np.full((self.resamples, values.shape[1]), np.nan)
        return _weights(len(values), self.resamples, self.seed) @ values

    def _percentiles(self, estimates: Array) -> tuple[float, float]:
        tail = (1 - self.confidence) / 2
        low, high = np.quantile(estimates, [tail, 1 - tail])
        return float(low), float(high)


@lru_cache(maxsize=8)
def _weights(problems: int, resamples: int, seed: int) -> Array:
    """Share [resamples, problems] that each problem has in each resample."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(problems, np.full(problems, 1 / problems), size=resamples) / problems


def _check(values: Array) -> None:
    if not len(values):
        raise UserError("an interval needs at least one problem")
    if not np.isfinite(values).all():
        raise UserError("an interval needs finite values")
