"""The rollouts of a trainer step: in memory, as rows of the traces table, and in numbers.

A group is the rollouts of one prompt instance, consecutive in a step.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from selfdistill import tables
from selfdistill.errors import UserError
from selfdistill.generation import traces
from selfdistill.generation.requests import Completion
from selfdistill.tables import COUNT_MODES, MARKER_COLUMNS


@dataclass
class Step:
    """The n rollouts of one trainer step that this process has sampled, in the order of the data set."""

    number: int  # of the trainer step, from 1
    places: range  # theirs among the step's rollouts of all processes
    user_texts: list[str]
    prompt_ids: list[list[int]]  # the user's turn as it was rendered for the policy
    prompt_sha256: list[str]
    seeds: list[int]
    completions: list[Completion]
    answers: list[str] = field(default_factory=list)  # the right ones, once they are graded
    table: pd.DataFrame | None = None  # once they are graded: rows of the `traces` schema

    @property
    def rollouts(self) -> pd.DataFrame:
        """Rows of the `traces` schema. Raises RuntimeError before the step is graded."""
        if self.table is None:
            raise RuntimeError(f"the rollouts of step {self.number} are not graded yet")
        return self.table


@dataclass(frozen=True)
class RolloutRecord:
    """One table per step in ``folder``; a step sampled again after a kill replaces its table by the same rows."""

    folder: Path
    study: str
    model: str
    run: str
    answer_in: str = "box"  # where responses have their answers

    def annotate(self, generated: pd.DataFrame, problems: pd.DataFrame, *, step: int, opened: bool) -> pd.DataFrame:
        """Drawn responses, graded and counted, as rows of the `traces` schema."""
        labels = {"study": self.study, "model": self.model, "run": self.run, "stage": "training", "setting": self.run}
        return traces.annotate(generated, problems, **labels, step=step, opened=opened, answer_in=self.answer_in)

    def save(self, rollouts: pd.DataFrame, step: int) -> None:
        """Write one step's rollouts."""
        tables.write(rollouts, self._path(step), tables.TRACES)

    def holds(self, step: int) -> bool:
        """Whether one step's rollouts are there and undamaged."""
        try:
            tables.read(self._path(step), tables.TRACES)
        except UserError:
            return False
        return True

    def all(self, steps: int) -> pd.DataFrame:
        """The rollouts of steps 1 to ``steps``."""
        try:
            return pd.concat([tables.read(self._path(step), tables.TRACES) for step in range(1, steps + 1)])
        except UserError as error:
            raise UserError(f"{error}; the same command, started again, trains that step again") from None

    def _path(self, step: int) -> Path:
        return self.folder / f"step-{step:05d}.parquet"

    @staticmethod
    def summary(rollouts: pd.DataFrame) -> dict[str, float]:
        """Means over one step's rollouts: score, L, E in both countings, each marker, share truncated."""
        marked = {f"E_{mode}": rollouts[columns].sum(axis=1).mean() for mode, columns in MARKER_COLUMNS.items()}
        markers = {name: rollouts[name].mean() for mode in COUNT_MODES for name in MARKER_COLUMNS[mode]}
        return {
            "score": rollouts["correct"].mean(),
            "L": rollouts["response_tokens"].mean(),
            "truncated": (rollouts["finish_reason"] == "length").mean(),
            **marked,
            **markers,
        }


def groups_of(rollouts: int, size: int) -> Iterator[range]:
    """The numbers of the rollouts of each group; `UserError` when ``rollouts`` are no whole groups of ``size``."""
    if size < 1 or rollouts % size:
        raise UserError(f"{rollouts} rollouts do not divide into groups of {size}")
    return (range(start, start + size) for start in range(0, rollouts, size))


def group_statistics(correct: Sequence[bool], *, group_size: int) -> dict[str, float]:
    """Fractions of a step's groups and rollouts, which tell how much of a batch can teach (0 to 1).

    ``all_fail``, ``lone_success`` and ``all_success``: groups with no, exactly one and only correct rollouts;
    ``with_demonstration``: rollouts that have a correct peer. A lone success can teach its peers, and learn nothing
    itself. Raises `UserError` when ``correct`` are no whole groups, or none.
    """
    if not correct:
        raise UserError("a step without rollouts has no group statistics")
    counts = [sum(map(bool, correct[group.start : group.stop])) for group in groups_of(len(correct), group_size)]
    taught = [0 if count == 0 else group_size - (count == 1) for count in counts]
    return {
        "all_fail": counts.count(0) / len(counts),
        "lone_success": counts.count(1) / len(counts),
        "all_success": counts.count(group_size) / len(counts),
        "with_demonstration": sum(taught) / len(correct),
    }
