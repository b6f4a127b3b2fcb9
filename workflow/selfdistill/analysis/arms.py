"""Arms, what replicated runs share: their words, what they end at, and the choice of GRPO's rate."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from selfdistill import tables
from selfdistill.analysis.words import rate_label
from selfdistill.errors import UserError
from selfdistill.tables import COUNT_MODES, CURVES, RUNS, SUMMARY
from selfdistill.training.settings import RELEASED

ARM = tuple(name for name in RUNS.columns if name in CURVES.columns)  # what replicates share, the study among it


DIFFERENCE = "_difference_to_base"


FINAL_TRAINING = ("score", "L", *(f"E_{mode}" for mode in COUNT_MODES), "V", "truncated")


FINAL_EVALUATION = ("avg", "L", *(f"E_{mode}" for mode in COUNT_MODES), "V", "truncated")


# Rows of the table of released checkpoints, by method and context.
END_ROWS = {"grpo": "GRPO", "sdpo": "SDPO", "sdpo solution_without_thinking": "SDPO without think"}


INTERVAL = ("low", "high", "plain_low", "plain_high", "by_model", "confidence")  # what a plain fact has none of


def run_table(rows: Mapping[str, list[Any]], problem_sets: Iterable[Path]) -> pd.DataFrame:
    """Runs by column (`Study.run_rows`) in the `runs` schema, with the sizes of the ``problem_sets`` trained on."""
    sizes = {path.stem: tables.rows(path, tables.PROBLEMS) for path in problem_sets}
    runs = pd.DataFrame(rows).astype({"top_k": "Int32", "teacher_update_rate": "float64"})
    problems = runs["problems"].where(~runs["whole_set"], runs["problem_set"].map(sizes))
    return runs.assign(problems=problems.astype(int))


def arm_label(arm: Mapping[str, Any], usual: Mapping[str, object]) -> str:
    r"""An arm in words, such as "SDPO c=s\think, lr 3e-3, EMA 0.05, k=20, thinking off, |D|=8".

    ``usual``: what goes without saying, by arm column (see `usual_values`); the rate is always said.
    """
    named = {"none": "", "solution": " c=s", "solution_without_thinking": r" c=s\think"}
    context = named.get(str(arm["context"]), f" c={arm['context']}")
    parts = [str(arm["method"]).upper() + context, "lr " + rate_label(arm["learning_rate"])]
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


def trained_here(runs: pd.DataFrame) -> pd.DataFrame:
    """The rows of ``runs`` (`runs` schema) that this study trains; of others it has the last checkpoint alone."""
    return runs[~runs["run"].str.endswith(RELEASED)]


def ends_table(curves: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """Where the arms of runs end that were trained elsewhere, as a `summary` (artifact "table_released").

    Rows are `END_ROWS`, "base" among them (step 0); models are families, with thinking switched off called
    "FAMILY, thinking off". Every metric of the evaluations is there.
    """
    elsewhere = runs[runs["run"].str.endswith(RELEASED)]
    arms = elsewhere[list(ARM)].drop_duplicates()
    ends = curves[curves["benchmark"] != ""].merge(arms, on=list(ARM))
    last = ends.groupby([*ARM, "benchmark"], dropna=False)["step"].transform("max")
    ends = ends[(ends["step"] == 0) | (ends["step"] == last)]
    context = ends["context"].where(ends["context"] == "solution_without_thinking", "")
    rows = ends["method"].str.cat(context, sep=" ").str.strip().map(END_ROWS).where(ends["step"] > 0, "base")
    models = ends["family"].where(ends["thinking"] == "on", ends["family"] + ", thinking off")
    frame = ends.assign(artifact="table_released", model=models, row=rows)
    if frame["row"].isna().any():
        raise UserError("a run that was trained elsewhere is of none of the kinds that the table of those names")
    once = frame.drop_duplicates(["study", "model", "row", "benchmark", "metric"])  # arms share their base model
    return once.drop(columns="problems").reindex(columns=SUMMARY.columns)


def final_table(
    training: pd.DataFrame, evaluation: pd.DataFrame, usual: Mapping[str, object] | None = None
) -> pd.DataFrame:
    """What every arm ends at, as a `summary` (artifact "table_onpolicy"): one row label per arm, see `arm_label`.

    Benchmark "training": score, L, E, V and share truncated of the last window of rollouts; each other benchmark, at
    the last step: L, E, V, share truncated, and avg and pass@k with their changes from the base. The metrics "runs" and
    "step" say how many runs the numbers average, and where. ``training`` and ``evaluation``: curves; ``usual``: what
    labels leave out, by default `usual_values` of both.
    """
    curves = pd.concat([training.assign(benchmark="training"), evaluation], ignore_index=True)
    wanted = curves["metric"].isin(FINAL_TRAINING).where(curves["benchmark"] == "training", False)
    shown = curves["metric"].isin(FINAL_EVALUATION) | curves["metric"].str.match(r"(avg_|pass@)")
    wanted |= shown & (curves["benchmark"] != "training")
    last = curves.groupby([*ARM, "benchmark"], dropna=False)["step"].transform("max")
    shown = curves[wanted & (curves["step"] == last)]
    return _summary(shown, usual_values(shown) if usual is None else usual)


def rate_scores(training: pd.DataFrame, *, family: str, problem_set: str) -> pd.DataFrame:
    """Mean training score over the last third of its windows (rounded up) of each learning rate of GRPO.

    Columns learning_rate, score and windows, by rate. Compared are the arms of ``family`` that train on the whole
    ``problem_set`` with thinking on, over the steps that all of them have. `UserError` if there are none.
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
    arms = arms[arms["step"] <= arms.groupby("learning_rate")["step"].max().min()]
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
            labels = {"study": study, "model": family, "row": f"GRPO, lr {rate_label(rate)}", "benchmark": problem_set}
            rows.append({**labels, "metric": "score", "value": score})
            rows.append({**labels, "metric": "chosen", "value": float(rate == chosen)})
    return pd.DataFrame(rows).assign(artifact="table_rates", origin="measured").reindex(columns=SUMMARY.columns)


def _summary(shown: pd.DataFrame, usual: Mapping[str, object]) -> pd.DataFrame:
    """Rows of curves as rows of a summary, and the number of runs and the step as metrics of their own."""
    arms = shown[list(ARM)].drop_duplicates()
    labels = [arm_label(arm, usual) for arm in arms.to_dict("records")]
    twice = arms.assign(label=labels).duplicated(["study", "label"])
    if twice.any():
        raise UserError(f"two arms would both be called '{labels[int(twice.to_numpy().argmax())]}'")
    numbers = shown.groupby(list(ARM), dropna=False, sort=False).ngroup()
    frame = shown.assign(artifact="table_onpolicy", model=shown["family"], row=[labels[number] for number in numbers])
    once = frame.drop_duplicates(["study", "row", "benchmark"]).assign(**dict.fromkeys(INTERVAL))
    facts = [once.assign(metric=name, value=once[name].astype(float)) for name in ("runs", "step")]
    # `problems` of a curve is |D|, that of a summary the number of problems behind the value.
    return pd.concat([frame, *facts], ignore_index=True).drop(columns="problems").reindex(columns=SUMMARY.columns)
