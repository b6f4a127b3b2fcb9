"""On-policy runs as curves (Sections 5 and 6): training and evaluation against trainer steps, and what they end at.

Runs that differ only by model (of one family), draw of problems or seed are replicates: one arm, one curve. Those of
one base model are averaged before anything else; a curve is the mean over base models.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import pandas as pd

from selfdistill.analysis import quantities
from selfdistill.analysis.arms import ARM, DIFFERENCE
from selfdistill.analysis.quantities import Quantity
from selfdistill.analysis.responses import MARKER_MEANS, MEANS, PASS, RUN, RUN_COLUMNS, per_problem
from selfdistill.analysis.summaries import DEEP, RELATIVE, TOTALS, V, column, divided, relative
from selfdistill.errors import UserError
from selfdistill.tables import COUNT_MODES, CURVES
from selfdistill.training.settings import TRAINED

BASE = "base"
EVALUATED = ("avg", *(name for name in MEANS if name != "score"), *MARKER_MEANS, *PASS, DEEP)
DIFFERENCES = ("avg", "L", *(f"E_{mode}" for mode in COUNT_MODES), *MARKER_MEANS, *PASS, DEEP)
Run = tuple[str, str]  # model and run
# The runs of one arm, by base model.
Cells = Mapping[str, list[pd.DataFrame]]


def training_curves(rollouts: pd.DataFrame, runs: pd.DataFrame, *, window: int, confidence: float) -> pd.DataFrame:
    """Means over the rollouts of every ``window`` steps, in the `curves` schema: score, L, E, densities, V, truncated.

    ``rollouts``: traces of training; ``runs``: the `runs` schema. Windows cover steps 1 to ``window`` and so on, are
    labelled by their last step, and the last may be shorter. A value is the mean over base models of the mean over
    their runs of the mean over rollouts: problems weigh by their rollouts. Intervals: see `estimates`; the spread
    between base models is that of the arms' last windows. `UserError` if a run has no rollouts, or rollouts no run.
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
    found: list[Quantity] = []
    for arm, members in _arms(runs):
        steps = _steps(cells, members)
        for step in steps:
            parts = _by_model((model, cells[model, run, step]) for model, run in members if (model, run, step) in cells)
            labels = {**arm, "benchmark": "", "step": step} | _behind(parts)
            found += _training(labels, parts, standard=step == steps[-1])
    return _frame(found, confidence)


def evaluation_curves(evaluations: pd.DataFrame, runs: pd.DataFrame, *, confidence: float) -> pd.DataFrame:
    """Evaluations of the base model (step 0) and of each checkpoint, in the `curves` schema, per arm and benchmark.

    Metrics: avg (percent), L, E, densities, V, truncated, every marker, pass@k, and avg over the problems with the
    most samples where some have fewer; but for step 0 also the differences to the base of avg, L, E, V, markers and
    pass@k, taken problem by problem against the base of the run's own model, and the change of avg in percent of the
    base's.
    ``evaluations``: traces of the runs, and of run "base" of each of their models. On the problems that it trains on
    (benchmark `TRAINED`) each run is set against the base on its own ones. A value is the mean over base models of the
    mean over their runs of the mean over problems. Intervals: see `estimates`; the spread between base models is that
    of the arms' last checkpoints, over all benchmarks.
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
    units = units.assign(avg=100 * units["score"], **{name: 100 * units[name] for name in PASS})
    most = units.groupby([*RUN, "benchmark", "step"])["rollouts"].agg(["min", "max"])
    most = units[[*RUN, "benchmark", "step"]].merge(most.reset_index())
    is_deep = (units["rollouts"].to_numpy() == most["max"]) & (most["min"] < most["max"])
    units[DEEP] = units["avg"].where(is_deep.to_numpy())
    cells = dict(list(units.groupby([*RUN, "benchmark", "step"])))
    found: list[Quantity] = []
    for arm, members in _arms(runs):
        for benchmark in sorted({key[2] for key in cells if key[:2] in members}):
            here = {(*key[:2], key[3]): cell for key, cell in cells.items() if key[2] == benchmark}
            here |= {(*member, 0): _base(cells, *member, benchmark) for member in members}
            steps_here = _steps(here, members)
            bases = _by_model((member[0], here[*member, 0]) for member in members)
            for step in steps_here:
                parts = _by_model((member[0], _at(here, member, step, benchmark)) for member in members)
                labels = {**arm, "benchmark": benchmark, "step": step} | _behind(parts)
                found += _evaluation(labels, parts, bases if step else None, standard=step == steps_here[-1])
    return _frame(found, confidence)


def _units(traces: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """`per_problem` within each combination of ``keys``: its columns, the keys, problem_id and rollouts (number)."""
    columns = [*keys, "problem_id"]
    unit = traces.groupby(columns, sort=True).ngroup()
    labels = traces[columns].assign(unit=unit).drop_duplicates("unit").set_index("unit").sort_index()
    means = per_problem(traces.assign(problem_id=unit))
    return labels.join(means).assign(rollouts=unit.value_counts().sort_index())


def _arms(runs: pd.DataFrame) -> Iterator[tuple[dict[str, object], list[Run]]]:
    """Each arm and its runs, as (model, run)."""
    for _, members in runs.sort_values(RUN).groupby(list(ARM), dropna=False):
        arm = {name: members[name].iloc[0] for name in ARM}
        yield arm, list(members[RUN].itertuples(index=False, name=None))


def _steps(cells: Mapping[tuple, pd.DataFrame], members: list[Run]) -> list[int]:
    return sorted({int(key[2]) for key in cells if key[:2] in members})


def _base(cells: Mapping[tuple, pd.DataFrame], model: str, run: str, benchmark: str) -> pd.DataFrame:
    if (model, BASE, benchmark, 0) not in cells:
        raise UserError(f"run '{run}' was evaluated on '{benchmark}', its base model '{model}' was not")
    base = cells[model, BASE, benchmark, 0]
    if benchmark != TRAINED:
        return base
    asked = next(cell["problem_id"] for key, cell in cells.items() if key[:3] == (model, run, benchmark))
    return base[base["problem_id"].isin(asked)]


def _at(cells: Mapping[tuple, pd.DataFrame], member: Run, step: int, benchmark: str) -> pd.DataFrame:
    if (*member, step) not in cells:
        raise UserError(
            f"run '{member[1]}' of '{member[0]}' was not evaluated on '{benchmark}' after step {step}, "
            "other runs of the same arm were"
        )
    return cells[*member, step]


def _by_model(cells: Iterable[tuple[str, pd.DataFrame]]) -> Cells:
    """``cells`` of runs, each with its base model, by base model."""
    found: dict[str, list[pd.DataFrame]] = {}
    for model, cell in cells:
        found.setdefault(model, []).append(cell)
    return found


def _behind(parts: Cells) -> dict[str, object]:
    """The number of runs and samples behind one point, and what its interval is over."""
    cells = [cell for own in parts.values() for cell in own]
    return {
        "runs": len(cells),
        "samples": int(sum(cell["rollouts"].sum() for cell in cells)),
        "band": _band(parts),
        "origin": "measured",
    }


def _band(parts: Cells) -> str:
    """What the interval of a point is over; see `estimates.estimate`."""
    if len(parts) == 1:
        return "problems"
    sets = [{problem for cell in own for problem in cell["problem_id"]} for own in parts.values()]
    times = Counter(problem for own in sets for problem in own)
    shared = sum(number for number in times.values() if number > 1)
    return "base models and problems" if shared > len(parts) else "base models"


def _training(labels: dict[str, object], parts: Cells, *, standard: bool) -> Iterator[Quantity]:
    """The metrics of one window: ratios of totals over rollouts, per problem, and of markers to tokens."""
    totals = {model: _totals(own) for model, own in parts.items()}
    ratios = {name: (name, "weight", 1.0) for name in MEANS} | TOTALS
    for metric, (top, bottom, factor) in ratios.items():
        values = divided(column(totals, top), column(totals, bottom), factor)
        if values:
            yield _quantity(labels, metric, values, standard)


def _totals(runs: list[pd.DataFrame]) -> pd.DataFrame:
    """Per problem, its share of a base model's rollouts (weight) and its metrics times that share; runs count alike."""
    parts = []
    for run in runs:
        weight = run["rollouts"] / run["rollouts"].sum()
        values = run[list(MEANS)].mul(weight, axis=0)
        parts.append(values.assign(weight=weight, problem_id=run["problem_id"]))
    return pd.concat(parts).groupby("problem_id").sum()


def _evaluation(labels: dict[str, object], parts: Cells, bases: Cells | None, *, standard: bool) -> Iterator[Quantity]:
    """Metrics of the runs ``parts`` and, given their ``bases``, the paired differences to these."""
    _check_problems(parts, bases, own=labels["benchmark"] == TRAINED)
    means = _means(parts)
    for metric in EVALUATED:
        yield from _known(labels, metric, column(means, metric), standard)
    for metric, values in _ratios(means).items():
        yield _quantity(labels, metric, values, standard)
    if bases is not None:
        before = _means(bases)
        after, start = (_ratios(each).get(V) for each in (means, before))
        if after and start:
            gained = {model: own - start[model] for model, own in after.items()}
            yield _quantity(labels, V + DIFFERENCE, gained, standard)
        for metric in DIFFERENCES:
            changes = {model: own[metric] - before[model][metric] for model, own in means.items()}
            yield from _known(labels, metric + DIFFERENCE, changes, standard)
        change = relative(column(means, "avg"), column(before, "avg"))
        if change:
            yield _quantity(labels, RELATIVE, change, standard)


def _ratios(means: Mapping[str, pd.DataFrame]) -> dict[str, dict[str, pd.Series]]:
    """Ratios of totals over problems, by metric and base model; those without a denominator left out."""
    found = {
        metric: divided(column(means, top), column(means, bottom), factor)
        for metric, (top, bottom, factor) in TOTALS.items()
    }
    return {metric: values for metric, values in found.items() if values}


def _known(labels: dict[str, object], metric: str, values: dict[str, pd.Series], standard: bool) -> Iterator[Quantity]:
    """A metric over the problems that have it; nothing where a base model has none of them."""
    known = {model: own.dropna() for model, own in values.items()}
    if all(len(own) for own in known.values()):
        yield _quantity(labels, metric, known, standard)


def _means(parts: Cells) -> dict[str, pd.DataFrame]:
    """Means over the runs of each base model, by problem_id."""
    cells = {model: pd.concat(own).set_index("problem_id")[list(EVALUATED)] for model, own in parts.items()}
    return {model: own.groupby(level=0).mean() for model, own in cells.items()}


def _check_problems(parts: Cells, bases: Cells | None, *, own: bool) -> None:
    """`UserError` unless all runs and their bases have the same problems; with ``own``, each run those of its base."""
    after, before = ([cell for cells in each.values() for cell in cells] for each in (parts, bases or parts))
    for pair in zip(after, before, strict=True) if own else [(*after, *before)]:
        _check_same(list(pair))


def _check_same(cells: list[pd.DataFrame]) -> None:
    first = cells[0]
    for cell in cells:
        if cell["problem_id"].tolist() != first["problem_id"].tolist():
            run, other, benchmark = cell["run"].iloc[0], first["run"].iloc[0], cell["benchmark"].iloc[0]
            raise UserError(f"'{run}' and '{other}' were not evaluated on the same problems of '{benchmark}'")


def _quantity(labels: dict[str, object], metric: str, values: dict[str, pd.Series], standard: bool) -> Quantity:
    kind = (labels["family"], "evaluation" if labels["benchmark"] else "training", metric)
    return Quantity({**labels, "metric": metric}, values, None if metric == RELATIVE else kind, standard)


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


def _frame(found: list[Quantity], confidence: float) -> pd.DataFrame:
    if not found:
        raise UserError("the table of runs is empty")
    return pd.DataFrame(quantities.rows(found, confidence))[CURVES.columns]
