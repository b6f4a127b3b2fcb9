"""Table 3 (Section 6.1): how many questions and kinds of problem training covers, and what evaluation shares."""

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from selfdistill.errors import UserError
from selfdistill.tables import SUMMARY, UNKNOWN_TYPE

DRAW = ["model", "run", "step", "problem_id"]


def table_3(
    problem_sets: Mapping[str, pd.DataFrame],
    rollouts: pd.DataFrame,
    runs: pd.DataFrame,
    benchmarks: Mapping[str, pd.DataFrame],
    *,
    rollouts_per_prompt: int | None = None,
) -> pd.DataFrame:
    """Coverage by each problem set that some run trains on as a whole, as a `summary` (artifact "table_3").

    ``problem_sets``, ``benchmarks``: problems by name; ``rollouts``: traces of training; ``runs``: the `runs` schema.
    ``rollouts_per_prompt``: size of a group of rollouts; by default the largest that all groups can have.

    Of a set: questions, problem_types, draws (prompts drawn by a run), distinct (questions among them),
    distinct_per_draw and distinct_per_question (percent), and the distinct questions to be expected with replacement
    and without. What differs between runs is their mean, whatever their model. Of a set and a benchmark: percent of
    the benchmark's problems that stand in the set (shared_questions), and whose type does (shared_types; left out where
    types are not known).
    Nothing is sampled from a population here: no number has an interval.
    """
    rows = []
    for name, members in runs[runs["whole_set"].astype(bool)].groupby("problem_set"):
        if name not in problem_sets:
            raise UserError(f"Table 3: runs train on the problem set '{name}', which is not among those given")
        labels = {"study": members["study"].iloc[0], "artifact": "table_3", "model": "", "row": name, "benchmark": ""}
        questions = problem_sets[name]
        drawn = _drawn(rollouts, members, questions, rollouts_per_prompt)
        rows += [{**labels, "metric": metric, "value": value} for metric, value in _training(questions, drawn)]
        for benchmark, problems in benchmarks.items():
            here = {**labels, "benchmark": benchmark, "problems": len(problems)}
            rows += [{**here, "metric": metric, "value": value} for metric, value in _shared(questions, problems)]
    if not rows:
        raise UserError("Table 3: no run trains on a whole problem set")
    return pd.DataFrame(rows).assign(origin="measured").reindex(columns=SUMMARY.columns)


def expected_distinct(questions: float, draws: float) -> float:
    """Distinct ones among ``draws`` of ``questions`` when each is drawn uniformly from all of them: with replacement.

    Without it, as in passes over a shuffled set, there are min(``questions``, ``draws``).
    """
    return float(-questions * np.expm1(draws * np.log1p(-1 / questions))) if questions > 1 else min(questions, draws)


def _drawn(
    rollouts: pd.DataFrame, runs: pd.DataFrame, questions: pd.DataFrame, rollouts_per_prompt: int | None
) -> pd.DataFrame:
    """Draws and distinct questions of each run."""
    keys = pd.MultiIndex.from_frame(runs[["model", "run"]])
    sizes = rollouts.groupby(DRAW).size().rename("rollouts").reset_index().merge(runs[["model", "run"]])
    group = rollouts_per_prompt or int(np.gcd.reduce(sizes["rollouts"].to_numpy(dtype=int)))
    if group and (sizes["rollouts"] % group).any():
        raise UserError(f"Table 3: the rollouts of some prompts do not come in groups of {group}")
    strange = sizes.loc[~sizes["problem_id"].isin(questions["problem_id"])]
    if len(strange):
        raise UserError(f"Table 3: run '{strange['run'].iloc[0]}' drew problems that are not in its problem set")
    drawn = sizes.groupby(["model", "run"]).agg(draws=("rollouts", "sum"), distinct=("problem_id", "nunique"))
    missing = keys.difference(drawn.index)
    if len(missing):
        raise UserError(f"Table 3: there are no rollouts of run '{missing[0][1]}' of '{missing[0][0]}'")
    return drawn.assign(draws=drawn["draws"] / group)


def _training(questions: pd.DataFrame, drawn: pd.DataFrame) -> Iterator[tuple[str, float]]:
    number, draws, distinct = questions["problem_id"].nunique(), drawn["draws"], drawn["distinct"]
    yield "questions", float(number)
    types = _types(questions)
    if len(types):
        yield "problem_types", float(types.nunique())
    yield "runs", float(len(drawn))
    yield "draws", draws.mean()
    yield "distinct", distinct.mean()
    yield "distinct_per_draw", 100 * (distinct / draws).mean()
    yield "distinct_per_question", 100 * distinct.mean() / number
    yield "expected_distinct_with_replacement", draws.map(lambda drawn: expected_distinct(number, drawn)).mean()
    yield "expected_distinct_without_replacement", draws.clip(upper=number).mean()


def _shared(questions: pd.DataFrame, problems: pd.DataFrame) -> Iterator[tuple[str, float]]:
    yield "shared_questions", 100 * problems["problem_id"].isin(questions["problem_id"]).mean()
    types = _types(problems)
    if len(types) == len(problems) and len(_types(questions)):
        yield "shared_types", 100 * types.isin(_types(questions)).mean()


def _types(problems: pd.DataFrame) -> pd.Series:
    """The types that are known."""
    types = problems["problem_type"].fillna("")
    return types[~types.isin(["", UNKNOWN_TYPE])]
