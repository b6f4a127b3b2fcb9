"""Measured numbers and verdicts in a page's prose, written there from a results folder and never by hand.

In Markdown, between a comment that names it and ``<!-- end -->``, stands one of:

- ``number: table_2 / base / easy / avg``: a value with its interval. Between the table and the metric stand as many of
  model, row and benchmark as tell it from all others.
- ``verdict: sdpo-loses-on-unseen / lr 0.0003``: what the ledger says of a statement (and variant).
- ``counts: Primary statements``: how many statements of a part of the ledger have which verdict.
- ``table: table_onpolicy; score; E_substring = E; avg @ easy = easy``: all rows of a table, with these metrics (at a
  benchmark, under a heading) as columns.
"""

import math
import re
from functools import cache
from pathlib import Path

import pandas as pd

from selfdistill import tables
from selfdistill.errors import UserError, nearest
from selfdistill.pages import ledger_page, rendering

END = "<!-- end -->"
KINDS = "number|verdict|counts|table"
MARK = re.compile(rf"(<!-- ({KINDS}): (.+?) -->)(.*?)" + re.escape(END), re.DOTALL)
PLACES = ["model", "row", "benchmark"]
COLUMN = re.compile(r"(?P<metric>\w+)(?: @ (?P<benchmark>\w+))?(?: = (?P<heading>.+))?")


def filled(page: str, results: Path) -> str:
    """``page`` with what each of its marks names in the folder ``results``.

    `UserError` for a mark that names nothing there, or several things; for one that does not end, or holds another.
    """
    return MARK.sub(lambda found: f"{found[1]}{_found(found[2], found[3], found[4], results)}{END}", _whole(page))


def unmarked(page: str) -> str:
    """The page without its marks and what stands in them: what was written by hand."""
    return MARK.sub("", page)


def _whole(page: str) -> str:
    marks = [found[1] for found in re.finditer(rf"<!-- (?:({KINDS}): .+?|end) -->", page)]
    wrong = [i for i, kind in enumerate(marks) if (kind is None) != (i % 2 == 1)]
    if wrong or len(marks) % 2:
        number = (wrong or [len(marks)])[0] // 2 + 1
        raise UserError(f"mark {number} of the page has no end of its own (expected {END} behind every mark)")
    return page


def _found(kind: str, what: str, before: str, results: Path) -> str:
    if kind == "number":
        return _number(what, results)
    if kind == "verdict":
        return _verdict(what, results)
    if kind == "counts":
        return ledger_page.counts(_ledger(results), what)
    return f"\n{_table(what, results)}\n"


@cache
def _summary(name: str, results: Path) -> pd.DataFrame:
    known = sorted(path.stem for path in (results / "tables").glob("*.parquet"))
    if not known:
        raise UserError(f"{results}: no results folder with tables in it")
    if name not in known:
        raise UserError(f"{results}/tables has no '{name}'{nearest(name, known)}; known: {', '.join(known)}")
    return tables.read(results / "tables" / f"{name}.parquet", tables.SUMMARY)


def _number(what: str, results: Path) -> str:
    name, *places, metric = what.split(" / ")
    summary = _summary(name, results)
    chosen = summary[(summary["origin"] == "measured") & (summary["metric"] == metric)]
    for place in places:
        chosen = chosen[(chosen[PLACES] == place).any(axis=1)]
    if len(chosen) != 1:
        raise UserError(f"'number: {what}' names {len(chosen)} values of {results}/tables/{name}.parquet, not one")
    return _cell(chosen.iloc[0].to_dict())


def _cell(row: dict) -> str:
    """A value with its interval; accuracies without the second one, of redrawn samples."""
    return rendering.cell(row | {"sampling_low": math.nan, "sampling_high": math.nan})


@cache
def _ledger(results: Path) -> pd.DataFrame:
    return tables.read(results / "claims" / "ledger.parquet", tables.LEDGER)


def _verdict(what: str, results: Path) -> str:
    ledger = _ledger(results)
    claim, _, variant = what.partition(" / ")
    rows = ledger[(ledger["id"] == claim) & (ledger["variant"] == variant)]
    if rows.empty:
        known = (ledger["id"] + (" / " + ledger["variant"]).where(ledger["variant"] != "", "")).unique()
        raise UserError(f"'verdict: {what}' names no statement of {results}/claims{nearest(what, known)}")
    return rows["verdict"].iloc[0]


def _table(what: str, results: Path) -> str:
    """The table in Markdown, a line per row and model; the paper's numbers, which are quoted, below."""
    name, *columns = what.split("; ")
    summary = _summary(name, results)
    asked = [COLUMN.fullmatch(column) for column in columns]
    if not asked or None in asked:
        raise UserError(f"'table: {what}' is not read (expected 'table; metric @ benchmark = heading; ...')")
    several = summary.loc[summary["origin"] == "measured", "model"].nunique() > 1
    lines: dict[tuple[str, str], list[str]] = {}
    for place, column in enumerate(asked):
        wanted = summary["metric"] == column["metric"]
        if column["benchmark"]:
            wanted &= summary["benchmark"] == column["benchmark"]
        if not wanted.any():
            raise UserError(f"'table: {what}': {results}/tables/{name}.parquet has no '{column[0]}'")
        for row in summary[wanted & summary["origin"].isin(rendering.MARKS)].to_dict("records"):
            quoted = rendering.MARKS[row["origin"]]
            key = (row["row"] + quoted, row["model"] if several and not quoted else "")
            cells = lines.setdefault(key, [""] * len(asked))
            if cells[place]:
                raise UserError(f"'table: {what}' has several values of '{column[0]}' in one row: name a benchmark")
            cells[place] = _cell(row)
    heads = [column["heading"] or column["metric"] for column in asked]
    keys = ["row", "model"] if several else ["row"]
    written = [[*keys, *heads], *([*key[: len(keys)], *cells] for key, cells in sorted(lines.items(), key=_rank))]
    head, *body = ["| " + " | ".join(map(rendering.escape_markdown, cells)) + " |" for cells in written]
    return "\n".join([head, "|---" * (len(keys) + len(heads)) + "|", *body])


def _rank(line: tuple[tuple[str, str], list[str]]) -> tuple[bool, int, str, str]:
    """Quoted rows last; rows in the paper's order, anything else after them by name."""
    (row, model), _ = line
    stem = row.partition("-lr")[0]
    known = rendering.ROW_ORDER
    return row.endswith(rendering.MARKS["quoted"]), known.index(stem) if stem in known else len(known), row, model
