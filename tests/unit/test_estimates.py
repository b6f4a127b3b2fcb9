"""Intervals over base models and problems, against formulas written out here, scipy's tests and simulations."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import special, stats
from selfdistill.analysis.estimates import (
    ENOUGH_MODELS,
    MOST_INDEPENDENT,
    Estimate,
    Spread,
    estimate,
    ratio_values,
    spread_of,
)
from selfdistill.errors import UserError

LEVEL = 0.95


def problems(numbers, names: str = "") -> pd.Series:
    index = list(names) or [f"p{number:03}" for number in range(len(numbers))]
    return pd.Series(np.asarray(numbers, dtype=float), index=pd.Index(index, name="problem_id"))


def crossed(table) -> dict[str, pd.Series]:
    return {f"m{number:02}": problems(row) for number, row in enumerate(table)}


def drawn(seed: int, models: int, number: int, *, between: float, shared: float = 1.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    effects = between * rng.standard_normal((models, 1)) + shared * rng.standard_normal((1, number))
    return 5 + effects + rng.standard_normal((models, number))


def with_means(*means: float) -> Estimate:
    """An estimate whose base models have these means."""
    return estimate({f"m{n}": problems([mean - 1, mean + 1]) for n, mean in enumerate(means)}, confidence=LEVEL)


# --- one base model ---------------------------------------------------------------------------------------------------
def test_one_base_model_is_a_t_test_over_its_problems():
    values = np.random.default_rng(0).normal(3, 2, 25)
    found = estimate({"m": problems(values)}, confidence=0.9)
    reference = stats.ttest_1samp(values, 2.5)
    assert (found.low, found.high) == pytest.approx(tuple(reference.confidence_interval(0.9)))
    assert (found.value, found.df, found.models, found.problems) == (pytest.approx(values.mean()), 24, 1, 25)
    assert found.p_above(2.5) == pytest.approx(stats.ttest_1samp(values, 2.5, alternative="greater").pvalue)
    assert found.p_below(2.5) == pytest.approx(stats.ttest_1samp(values, 2.5, alternative="less").pvalue)
    assert (found.plain_low, found.plain_high) == (found.low, found.high)


def test_one_base_model_borrows_nothing():
    values = {"m": problems([1, 2, 4])}
    assert estimate(values, confidence=LEVEL, spread=Spread(100.0, 10.0)) == estimate(values, confidence=LEVEL)


def test_one_problem_of_one_base_model_has_no_interval():
    found = estimate({"m": problems([0.4])}, confidence=LEVEL)
    assert found.value == 0.4 and found.problems == 1
    assert np.isnan(
        [found.low, found.high, found.se, found.df, found.plain_low, found.p_above(), found.p_below()]
    ).all()


# --- several base models ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("models", "number", "between"), [(3, 10, 1.0), (5, 40, 3.0), (16, 100, 0.2), (2, 3, 1.0)])
def test_two_way_analysis_by_the_textbook(models, number, between):
    table = drawn(models, models, number, between=between)
    grand = table.mean()
    rows, columns = [row.mean() for row in table], [column.mean() for column in table.T]
    run = number * sum((row - grand) ** 2 for row in rows) / (models - 1)
    problem = models * sum((column - grand) ** 2 for column in columns) / (number - 1)
    left = sum((table[r, c] - rows[r] - columns[c] + grand) ** 2 for r in range(models) for c in range(number)) / (
        (models - 1) * (number - 1)
    )
    total = run + problem - left
    assert problem > left  # else this would test another formula
    satterthwaite = total**2 / (
        run**2 / (models - 1) + problem**2 / (number - 1) + left**2 / ((models - 1) * (number - 1))
    )
    found = estimate(crossed(table), confidence=LEVEL)
    assert found.se == pytest.approx(math.sqrt(total / (models * number)))
    assert found.df == pytest.approx(max(satterthwaite, min(models, number) - 1))
    half = stats.t.ppf(0.975, found.df) * found.se
    assert (found.low, found.high) == pytest.approx((grand - half, grand + half))
    assert found.by_model == pytest.approx(dict(zip(crossed(table), rows, strict=True)))


def test_problems_without_an_effect_of_their_own_add_nothing():
    rng = np.random.default_rng(4)
    noise = rng.standard_normal((4, 30))
    table = noise - 0.9 * noise.mean(axis=0) + rng.standard_normal((4, 1))  # problems differ less than by chance
    found = estimate(crossed(table), confidence=LEVEL)
    reference = stats.ttest_1samp(table.mean(axis=1), 0)
    assert (found.low, found.high) == pytest.approx(tuple(reference.confidence_interval(LEVEL)))
    assert found.df == 3


def test_base_models_that_each_gain_the_same_gain_that():
    starts = (0.3, 0.4, 0.5)
    before = {f"m{n}": np.full(20, start) for n, start in enumerate(starts)}
    gains = {model: problems(start + 0.1 - start) for model, start in before.items()}
    found = estimate(gains, confidence=LEVEL)
    assert (found.low, found.high) == pytest.approx((0.1, 0.1), abs=1e-12)
    other = {
        model: problems(row, names="abcdefghijklmnopqrstuvwxyz"[n : n + 20])
        for n, (model, row) in enumerate(gains.items())
    }
    assert (estimate(other, confidence=LEVEL).low, found.high) == pytest.approx((0.1, 0.1), abs=1e-12)


def partly_shared(rng: np.random.Generator, models: int = 6, pool: int = 40, number: int = 25) -> dict[str, pd.Series]:
    """Base models with problems of their own choice, of which any two share about two thirds; the truth is 0."""
    between, common, ease = rng.standard_normal(models), 2 * rng.standard_normal(pool), rng.standard_normal(pool)
    chosen = [np.sort(np.argsort(ease + 0.75 * rng.standard_normal(pool))[:number]) for _ in range(models)]
    return {
        f"m{n}": problems(
            0.5 * between[n] + common[own] + rng.standard_normal(number), names=[f"p{place:02}" for place in own]
        )
        for n, own in enumerate(chosen)
    }


def test_problems_that_base_models_share_in_part_count_as_far_as_they_are_shared():
    """Henderson's third method by least squares on columns of ones and zeros, for each base model and each problem."""
    values = partly_shared(np.random.default_rng(0))
    long = pd.concat(values, names=["model"]).rename("value").reset_index()
    long = long[long.groupby("problem_id")["value"].transform("size") > 1]
    runs, both = (
        pd.get_dummies(long[names].astype(str)).to_numpy(float) for names in (["model"], ["model", "problem_id"])
    )
    alone, together = (
        long["value"] - design @ np.linalg.lstsq(design, long["value"], rcond=None)[0] for design in (runs, both)
    )
    rank = np.linalg.matrix_rank(both)
    residual, residual_df, df = (together**2).sum(), len(long) - rank, rank - 6
    problem = ((alone**2).sum() - residual - df * residual / residual_df) / (len(long) - 6)
    pairs = [
        (a.index.intersection(b.index), len(a), len(b)) for a in values.values() for b in values.values() if a is not b
    ]
    covariance = problem * np.mean([len(common) / (first * second) for common, first, second in pairs])
    means = np.array([row.mean() for row in values.values()])
    found = estimate(values, confidence=LEVEL)
    assert covariance > 0.02
    assert found.se == pytest.approx(math.sqrt(means.var(ddof=1) / 6 + covariance))


def test_shared_problems_are_no_evidence_twice():
    """Of 400 made-up studies of no effect one in twenty may show one; by base models' means alone one in five did."""
    rng = np.random.default_rng(1)
    found = [estimate(partly_shared(rng), confidence=LEVEL) for _ in range(400)]
    wrong = sum(not each.low <= 0 <= each.high for each in found)
    assert stats.binomtest(wrong, 400, 0.05).pvalue > 0.001
    means = [np.array(list(each.by_model.values())) for each in found]
    alone = sum(stats.ttest_1samp(each, 0).pvalue < 0.05 for each in means)
    assert alone > 2 * wrong


def test_other_problems_in_every_base_model_leave_the_means():
    values = {"a": problems([1, 2, 3], "xyz"), "b": problems([2, 6], "uv"), "c": problems([5.0], "w")}
    found = estimate(values, confidence=LEVEL)
    reference = stats.ttest_1samp([2, 4, 5], 0)
    assert (found.low, found.high) == pytest.approx(tuple(reference.confidence_interval(LEVEL)))
    assert (found.df, found.models, found.problems) == (2, 3, 1)


def test_one_problem_of_several_base_models_leaves_the_means():
    found = estimate(crossed([[1], [2], [6]]), confidence=LEVEL)
    assert (found.low, found.high) == pytest.approx(tuple(stats.ttest_1samp([1, 2, 6], 0).confidence_interval(LEVEL)))


def test_without_any_variance_the_interval_is_the_value():
    found = estimate(crossed(np.full((3, 4), 0.25)), confidence=LEVEL)
    assert (found.low, found.value, found.high, found.se) == (0.25, 0.25, 0.25, 0)
    assert (found.p_above(0), found.p_above(0.25), found.p_above(1)) == (0, 1, 1)
    assert (found.p_below(0), found.p_below(0.25), found.p_below(1)) == (1, 1, 0)


def test_an_interval_excludes_what_its_p_rejects():
    found = estimate(crossed(drawn(8, 4, 12, between=1.0)), confidence=LEVEL)
    assert found.p_above(found.low) == pytest.approx(0.025)
    assert found.p_below(found.high) == pytest.approx(0.025)
    assert found.p_above(3.0) + found.p_below(3.0) == pytest.approx(1)


def test_the_order_of_base_models_and_problems_says_nothing():
    values = crossed(drawn(2, 5, 17, between=2.0))
    mixed = {model: values[model].sample(frac=1, random_state=n) for n, model in enumerate(reversed(values))}
    again = estimate(mixed, confidence=LEVEL)
    assert again == estimate(values, confidence=LEVEL)
    assert list(again.by_model) == sorted(values)


def test_a_level_asks_for_more_room():
    values = crossed(drawn(2, 5, 17, between=2.0))
    wide, narrow = estimate(values, confidence=0.99), estimate(values, confidence=0.5)
    assert wide.low < narrow.low < narrow.value < narrow.high < wide.high


# --- moderation -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("variance", [0.3, 4.0, 900.0])
def test_few_base_models_borrow_from_like_quantities(variance):
    table = drawn(11, 3, 20, between=3.0, shared=0.0)
    means, number = table.mean(axis=1), 20
    assert 0.3 < means.var(ddof=1) < 900
    spread = Spread(variance=variance, df=8.0)
    found, plain = (estimate(crossed(table), confidence=LEVEL, spread=each) for each in (spread, None))
    run = number * max(variance, (8 * variance + 2 * means.var(ddof=1)) / (8 + 2))
    problem = 3 * table.mean(axis=0).var(ddof=1)
    left = ((table - means[:, None] - table.mean(axis=0) + table.mean()) ** 2).sum() / (2 * 19)
    extra = max(problem - left, 0)
    total = run + extra
    below = run**2 / 10 + (problem**2 / 19 + left**2 / 38 if extra else 0)
    assert (found.se, found.df) == pytest.approx((math.sqrt(total / 60), total**2 / below))
    assert (found.plain_low, found.plain_high) == (plain.low, plain.high)


def test_base_models_that_happen_to_agree_do_not_count_as_alike():
    agreeing = {model: row + 1 - row.mean() for model, row in crossed(drawn(1, 3, 50, between=0.0)).items()}
    found = estimate(agreeing, confidence=LEVEL, spread=Spread(9.0, 4.0))
    assert found.plain_low > 0
    assert found.se >= math.sqrt(9 / 3)
    assert found.low < 0


def test_enough_base_models_borrow_nothing():
    table = drawn(3, ENOUGH_MODELS, 10, between=1.0)
    spread = Spread(variance=50.0, df=10.0)
    assert estimate(crossed(table), confidence=LEVEL, spread=spread) == estimate(crossed(table), confidence=LEVEL)
    fewer = crossed(table[1:])
    assert estimate(fewer, confidence=LEVEL, spread=spread) != estimate(fewer, confidence=LEVEL)


@pytest.mark.parametrize(("prior_df", "models"), [(4.0, 4), (6.0, 9)])
def test_the_spread_of_like_quantities_is_found_again(prior_df, models):
    """Variances drawn from a known prior, as limma assumes them: s^2 ~ d0 s0^2 / chi^2(d0)."""
    rng = np.random.default_rng(int(prior_df))
    variances = 9.0 * prior_df / rng.chisquare(prior_df, 1500)
    found = spread_of(with_means(*means) for means in np.sqrt(variances)[:, None] * rng.standard_normal((1500, models)))
    assert found.variance == pytest.approx(9.0 * prior_df / (prior_df - 2), rel=0.15)
    assert found.df == pytest.approx(prior_df, rel=0.25)


def test_the_spread_meets_limmas_equation():
    """The fitted d0 gives the logarithms of the variances the variance that they have; s^2 is their mean."""
    sets = [(1.0, 2.0, 3.0), (0.0, 9.0, 1.0, 2.0), (4.0, 4.1, 4.3), (0.0, 40.0, 0.0), (2.0, 1.0, 7.0, 3.0, 3.0)]
    found = spread_of(with_means(*means) for means in sets)
    df = np.array([len(means) - 1 for means in sets])
    variances = np.array([np.var(means, ddof=1) for means in sets])
    assert 0 < found.df < MOST_INDEPENDENT * 2
    logs = np.log(variances) - special.digamma(df / 2) + np.log(df / 2)
    assert logs.var(ddof=1) == pytest.approx(special.polygamma(1, df / 2).mean() + special.polygamma(1, found.df / 2))
    assert found.variance == pytest.approx((df * variances).sum() / df.sum())


def test_equal_variances_are_worth_two_of_them():
    alike = spread_of([with_means(0, 2, 4), with_means(1, 3, 5), with_means(5, 3, 1)])
    assert alike == Spread(pytest.approx(4.0), MOST_INDEPENDENT * 2.0)


def test_a_variance_of_nothing_does_not_make_the_spread_nothing():
    found = spread_of([with_means(1, 1, 1), with_means(0, 2, 4), with_means(0, 3, 6)])
    assert 0 < found.df < 2
    assert found.variance == pytest.approx((0 + 4 + 9) / 3)


def test_too_few_like_quantities_give_no_spread():
    alone = estimate({"m": problems([1, 2])}, confidence=LEVEL)
    some = with_means(0, 2, 4)
    assert spread_of([some, some, alone, alone]) is None
    assert spread_of([with_means(1, 1, 1)] * 5) is None
    assert spread_of([]) is None
    assert spread_of([some, some, some]) is not None


# --- ratios -----------------------------------------------------------------------------------------------------------
def test_values_of_a_ratio_have_its_mean_and_its_spread():
    rng = np.random.default_rng(5)
    below = rng.uniform(50, 150, 400)
    above = below * rng.normal(0.2, 0.05, 400)
    values = ratio_values(problems(above), problems(below))
    assert values.mean() == pytest.approx(above.mean() / below.mean())
    jackknife = np.array([np.delete(above, i).mean() / np.delete(below, i).mean() for i in range(400)])
    variance = 399 / 400 * ((jackknife - jackknife.mean()) ** 2).sum()
    assert values.var(ddof=1) / 400 == pytest.approx(variance, rel=0.02)


def test_a_weighted_mean_is_a_ratio():
    values, weights = problems([0.0, 1.0, 1.0]), problems([6, 1, 1])
    assert ratio_values(values * weights, weights).mean() == pytest.approx(2 / 8)
    even = problems([3, 3, 3])
    assert ratio_values(values * even, even).tolist() == pytest.approx(values.tolist())


def test_sides_of_a_ratio_are_matched_by_problem():
    above, below = problems([1, 2, 3]), problems([2, 5, 4])
    mixed = ratio_values(above, below.iloc[::-1])
    assert mixed.to_dict() == ratio_values(above, below).to_dict()


# --- bad input --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "at least one base model"),
        ({"m": problems([])}, "base model 'm' has none"),
        ({"m": problems([1.0, np.nan])}, "base model 'm' has others"),
        ({"m": problems([1.0, 2.0], "aa")}, "problem 'a' stands twice in the values of base model 'm'"),
    ],
)
def test_bad_values_are_refused(values, message):
    with pytest.raises(UserError, match=message):
        estimate(values, confidence=LEVEL)


def test_bad_ratios_are_refused():
    with pytest.raises(UserError, match="same problems"):
        ratio_values(problems([1, 2], "ab"), problems([1, 2], "ac"))
    with pytest.raises(UserError, match="other than 0"):
        ratio_values(problems([1, 2]), problems([0, 0]))
