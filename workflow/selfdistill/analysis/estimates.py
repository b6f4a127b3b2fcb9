"""Means over base models with their interval: two-way analysis of variance, t, variances shrunk to those of like ones.

A base model is one pre-training. Base models are drawn from what other seeds would have given, problems from a
population of problems: an interval says what other base models and other problems could have given.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import special

from selfdistill.errors import UserError

Array = npt.NDArray[np.float64]
# With this many base models their own variance is known well enough; with fewer, like quantities are pooled.
ENOUGH_MODELS = 12
# Like quantities share base models, and often their baseline, so their variances tell less together than independent
# ones: no more than this many. Chosen by `benchmarks/interval_coverage.py`, see docs/statistics.md.
MOST_INDEPENDENT = 2
# Fewer variances than this say too little of how like ones differ.
FEWEST_ALIKE = 3
# Variances below this share of the median count as this share: none has a logarithm of minus infinity (limma).
LEAST_SHARE = 1e-5


@dataclass(frozen=True)
class Spread:
    """The variance between base models, pooled over quantities of one kind.

    ``variance``: the mean of theirs, each that of the base models' means; ``df``: the degrees of freedom that it is
    worth as a guess at the variance of one of them (limma's d0), finite.
    """

    variance: float
    df: float


@dataclass(frozen=True)
class Estimate:
    """A mean over base models of means over problems.

    ``low`` and ``high``: the interval, by a t with ``df`` degrees of freedom around ``value`` with standard error
    ``se``; ``plain_low`` and ``plain_high``: the same by this quantity's own variance alone. All null (NaN) where
    neither base models nor problems are more than one. ``se_problems``: the part of ``se`` that problems bring in
    which base models share, and which no number of base models averages out; 0 for one base model. ``by_model``: the
    mean of each base model. ``problems``: how many stand behind each of these means, the fewest where base models
    differ.
    """

    value: float
    low: float
    high: float
    se: float
    df: float
    plain_low: float
    plain_high: float
    se_problems: float
    by_model: dict[str, float]
    models: int
    problems: int

    def p_above(self, null: float = 0.0) -> float:
        """One-sided p against "the true value is ``null`` or less"; null (NaN) without a standard error."""
        return _tail(null - self.value, self.se, self.df)

    def p_below(self, null: float = 0.0) -> float:
        """One-sided p against "the true value is ``null`` or more"; null (NaN) without a standard error."""
        return _tail(self.value - null, self.se, self.df)


def estimate(values: Mapping[str, pd.Series], *, confidence: float, spread: Spread | None = None) -> Estimate:
    """The mean over base models of ``values``, with its interval at level ``confidence``.

    ``values``: by base model, one number per problem (index problem_id): a level, or the contrast of two settings on
    the same problems. Training seeds of one base model are averaged before.

    Base models and problems vary (two-way random effects without replication). Where all base models have the same
    problems, var = (MS_run + max(MS_problem - MS_residual, 0)) / (R P); where they share some, see `_of_problems`.
    Degrees of freedom by Satterthwaite (1946, Biometrics Bull. 2:110). Where they share none, or one alone, base
    models' means vary alone; for a single base model, its problems. ``spread``: below `ENOUGH_MODELS` base models the
    variance between them is shrunk to it
    (moderated t: Smyth 2004, Stat. Appl. Genet. Mol. Biol. 3:3), but never below it: three base models that happen to
    agree, where training collapses in some and not in others, do not show that all do.

    `UserError` without base models or problems, for numbers that are not finite and for a problem that stands twice.
    """
    rows = _checked(values)
    means = np.array([row.to_numpy(dtype=float).mean() for row in rows.values()])
    first = next(iter(rows.values()))
    if len(rows) == 1:
        of_problems = []
        plain = shown = _over_problems(first.to_numpy(dtype=float))
    else:
        of_problems = _of_problems(_table(list(rows.values())))
        own = Spread(float(means.var(ddof=1)), len(rows) - 1.0)
        plain = shown = _over_models(own, of_problems, len(rows))
        if spread is not None and len(rows) < ENOUGH_MODELS:
            shown = _over_models(_shrunk(own, spread), of_problems, len(rows))
    value = float(means.mean())
    low, high = _bounds(value, *shown, confidence)
    plain_low, plain_high = _bounds(value, *plain, confidence)
    by_model = dict(zip(rows, means.tolist(), strict=True))
    problems = min(len(row) for row in rows.values())
    se_problems = math.sqrt(sum(variance for variance, _ in of_problems))
    return Estimate(value, low, high, *shown, plain_low, plain_high, se_problems, by_model, len(rows), problems)


def spread_of(estimates: Iterable[Estimate]) -> Spread | None:
    """The variance between base models, pooled over ``estimates`` of one kind.

    The degrees of freedom are those of limma's fitFDist, from the spread of the logarithms of the variances (Smyth
    2004, section 6.2), and at most those of `MOST_INDEPENDENT` quantities. The variance is the mean of theirs and not
    limma's, which is nearer to a geometric mean: a few variances of nearly nothing would pull that down.
    None where fewer than `FEWEST_ALIKE` have several base models, or none of them varies.
    """
    found = [each for each in estimates if each.models > 1]
    variances = np.array([np.var(list(each.by_model.values()), ddof=1) for each in found])
    df = np.array([each.models - 1.0 for each in found])
    if len(found) < FEWEST_ALIKE or not variances.any():
        return None
    return Spread(float(np.average(variances, weights=df)), min(_prior_df(variances, df), MOST_INDEPENDENT * df.min()))


def _prior_df(variances: Array, df: Array) -> float:
    """limma's d0 of ``variances`` [quantities] with ``df``; infinite where they differ no more than by chance."""
    middle = np.median(variances) or variances.max()
    logs = np.log(np.maximum(variances, LEAST_SHARE * middle)) - special.digamma(df / 2) + np.log(df / 2)
    excess = logs.var(ddof=1) - special.polygamma(1, df / 2).mean()
    return 2 * _trigamma_inverse(excess) if excess > 0 else math.inf


class Undefined(UserError):
    """A number that its responses do not define: a ratio to 0, a correlation of what does not differ."""


def ratio_values(numerator: pd.Series, denominator: pd.Series) -> pd.Series:
    """One number per problem whose mean is the ratio of the means, and whose spread is the ratio's.

    The ratio made linear at its value (delta method): r + (n_i - r d_i) / mean(d). ``numerator`` and ``denominator``:
    by problem_id, the same problems. `UserError` where they are not; `Undefined` where the denominator's mean is 0.
    """
    if not numerator.index.sort_values().equals(denominator.index.sort_values()):
        raise UserError("a ratio needs both its sides on the same problems")
    below = denominator.reindex(numerator.index).astype(float)
    if below.mean() == 0:
        raise Undefined("a ratio needs a denominator other than 0")
    ratio = numerator.mean() / below.mean()
    return ratio + (numerator - ratio * below) / below.mean()


def _checked(values: Mapping[str, pd.Series]) -> dict[str, pd.Series]:
    """``values`` in one order of base models and problems, so that equal ones give equal bytes."""
    if not values:
        raise UserError("an interval needs at least one base model")
    for model, row in values.items():
        if not len(row):
            raise UserError(f"an interval needs at least one problem; base model '{model}' has none")
        if not np.isfinite(row.to_numpy(dtype=float)).all():
            raise UserError(f"an interval needs finite values; base model '{model}' has others")
        if row.index.has_duplicates:
            twice = row.index[row.index.duplicated()][0]
            raise UserError(f"problem '{twice}' stands twice in the values of base model '{model}'")
    return {model: _sorted(values[model]) for model in sorted(values)}


def _sorted(row: pd.Series) -> pd.Series:
    return row if row.index.is_monotonic_increasing else row.sort_index()


def _over_problems(values: Array) -> tuple[float, float]:
    """Standard error and degrees of freedom of a mean of ``values`` [problems]; null (NaN) for one problem."""
    if len(values) == 1:
        return math.nan, math.nan
    return float(values.std(ddof=1)) / math.sqrt(len(values)), len(values) - 1.0


def _table(rows: list[pd.Series]) -> Array:
    """Values [models, problems] of all problems of ``rows``; null (NaN) where a base model has another selection."""
    first = rows[0].index
    if all(row.index.equals(first) for row in rows):
        return np.stack([row.to_numpy(dtype=float) for row in rows])
    problems = first.append([row.index for row in rows[1:]]).unique()
    table = np.full((len(rows), len(problems)), np.nan)
    for own, row in zip(table, rows, strict=True):
        own[problems.get_indexer(row.index)] = row.to_numpy(dtype=float)
    return table


def _of_problems(table: Array) -> list[tuple[float, float]]:
    """What the problems that base models share add to the variance of a mean over base models.

    ``table`` [models, problems]: values, null (NaN) where a base model does not have the problem; each base model's
    problems weigh alike. What is common to a problem is in the means of all base models that have it, and not in the
    variance between these means. Added is the mean covariance of two of them: the problems' variance times the mean
    over pairs of base models of sum_p 1 / (n_r n_s), over the problems p that both have, n_r and n_s problems in all.
    The problems' variance is that of Henderson's third method (1953, Biometrics 9:226), base models taken as fixed:
    (SS_problem - df MS_residual) / (N - R) over the N values of problems that several base models have, R of them.
    On equal problems all this is (MS_problem - MS_residual) / (R P).

    Returned: two parts of the variance, of SS_problem and of MS_residual, each with its degrees of freedom; none where
    no problems are shared, one alone, or where problems differ no more than by chance.
    """
    there = ~np.isnan(table)
    weights = there / there.sum(axis=1, keepdims=True)
    models = len(table)
    overlap = float((weights.sum(axis=0) ** 2).sum() - (weights**2).sum()) / (models * (models - 1))
    several = there.sum(axis=0) > 1
    some = there[:, several].any(axis=1)
    there = there[np.ix_(some, several)]
    values = np.where(there, table[np.ix_(some, several)], 0.0)
    own, times = there.sum(axis=1), there.sum(axis=0)
    size = int(there.sum())
    if size <= len(own):  # one problem for each base model
        return []
    centred = np.where(there, values - (values.sum(axis=1) / own)[:, None], 0.0)
    # What base models and problems leave together, problems absorbed: normal equations of the base models alone.
    within = np.where(there, centred - centred.sum(axis=0) / times, 0.0)
    left = within.sum(axis=1)
    effects, _, rank, _ = np.linalg.lstsq(np.diag(own.astype(float)) - (there / times) @ there.T, left)
    residuals = float((within**2).sum() - effects @ left)
    residual_df = float(size - len(times) - rank)
    df = float(len(times) - (len(own) - rank))
    if residual_df <= 0:
        return []
    scale = overlap / (size - len(own))
    of_problems = scale * (float((centred**2).sum()) - residuals)
    of_residuals = scale * df * residuals / residual_df
    return [(of_problems, df), (-of_residuals, residual_df)] if of_problems > of_residuals else []


def _over_models(between: Spread, of_problems: list[tuple[float, float]], models: int) -> tuple[float, float]:
    """Standard error and degrees of freedom of a mean of base models' means, whose variance is ``between``.

    ``of_problems``: see `_of_problems`.
    """
    parts = [(between.variance / models, between.df), *of_problems]
    total = sum(variance for variance, _ in parts)
    # Satterthwaite's df of a sum are at least the smallest of its parts'; those of a difference may not be.
    least = min(df for _, df in parts)
    spread = sum(variance**2 / df for variance, df in parts)
    return math.sqrt(total), max(total**2 / spread, least) if spread > 0 else least


def _shrunk(own: Spread, prior: Spread) -> Spread:
    df = own.df + prior.df
    variance = (own.df * own.variance + prior.df * prior.variance) / df
    return Spread(max(variance, prior.variance), df)


def _bounds(value: float, se: float, df: float, confidence: float) -> tuple[float, float]:
    reach = float(special.stdtrit(df, (1 + confidence) / 2)) * se
    return value - reach, value + reach


def _tail(distance: float, se: float, df: float) -> float:
    """Probability that a t is below ``distance`` / ``se``; without any spread all of it lies on one side."""
    if se == 0:
        return 0.0 if distance < 0 else 1.0
    return float(special.stdtr(df, distance / se))


def _trigamma_inverse(value: float) -> float:
    """The x with trigamma(x) = ``value`` > 0, by Newton's method on 1 / trigamma (limma's trigammaInverse)."""
    x = 0.5 + 1 / value
    for _ in range(50):
        trigamma = special.polygamma(1, x)
        step = trigamma * (1 - trigamma / value) / special.polygamma(2, x)
        x += step
        if -step / x < 1e-8:
            break
    return float(x)
