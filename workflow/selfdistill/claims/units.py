"""What the claims ledger is tested on: means per problem of every set of responses, side by side in one frame."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from selfdistill import tables
from selfdistill.analysis.responses import RUN_COLUMNS, per_problem, read_runs, same_questions

LABELS = {  # of a unit, and what it has where a label does not apply
    "of": "", "family": "", "thinking": "on", "problem_set": "", "replicate": "", "setting": "", "data": "",
    "learning_rate": np.nan, "method": "", "context": "", "teacher_update_rate": 0.0, "top_k": 0, "size": np.nan,
    "whole_size": np.nan, "when": "", "benchmark": "",
}  # fmt: skip
VALUES = ["rollouts", "score", "avg", "L", "E"]


def read_units(
    *,
    guidance: Sequence[Path],
    sft: Sequence[Path],
    sft_runs: Path,
    runs: Path,
    rollouts: Sequence[Path],
    evaluations: Sequence[Path],
    bases: Sequence[Path],
    models: Mapping[str, Mapping[str, str]],
    window: int,
) -> pd.DataFrame:
    """All units of a study, read from its tables; model, run and benchmark of ``sft`` are read off the paths.

    ``models``: by name, the family, and "thinking" ("on" or "off").
    """
    rows, along = tables.read(runs, "runs"), read_runs(evaluations)
    tuned = [(path.parent.parent.name, path.parent.name, path.stem, read_runs([path])) for path in sft]
    units = [
        guidance_units(read_runs(guidance), models),
        sft_units(tuned, tables.read(sft_runs, "sft_runs"), models),
        training_units(read_runs(rollouts), rows, window=window),
        evaluation_units(along, read_runs(bases), rows, models=models),
    ]
    return pd.concat(units)


def guidance_units(traces: pd.DataFrame, models: Mapping[str, Mapping[str, str]]) -> pd.DataFrame:
    """Section 3: one unit per setting, model and problem."""
    return pd.concat(
        [
            _units(part, of="guidance", setting=setting, replicate=model, family=models[model]["family"])
            for (model, setting), part in traces.groupby(["model", "setting"])
        ]
    )


def sft_units(
    evaluations: Iterable[tuple[str, str, str, pd.DataFrame]],
    runs: pd.DataFrame,
    models: Mapping[str, Mapping[str, str]],
) -> pd.DataFrame:
    """Section 4: ``evaluations`` are model, run ("base" or one of ``runs``), benchmark and traces."""
    known = runs.set_index(["model", "run"])[["data", "learning_rate"]]
    parts = []
    for model, run, benchmark, traces in evaluations:
        labels = {"data": "base"} if run == "base" else known.loc[(model, run)].to_dict()
        family = models[model]["family"]
        parts.append(_units(traces, of="sft", benchmark=benchmark, replicate=model, family=family, **labels))
    return pd.concat(parts)


def training_units(rollouts: pd.DataFrame, runs: pd.DataFrame, *, window: int) -> pd.DataFrame:
    """Sections 5 and 6: the rollouts of the first and of the last ``window`` steps, and of all."""
    parts = []
    for labels, part in _by_run(rollouts, runs):
        steps = part["step"].astype(int)
        # Samples are numbered within a step.
        part = part.assign(sample=steps * (part["sample"].max() + 1) + part["sample"])
        windows = {"first": steps <= window, "last": steps > steps.max() - window, "whole": steps > 0}
        parts += [_units(part[chosen], of="training", when=when, **labels) for when, chosen in windows.items()]
    return pd.concat(parts)


def evaluation_units(
    evaluations: pd.DataFrame, bases: pd.DataFrame, runs: pd.DataFrame, *, models: Mapping[str, Mapping[str, str]]
) -> pd.DataFrame:
    """Sections 5 and 6: every run's last checkpoint, and the base models on the same questions."""
    parts = []
    for labels, part in _by_run(evaluations, runs):
        last = part[part["step"] == part["step"].max()]
        parts += [
            _units(found, of="evaluation", benchmark=benchmark, **labels)
            for benchmark, found in last.groupby("setting")
        ]
    before = same_questions(bases, evaluations)
    for (model, benchmark), part in before.groupby(["model", "setting"]):
        known = {**models[model], "benchmark": benchmark, "method": "base"}
        for seed in sorted(runs.loc[runs["model"] == model, "seed"].unique()):
            parts.append(_units(part, of="evaluation", replicate=f"{model}/{seed}", **known))
    return pd.concat(parts)


def _by_run(traces: pd.DataFrame, runs: pd.DataFrame) -> Iterable[tuple[dict[str, object], pd.DataFrame]]:
    """The responses of every run, and its labels."""
    rows = runs.set_index(["model", "run"])
    whole = runs[runs["whole_set"]].groupby("problem_set")["problems"].max()
    for (model, run), part in traces.groupby(["model", "run"]):
        row = rows.loc[(model, run)]
        yield (
            {
                "family": row["family"],
                "thinking": row["thinking"],
                "problem_set": row["problem_set"],
                "replicate": f"{model}/{row['seed']}",
                "learning_rate": row["learning_rate"],
                "method": row["method"],
                "context": row["context"],
                "teacher_update_rate": 0.0 if pd.isna(row["teacher_update_rate"]) else row["teacher_update_rate"],
                "top_k": 0 if pd.isna(row["top_k"]) else row["top_k"],
                "size": math.inf if row["whole_set"] else float(row["problems"]),
                "whole_size": float(whole.get(row["problem_set"], np.nan)),
            },
            part,
        )


def _units(traces: pd.DataFrame, **labels: object) -> pd.DataFrame:
    """One row per problem with its means, and the labels."""
    means = per_problem(traces[[name for name in RUN_COLUMNS if name in traces]])
    number = traces["problem_id"].value_counts().reindex(means.index)
    values = means.assign(avg=100 * means["score"], E=means["E_substring"], rollouts=number)[VALUES]
    return values.reset_index().assign(**{**LABELS, **labels})
