"""Traces of known content, and the reading room made of them."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from selfdistill import tables
from selfdistill.markers.counting import count_table
from selfdistill.pages import reading_room

ROOM = Path(__file__).resolve().parents[2] / "workflow" / "reading_room"
PARTS = reading_room.Parts(ROOM / "page.html", ROOM / "style.css", ROOM / "script.js")
ALL = reading_room.Limits(problems=10**6, samples=10**6, steps=10**6)
RUNS = ("grpo-all-lr0.1-seed0", "sdpo-all-lr0.1-k5-seed0")


def problem_id(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def problems_of(texts: Sequence[str]) -> pd.DataFrame:
    ids = [problem_id(text) for text in texts]
    fixed = {"answer": "7", "source": "made", "problem_type": "sums"}
    return pd.DataFrame({"problem_id": ids, "position": range(len(ids)), "problem": texts, **fixed})


def traces_of(responses: dict[str, list[str]], **source: object) -> pd.DataFrame:
    """The responses to each problem text, in sample order; right is what ends in 7.

    All answers but those of sample 1 are accepted, and verified where they are right.
    """
    rows = [(problem_id(text), n, said) for text, all_said in responses.items() for n, said in enumerate(all_said)]
    frame = pd.DataFrame(rows, columns=["problem_id", "sample", "response"])
    labels = {"study": "made", "model": "m", "run": "base", "stage": "section3", "setting": "unguided", "step": None}
    frame = frame.assign(**{**labels, **source}, seed=1, context_sample=None, prompt_sha256="00", finish_reason="stop")
    frame["response_tokens"] = frame["response"].str.split().str.len()
    frame["correct"] = frame["response"].str.endswith("7")
    frame["answer"] = frame["response"].str[-1]
    frame["accepted"] = frame["sample"] != 1
    frame["verified"] = frame["accepted"] & frame["correct"]
    frame["step"] = frame["step"].astype("Int32")
    frame["context_sample"] = frame["context_sample"].astype("Int32")
    counts = [count_table(frame["response"], mode).add_prefix(f"{mode}_") for mode in tables.COUNT_MODES]
    return pd.concat([frame, *counts], axis=1)


def runs() -> pd.DataFrame:
    """One run of each method on the whole problem set."""
    same = {"study": "made", "model": "m", "family": "m", "thinking": "on", "problem_set": "all", "problems": 9}
    same |= {"whole_set": True, "learning_rate": 0.1, "draw": 0, "seed": 0}
    grpo = {"run": RUNS[0], "method": "grpo", "context": "none", "teacher_update_rate": None, "top_k": None}
    sdpo = {"run": RUNS[1], "method": "sdpo", "context": "solution", "teacher_update_rate": 0.0, "top_k": 5}
    return pd.DataFrame([grpo | same, sdpo | same])


def build(folder: Path, traces: Sequence[pd.DataFrame], problems: pd.DataFrame, limits=ALL, whole=()) -> Path:
    """Write the tables and the page; the page's path."""
    paths = [folder / f"traces{number}.parquet" for number in range(len(traces))]
    for path, frame in zip(paths, traces, strict=True):
        tables.write(frame, path, tables.TRACES)
    tables.write(problems, folder / "problems.parquet", tables.PROBLEMS)
    out = folder / "room" / "index.html"
    settings = {"parts": PARTS, "study": "made", "limits": limits, "whole": whole}
    trained = {"runs": runs(), "sft_runs": pd.DataFrame(columns=tables.SFT_RUNS.columns)}
    reading_room.build(paths, [folder / "problems.parquet"], **trained, **settings, out=out, data=out.parent / "data")
    return out
