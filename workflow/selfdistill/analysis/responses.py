"""Traces reduced to what tables and curves are made of: means per problem, and which samples were correct.

Responses are read in batches and never held together, so a table's memory grows with its problems, not with its traces.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from selfdistill import tables
from selfdistill.errors import UserError
from selfdistill.tables import COUNT_MODES, MARKER_COLUMNS

MEANS = ("score", "L", *(f"E_{mode}" for mode in COUNT_MODES), "truncated", "accepted", "verified")
# Metric -> k: the chance that one of k responses to a problem is correct. With k = 1 that is the score.
PASS = {f"pass@{k}": k for k in (2, 4, 8, 16)}
MARKER_MEANS = tuple(column for mode in COUNT_MODES for column in MARKER_COLUMNS[mode])
# Columns that identify a training run.
RUN = ["model", "run"]
# All that `per_problem` reads of runs: responses and prompts of millions of rollouts stay out of memory.
RUN_COLUMNS = [*RUN, "stage", "setting", "step", "problem_id", "sample", "response_tokens", "finish_reason", "correct"]
RUN_COLUMNS += ["accepted", "verified", *MARKER_MEANS]
# Columns that one set of responses shares.
LABELS = ("study", "model", "setting")
# All that `Responses` reads of the traces table: no text.
READ = (
    *LABELS, "stage", "problem_id", "sample", "correct", "response_tokens", "finish_reason", "accepted", "verified",
    *MARKER_MEANS,
)  # fmt: skip
Codes = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Responses:
    """The responses to some problems in one setting, reduced.

    ``sums``: by problem_id, in order, the sums over its samples of `MEANS` and `MARKER_MEANS`, and ``samples``, their
    number. ``place``, ``sample``, ``correct``: row of ``sums``, number and reward of every response.
    """

    study: str
    model: str
    setting: str
    sums: pd.DataFrame
    place: Codes
    sample: Codes
    correct: npt.NDArray[np.bool_]

    @property
    def means(self) -> pd.DataFrame:
        """Means over a problem's samples: score, L, E, each marker, share truncated. The authors average so as well.

        Also `PASS`, null for a problem with fewer samples than k.
        """
        return _means(self.sums)

    @property
    def points(self) -> pd.DataFrame:
        """100 where correct, else 0 [problems, samples]; null beyond the samples of a problem that has fewer.

        `UserError` where one of a problem's samples is missing before its last.
        """
        last = np.zeros(len(self.sums), dtype=np.int64)
        np.maximum.at(last, self.place, self.sample)
        if (last + 1 != self.sums["samples"]).any():
            raise UserError("some problems of an evaluation lack samples before their last")
        wide = np.full((len(self.sums), int(last.max()) + 1), np.nan)
        wide[self.place, self.sample] = 100.0 * self.correct
        return pd.DataFrame(wide, index=self.sums.index)

    def of(self, problems: pd.Index) -> "Responses":
        """Those to ``problems`` (problem_id) alone."""
        kept = self.sums.index.isin(problems)
        moved, rows = np.cumsum(kept) - 1, kept[self.place]
        return replace(
            self,
            sums=self.sums[kept],
            place=moved[self.place[rows]],
            sample=self.sample[rows],
            correct=self.correct[rows],
        )


def read(path: Path) -> Responses:
    """The responses of a traces table, all of one model in one setting; `UserError` as `reduce`."""
    return reduce(tables.batches(path, tables.TRACES, READ), str(path))


def reduce(batches: Iterable[pd.DataFrame], where: str) -> Responses:
    """The responses in ``batches`` (columns `READ`), which may part a problem's samples anywhere.

    ``where`` they come from is said in errors: there are none, they are of several settings, or a sample of a problem
    stands twice.
    """
    codes: dict[str, int] = {}
    sums, places, samples, correct = [], [], [], []
    labels: set[tuple[str, ...]] = set()
    stages: dict[str, None] = {}
    for batch in batches:
        local, names = pd.factorize(batch["problem_id"])
        known = np.array([codes.setdefault(name, len(codes)) for name in names], dtype=np.int64)
        places.append(known[local])
        samples.append(batch["sample"].to_numpy(dtype=np.int64))
        correct.append(batch["correct"].to_numpy(dtype=bool))
        sums.append(_sums(batch))
        labels |= set(batch[list(LABELS)].drop_duplicates().itertuples(index=False, name=None))
        stages |= dict.fromkeys(batch["stage"].unique())
    if not labels:
        raise UserError(f"{where}: no traces")
    if len(labels) > 1:
        kinds = " and ".join("/".join(kind) for kind in sorted(labels))
        raise UserError(f"{where}: traces of {kinds} in one table")
    study, model, setting = labels.pop()
    total = pd.concat(sums).groupby(level=0).sum()
    place, sample = total.index.get_indexer(list(codes))[np.concatenate(places)], np.concatenate(samples)
    if len(np.unique(place * (sample.max() + 1) + sample)) != len(place):
        found = ", ".join(stages)
        raise UserError(f"some samples stand twice in the traces of '{setting}' (stages found: {found})")
    return Responses(study, model, setting, total, place, sample, np.concatenate(correct))


def per_problem(traces: pd.DataFrame) -> pd.DataFrame:
    """`Responses.means` of ``traces`` of whatever kind: by problem_id, means over its samples."""
    if traces.duplicated(["problem_id", "sample"]).any():
        setting, stages = traces["setting"].iloc[0], ", ".join(traces["stage"].unique())
        raise UserError(f"some samples stand twice in the traces of '{setting}' (stages found: {stages})")
    return _means(_sums(traces))


def pass_at(k: int, samples: pd.Series, correct: pd.Series) -> pd.Series:
    """The chance that one of ``k`` responses is correct, by problem, from ``correct`` of ``samples``: unbiased.

    1 - C(samples - correct, k) / C(samples, k) (Chen et al. 2021, "Evaluating large language models trained on code");
    null where there are fewer samples than ``k``.
    """
    wrong, none = samples - correct, pd.Series(1.0, samples.index)
    for drawn in range(k):
        none *= (wrong - drawn).clip(lower=0) / (samples - drawn)
    return (1 - none).where(samples >= k)


def _means(sums: pd.DataFrame) -> pd.DataFrame:
    means = sums[[*MEANS, *MARKER_MEANS]].div(sums["samples"], axis=0)
    return means.assign(**{name: pass_at(k, sums["samples"], sums["score"]) for name, k in PASS.items()})


def _sums(traces: pd.DataFrame) -> pd.DataFrame:
    """Sums of `MEANS` and `MARKER_MEANS` and the number of samples, by problem_id. Integers, so the sums are exact."""
    totals = {f"E_{mode}": traces[columns].sum(axis=1) for mode, columns in MARKER_COLUMNS.items()}
    frame = traces[["problem_id", *MARKER_MEANS]].assign(
        **totals,
        score=traces["correct"].astype(float),
        L=traces["response_tokens"],
        truncated=(traces["finish_reason"] == "length").astype(float),
        accepted=traces["accepted"].astype(float),
        verified=traces["verified"].astype(float),
        samples=1,
    )
    return frame.groupby("problem_id")[[*MEANS, *MARKER_MEANS, "samples"]].sum().astype(float)


def read_runs(paths: Iterable[Path]) -> pd.DataFrame:
    """`RUN_COLUMNS` of the traces in ``paths``, below one another."""
    return pd.concat([tables.read(path, tables.TRACES, RUN_COLUMNS) for path in paths])


def same_questions(base: pd.DataFrame, evaluations: pd.DataFrame) -> pd.DataFrame:
    """The rows of ``base`` (traces of base models) that ask what the runs in ``evaluations`` were asked, as often."""
    asked = ["model", "setting", "problem_id", "sample"]
    return base.merge(evaluations[asked].drop_duplicates(), on=asked)
