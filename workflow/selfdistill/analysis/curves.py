"""On-policy runs as curves (Sections 5 and 6): training and evaluation against trainer steps, and what they end at.

Runs that differ only by model (of one family), draw of problems or seed are replicates: one arm, one curve.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from selfdistill.analysis.arms import ARM, DIFFERENCE
from selfdistill.analysis.intervals import Array, Bootstrap
from selfdistill.analysis.responses import MARKER_MEANS, MEANS, RUN, RUN_COLUMNS, per_problem
from selfdistill.analysis.summaries import DENSITIES
from selfdistill.errors import UserError
from selfdistill.tables import COUNT_MODES, CURVES

BASE = "base"
EVALUATED = ("avg", *(name for name in MEANS if name != "score"), *MARKER_MEANS)
DIFFERENCES = ("avg", "L", *(f"E_{mode}" for mode in COUNT_MODES), *MARKER_MEANS)


@dataclass(frozen=True)
class _Point:
    """One arm at one step: means [metrics], their resamples [resamples, metrics] and what stands behind them."""

    metrics: Sequence[str]
    means: Array
    resamples: Array
    runs: int
    samples: int


def training_curves(rollouts: pd.DataFrame, runs: pd.DataFrame, *, window: int, bootstrap: Bootstrap) -> pd.DataFrame:
    """Means over the rollouts of every ``window`` steps, in the `curves` schema: score, L, E, densities, truncated.

    ``rollouts``: traces of training; ``runs``: the `runs` schema. Windows cover steps 1 to ``window`` and so on, are
    labelled by their last step, and the last may be shorter. A value is the mean over an arm's runs of the mean over
    rollouts. Intervals: over the window's problems for one run, else over runs and problems. `UserError` if a run has
    no rollouts, or rollouts have no run.
    """
    if window < 1:
        raise UserError(f"window is {window}; it must be 1 step or more")
    _check_runs(rollouts, runs, "rollouts")
    ends = (rollouts["step"].astype(int) - 1) // window * window + window
    last = rollouts["step"].groupby([rollouts[name] for name in RUN]).transform("max").astype(int)
    # Samples are numbered within a step; a small D shows the same problem in every step of a window.
    numbers = rollouts["step"].astype(int) * (rollouts["sample"].max() + 1) + rollouts["sample"]
    units = _units(rollouts[RUN_COLUMNS].assign(step=np.minimum(ends, last), sample=numbers), [*RUN, "step"])
    cells = dict(list(units.groupby([*RUN, "step"])))
    rows: list[dict[str, object]] = []
    for arm, members in _arms(runs):
        for step in _steps(cells, members):
            parts = [cells[*member, step] for member in members if (*member, step) in cells]
            rows += _rows({**arm, "benchmark": "", "step": step}, _training_point(parts, bootstrap), bootstrap)
    return _frame(rows)


def evaluation_curves(evaluations: pd.DataFrame, runs: pd.DataFrame, *, bootstrap: Bootstrap) -> pd.DataFrame:
    """Evaluations of the base model (step 0) and of each checkpoint, in the `curves` schema, per arm and benchmark.

    Metrics: avg (percent), L, E, densities, truncated and every marker; but for step 0 also the differences to the base
    of avg, L, E and the markers, taken problem by problem against the base of the run's own model. ``evaluations``:
    traces of the runs, and of run "base" of each of their models. A value is the mean over runs of the mean over
    problems. Intervals: over problems for one run, else over runs and problems; all runs share the drawn problems.
    `UserError` for unknown or missing runs, a missing base, or runs evaluated on other problems or at other steps.
    """
    is_base = evaluations["run"] == BASE
    _check_runs(evaluations[~is_base], runs, "evaluations")
    unplaced = evaluations[~is_base & ~(evaluations["step"] >= 1).fillna(False)]
    if len(unplaced):
        raise UserError(f"the evaluations of run '{unplaced['run'].iloc[0]}' do not say after which step")
    steps = evaluations["step"].where(~is_base, 0).astype(int)
    units = _units(
        evaluations[RUN_COLUMNS].assign(step=steps, benchmark=evaluations["setting"]), [*RUN, "benchmark", "step"]
    )
    units["avg"] = 100 * units["score"]
    cells = dict(list(units.groupby([*RUN, "benchmark", "step"])))
    rows: list[dict[str, object]] = []
    for arm, members in _arms(runs):
        for benchmark in sorted({key[2] for key in cells if key[:2] in members}):
            bases = [_base(cells, model, run, benchmark) for model, run in members]
            here = {(*key[:2], key[3]): cell for key, cell in cells.items() if key[2] == benchmark}
            here |= {(*member, 0): base for member, base in zip(members, bases, strict=True)}
            for step in _steps(here, members):
                parts = [_at(here, member, step, benchmark) for member in members]
                point = _evaluation_point(parts, bases if step else None, benchmark, bootstrap)
                rows += _rows({**arm, "benchmark": benchmark, "step": step}, point, bootstrap)
    return _frame(rows)


def _units(traces: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """`per_problem` within each combination of ``keys``: its columns, the keys, problem_id and rollouts (number)."""
    columns = [*keys, "problem_id"]
    unit = traces.groupby(columns, sort=True).ngroup()
    labels = traces[columns].assign(unit=unit).drop_duplicates("unit").set_index("unit").sort_index()
    means = per_problem(traces.assign(problem_id=unit))
    return labels.join(means).assign(rollouts=unit.value_counts().sort_index())


def _arms(runs: pd.DataFrame) -> Iterator[tuple[dict[str, object], list[tuple[str, str]]]]:
    """Each arm and its runs, as (model, run)."""
    for _, members in runs.sort_values(RUN).groupby(list(ARM), dropna=False):
        arm = {name: members[name].iloc[0] for name in ARM}
        yield arm, list(members[RUN].itertuples(index=False, name=None))


def _steps(cells: Mapping[tuple, pd.DataFrame], members: list[tuple[str, str]]) -> list[int]:
    return sorted({int(key[2]) for key in cells if key[:2] in members})


def _base(cells: Mapping[tuple, pd.DataFrame], model: str, run: str, benchmark: str) -> pd.DataFrame:
    if (model, BASE, benchmark, 0) not in cells:
        raise UserError(f"run '{run}' was evaluated on '{benchmark}', its base model '{model}' was not")
    return cells[model, BASE, benchmark, 0]


def _at(cells: Mapping[tuple, pd.DataFrame], member: tuple[str, str], step: int, benchmark: str) -> pd.DataFrame:
    if (*member, step) not in cells:
        raise UserError(
            f"run '{member[1]}' of '{member[0]}' was not evaluated on '{benchmark}' after step {step}, "
            "other runs of the same arm were"
        )
    return cells[*member, step]


def _training_point(parts: list[pd.DataFrame], bootstrap: Bootstrap) -> _Point:
    values = [part[list(MEANS)].to_numpy() for part in parts]
    weights = [part["rollouts"].to_numpy(dtype=float) for part in parts]
    means = [np.average(value, axis=0, weights=weight) for value, weight in zip(values, weights, strict=True)]
    samples = int(sum(weight.sum() for weight in weights))
    return _Point(MEANS, np.mean(means, axis=0), bootstrap.nested(values, weights), len(parts), samples)


def _evaluation_point(
    parts: list[pd.DataFrame], bases: list[pd.DataFrame] | None, benchmark: str, bootstrap: Bootstrap
) -> _Point:
    """Metrics of the runs ``parts`` and, given their ``bases``, the paired differences to these."""
    values = _stacked(parts, EVALUATED, benchmark)
    metrics = EVALUATED
    if bases is not None:
        both = _stacked([*parts, *bases], DIFFERENCES, benchmark)
        values = np.concatenate([values, both[: len(parts)] - both[len(parts) :]], axis=2)
        metrics += tuple(name + DIFFERENCE for name in DIFFERENCES)
    samples = int(sum(part["rollouts"].sum() for part in parts))
    return _Point(metrics, values.mean(axis=(0, 1)), bootstrap.crossed(values), len(parts), samples)


def _stacked(parts: list[pd.DataFrame], metrics: Sequence[str], benchmark: str) -> Array:
    """Values [parts, problems, metrics] in one order of the problems."""
    problems = parts[0]["problem_id"].to_numpy()
    for part in parts:
        if not np.array_equal(part["problem_id"].to_numpy(), problems):
            run, other = part["run"].iloc[0], parts[0]["run"].iloc[0]
            raise UserError(f"'{run}' and '{other}' were not evaluated on the same problems of '{benchmark}'")
    return np.stack([part[list(metrics)].to_numpy() for part in parts])


def _rows(labels: dict[str, object], point: _Point, bootstrap: Bootstrap) -> Iterator[dict[str, object]]:
    """One row per metric and density; none for a density without tokens."""
    column = {name: number for number, name in enumerate(point.metrics)}
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = [
            [factor * found[..., column[top]] / found[..., column[bottom]] for found in (point.means, point.resamples)]
            for top, bottom, factor in DENSITIES.values()
        ]
    values = np.append(point.means, [value for value, _ in ratios])
    low, high = bootstrap.percentiles(np.column_stack([point.resamples, *(estimates for _, estimates in ratios)]))
    behind = {
        "confidence": bootstrap.confidence,
        "band": "problems" if point.runs == 1 else "runs and problems",
        "runs": point.runs,
        "samples": point.samples,
        "origin": "measured",
    }
    for number, metric in enumerate([*point.metrics, *DENSITIES]):
        if np.isfinite(values[number]):
            bounds = {"low": low[number], "high": high[number]}
            yield {**labels, "metric": metric, "value": values[number], **bounds, **behind}


def _check_runs(traces: pd.DataFrame, runs: pd.DataFrame, what: str) -> None:
    if runs.duplicated(RUN).any():
        model, run = runs.loc[runs.duplicated(RUN), RUN].iloc[0]
        raise UserError(f"run '{run}' of '{model}' stands twice in the table of runs")
    known = set(runs[RUN].itertuples(index=False, name=None))
    found = set(traces[RUN].drop_duplicates().itertuples(index=False, name=None))
    for model, run in sorted(found - known):
        raise UserError(f"there are {what} of run '{run}' of '{model}', which is not in the table of runs")
    for model, run in sorted(known - found):
        raise UserError(f"there are no {what} of run '{run}' of '{model}'")


def _frame(rows: list[dict[str, object]]) -> pd.DataFrame:
    if not rows:
        raise UserError("the table of runs is empty")
    return pd.DataFrame(rows)[CURVES.names]
