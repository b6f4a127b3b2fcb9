"""What the claims ledger is tested on: every set of responses of a study, as means per problem."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from selfdistill import tables
from selfdistill.analysis import alignment as aligned
from selfdistill.analysis.responses import read_runs, same_questions
from selfdistill.errors import UserError
from selfdistill.generation.contexts import first_correct
from selfdistill.generation.requests import WORDED
from selfdistill.markers.counting import MARKERS
from selfdistill.prompts import remove_thinking

LABELS: dict[str, Any] = {  # of a set of responses, and what it has where a label does not apply
    "of": "", "family": "", "thinking": "on", "base": "", "seed": 0, "problem_set": "", "setting": "", "data": "",
    "learning_rate": np.nan, "method": "", "context": "", "teacher_update_rate": 0.0, "top_k": 0, "outcome": "",
    "place": "", "whole": True, "seen": np.nan, "exposures": np.nan, "when": "last", "progress": np.nan,
    "benchmark": "", "file": "",
}  # fmt: skip
MARKS = {f"substring_{marker}": marker for marker in MARKERS}
# In the microcosm these two are steps of the procedure: "likely" closes what is given up, "check" announces a check.
PROCEDURE = ("likely", "check")
DOUBT = [marker for marker in MARKERS if marker not in PROCEDURE]
SELECTION = "selection"  # the setting whose responses are the solutions that are shown
TENTHS = 10


@dataclass(frozen=True)
class Units:
    """Sets of responses.

    ``cells``: one row per set, columns `LABELS`; ``base`` is the base model, the model whose weights were trained, and
    ``seed`` that of the training. ``values``: per row, in that order, by problem_id the number of responses
    (``rollouts``) and means over them: score, L, E, doubt, each marker, accepted and verified answers, and ``kept`` of
    solutions.
    """

    cells: pd.DataFrame
    values: Sequence[pd.DataFrame]


Part = tuple[dict[str, Any], pd.DataFrame]


def units(parts: Iterable[Part]) -> Units:
    """`Units` of sets of responses: their labels and values."""
    found = list(parts)
    cells = pd.DataFrame([{**LABELS, **labels} for labels, _ in found], columns=list(LABELS))
    return Units(cells, [values for _, values in found])


def read_units(
    *,
    guidance: Sequence[Path],
    information: Sequence[Path],
    alignment: Sequence[Path],
    selection: Sequence[Path],
    sets: Sequence[Path],
    sft: Sequence[Path],
    sft_runs: Path,
    runs: Path,
    rollouts: Sequence[Path],
    evaluations: Sequence[Path],
    bases: Sequence[Path],
    models: Mapping[str, Mapping[str, str]],
    window: int,
    rollouts_per_prompt: int,
) -> Units:
    """All sets of responses of a study, read from its tables; files are named by their place in the results folder.

    Model and data of ``sets``, and model, run and benchmark of ``sft`` are read off the paths. ``models``: by name, the
    family, "thinking" ("on" or "off") and "base", the model whose weights it uses. ``window``: steps of the first and
    last window of training; ``rollouts_per_prompt``: responses per prompt and step.
    """
    root = runs.parent.parent
    rows = tables.read(runs, tables.RUNS)
    tuned = tables.read(sft_runs, tables.SFT_RUNS).set_index(["model", "run"])
    parts: list[Part] = []
    shown: dict[str, set[str]] = {}
    for path in guidance:
        traces = read_runs([path])
        parts += _placed(path, root, guidance_parts(traces, models))
        shown.setdefault(_run_of(traces)[0], set()).update(traces["problem_id"])
    for path in information:
        parts += _placed(path, root, information_parts(tables.read(path, tables.INFORMATION), models))
    for path in alignment:
        parts += _placed(path, root, alignment_parts(tables.read(path, tables.ALIGNMENT), models))
    for path in selection:
        traces = tables.read(path, tables.TRACES, ["model", "problem_id", "sample", "response", "correct"])
        traces = traces[traces["problem_id"].isin(shown.get(str(traces["model"].iloc[0]), set()))]
        parts += _placed(path, root, solution_parts(traces, models))
    for path in sets:
        parts += _placed(path, root, [set_part(path, models)])
    for path in sft:
        model, run, benchmark = path.parent.parent.name, path.parent.name, path.stem
        if run == "base" or run.startswith(WORDED):
            labels = {"data": run}
        else:
            labels = tuned.loc[(model, run), ["data", "learning_rate"]].to_dict()
        known = _of_model(model, models) | {"of": "sft", "benchmark": benchmark}
        parts += _placed(path, root, [(known | labels, values_of(read_runs([path])))])
    seen: dict[tuple[str, str], dict[str, float]] = {}
    for path in rollouts:
        traces = read_runs([path])
        found = list(training_parts(traces, rows, models, window=window, rollouts_per_prompt=rollouts_per_prompt))
        seen |= {_run_of(traces): {name: found[0][0][name] for name in ("seen", "exposures")}}
        parts += _placed(path, root, found)
    asked: dict[str, list[pd.DataFrame]] = {}
    for path in evaluations:
        traces = read_runs([path])
        of_run = seen.get(_run_of(traces), {})  # of a run that was trained elsewhere nothing is known
        parts += _placed(path, root, evaluation_parts(traces, rows, models, of_run))
        questions = traces[["model", "setting", "problem_id", "sample"]].drop_duplicates()
        asked.setdefault(_run_of(traces)[0], []).append(questions)
    for path in bases:
        traces = read_runs([path])
        model = str(traces["model"].iloc[0])
        if model in asked:
            parts += _placed(path, root, base_parts(same_questions(traces, pd.concat(asked[model])), models))
    return units(parts)


def _placed(path: Path, root: Path, parts: Iterable[Part]) -> Iterator[Part]:
    place = str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
    return ((labels | {"file": place}, values) for labels, values in parts)


def _of_model(model: str, models: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    return {name: models[model][name] for name in ("family", "thinking", "base")}


def _run_of(traces: pd.DataFrame) -> tuple[str, str]:
    return str(traces["model"].iloc[0]), str(traces["run"].iloc[0])


def guidance_parts(traces: pd.DataFrame, models: Mapping[str, Mapping[str, str]]) -> Iterator[Part]:
    """Section 3: one set per setting and model."""
    for (model, setting), part in traces.groupby(["model", "setting"]):
        yield _of_model(model, models) | {"of": "guidance", "setting": setting}, values_of(part)


def information_parts(told: pd.DataFrame, models: Mapping[str, Mapping[str, str]]) -> Iterator[Part]:
    """What contexts tell of responses, in nats, by setting; ``told``: rows of the `information` schema."""
    for (model, setting), part in told.groupby(["model", "setting"]):
        yield _of_model(model, models) | {"of": "information", "setting": setting}, _nats_of(part)


def _nats_of(told: pd.DataFrame) -> pd.DataFrame:
    by_problem = (told["given"] - told["alone"]).groupby(told["problem_id"])
    return pd.DataFrame({"information": by_problem.mean(), "rollouts": by_problem.size().astype(float)})


def alignment_parts(rows: pd.DataFrame, models: Mapping[str, Mapping[str, str]]) -> Iterator[Part]:
    """What a step does to success, in points, by loss and success, in all and by the tokens that do it.

    ``rows`` of the `alignment` schema. No step changes nothing: it stands as method "base".
    """
    for (model, benchmark), of_success in rows.groupby(["model", "benchmark"]):
        common = _of_model(str(model), models) | {"of": "alignment", "benchmark": benchmark}
        for (method, context), own in of_success.groupby(["method", "context"]):
            for outcome, place in aligned.parts():
                part = {"method": method, "context": context, "outcome": outcome, "place": place}
                yield common | part, _gains_of(own, outcome=outcome, place=place)
        problems = pd.Index(sorted(of_success["problem_id"].unique()), name="problem_id")
        yield common | {"method": "base"}, pd.DataFrame({"gain": 0.0, "rollouts": 1.0}, index=problems)


def _gains_of(rows: pd.DataFrame, **part: str) -> pd.DataFrame:
    return pd.DataFrame({"gain": aligned.by_problem(rows, **part), "rollouts": 1.0})


def solution_parts(traces: pd.DataFrame, models: Mapping[str, Mapping[str, str]]) -> Iterator[Part]:
    """The solutions that c = s shows: each problem's first correct response, and what its thinking leaves of it."""
    for model, part in traces.groupby("model"):
        values = _kept_of(part)
        if not values.empty:  # a trial shows wrong responses
            yield _of_model(str(model), models) | {"of": "solutions", "setting": "solution"}, values


def _kept_of(traces: pd.DataFrame) -> pd.DataFrame:
    kept = {
        problem: len(remove_thinking(solution.text, opened=True).strip()) / max(1, len(solution.text))
        for problem, solution in first_correct(traces).items()
    }
    values = pd.DataFrame({"kept": pd.Series(kept, dtype=float)}).rename_axis("problem_id").sort_index()
    return values.assign(rollouts=1.0)


def set_part(path: Path, models: Mapping[str, Mapping[str, str]]) -> Part:
    """Section 4: the data set in ``path``, whose folder is its model and whose name is its data."""
    columns = ["problem_id", "response_tokens", "E_substring"]
    values = _examples_of(tables.read(path, tables.SFT_EXAMPLES, columns))
    return _of_model(path.parent.name, models) | {"of": "sets", "data": path.stem}, values


def _examples_of(examples: pd.DataFrame) -> pd.DataFrame:
    return (
        examples.groupby("problem_id")
        .agg(rollouts=("response_tokens", "size"), L=("response_tokens", "mean"), E=("E_substring", "mean"))
        .astype(float)
    )


def training_parts(
    rollouts: pd.DataFrame,
    runs: pd.DataFrame,
    models: Mapping[str, Mapping[str, str]],
    *,
    window: int,
    rollouts_per_prompt: int,
) -> Iterator[Part]:
    """Sections 5 and 6: the rollouts of one run in each window of its training."""
    labels = _of_run(*_run_of(rollouts), runs, models) | {"of": "training"}
    distinct = rollouts["problem_id"].nunique()
    labels |= {"seen": float(distinct), "exposures": len(rollouts) / rollouts_per_prompt / distinct}
    sums = _sums(rollouts, ["step", "problem_id"])
    steps = sums.index.get_level_values("step").to_series(index=sums.index).astype(int)
    for when, progress, chosen in windows(steps, int(steps.max()), window):
        if chosen.any():
            yield labels | {"when": when, "progress": progress}, _means(sums[chosen].groupby("problem_id").sum())


def windows(steps: pd.Series, last: int, window: int) -> Iterator[tuple[str, float, pd.Series]]:
    """Name, progress (of a tenth: its middle, in tenths of training) and steps of every window of ``last`` steps."""
    share = steps / last
    yield "first", math.nan, steps <= window
    yield "last", math.nan, steps > last - window
    yield "whole", math.nan, steps > 0
    yield "start", math.nan, steps <= max(1, last // TENTHS)
    yield "middle", math.nan, (share > 0.2) & (share <= 0.4)
    yield "end", math.nan, share > 0.8
    tenth = -(-steps * TENTHS // last)  # rounded up
    for number in range(1, TENTHS + 1):
        yield "tenth", number - 0.5, tenth == number


def evaluation_parts(
    traces: pd.DataFrame, runs: pd.DataFrame, models: Mapping[str, Mapping[str, str]], seen: Mapping[str, float]
) -> Iterator[Part]:
    """Sections 5 and 6: one run's checkpoints, on each benchmark; ``seen`` says how many problems it saw, how often."""
    labels = _of_run(*_run_of(traces), runs, models) | {"of": "evaluation"} | dict(seen)
    steps = traces["step"].unique()
    for (benchmark, step), part in traces.groupby(["setting", "step"]):
        values = values_of(part)
        for when, progress in moments(step, steps):
            yield labels | {"benchmark": benchmark, "when": when, "progress": progress}, values


def moments(step: int, steps: Iterable[int]) -> Iterator[tuple[str, float]]:
    """What a checkpoint is among those of its run, which were evaluated after ``steps``: name and progress of each."""
    last = max(steps)
    yield "checkpoint", TENTHS * step / last
    if step == last:
        yield "last", math.nan
    if step == max((early for early in steps if 2 * early <= last), default=None):
        yield "half", math.nan


def base_parts(traces: pd.DataFrame, models: Mapping[str, Mapping[str, str]]) -> Iterator[Part]:
    """The base models, on the questions that their runs were asked."""
    for (model, benchmark), part in traces.groupby(["model", "setting"]):
        known = _of_model(model, models) | {"of": "evaluation", "benchmark": benchmark, "method": "base"}
        yield known, values_of(part)


def _of_run(model: str, run: str, runs: pd.DataFrame, models: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    row = runs[(runs["model"] == model) & (runs["run"] == run)].iloc[0]
    return _of_model(model, models) | {
        "problem_set": row["problem_set"],
        "seed": int(row["seed"]),
        "learning_rate": row["learning_rate"],
        "method": row["method"],
        "context": row["context"],
        "teacher_update_rate": 0.0 if pd.isna(row["teacher_update_rate"]) else row["teacher_update_rate"],
        "top_k": 0 if pd.isna(row["top_k"]) else int(row["top_k"]),
        "whole": bool(row["whole_set"]),
    }


def values_of(traces: pd.DataFrame) -> pd.DataFrame:
    """By problem_id, the number of responses and the means over them; `UserError` for a response that stands twice."""
    return _means(_sums(traces, ["problem_id"]))


def _sums(traces: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """The number of responses and their sums, grouped by ``by``; `Units.values` holds the means. Integers, so exact."""
    if traces.duplicated([*by, "sample"]).any():
        raise UserError(f"some samples stand twice in the traces of '{traces['setting'].iloc[0]}'")
    counted = traces[[*by, *MARKS]].rename(columns=MARKS)
    frame = counted.assign(
        score=traces["correct"].astype(int),
        L=traces["response_tokens"].astype(int),
        accepted=traces["accepted"].astype(int),
        verified=traces["verified"].astype(int),
        E=counted[list(MARKERS)].sum(axis=1),
        doubt=counted[DOUBT].sum(axis=1),
        rollouts=1,
    )
    return frame.groupby(by).sum()


def _means(sums: pd.DataFrame) -> pd.DataFrame:
    rollouts = sums["rollouts"].astype(float)
    return sums.drop(columns="rollouts").div(rollouts, axis=0).assign(rollouts=rollouts)


# By what responses are of, the kind of their table and what reduces it to values per problem.
REDUCED: dict[str, tuple[tables.Kind, Callable[[pd.DataFrame], pd.DataFrame]]] = {
    **dict.fromkeys(("guidance", "sft", "training", "evaluation"), (tables.TRACES, values_of)),
    "information": (tables.INFORMATION, _nats_of),
    "alignment": (tables.ALIGNMENT, _gains_of),
    "solutions": (tables.TRACES, _kept_of),
    "sets": (tables.SFT_EXAMPLES, _examples_of),
}


@cache
def measured(of: str) -> frozenset[str]:
    """The columns of `Units.values` that responses have: those that come of a table without rows."""
    kind, reduce = REDUCED[of]
    return frozenset(reduce(kind.schema.empty_table().to_pandas()).columns)
