"""Numbers and verdicts between marks in a page: written from a results folder, and nothing else."""

import pandas as pd
import pytest
from selfdistill import cli, tables
from selfdistill.errors import UserError
from selfdistill.pages import numbers

ROWS = [
    {"row": "base", "benchmark": "easy", "metric": "avg", "value": 61.24, "low": 55.0, "high": 66.66},
    {"row": "base", "benchmark": "hard", "metric": "avg", "value": 40.0, "low": 35.0, "high": 45.0},
    {"row": "sft-guided-lr0.0003", "benchmark": "easy", "metric": "avg", "value": 41.0, "low": 38.0, "high": 44.0},
    {"row": "base", "benchmark": "easy", "metric": "L", "value": 100.0},
]


@pytest.fixture
def results(tmp_path):
    labels = {"study": "s", "artifact": "table_2", "model": "m", "origin": "measured"}
    quoted = {"row": "base", "benchmark": "easy", "metric": "avg", "value": 89.06, "model": "Qwen", "origin": "quoted"}
    frame = pd.DataFrame([*({**labels, **row} for row in ROWS), {**labels, **quoted}])
    tables.write(frame.reindex(columns=tables.SUMMARY.columns), tmp_path / "tables" / "table_2.parquet", tables.SUMMARY)
    columns = {"id": ["it-falls", "it-falls"], "variant": ["lr 0.0003", "lr 0.003"], "verdict": ["open", "holds"]}
    ledger = pd.DataFrame(columns).reindex(columns=tables.LEDGER.columns).assign(files=[[], []])
    ledger = ledger.assign(primary=[True, False], ours=False, taught=[False, True], same_as="")
    tables.write(ledger, tmp_path / "claims" / "ledger.parquet", tables.LEDGER)
    return tmp_path


def marked(what, text=""):
    return f"<!-- {what} -->{text}<!-- end -->"


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("number: table_2 / base / easy / avg", "61.2 [55.0, 66.7]"),
        ("number: table_2 / m / base / hard / avg", "40.0 [35.0, 45.0]"),
        ("number: table_2 / base / L", "100.0"),
        ("verdict: it-falls / lr 0.0003", "open"),
        ("counts: Primary statements", "1 open"),
        ("counts: Other statements", "1 holds (1 of them taught)"),
        (
            "table: table_2; avg @ easy = easy; L",
            "\n| row | easy | L |\n|---|---|---|\n| base | 61.2 [55.0, 66.7] | 100.0 |\n"
            "| sft-guided-lr0.0003 | 41.0 [38.0, 44.0] |  |\n| base (quoted) | 89.06 |  |\n",
        ),
    ],
)
def test_a_mark_holds_what_it_names(results, what, text):
    page = f"It is {marked(what, 'something old')} points,\n{marked(what)}."
    assert numbers.filled(page, results) == f"It is {marked(what, text)} points,\n{marked(what, text)}."
    assert numbers.unmarked(page) == "It is  points,\n."


@pytest.mark.parametrize(
    ("page", "told"),
    [
        (marked("number: table_2 / base / avg"), "'number: table_2 / base / avg' names 2 values"),
        (marked("number: table_2 / best / easy / avg"), "names 0 values"),
        (marked("number: table_3 / base / easy / avg"), r"has no 'table_3' \(did you mean 'table_2'"),
        (marked("verdict: it-fall / lr 0.003"), r"names no statement of .*did you mean 'it-falls / lr 0.003'"),
        (marked("counts: Primary statement"), r"unknown part of the ledger .*did you mean 'Primary statements'"),
        (marked("table: table_2; avg"), "several values of 'avg' in one row: name a benchmark"),
        (marked("table: table_2; score"), "has no 'score'"),
        (marked("table: table_2; avg @"), "is not read"),
        ("<!-- number: table_2 / base / L -->3", "mark 1 of the page has no end"),
        (marked("number: table_2 / base / L") + "<!-- end -->", "mark 2 of the page has no end"),
        (marked("number: table_2 / base / L", marked("verdict: it-falls / lr 0.003")), "mark 1 of the page has no end"),
    ],
)
def test_a_mark_that_names_nothing_is_told(results, page, told):
    with pytest.raises(UserError, match=told):
        numbers.filled(page, results)


def test_a_folder_without_tables_is_told(tmp_path):
    with pytest.raises(UserError, match="nowhere: no results folder with tables in it"):
        numbers.filled(marked("number: table_2 / base / L"), tmp_path / "nowhere")


def test_the_command_writes_the_page(results, tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"L is {marked('number: table_2 / base / L')}.\n", encoding="utf-8")
    assert cli.main(["show-numbers", "--results", str(results), "--page", str(page)]) == 0
    assert page.read_text(encoding="utf-8") == f"L is {marked('number: table_2 / base / L', '100.0')}.\n"
