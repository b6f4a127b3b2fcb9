"""What a nominal 95 % interval covers, and how often a verdict is false: `python benchmarks/interval_coverage.py`.

Made-up studies of --models base models have --alike quantities of one kind each (say, the change of accuracy of as many
arms) on --problems problems. A base model's mean has a part of its own, with `rho` times the variance that its problems
give it. A quarter of the problems' part is common to all base models; half of the variance of a base model's part is
common to all quantities, as arms share their base model. Base models' parts are normal or two-point: training collapses
in one of two base models, or in one of four. Kinds are alike (one rho) or unlike (variances that differ sevenfold from
the first decile to the ninth).

Three methods: the percentile bootstrap over base models and problems, stretched by sqrt(R / (R - 1)); the two-way t by
a quantity's own variance; and the package's own, `selfdistill.analysis.estimates`, which shrinks that variance to those
of like quantities. Coverage is the share of intervals that hold the true mean. A verdict is false where the truth is no
effect and the two-sided p is at most .05 / 12, Holm's first level over twelve statements: 4.2 in 1,000 are promised.
"""

import argparse
import json
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd
from selfdistill.analysis.estimates import Estimate, estimate, spread_of

CONFIDENCE, LEVEL = 0.95, 0.05 / 12
COMMON_PROBLEMS, COMMON_MODELS = 0.25, 0.5
UNLIKE_DF = 4.0  # of the chi-square that variances of unlike quantities are divided by
RESAMPLES = 4000
METHODS = ("bootstrap", "two-way t", "moderated t")
Array = np.ndarray


@dataclass(frozen=True)
class Case:
    """One line of the table: base models, the ratio of variances, and the shapes."""

    models: int
    rho: float
    shape: str = "normal"  # or "collapse": one in two, "rare": one in four
    kinds: str = "alike"  # or "unlike"

    def __str__(self) -> str:
        return f"R {self.models}, rho {self.rho:g}, {self.shape}, {self.kinds}"


def study(rng: np.random.Generator, case: Case, *, alike: int, problems: int) -> Array:
    """Values [quantities, base models, problems]; the true mean of every quantity is 0."""
    rho = np.full(alike, case.rho)
    if case.kinds == "unlike":
        variances = (1 + case.rho) * (UNLIKE_DF - 2) / rng.chisquare(UNLIKE_DF, alike)
        rho = np.maximum(variances - 1, 0)
    common, own = rng.standard_normal(case.models), rng.standard_normal((alike, case.models))
    latent = math.sqrt(COMMON_MODELS) * common + math.sqrt(1 - COMMON_MODELS) * own
    parts = np.sqrt(rho)[:, None] * SHAPES[case.shape](latent)
    by_problem = math.sqrt(COMMON_PROBLEMS) * rng.standard_normal((alike, 1, problems))
    noise = math.sqrt(1 - COMMON_PROBLEMS) * rng.standard_normal((alike, case.models, problems))
    return parts[:, :, None] + math.sqrt(problems) * (by_problem + noise)


def _two_point(latent: Array, quantile: float, share: float) -> Array:
    """Mean 0 and variance 1: ``share`` of base models are low."""
    return np.where(latent < quantile, -math.sqrt((1 - share) / share), math.sqrt(share / (1 - share)))


SHAPES = {
    "normal": lambda latent: latent,
    "collapse": lambda latent: _two_point(latent, 0.0, 0.5),
    "rare": lambda latent: _two_point(latent, -0.6744897501960817, 0.25),
}


# --- the methods: low, high and two-sided p of every quantity [quantities, 3] ----------------------------------------
def stretched_bootstrap(values: Array) -> Array:
    """Base models and problems resampled independently of each other, the draws of all quantities being the same."""
    quantities, models, problems = values.shape
    drawn_models, drawn_problems = _draws(models, problems)
    by_model = drawn_problems @ values.reshape(-1, problems).T  # [resamples, quantities * models]
    means = (by_model.reshape(RESAMPLES, quantities, models) * drawn_models[:, None]).sum(axis=2)
    value = values.mean(axis=(1, 2))
    means = value + (means - value) * math.sqrt(models / (models - 1))
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=0)
    least = np.minimum((means <= 0).sum(axis=0), (means >= 0).sum(axis=0))
    return np.column_stack([low, high, np.minimum(1, 2 * (least + 1) / (RESAMPLES + 1))])


@lru_cache(maxsize=1)
def _draws(models: int, problems: int) -> tuple[Array, Array]:
    """The share [resamples, models] and [resamples, problems] that each has in each resample."""
    rng = np.random.default_rng(0)
    of = (
        rng.multinomial(number, np.full(number, 1 / number), size=RESAMPLES) / number for number in (models, problems)
    )
    return next(of), next(of)


def by_t(values: Array, *, moderated: bool) -> Array:
    problems = pd.Index([f"p{number:04}" for number in range(values.shape[2])])
    tables = [{f"m{n:02}": pd.Series(row, problems) for n, row in enumerate(table)} for table in values]
    found = [estimate(table, confidence=CONFIDENCE) for table in tables]
    if moderated:
        spread = spread_of(found)
        found = [estimate(table, confidence=CONFIDENCE, spread=spread) for table in tables]
    return np.array([(each.low, each.high, _two_sided(each)) for each in found])


def _two_sided(found: Estimate) -> float:
    return min(1.0, 2 * min(found.p_above(), found.p_below()))


# --- the table -------------------------------------------------------------------------------------------------------
def measure(case: Case, *, studies: int, alike: int, problems: int, seed: int) -> dict[str, dict[str, float]]:
    """Coverage, mean half-width and share of false verdicts by method."""
    rng = np.random.default_rng([seed, case.models, int(10 * case.rho), *case.shape.encode(), *case.kinds.encode()])
    found: dict[str, list[Array]] = {name: [] for name in METHODS}
    for _ in range(studies):
        values = study(rng, case, alike=alike, problems=problems)
        found["bootstrap"].append(stretched_bootstrap(values))
        found["two-way t"].append(by_t(values, moderated=False))
        found["moderated t"].append(by_t(values, moderated=True))
    return {name: _summary(np.concatenate(rows)) for name, rows in found.items()}


def _summary(rows: Array) -> dict[str, float]:
    low, high, p = rows.T
    return {
        "coverage": float(((low <= 0) & (high >= 0)).mean()),
        "half_width": float((high - low).mean() / 2),
        "false": float((p <= LEVEL).mean()),
    }


def cases(models: Sequence[int]) -> list[Case]:
    shapes = [Case(0, rho) for rho in (1.0, 3.0, 10.0, 30.0)] + [Case(0, 10.0, kinds="unlike")]
    shapes += [Case(0, 10.0, shape) for shape in ("collapse", "rare")]
    return [Case(number, each.rho, each.shape, each.kinds) for each in shapes for number in models]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", type=int, nargs="+", default=[3, 5, 8, 16])
    parser.add_argument("--studies", type=int, default=300, help="made-up studies per line")
    parser.add_argument("--alike", type=int, default=20, help="quantities of one kind in a study")
    parser.add_argument("--problems", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = vars(parser.parse_args())
    out, lines = options.pop("json"), cases(options.pop("models"))
    print(
        f"{options['studies'] * options['alike']} quantities a line; coverage % (half-width), false verdicts in 1,000"
    )
    print("| base models | rho | shape | kinds | " + " | ".join(METHODS) + " |\n|" + "---|" * 7)
    report = []
    with get_context("spawn").Pool(os.cpu_count(), initializer=os.nice, initargs=(10,)) as pool:
        waiting = [pool.apply_async(measure, (case,), options) for case in lines]
        for case, each in zip(lines, waiting, strict=True):
            found = each.get()
            shown = [
                f"{100 * f['coverage']:.1f} ({f['half_width']:.1f}), {1000 * f['false']:.1f}" for f in found.values()
            ]
            labels = [str(case.models), f"{case.rho:g}", case.shape, case.kinds]
            print("| " + " | ".join([*labels, *shown]) + " |", flush=True)
            report.append(asdict(case) | found)
    if out:
        out.write_text(json.dumps(options | {"lines": report}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
