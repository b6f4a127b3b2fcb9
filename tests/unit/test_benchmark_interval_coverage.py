"""benchmarks/interval_coverage.py: its made-up studies vary as it says, and its bootstrap is the one that it names."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "interval_coverage.py"
SPEC = importlib.util.spec_from_file_location("benchmark_interval_coverage", SCRIPT)
benchmark = importlib.util.module_from_spec(SPEC)
sys.modules[SPEC.name] = benchmark  # where dataclasses look for their module
SPEC.loader.exec_module(benchmark)


@pytest.mark.parametrize("shape", ["normal", "collapse", "rare"])
def test_base_models_and_problems_vary_as_said(shape):
    rng = np.random.default_rng(0)
    values = benchmark.study(rng, benchmark.Case(400, 3.0, shape), alike=30, problems=50)
    means = values.mean(axis=2)
    # Three from the base models and three quarters from their problems; the last quarter is common to all.
    assert means.var(axis=1).mean() == pytest.approx(3 + 0.75, rel=0.1)
    assert values.mean(axis=1).var(axis=1).mean() / 50 == pytest.approx(0.25, rel=0.15)
    assert means.mean() == pytest.approx(0, abs=0.3)


def test_unlike_kinds_have_the_same_variance_in_the_mean():
    rng = np.random.default_rng(1)
    values = benchmark.study(rng, benchmark.Case(50, 10.0, kinds="unlike"), alike=4000, problems=2)
    variances = values.mean(axis=2).var(axis=1)
    assert variances.mean() == pytest.approx(10 + 0.75, rel=0.15)
    low, high = np.quantile(variances, [0.1, 0.9])
    assert 5 < high / low < 10


def test_the_bootstrap_has_the_variance_of_base_models_and_problems():
    values = benchmark.study(np.random.default_rng(2), benchmark.Case(6, 3.0), alike=3, problems=40)
    low, high, p = benchmark.stretched_bootstrap(values).T
    by_model, by_problem = values.mean(axis=2), values.mean(axis=1)
    expected = (by_model.var(axis=1) / 6 + by_problem.var(axis=1) / 40) * 6 / 5
    assert ((high - low) / 2 / 1.96) ** 2 == pytest.approx(expected, rel=0.15)
    assert ((low > 0) | (high < 0)).tolist() == (p < 0.05).tolist()


def test_a_line_of_the_table():
    found = benchmark.measure(benchmark.Case(3, 10.0, "collapse"), studies=10, alike=10, problems=10, seed=0)
    assert list(found) == list(benchmark.METHODS)
    assert found["moderated t"]["coverage"] > found["bootstrap"]["coverage"]
    assert 0 <= found["moderated t"]["false"] < found["bootstrap"]["false"] < 1
