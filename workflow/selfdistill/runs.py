"""On-policy training runs as rows: the configuration's lists, multiplied out.

Imports nothing heavy; the workflow calls it while it builds the graph.
"""

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from selfdistill.errors import UserError


@dataclass(frozen=True)
class Run:
    """One training run; the fields are those of a row of the configuration, one value each."""

    model: str
    method: str
    learning_rate: float
    context: str
    teacher_update_rate: float
    top_k: int
    problem_set: str
    problems: int | None
    draw: int
    seed: int
    batch_size: int

    @property
    def id(self) -> str:
        """A short name, unique within a model: what differs from the simplest run of its method, and the rate."""
        sdpo = self.method == "sdpo"
        parts = [
            self.method,
            "nothink" if self.context == "solution_without_thinking" else "",
            f"ema{self.teacher_update_rate:g}" if sdpo and self.teacher_update_rate else "",
            self.problem_set,
            "" if self.problems is None else f"n{self.problems}",
            "" if self.problems is None else f"draw{self.draw}",
            f"lr{self.learning_rate:g}",
            f"k{self.top_k}" if sdpo else "",
            f"seed{self.seed}",
        ]
        return "-".join(part for part in parts if part)

    @property
    def flags(self) -> str:
        """The run as flags of the training stage; what its method does not have is left out."""
        subset = "" if self.problems is None else f"--subset {self.problems} --draw {self.draw}"
        sdpo = (
            f"--context {self.context} --teacher-update-rate {self.teacher_update_rate} "
            f"--distillation-top-k {self.top_k}"
        )
        common = f"--method {self.method} --learning-rate {self.learning_rate} --batch-size {self.batch_size}"
        return f"{common} {subset} {sdpo if self.method == 'sdpo' else ''}"


def expand(rows: Iterable[Mapping[str, Any]]) -> list[Run]:
    """The runs of ``rows``, where a value that is a list stands for each of its members; equal runs appear once.

    Draws are for parts of a problem set: the whole set has only one. GRPO has neither context nor teacher.
    """
    runs: dict[tuple[str, str], Run] = {}
    for row in rows:
        lists = [value if isinstance(value, list) else [value] for value in row.values()]
        for values in itertools.product(*lists):
            run = _plain(Run(**dict(zip(row, values, strict=True))))
            known = runs.setdefault((run.model, run.id), run)
            if known != run:
                raise UserError(f"config: onpolicy.runs: two runs of '{run.model}' are called '{run.id}'")
    return list(runs.values())


def _plain(run: Run) -> Run:
    fields = asdict(run)
    if run.problems is None:
        fields["draw"] = 0
    if run.method == "grpo":
        fields |= {"context": "none", "teacher_update_rate": 0.0, "top_k": 0}
    return Run(**fields)


def table(
    runs: Iterable[Run],
    *,
    study: str,
    families: Mapping[str, str],
    thinking: Mapping[str, str],
    sizes: Mapping[str, int],
) -> pd.DataFrame:
    """Rows of the `runs` schema; ``families`` and ``thinking`` by model, ``sizes`` (problems) by problem set."""
    rows = []
    for run in runs:
        fields = asdict(run)
        del fields["batch_size"]
        sdpo = run.method == "sdpo"
        fields |= {
            "study": study,
            "run": run.id,
            "family": families[run.model],
            "thinking": thinking[run.model],
            "whole_set": run.problems is None,
            "problems": sizes[run.problem_set] if run.problems is None else run.problems,
            "teacher_update_rate": run.teacher_update_rate if sdpo else None,
            "top_k": run.top_k if sdpo else None,
        }
        rows.append(fields)
    frame = pd.DataFrame(rows)
    return frame.astype({"top_k": "Int32", "teacher_update_rate": "float64"})
