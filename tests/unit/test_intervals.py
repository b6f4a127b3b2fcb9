"""Intervals cover the truth, agree with a plain loop, and refuse what has none."""

import random
import statistics as plain

import numpy as np
import pytest
from selfdistill.analysis import intervals
from selfdistill.analysis.intervals import Bootstrap
from selfdistill.errors import UserError

FEW = Bootstrap(resamples=1000)


def plain_quantiles(estimates):
    ordered = sorted(estimates)
    return ordered[round(0.025 * len(ordered))], ordered[round(0.975 * len(ordered)) - 1]


def test_intervals_cover_the_true_mean_as_often_as_they_say():
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(300):
        rates = rng.beta(2, 3, size=60)
        values = rng.binomial(8, rates) / 8
        low, high = FEW.interval(values)
        covered += low <= 0.4 <= high
    assert 0.90 <= covered / 300 <= 0.99


def test_mean_interval_equals_a_plain_loop():
    values = np.random.default_rng(2).normal(5, 2, size=40)
    rng = random.Random(3)
    loop = plain_quantiles(plain.fmean(rng.choices(list(values), k=40)) for _ in range(4000))
    assert Bootstrap().interval(values) == pytest.approx(loop, abs=0.05)


def test_ratio_interval_resamples_both_together():
    rng = np.random.default_rng(4)
    bottom = rng.uniform(50, 150, size=40)
    top = 0.1 * bottom + rng.normal(0, 0.5, size=40)
    draws = random.Random(5)
    loop = []
    for _ in range(4000):
        chosen = draws.choices(range(40), k=40)
        loop.append(sum(top[chosen]) / sum(bottom[chosen]))
    assert Bootstrap().interval_of(np.divide, top, bottom) == pytest.approx(plain_quantiles(loop), abs=2e-4)
    unpaired_width = 2 * 1.96 * 0.1 * bottom.std() / bottom.mean() / np.sqrt(40)
    low, high = Bootstrap().interval_of(np.divide, top, bottom)
    assert high - low < unpaired_width / 2


def test_paired_difference_equals_a_plain_loop_over_pairs():
    rng = np.random.default_rng(6)
    base = rng.uniform(0, 1, size=50)
    run = base - 0.05 + rng.normal(0, 0.01, size=50)
    draws = random.Random(7)
    loop = []
    for _ in range(4000):
        chosen = draws.choices(range(50), k=50)
        loop.append(plain.fmean(run[i] - base[i] for i in chosen))
    assert Bootstrap().difference(run, base) == pytest.approx(plain_quantiles(loop), abs=3e-4)
    assert FEW.difference(base, base) == (0.0, 0.0)


def test_differences_and_ratios_cover_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(11)
    differences = ratios = samplings = 0
    for _ in range(300):
        tokens = rng.gamma(4, 25, size=60)
        markers = rng.poisson(0.1 * tokens)
        low, high = FEW.interval_of(np.divide, markers.astype(float), tokens)
        ratios += low <= 0.1 <= high
        low, high = FEW.difference(tokens + rng.normal(2, 5, size=60), tokens)
        differences += low <= 2 <= high
        rates = np.linspace(0.1, 0.9, 20)  # these problems and no others: only samples vary
        low, high = Bootstrap(resamples=200).sampling_interval(rng.binomial(1, rates[:, None], (20, 16)).astype(float))
        samplings += low <= 0.5 <= high
    assert all(0.90 <= covered / 300 <= 0.99 for covered in (differences, ratios, samplings))


def test_sampling_interval_holds_problems_fixed():
    constant = np.repeat([[0.0], [1.0], [0.5]], 16, axis=1)
    assert FEW.sampling_interval(constant) == (0.5, 0.5)
    assert FEW.interval(constant.mean(axis=1))[0] < 0.5
    coins = np.random.default_rng(7).integers(0, 2, size=(100, 16)).astype(float)
    low, high = Bootstrap().sampling_interval(coins)
    expected = 2 * 1.96 * np.sqrt(coins.var(axis=1, ddof=1).mean() / 16 / 100)
    assert high - low == pytest.approx(expected, rel=0.025)


def test_two_samples_of_a_problem_are_covered_too():
    """With as many redrawn as there are, 82 % of cases would be covered."""
    rng = np.random.default_rng(12)
    rates = rng.beta(2, 3, size=60)
    few, covered = Bootstrap(resamples=300), 0
    for _ in range(300):
        low, high = few.sampling_interval(rng.binomial(1, rates[:, None], (60, 2)).astype(float))
        covered += low <= rates.mean() <= high
    assert 0.90 <= covered / 300 <= 0.99


def test_sampling_interval_equals_a_plain_loop():
    groups = [[1.0, 4.0, 2.0], [0.0, 8.0, 5.0], [3.0, 3.5, 9.0]]
    rng = random.Random(7)
    loop = plain_quantiles(plain.fmean(plain.fmean(rng.choices(group, k=2)) for group in groups) for _ in range(20_000))
    assert Bootstrap().sampling_interval(np.array(groups)) == pytest.approx(loop, abs=0.15)


def test_equal_settings_give_equal_numbers_and_another_seed_others():
    values = np.random.default_rng(8).normal(size=30)
    assert FEW.interval(values) == Bootstrap(resamples=1000).interval(values)
    assert FEW.interval(values) != Bootstrap(resamples=1000, seed=1).interval(values)


def test_a_wider_level_gives_a_wider_interval():
    values = np.random.default_rng(9).normal(size=30)
    low, high = Bootstrap(confidence=0.5).interval(values)
    wide_low, wide_high = Bootstrap(confidence=0.99).interval(values)
    assert wide_low < low < high < wide_high


def test_equal_values_have_an_interval_of_no_width():
    assert FEW.interval(np.full(8, 0.25)) == (0.25, 0.25)


def test_one_problem_says_nothing_about_others_but_its_samples_can_be_redrawn():
    assert np.isnan(FEW.interval(np.array([0.25]))).all()
    assert np.isnan(FEW.difference(np.array([0.25]), np.array([0.75]))).all()
    assert np.isnan(FEW.interval_of(np.divide, np.array([1.0]), np.array([2.0]))).all()
    assert FEW.sampling_interval(np.array([[0.0, 1.0]])) == (0.0, 1.0)


def test_one_sample_of_each_problem_says_nothing_about_others():
    assert np.isnan(FEW.sampling_interval(np.array([[0.0], [1.0]]))).all()


@pytest.mark.parametrize("values", [np.array([]), np.array([1.0, np.nan]), np.array([np.inf])])
def test_what_has_no_interval_is_refused(values):
    with pytest.raises(UserError, match="an interval needs"):
        FEW.interval(values)
    with pytest.raises(UserError, match="an interval needs"):
        FEW.sampling_interval(values[:, None])


def test_an_interval_is_null_where_a_resample_has_no_ratio():
    assert np.isnan(FEW.interval_of(np.divide, np.array([1.0, 2.0]), np.array([0.0, 1.0]))).all()
    assert np.isnan(FEW.interval_of(np.divide, np.zeros(2), np.zeros(2))).all()


def test_pairs_of_different_problems_are_refused():
    with pytest.raises(UserError, match="same problems: 2 against 3"):
        FEW.difference(np.zeros(2), np.zeros(3))


def between_and_within(values):
    """Variance of a two-level resample of balanced ``values`` [runs, problems]: of the runs, of their problems."""
    runs, problems = values.shape
    return values.mean(axis=1).var() / runs, values.var(axis=1).mean() / (runs * problems)


def test_nested_resamples_have_the_variance_of_both_levels():
    rng = np.random.default_rng(13)
    for spread in (0.0, 1.0, 5.0):
        values = spread * rng.normal(size=(6, 1)) + rng.normal(size=(6, 25))
        resamples = Bootstrap().nested([run[:, None] for run in values])[:, 0]
        assert resamples.var() == pytest.approx(sum(between_and_within(values)), rel=0.06)
        assert resamples.mean() == pytest.approx(values.mean(), abs=4 * resamples.std() / 100)


def test_nested_variance_over_designs_is_the_documented_one():
    """Runs' variance too small by (R - 1) / R, problems' noise on both levels."""
    rng = np.random.default_rng(14)
    runs, problems, between, within = 4, 10, 0.5, 2.0
    found = []
    for _ in range(400):
        values = rng.normal(0, between, size=(runs, 1)) + rng.normal(0, within, size=(runs, problems))
        found.append(Bootstrap(resamples=400).nested([run[:, None] for run in values]).var())
    of_run_means = between**2 + within**2 / problems
    expected = of_run_means * (runs - 1) / runs**2 + within**2 * (problems - 1) / problems**2 / runs
    assert np.mean(found) == pytest.approx(expected, rel=0.08)


def test_nested_intervals_cover_the_truth_about_as_often_as_they_say():
    rng = np.random.default_rng(15)
    covered = 0
    for _ in range(300):
        values = 3 + rng.normal(0, 0.3, size=(8, 1)) + rng.normal(0, 1, size=(8, 12))
        low, high = FEW.percentiles(FEW.nested([run[:, None] for run in values]))
        covered += low[0] <= 3 <= high[0]
    assert 0.90 <= covered / 300 <= 0.99


def test_runs_may_have_different_problems_and_weigh_alike():
    small, large = np.zeros((2, 1)), np.ones((50, 1))
    resamples = FEW.nested([small, large])[:, 0]
    assert set(resamples.round(9)) == {0.0, 0.5, 1.0}
    assert np.mean(resamples.round(9) == 0.5) == pytest.approx(0.5, abs=0.06)


def test_one_run_is_a_bootstrap_over_its_problems():
    values = np.random.default_rng(16).normal(size=(30, 3))
    weights = np.arange(1.0, 31.0)
    assert (FEW.nested([values]) == FEW.means(values)).all()
    assert (FEW.nested([values], [weights]) == FEW.means(values, weights)).all()
    assert (FEW.crossed(values[None]) == FEW.means(values)).all()
    assert np.isnan(FEW.nested([values[:1]])).all() and np.isnan(FEW.crossed(values[None, :1])).all()


def test_single_problems_of_several_runs_leave_the_runs_to_vary():
    values = np.array([[[0.0]], [[3.0]], [[6.0]]])
    for resamples in (Bootstrap().nested(list(values)), Bootstrap().crossed(values)):
        assert resamples.var() == pytest.approx(6 / 3, rel=0.05)
        assert set(resamples[:, 0]) <= {float(n) for n in range(7)}


def test_weights_count_problems_as_often_as_they_say():
    values, weights = np.array([[0.0], [1.0]]), np.array([1.0, 3.0])
    assert set(FEW.means(values, weights)[:, 0]) == {0.0, 0.75, 1.0}
    assert set(FEW.nested([values, values], [weights, weights])[:, 0]) == {0.0, 0.375, 0.5, 0.75, 0.875, 1.0}


def test_shared_problems_are_not_averaged_out_by_more_runs():
    rng = np.random.default_rng(17)
    runs, problems = rng.normal(0, 0.2, size=6), rng.normal(0, 1, size=40)
    values = (runs[:, None] + problems)[:, :, None]
    assert Bootstrap().crossed(values).var() == pytest.approx(runs.var() / 6 + problems.var() / 40, rel=0.05)
    assert Bootstrap().nested(list(values)).var() == pytest.approx(runs.var() / 6 + problems.var() / 240, rel=0.05)


def test_resampled_runs_keep_their_columns_together():
    values = np.random.default_rng(18).normal(size=(3, 10, 1))
    both = np.concatenate([values, values + 2], axis=2)
    for resamples in (FEW.nested(list(both)), FEW.crossed(both)):
        assert np.ptp(resamples[:, 1] - resamples[:, 0]) < 1e-12


def test_percentiles_are_null_for_the_columns_that_lack_a_number():
    estimates = np.column_stack([np.linspace(0, 1, 1001), np.append(np.zeros(1000), np.nan)])
    low, high = FEW.percentiles(estimates)
    assert (low[0], high[0]) == pytest.approx((0.025, 0.975))
    assert np.isnan([low[1], high[1]]).all()


def test_more_problems_than_fit_a_chunk_give_the_resamples_of_one_draw():
    """Chunks bound the memory; they are no part of the numbers."""
    values = np.random.default_rng(19).normal(size=(12, 1))
    counts = np.random.default_rng(0).multinomial(12, np.full(12, 1 / 12), size=1200)
    assert Bootstrap(resamples=1200).means(values) == pytest.approx(counts / 12 @ values)


def test_no_runs_are_refused():
    with pytest.raises(UserError, match="an interval needs at least one run"):
        FEW.nested([])
    with pytest.raises(UserError, match="an interval needs finite values"):
        FEW.nested([np.array([[np.nan], [1.0]]), np.ones((2, 1))])


def test_samples_are_redrawn_alike_however_few_at_a_time(monkeypatch):
    points = np.random.default_rng(0).binomial(1, 0.3, (9, 5)).astype(float)
    wanted = FEW.sampling_interval(points)
    monkeypatch.setattr(intervals, "LARGEST_DRAW", 7 * points.size)
    assert FEW.sampling_interval(points) == wanted
