"""Section 3: the problems that a model solves in 0.125 to 0.5 of its rollouts."""

import math
from collections.abc import Callable

import pandas as pd
from pydantic import model_validator

from selfdistill.errors import UserError
from selfdistill.settings import Count, key, settings

HISTOGRAM_WIDTH = 40


@settings
class SelectionSettings:
    """Which problems are of intermediate difficulty, and how they are searched for."""

    rollouts: Count = key(8, doc="Responses sampled per problem.", paper="8 (Section 3)")
    low: float = key(0.125, doc="Lowest solve rate kept, inclusive.", paper="0.125 (Section 3)", ge=0, le=1)
    high: float = key(0.5, doc="Highest solve rate kept, inclusive.", paper="0.5 (Section 3)", ge=0, le=1)
    target: Count = key(100, doc="Stop when this many problems are found.", paper="100 (Section 3)")
    batch: Count = key(128, doc="Problems sampled between two looks at the target.", paper="128 (authors' code)")

    @model_validator(mode="after")
    def _bounds_in_order(self) -> "SelectionSettings":
        if self.low > self.high:
            raise ValueError(f"'low' ({self.low}) is above 'high' ({self.high})")
        below = math.floor(self.low * self.rollouts)
        if not any(self.low <= k / self.rollouts <= self.high for k in (below, below + 1)):
            raise ValueError(
                f"no solve rate of {self.rollouts} rollouts lies between 'low' ({self.low}) and 'high' ({self.high}); "
                f"nearest: {below}/{self.rollouts} and {below + 1}/{self.rollouts}"
            )
        return self


def solve_rates(traces: pd.DataFrame) -> pd.DataFrame:
    """Per problem, in the order of first appearance: ``problem_id``, ``rollouts``, ``correct`` and ``rate``."""
    grouped = traces.groupby("problem_id", sort=False)["correct"]
    rates = grouped.agg(rollouts="size", correct="sum").reset_index()
    return rates.assign(correct=rates["correct"].astype(int), rate=rates["correct"] / rates["rollouts"])


def is_borderline(rates: pd.DataFrame, low: float, high: float) -> pd.Series:
    """Mask of the problems within the bounds, both included (1 to 4 of 8 for the paper's 0.125 and 0.5)."""
    return rates["rate"].between(low, high, inclusive="both")


def select_borderline(
    problems: pd.DataFrame, sample: Callable[[pd.DataFrame], pd.DataFrame], selection: SelectionSettings
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The first ``target`` borderline problems in file order, and every trace sampled to find them.

    ``sample`` turns a batch of problems into their traces, all rollouts of each, right or wrong (the authors'
    eval_dapo_dataset.py:191-200 keeps only right ones, from which Table 1's first row cannot be computed).
    Batches of ``batch`` problems are sampled until enough are found. Raises `UserError` with a histogram of solve
    rates when the problems run out.
    """
    if problems.empty:
        raise UserError("the problem set is empty, so no problem can be selected from it")
    sampled: list[pd.DataFrame] = []
    found: list[pd.DataFrame] = []
    for start in range(0, len(problems), selection.batch):
        asked = problems.iloc[start : start + selection.batch]
        sampled.append(sample(asked))
        rates = solve_rates(sampled[-1])
        borderline = rates.loc[is_borderline(rates, selection.low, selection.high), "problem_id"]
        found.append(asked[asked["problem_id"].isin(borderline)])
        if sum(map(len, found)) >= selection.target:
            break
    chosen, everything = pd.concat(found, ignore_index=True), pd.concat(sampled, ignore_index=True)
    if len(chosen) < selection.target:
        raise UserError(_too_few(solve_rates(everything), len(chosen), selection))
    return chosen.head(selection.target), everything


def _too_few(rates: pd.DataFrame, found: int, selection: SelectionSettings) -> str:
    low, high, target = selection.low, selection.high, selection.target
    below, above = int((rates["rate"] < low).sum()), int((rates["rate"] > high).sum())
    bound = f"the lower bound {low:g}" if below >= above else f"the upper bound {high:g}"
    cause = f"{bound} costs most" if below + above >= target - found else "there are too few problems"
    return (
        f"only {found} of the {target} wanted problems have a solve rate in [{low:g}, {high:g}] among all "
        f"{len(rates)}: {below} lie below and {above} above, so {cause}\n{_histogram(rates)}"
    )


def _histogram(rates: pd.DataFrame) -> str:
    counts = rates["rate"].value_counts().sort_index()
    bars = (f"{rate:5.3f} {'#' * round(HISTOGRAM_WIDTH * n / counts.max())} {n}" for rate, n in counts.items())
    return "solve rate, number of problems\n" + "\n".join(bars)
