"""What a finished trial has proved, from its files and their records."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from selfdistill import tables
from selfdistill.config import parse
from selfdistill.errors import UserError
from selfdistill.models import MANIFEST
from selfdistill.planning.measured import SUFFIX, measured_seconds
from selfdistill.records.provenance import sidecar_path
from selfdistill.study import Study
from selfdistill.training.methods import METHODS
from selfdistill.written import read_recorded

RUNS = tuple(f"{method}-" for method in ("sft", *METHODS))  # how their names begin
READ = ["model", "response_tokens", "finish_reason", "answer", "correct"]
LOSS, SKIPPED = "loss", "skipped_updates"
# How accelerate calls it, and what it means.
SHARDING = {
    "NO": "each with the whole model",
    "MULTI_GPU": "each with the whole model",
    "FSDP": "the model sharded among them",
}


def proved(results: Path, logs: Path, *, study: str, engine: str, sharding: Mapping[str, str]) -> str:
    """The page of a trial (Markdown): what worked, what stays open, and how long jobs took.

    ``study``: the name of the trial; ``sharding``: by training rule, accelerate's ``distributed_type``. What an earlier
    configuration of the trial has left in the same folders does not count. `UserError` for a loss that is no number, or
    a skipped update.
    """
    tried = Tried(Study(parse(read_recorded(results / "config.yaml"))), results)
    responses = _responses(tried)
    rows = [_engine(responses, engine), _grader(responses), *_training(tried, sharding), _checkpoints(tried)]
    rows.append(("tables and figures", f"{len(tried.study.tables)} tables, {len(tried.study.figures)} figures"))
    rows.append(("pages", "claims ledger and reading room; the report: the same command with `--report report.zip`"))
    lines = [f"# {study}: what it has proved", "", "| what | how |", "|---|---|"]
    lines += [f"| {what} | {how} |" for what, how in rows]
    lines += [
        "",
        "Not proved: the memory that responses of full length take, and how fast they are drawn and trained on.",
        "",
        "| rule | jobs | seconds, median | longest |",
        "|---|---|---|---|",
        *_seconds(logs, tried),
        "",
        "`selfdistill plan`, with the same profiles and without config/trial.yaml, now counts with these starts.",
    ]
    return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Tried:
    """A trial, and the folder of its results."""

    study: Study
    results: Path

    def file(self, path: str) -> Path:
        """Where one of the study's files lies."""
        return self.results / Path(path).relative_to(self.study.results)

    def trained(self, method: str) -> list[Path]:
        """The step metrics of all runs of a method."""
        if method == "sft":
            names = [(model, run) for model in self.study.config.sft.models for run in self.study.sft_runs]
        else:
            names = [name for name, run in self.study.trained.items() if run.method == method]
        return [self.file(self.study.training(*name)) for name in sorted(names)]

    def has(self, benchmark: Path) -> bool:
        """Whether a benchmark file is of a job without a run, or with one of the study's."""
        parts = str(benchmark).removesuffix(SUFFIX).split("/")[1:]
        runs = {*self.study.sft_runs, *(run for _, run in self.study.runs)}
        return all(part in runs for part in parts if part.startswith(RUNS))


def _responses(tried: Tried) -> pd.DataFrame:
    return pd.concat([tables.read(tried.file(path), tables.TRACES, READ) for path in tried.study.all_traces])


def _engine(found: pd.DataFrame, engine: str) -> tuple[str, str]:
    models = ", ".join(sorted(found["model"].unique()))
    return "engine", f"{engine}: {len(found):,} responses of {models}, {found['response_tokens'].sum():,} tokens"


def _grader(found: pd.DataFrame) -> tuple[str, str]:
    cut = (found["finish_reason"] == "length").sum()
    return "grader", (
        f"{found['answer'].notna().sum():,} of them had a closed box, {found['correct'].sum():,} were right, "
        f"{cut:,} were cut at the limit"
    )


def _training(tried: Tried, sharding: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for method in ("sft", *METHODS):
        files = tried.trained(method)
        for file in files:
            _check_losses(file)
        if files:
            how = sharding["train_sft" if method == "sft" else "train_onpolicy"]
            runs = f"{len(files)} run{'s' * (len(files) > 1)} with finite losses"
            yield f"training by {method.upper()}", f"{runs}; {_processes(files)}, {SHARDING.get(how, how)}"


def _check_losses(file: Path) -> None:
    steps = tables.read(file, tables.TRAINING_STEPS)
    losses = steps.loc[steps["metric"] == LOSS, "value"]
    if losses.empty or not np.isfinite(losses).all():
        raise UserError(f"{file}: the loss of a step is no number")
    skipped = int(steps.loc[steps["metric"] == SKIPPED, "value"].sum())
    if skipped:
        raise UserError(f"{file}: updates with a gradient that is not finite, and so skipped: {skipped}")


def _processes(files: list[Path]) -> str:
    records = [json.loads(sidecar_path(file).read_text(encoding="utf-8"))["machine"] for file in files]
    most = max(record.get("processes", 1) for record in records)
    return f"{most} process{'es' * (most > 1)}"


def _checkpoints(tried: Tried) -> tuple[str, str]:
    folders = [tried.file(tried.study.checkpoints(*name)) for name in tried.study.runs]
    saved = [manifest for folder in folders for manifest in folder.glob(f"step-*/{MANIFEST}")]
    evaluated = tried.study.run_evaluations()
    return (
        "checkpoints",
        f"{len(saved)} models saved along training, those of {len(evaluated)} runs loaded and evaluated",
    )


def _seconds(logs: Path, tried: Tried) -> Iterator[str]:
    by_rule: dict[str, list[float]] = {}
    for file in sorted(logs.rglob(f"*{SUFFIX}")):
        seconds = measured_seconds(file, threads=None) if tried.has(file.relative_to(logs)) else None
        if seconds is not None:
            by_rule.setdefault(file.relative_to(logs).parts[0].removesuffix(SUFFIX), []).append(seconds)
    for rule, found in sorted(by_rule.items(), key=lambda item: -sum(item[1])):
        yield f"| {rule} | {len(found)} | {np.median(found):.0f} | {max(found):.0f} |"
