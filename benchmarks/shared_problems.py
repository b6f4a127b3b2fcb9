"""How often a verdict is false where base models share part of their problems: `python benchmarks/shared_problems.py`.

Made-up studies without an effect, with the variances of the thorough study. *Selected*: each of sixteen base models
has 100 problems of 197, its own choice, and any two share about two thirds of them, as in Section 3. *Second seed*: all
have 40 problems and half of them 40 more, as windows of training of arms with a second training seed.

Two methods: a t over base models' means, as if their problems were different ones, and the package's own,
`selfdistill.analysis.estimates`. Shown is the share of studies whose 95 % interval excludes the truth (promised: 5 %).
"""

import argparse
from collections.abc import Iterator

import numpy as np
import pandas as pd
from scipy import stats
from selfdistill.analysis.estimates import estimate

MODELS, CONFIDENCE = 16, 0.95
# Standard deviations between base models, between problems, and of the rest.
SELECTED = {"score": (0.026, 0.15, 0.16)}
SECOND_SEED = {"GRPO - SDPO, score": (0.10, 0.20, 0.25), "SDPO, score": (0.03, 0.16, 0.17), "SDPO, E": (0.7, 6.2, 7.0)}


def selected(rng: np.random.Generator, between: float, problem: float, rest: float) -> dict[str, pd.Series]:
    """Values by base model of the 100 problems that suit it best, as it sees them."""
    effects, ease = problem * rng.standard_normal(197), rng.standard_normal(197)
    chosen = [np.sort(np.argsort(ease + 0.75 * rng.standard_normal(197))[:100]) for _ in range(MODELS)]
    own = between * rng.standard_normal(MODELS)
    return {
        f"m{model:02}": pd.Series(own[model] + effects[of] + rest * rng.standard_normal(100), [f"p{n:03}" for n in of])
        for model, of in enumerate(chosen)
    }


def second_seed(rng: np.random.Generator, between: float, problem: float, rest: float) -> dict[str, pd.Series]:
    """Values by base model, of twice as many problems in every second one."""
    effects, own = problem * rng.standard_normal(80), between * rng.standard_normal(MODELS)
    index = [f"p{number:02}" for number in range(80)]
    sizes = [80 if model % 2 else 40 for model in range(MODELS)]
    return {
        f"m{model:02}": pd.Series(own[model] + effects[:size] + rest * rng.standard_normal(size), index[:size])
        for model, size in enumerate(sizes)
    }


def false_verdicts(studies: Iterator[dict[str, pd.Series]]) -> dict[str, list[bool]]:
    """By method and study, whether the interval excludes 0."""
    found: dict[str, list[bool]] = {"means alone": [], "shipped": []}
    for values in studies:
        means = [row.mean() for row in values.values()]
        found["means alone"].append(bool(stats.ttest_1samp(means, 0).pvalue <= 1 - CONFIDENCE))
        shipped = estimate(values, confidence=CONFIDENCE)
        found["shipped"].append(not shipped.low <= 0 <= shipped.high)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--studies", type=int, default=400, help="made-up studies per line")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    print("| problems | number | means alone | shipped | ratio |\n|---|---|---|---|---|")
    for name, draw, sizes in (("selected", selected, SELECTED), ("second seed", second_seed, SECOND_SEED)):
        for number, variances in sizes.items():
            found = false_verdicts(draw(rng, *variances) for _ in range(options.studies))
            shown, rates = [], [sum(each) / len(each) for each in found.values()]
            for each in found.values():
                bounds = stats.binomtest(sum(each), len(each)).proportion_ci(CONFIDENCE, "wilson")
                shown.append(f"{100 * np.mean(each):.0f} % [{100 * bounds.low:.0f}, {100 * bounds.high:.0f}]")
            print(f"| {name} | {number} | {' | '.join(shown)} | {rates[1] / max(rates[0], 1e-9):.2f} |", flush=True)


if __name__ == "__main__":
    main()
