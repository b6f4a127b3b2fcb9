"""On-policy runs as curves (Sections 5 and 6): training and evaluation against trainer steps, and what they end at.

Runs that differ only by model (of one family), draw of problems or seed are replicates: one arm, one curve.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from selfdistill.artifacts import DENSITIES
from selfdistill.errors import UserError
from selfdistill.responses import MARKER_MEANS, MEANS, per_problem
from selfdistill.statistics import Array, Bootstrap
from selfdistill.tables import COUNT_MODES, CURVES, MARKER_COLUMNS, RUNS, SUMMARY

ARM = tuple(name for name in RUNS.names if name in CURVES.names)  # what replicates share, the study among it
RUN = ["model", "run"]
BASE = "base"
EVALUATED = ("avg", *(name for name in MEANS if name != "score"), *MARKER_MEANS)
DIFFERENCES = ("avg", "L", *(f"E_{mode}" for mode in COUNT_MODES), *MARKER_MEANS)
DIFFERENCE = "_difference_to_base"
# All that `per_problem` reads: responses and prompts of millions of rollouts stay out of memory.
READ = [*RUN, "stage", "setting", "step", "problem_id", "sample", "response_tokens", "finish_reason", "correct"]
READ += [column for mode in COUNT_MODES for column in MARKER_COLUMNS[mode]]
FINAL_TRAINING = ("score", "L", *(f"E_{mode}" for mode in COUNT_MODES))
FINAL_EVALUATION = ("avg", f"avg{DIFFERENCE}")


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
    units = _units(rollouts[READ].assign(step=np.minimum(ends, last), sample=numbers), [*RUN, "step"])
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
    units = _units(evaluations[READ].assign(step=steps, benchmark=evaluations["setting"]), [*RUN, "benchmark", "step"])
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


def arm_label(arm: Mapping[str, Any], usual: Mapping[str, object]) -> str:
    r"""An arm in words, such as "SDPO c=s\think, lr 3e-3, EMA 0.05, k=20, thinking off, |D|=8".

    ``usual``: what goes without saying, by arm column (see `usual_values`); the rate is always said.
    """
    context = {"none": "", "solution": " c=s", "solution_without_thinking": r" c=s\think"}[str(arm["context"])]
    parts = [str(arm["method"]).upper() + context, "lr " + _rate(arm["learning_rate"])]
    said = {
        "teacher_update_rate": "fixed teacher" if arm["teacher_update_rate"] == 0 else "EMA {:g}",
        "top_k": "k={:g}",
        "thinking": "thinking {}",
        "problem_set": "{}",
        "family": "{}",
    }
    for column, text in said.items():
        if not pd.isna(arm[column]) and arm[column] != usual.get(column):
            parts.append(text.format(arm[column]))
    return ", ".join(parts if arm["whole_set"] else [*parts, f"|D|={arm['problems']:g}"])


def usual_values(arms: pd.DataFrame) -> dict[str, object]:
    """What `arm_label` need not say of ``arms`` (arm columns): a fixed teacher, thinking, a family that is the only
    one, and the k and the problem set of most arms (of equally many, the largest k and the first set by name).
    """
    usual: dict[str, object] = {"teacher_update_rate": 0.0, "thinking": "on"}
    if arms["family"].nunique() == 1:
        usual["family"] = arms["family"].iloc[0]
    distinct = arms.drop_duplicates(list(ARM))
    for column, ascending in (("top_k", False), ("problem_set", True)):
        numbers = distinct[column].value_counts().sort_index(ascending=ascending)
        if len(numbers):
            usual[column] = numbers.index[int(numbers.to_numpy().argmax())]
    return usual


def final_table(
    training: pd.DataFrame, evaluation: pd.DataFrame, usual: Mapping[str, object] | None = None
) -> pd.DataFrame:
    """What every arm ends at, as a `summary` (artifact "table_onpolicy"): one row label per arm, see `arm_label`.

    Benchmark "training": score, L and E of the last window of rollouts; each other benchmark: avg and its difference
    to the base at the last step. The metrics "runs" and "step" say how many runs the numbers average, and where.
    ``training`` and ``evaluation``: curves; ``usual``: what labels leave out, by default `usual_values` of both.
    """
    curves = pd.concat([training.assign(benchmark="training"), evaluation], ignore_index=True)
    wanted = curves["metric"].isin(FINAL_TRAINING).where(curves["benchmark"] == "training", False)
    wanted |= curves["metric"].isin(FINAL_EVALUATION) & (curves["benchmark"] != "training")
    last = curves.groupby([*ARM, "benchmark"], dropna=False)["step"].transform("max")
    shown = curves[wanted & (curves["step"] == last)]
    return _summary(shown, usual_values(shown) if usual is None else usual)


def rate_scores(training: pd.DataFrame, *, family: str, problem_set: str) -> pd.DataFrame:
    """Mean training score over the last third of its windows (rounded up) of each learning rate of GRPO.

    Columns learning_rate, score and windows, by rate. Compared are the arms of ``family`` that train on the whole
    ``problem_set`` with thinking on. `UserError` if there are none.
    """
    arms = training[
        (training["metric"] == "score")
        & (training["method"] == "grpo")
        & (training["family"] == family)
        & (training["problem_set"] == problem_set)
        & training["whole_set"].astype(bool)
        & (training["thinking"] == "on")
    ]
    if arms.empty:
        raise UserError(
            f"no GRPO run of '{family}' on the whole of '{problem_set}' with thinking on to choose a rate by"
        )
    rows = []
    for rate, curve in arms.groupby("learning_rate"):
        scores = curve.sort_values("step")["value"].to_numpy()
        if curve["step"].duplicated().any():
            raise UserError(f"several GRPO arms of '{family}' on '{problem_set}' have the learning rate {rate:g}")
        windows = -(-len(scores) // 3)
        rows.append({"learning_rate": rate, "score": scores[-windows:].mean(), "windows": windows})
    return pd.DataFrame(rows)


def choose_rate(training: pd.DataFrame, *, family: str, problem_set: str) -> float:
    """The learning rate with the highest of `rate_scores`, the smaller of equals.

    The rule is fixed before any run: it reads scores of training only, none of a benchmark.
    """
    scores = rate_scores(training, family=family, problem_set=problem_set)
    return float(scores["learning_rate"].iloc[int(scores["score"].to_numpy().argmax())])


def rate_table(training: pd.DataFrame) -> pd.DataFrame:
    """`rate_scores` of every family and problem set, as a `summary` (artifact "table_rates").

    Metric "score" is the mean training score that the rule reads, "chosen" is 1 for the rate that it takes.
    """
    grpo = training[
        (training["method"] == "grpo") & (training["thinking"] == "on") & training["whole_set"].astype(bool)
    ]
    rows = []
    for (study, family, problem_set), _ in grpo.groupby(["study", "family", "problem_set"]):
        names = {"family": family, "problem_set": problem_set}
        chosen = choose_rate(training, **names)
        for rate, score in rate_scores(training, **names)[["learning_rate", "score"]].itertuples(index=False):
            labels = {"study": study, "model": family, "row": f"GRPO, lr {_rate(rate)}", "benchmark": problem_set}
            rows.append({**labels, "metric": "score", "value": score})
            rows.append({**labels, "metric": "chosen", "value": float(rate == chosen)})
    return pd.DataFrame(rows).assign(artifact="table_rates", origin="measured").reindex(columns=SUMMARY.names)


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


def _summary(shown: pd.DataFrame, usual: Mapping[str, object]) -> pd.DataFrame:
    """Rows of curves as rows of a summary, and the number of runs and the step as metrics of their own."""
    arms = shown[list(ARM)].drop_duplicates()
    labels = [arm_label(arm, usual) for arm in arms.to_dict("records")]
    twice = arms.assign(label=labels).duplicated(["study", "label"])
    if twice.any():
        raise UserError(f"two arms would both be called '{labels[int(twice.to_numpy().argmax())]}'")
    numbers = shown.groupby(list(ARM), dropna=False, sort=False).ngroup()
    frame = shown.assign(artifact="table_onpolicy", model=shown["family"], row=[labels[number] for number in numbers])
    once = frame.drop_duplicates(["study", "row", "benchmark"]).assign(low=np.nan, high=np.nan, confidence=np.nan)
    facts = [once.assign(metric=name, value=once[name].astype(float)) for name in ("runs", "step")]
    # `problems` of a curve is |D|, that of a summary the number of problems behind the value.
    return pd.concat([frame, *facts], ignore_index=True).drop(columns="problems").reindex(columns=SUMMARY.names)


def _rate(rate: float) -> str:
    """3e-4 for 0.0003."""
    mantissa, exponent = f"{rate:.6e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"


def _frame(rows: list[dict[str, object]]) -> pd.DataFrame:
    if not rows:
        raise UserError("the table of runs is empty")
    return pd.DataFrame(rows)[CURVES.names]


def same_questions(base: pd.DataFrame, evaluations: pd.DataFrame) -> pd.DataFrame:
    """The rows of ``base`` (traces of base models) that ask what the runs in ``evaluations`` were asked, as often."""
    asked = ["model", "setting", "problem_id", "sample"]
    return base.merge(evaluations[asked].drop_duplicates(), on=asked)
