"""Responses as evaluation logs of Inspect, which its viewer and its data frames read.

The format is Inspect's JSON log, version 2 (https://inspect.aisi.org.uk/eval-logs.html). One log holds the responses of
one model in one setting; what Inspect calls an epoch is a sample here, counted from 1.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from selfdistill import tables
from selfdistill.errors import UserError
from selfdistill.files import write_text
from selfdistill.records.bundle import Record, Records
from selfdistill.tables import COUNT_MODES, MARKER_COLUMNS

VERSION = 2
SCORER = "correct"
RIGHT, WRONG = "C", "I"  # Inspect's own values
STOP = {"stop": "stop", "length": "max_tokens"}
# One log per model (with run and step) and setting.
ONE_LOG = ["model", "run", "step", "setting"]
KEPT = ["seed", "context_sample", *(name for mode in COUNT_MODES for name in MARKER_COLUMNS[mode])]


def write(results: Path, traces: Path, out: Path) -> list[Path]:
    """Write one log per model, run, step and setting of the table ``traces`` into the folder ``out``.

    Problems and the table's record are found in the study's folder ``results``. `UserError` where a problem of a
    response is in none of the study's problem tables.
    """
    problems = _problems(results / "problems")
    responses = tables.read(traces, tables.TRACES)
    missing = sorted(set(responses["problem_id"]) - set(problems.index))
    if missing:
        raise UserError(f"{traces}: problem '{missing[0]}' is in no table of {results / 'problems'}")
    record = Records(results).of(traces)
    written = []
    for (model, run, step, setting), rows in responses.groupby(ONE_LOG, dropna=False, sort=True):
        name = f"{model}_{run}" if pd.isna(step) else f"{model}_{run}_step-{step:.0f}"
        path = out / f"{name}_{setting}.json"
        content = _log(rows, problems.loc[rows["problem_id"].unique()], name, record)
        write_text(path, json.dumps(content, ensure_ascii=False) + "\n")
        written.append(path)
    return written


def _problems(folder: Path) -> pd.DataFrame:
    """Problem and answer by problem_id, of all of a study's problem sets."""
    found = [tables.read(path, tables.PROBLEMS) for path in sorted(folder.glob("*.parquet"))]
    if not found:
        raise UserError(f"{folder}: no tables of problems")
    return pd.concat(found).drop_duplicates("problem_id").set_index("problem_id")


def _log(rows: pd.DataFrame, problems: pd.DataFrame, model: str, record: Record | None) -> dict[str, Any]:
    setting, epochs = rows["setting"].iloc[0], int(rows["sample"].max()) + 1
    identifiers = list(problems.index)
    sampling = ("temperature", "top_p", "top_k", "max_tokens")
    given = {name: record.parameter(name) for name in sampling} if record else {}
    return {
        "version": VERSION,
        "status": "success",
        "eval": {
            "created": record.content["finished"] if record else "1970-01-01T00:00:00Z",
            "task": setting,
            "model": f"selfdistill/{model}",
            "dataset": {"name": setting, "samples": len(identifiers), "sample_ids": identifiers, "shuffled": False},
            "config": {"epochs": epochs},
            "model_generate_config": {name: value for name, value in given.items() if value is not None},
            "metadata": {"study": rows["study"].iloc[0], "table_sha256": record.sha256 if record else None},
        },
        "results": _results(rows),
        "samples": list(_samples(rows, problems, model)),
    }


def _results(rows: pd.DataFrame) -> dict[str, Any]:
    """The mean of its problems' accuracies, as everywhere in this package."""
    accuracy = float(rows.groupby("problem_id")["correct"].mean().mean())
    metrics = {"accuracy": {"name": "accuracy", "value": accuracy}}
    return {
        "total_samples": len(rows),
        "completed_samples": len(rows),
        "scores": [{"name": SCORER, "scorer": SCORER, "metrics": metrics}],
    }


def _samples(rows: pd.DataFrame, problems: pd.DataFrame, model: str) -> Iterator[dict[str, Any]]:
    for row in _records(rows):
        problem = problems.loc[row["problem_id"]]
        said = {"role": "assistant", "content": row["response"], "source": "generate"}
        yield {
            "id": row["problem_id"],
            "epoch": row["sample"] + 1,
            "input": problem["problem"],
            "target": problem["answer"],
            "messages": [{"role": "user", "content": problem["problem"], "source": "input"}, said],
            "output": {
                "model": f"selfdistill/{model}",
                "choices": [{"message": said, "stop_reason": STOP[row["finish_reason"]]}],
                "usage": {"output_tokens": row["response_tokens"]},
            },
            "scores": {SCORER: {"value": RIGHT if row["correct"] else WRONG, "answer": row["answer"]}},
            "metadata": {name: row[name] for name in KEPT},
        }


def _records(rows: pd.DataFrame) -> Iterable[dict[str, Any]]:
    """Rows as JSON has them: null for nothing, Python's own numbers."""
    return rows.astype(object).where(rows.notna(), None).to_dict("records")
