"""What docs/other_programs.md says of a finished study: it opens there, and the numbers are the tables' own."""

import json
import re
import subprocess
import sys
from pathlib import Path

import datasets
import duckdb
import matplotlib
import pandas as pd
import pyarrow.parquet as pq
import pytest
from selfdistill import tables
from selfdistill.exports import inspect_log, logbook, tensorboard
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "other_programs.md").read_text(encoding="utf-8")
QUERIES = re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)
NOTEBOOK = ROOT / "examples" / "notebook" / "results.ipynb"
LOCK = ROOT / "envs" / "inspect.lock"
# Reads logs with Inspect's own reader, writes them as it would, and says what it read.
READER = """
import json, sys
from inspect_ai.log import read_eval_log, write_eval_log
def told(log):
    return sorted((sample.model_dump() for sample in log.samples), key=lambda told: (told["id"], told["epoch"]))
found = []
for path in sys.argv[1:]:
    log = read_eval_log(path)
    write_eval_log(log, path + ".eval")
    assert told(read_eval_log(path + ".eval")) == told(log)
    found += [
        [log.eval.task, sample.id, sample.epoch, sample.input, sample.target, sample.output.completion,
         sample.output.stop_reason, sample.output.usage.output_tokens, sample.scores["correct"].value,
         sample.scores["correct"].answer, sample.metadata["word_wait"], log.results.scores[0].metrics["accuracy"].value]
        for sample in log.samples
    ]
json.dump(found, sys.stdout)
"""


@pytest.fixture(scope="module")
def results(finished) -> Path:
    return finished.folder / "results" / "smoke"


@pytest.fixture(scope="module")
def inspect(tmp_path_factory) -> Path:
    """A Python that has Inspect, which does not go together with `datasets`."""
    folder = tmp_path_factory.mktemp("inspect")
    uv = [sys.executable, "-m", "uv", "--quiet"]
    subprocess.run([*uv, "venv", "--python", sys.executable, folder / "venv"], check=True)
    python = folder / "venv" / "bin" / "python"
    subprocess.run([*uv, "pip", "install", "--require-hashes", "--python", python, "-r", LOCK], check=True)
    return python


def test_every_table_opens_with_datasets(results: Path, tmp_path: Path):
    paths = sorted(results.rglob("*.parquet"))
    assert len(paths) > 30
    for path in paths:
        opened = datasets.load_dataset("parquet", data_files=str(path), split="train", cache_dir=tmp_path)
        table = pq.read_table(path)
        assert opened.num_rows == table.num_rows and opened.column_names == table.column_names
        assert opened.with_format("arrow")[:].to_pylist() == table.to_pylist()


@pytest.mark.parametrize("query", QUERIES, ids=range(len(QUERIES)))
def test_every_query_of_the_page_finds_rows(results: Path, query: str):
    found = duckdb.sql(query.replace("results/microcosm/", f"{results}/")).df()
    assert len(found) and not found.isna().all().any()


def test_a_query_counts_what_the_tables_hold(results: Path):
    score_and_length = next(query for query in QUERIES if "rollouts" in query)
    found = duckdb.sql(score_and_length.replace("results/microcosm/", f"{results}/")).df()
    rollouts = pd.concat(tables.read(path, tables.TRACES) for path in results.glob("traces/*/rollouts/*.parquet"))
    wanted = rollouts.groupby(["model", "run", "step"])[["correct", "response_tokens"]].mean()
    assert found.set_index(["model", "run", "step"]).sort_index().to_numpy() == pytest.approx(wanted.to_numpy())


@pytest.mark.parametrize("place", ["the shipped run", "a finished study"])
def test_the_notebook_runs(results: Path, place: str):
    matplotlib.use("Agg")
    names: dict = {}
    cells = [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]
    for number, cell in enumerate(cells):
        exec(compile("".join(cell["source"]), f"cell {number}", "exec"), names)
        if number == 0 and place == "a finished study":
            names["RESULTS"] = results
    assert {"unguided", "solution"} <= set(names["table"].index) and names["table"].notna().all(axis=None)
    drawn = [line for axes in names["grid"].axes.flat for line in axes.get_lines()]
    assert len(drawn) >= 4 and all(len(line.get_xdata()) for line in drawn)
    assert len(names["claim"]) and set(names["ledger"]["id"]) == {"sdpo-loses-on-unseen"}


def test_tensorboard_shows_every_metric_of_every_step(results: Path, tmp_path: Path):
    written = tensorboard.write(results, tmp_path / "runs")
    paths = [path for path in results.glob("training/*/*.parquet") if not path.stem.endswith(".seconds")]
    assert written == len(paths) > 10
    for path in paths:
        steps = tables.read(path, tables.TRAINING_STEPS)
        shown = EventAccumulator(str(tmp_path / "runs" / path.parent.name / path.stem)).Reload()
        for metric, rows in steps.groupby("metric"):
            assert [event.step for event in shown.Scalars(metric)] == rows["step"].tolist()
            assert [event.value for event in shown.Scalars(metric)] == pytest.approx(
                rows["value"], rel=1e-6, nan_ok=True
            )


def test_inspect_reads_every_response_and_the_same_accuracy(results: Path, tmp_path: Path, inspect: Path):
    table = sorted(results.glob("evaluations/*/grpo-*/along_training.parquet"))[0]
    logs = inspect_log.write(results, table, tmp_path)
    read = subprocess.run([inspect, "-c", READER, *logs], check=True, capture_output=True, text=True)
    names = ["setting", "problem_id", "epoch", "problem", "wanted", "response", "stop", "tokens", "value", "answer"]
    found = pd.DataFrame(json.loads(read.stdout), columns=[*names, "wait", "accuracy"])
    traces, problems = (
        tables.read(table, tables.TRACES),
        pd.concat(tables.read(path, tables.PROBLEMS) for path in results.glob("problems/*.parquet")),
    )
    wanted = traces.merge(problems[["problem_id", "problem", "answer"]].drop_duplicates("problem_id"), on="problem_id")
    key = ["setting", "problem_id", "epoch", "response", "tokens"]
    wanted = wanted.assign(epoch=wanted["sample"] + 1, tokens=wanted["response_tokens"]).sort_values(key)
    found = found.sort_values(key)
    assert len(found) == len(wanted) and len(logs) == len(traces.drop_duplicates(["step", "setting"]))
    assert found[key].to_numpy().tolist() == wanted[key].to_numpy().tolist()
    assert found["problem"].tolist() == wanted["problem"].tolist()
    assert found["wanted"].tolist() == wanted["answer_y"].tolist()
    assert (found["value"] == "C").tolist() == wanted["correct"].tolist()
    assert (found["stop"] == "max_tokens").tolist() == (wanted["finish_reason"] == "length").tolist()
    assert found["wait"].tolist() == wanted["word_wait"].tolist()
    accuracy = traces.groupby(["step", "setting", "problem_id"])["correct"].mean().groupby(["step", "setting"]).mean()
    assert sorted(found["accuracy"].unique()) == pytest.approx(sorted(accuracy.unique()))


def test_the_logbook_has_a_page_for_each_statement_and_every_link_leads_to_one(results: Path, tmp_path: Path):
    claims = json.loads((results / "claims" / "claims.json").read_text(encoding="utf-8"))
    written = logbook.write(claims, tmp_path / "book")
    index = (tmp_path / "book" / logbook.INDEX).read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)]+)\)", index)
    assert written == len(claims["statements"]) == len(links) == len(set(links))
    for statement, link in zip(claims["statements"], links, strict=True):
        page = (tmp_path / "book" / link).read_text(encoding="utf-8")
        assert statement["verdict"] in page and all(name in page for name in statement["files"])
        assert page.count("\n| ") >= len(statement["tests"])
