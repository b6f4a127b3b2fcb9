"""Every rollout of a run, kept step by step as rows of the traces table."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from selfdistill import tables
from selfdistill.generation import traces
from selfdistill.tables import COUNT_MODES, MARKER_COLUMNS


@dataclass(frozen=True)
class RolloutRecord:
    """One table per step in ``folder``; a step drawn again after a kill replaces its table by the same rows."""

    folder: Path
    study: str
    model: str
    run: str

    def annotate(self, generated: pd.DataFrame, problems: pd.DataFrame, *, step: int, opened: bool) -> pd.DataFrame:
        """Drawn responses, graded and counted, as rows of the `traces` schema."""
        labels = {"study": self.study, "model": self.model, "run": self.run, "stage": "training", "setting": self.run}
        return traces.annotate(generated, problems, **labels, step=step, opened=opened)

    def save(self, rollouts: pd.DataFrame, step: int) -> None:
        """Write one step's rollouts."""
        tables.write(rollouts, self.folder / f"step-{step:05d}.parquet", "traces")

    def all(self, steps: int) -> pd.DataFrame:
        """The rollouts of steps 1 to ``steps``."""
        return pd.concat(
            [tables.read(self.folder / f"step-{step:05d}.parquet", "traces") for step in range(1, steps + 1)]
        )

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
