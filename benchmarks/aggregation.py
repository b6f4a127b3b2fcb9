"""Rows per second and memory of aggregating many responses: `python benchmarks/aggregation.py [--traces 5000000] ...`.

Made-up traces in six tables (the selection's and five settings of Section 3; again, as the base model's and five
runs' evaluations) go through selection, Table 1 and Table 2 as the stages compute them, each in a process of its own.
The baseline is the same statistics on tables that are read as a whole. Memory is the most that a process ever held.
Responses are short: longer ones cost only the baseline.
"""

import argparse
import json
import multiprocessing
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from selfdistill import stages, tables
from selfdistill.analysis import responses, summaries
from selfdistill.generation import selection

SETTINGS = ("selection", "unguided", "solution", "solution_without_thinking", "regeneration", "regeneration_unselected")
RUNS = ("base", *(f"sft-unguided-lr{rate}" for rate in range(5)))
BENCHMARK, SAMPLES, ROW_GROUP = "hard", 64, 2**20
CONFIDENCE = 0.95
MODELS = {"m": {"family": "m", "thinking": "on"}}


# --- traces ---------------------------------------------------------------------------------------------------------
def make(folder: Path, wanted: int) -> int:
    """About ``wanted`` traces below ``folder``; returns how many."""
    problems = -(-wanted // (len(SETTINGS) * SAMPLES))
    random = np.random.default_rng(0)
    ids = np.sort(random.integers(2**63, size=problems).astype("U"))
    names = pa.array([f"{int(number):016x}" for number in ids]).sort()
    words = np.array("perhaps maybe wait hmm check x = no ok so answer : , 1 2 3 4 5 6 7 8 9".split())
    said = pa.array([" ".join(random.choice(words, 30)) for _ in range(1000)])
    for setting, run in zip(SETTINGS, RUNS, strict=True):
        path = folder / "traces" / f"{setting}.parquet"
        path.parent.mkdir(exist_ok=True)
        with pq.ParquetWriter(path, tables.TRACES.schema, compression="zstd") as writer:
            for start in range(0, problems, ROW_GROUP // SAMPLES):
                part = names[start : start + ROW_GROUP // SAMPLES]
                writer.write_table(rows(random, part, said, setting))
        link = folder / "m" / run / f"{BENCHMARK}.parquet"
        link.parent.mkdir(parents=True)
        link.symlink_to(path)
    return problems * SAMPLES * len(SETTINGS)


def rows(random: np.random.Generator, problems: pa.Array, said: pa.Array, setting: str) -> pa.Table:
    number = len(problems) * SAMPLES
    same = {"study": "made", "model": "m", "run": "base", "stage": "x", "setting": setting, "prompt_sha256": "0" * 64}
    columns = {name: pa.repeat(value, number) for name, value in same.items()}
    columns |= {name: pa.nulls(number, pa.int32()) for name in ("step", "context_sample")}
    columns |= {
        "problem_id": problems.take(np.repeat(np.arange(len(problems)), SAMPLES)),
        "sample": np.tile(np.arange(SAMPLES, dtype=np.int32), len(problems)),
        "seed": random.integers(2**63, size=number, dtype=np.uint64),
        "response": said.take(random.integers(len(said), size=number)),
        "response_tokens": random.integers(10, 40_000, size=number, dtype=np.int32),
        "finish_reason": pa.array(["stop", "length"]).take((random.random(number) < 0.1).astype(int)),
        "answer": pa.repeat("17", number),
        "correct": random.random(number) < np.repeat(random.random(len(problems)), SAMPLES),
        "accepted": random.random(number) < 0.8,
        "verified": random.random(number) < 0.4,
    }
    for name in [name for mode in tables.COUNT_MODES for name in tables.MARKER_COLUMNS[mode]]:
        columns[name] = random.poisson(3, number).astype(np.int32)
    return pa.table([columns[name] for name in tables.TRACES.columns], schema=tables.TRACES.schema)


# --- aggregations: as the stages do it, and on whole tables ---------------------------------------------------------
def select(folder: Path) -> None:
    for path in traces(folder):
        solved(tables.read(path, tables.TRACES, ["problem_id", "correct"]))


def select_whole(folder: Path) -> None:
    for _, part in whole(traces(folder)).groupby("setting"):
        solved(part)


def solved(sampled: pd.DataFrame) -> None:
    selection.is_borderline(selection.solve_rates(sampled), 0.125, 0.5)


def table_1(folder: Path) -> None:
    first, *others = traces(folder)
    outs = {name: folder / f"{name}.parquet" for name in ("out", "out_a1", "out_selection")}
    stages.make_table_1(selection=[first], traces=others, models=MODELS, confidence=CONFIDENCE, **outs)


def table_1_whole(folder: Path) -> None:
    everything = whole(traces(folder))
    settings = {name: reduced(part) for name, part in everything.groupby("setting", sort=False)}
    selection_traces = settings.pop(SETTINGS[0])
    shown = {"family": "m", "confidence": CONFIDENCE}
    summaries.table_1({"m": settings}, {"m": selection_traces}, **shown)
    summaries.table_a1({"m": settings}, **shown)
    summaries.selection_histogram({"m": selection_traces}, **shown)


def table_2(folder: Path) -> None:
    stages.make_table_2(
        traces=evaluations(folder), models=MODELS, confidence=CONFIDENCE, out=folder / "table_2.parquet"
    )


def table_2_whole(folder: Path) -> None:
    held = {(path.parent.name, path.stem): whole([path]) for path in evaluations(folder)}
    by_run = {key: reduced(part) for key, part in held.items()}
    summaries.table_2({"m": by_run}, family="m", confidence=CONFIDENCE)


def traces(folder: Path) -> list[Path]:
    return [folder / "traces" / f"{setting}.parquet" for setting in SETTINGS]


def evaluations(folder: Path) -> list[Path]:
    return [folder / "m" / run / f"{BENCHMARK}.parquet" for run in RUNS]


def whole(paths: list[Path]) -> pd.DataFrame:
    return pd.concat([tables.read(path, tables.TRACES) for path in paths], ignore_index=True)


def reduced(traces: pd.DataFrame) -> responses.Responses:
    return responses.reduce([traces], "the whole table")


# --- measurement ----------------------------------------------------------------------------------------------------
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--traces", type=int, default=5_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where to make the traces (default: the system's temporary folder)")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        number = make(folder, arguments.traces)
        size = sum(path.stat().st_size for path in traces(folder)) / 1e6
        print(f"load {os.getloadavg()[0]:.1f}; {number} traces, {size:.0f} MB on disk")
        print(f"{'aggregation':<16}{'rows/s: median':>16}{'least':>12}{'most':>12}{'ratio':>8}{'GiB':>8}{'ratio':>8}")
        report = {}
        for ours, baseline in ((select, select_whole), (table_1, table_1_whole), (table_2, table_2_whole)):
            measured = [(measure(ours, folder), measure(baseline, folder)) for _ in range(arguments.repeats)]
            base = statistics.median(seconds for _, (seconds, _) in measured)
            held = max(memory for _, (_, memory) in measured)
            for name, found in zip((ours.__name__, baseline.__name__), zip(*measured, strict=True), strict=True):
                rates, memory = [number / seconds for seconds, _ in found], max(memory for _, memory in found)
                spread = f"{statistics.median(rates):>16,.0f}{min(rates):>12,.0f}{max(rates):>12,.0f}"
                faster = statistics.median(rates) * base / number
                print(f"{name:<16}{spread}{faster:>8.2f}{memory:>8.2f}{memory / held:>8.2f}", flush=True)
                report[name] = {"rows_per_second": rates, "gibibytes": memory}
    if arguments.json:
        arguments.json.write_text(json.dumps({"traces": number, **report}, indent=2) + "\n", encoding="utf-8")


def measure(aggregate: Callable[[Path], None], folder: Path) -> tuple[float, float]:
    """Seconds, and the most memory (GiB) of a fresh process that aggregates."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(watched, (aggregate, folder))


def watched(aggregate: Callable[[Path], None], folder: Path) -> tuple[float, float]:
    started = time.perf_counter()
    aggregate(folder)
    return time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    main()
