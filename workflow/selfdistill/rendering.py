"""Summaries as Markdown and LaTeX tables: values with their intervals, quoted numbers marked as quoted."""

import re

import pandas as pd

from selfdistill import artifacts, quoted

PAPER_STUDY = "paper"
# Digits after the point, by the beginning of a metric's name.
DIGITS = {"score": 3, "truncated": 3, "avg": 1, "L": 1, "E_per": 2, "problems": 0}
QUOTED_MARK = " (quoted)"
ROW_ORDER = (
    artifacts.SELECTION_DRAW,
    "unguided",
    "solution",
    "solution_without_thinking",
    "regeneration",
    "regeneration_unselected",
    "base",
)
METRIC_ORDER = ("avg", "avg_difference_to_base", *artifacts.MEANS, *artifacts.DENSITIES)


def stamp(study: str) -> str:
    """What a table or figure says of its study."""
    if study == PAPER_STUDY:
        return "paper study"
    return f"{study} study: a tiny model trained from scratch on CPU; not the paper's models"


def wide(summary: pd.DataFrame) -> pd.DataFrame:
    """One line per model, row and benchmark, one column per metric, cells ``value [low, high]``."""
    ordered = summary.sort_values(["origin", "model", "row", "benchmark", "metric"], key=_ranks, kind="stable")
    values = ordered[["metric", "value", "low", "high"]].itertuples(index=False)
    cells = ordered.assign(
        cell=[_cell(*value) for value in values],
        row=ordered["row"].where(ordered["origin"] == "measured", ordered["row"] + QUOTED_MARK),
    )
    keys = [key for key in ("model", "row", "benchmark") if cells[key].nunique() > 1 or key == "row"]
    table = cells.pivot(index=keys, columns="metric", values="cell").fillna("")
    lines = pd.MultiIndex.from_frame(cells[keys].drop_duplicates())
    lines = lines if len(keys) > 1 else lines.get_level_values(0)
    metrics = cells["metric"].drop_duplicates().sort_values(key=_ranks)
    return table.reindex(lines)[metrics.tolist()].reset_index()


def _ranks(values: pd.Series) -> pd.Series:
    """Rows and metrics in the paper's order, anything else after them by name."""
    known = {name: i for i, name in enumerate((*ROW_ORDER, *METRIC_ORDER))}
    return values.map(lambda name: (known.get(name, len(known)), name))


def markdown(summary: pd.DataFrame) -> str:
    """The table as Markdown, under a line that names its study and how its intervals were made."""
    table = wide(summary)
    head = "| " + " | ".join(_escape_markdown(name) for name in table.columns) + " |"
    lines = ["| " + " | ".join(map(_escape_markdown, row)) + " |" for row in table.itertuples(index=False)]
    rule = "|" + "---|" * len(table.columns)
    return "\n\n".join([f"**{_stamp(summary)}**", "\n".join([head, rule, *lines]), *_notes(summary)]) + "\n"


def latex(summary: pd.DataFrame) -> str:
    """The table for LaTeX with the booktabs package, under the same line."""
    table = wide(summary)
    rows = [table.columns, *table.itertuples(index=False)]
    head, *body = (" & ".join(map(_escape_latex, row)) + r" \\" for row in rows)
    lines = [
        f"% {_stamp(summary)}",
        *(f"% {note}" for note in _notes(summary)),
        rf"\begin{{tabular}}{{{'l' * len(table.columns)}}}",
        r"\toprule",
        head,
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def _stamp(summary: pd.DataFrame) -> str:
    return stamp(summary.loc[summary["origin"] == "measured", "study"].iloc[0])


def _notes(summary: pd.DataFrame) -> list[str]:
    measured = summary[summary["origin"] == "measured"]
    notes = []
    if measured["low"].notna().any():
        level = measured["confidence"].dropna().iloc[0]
        notes.append(f"Brackets: {level:.0%} bootstrap interval with problems as the resampling unit.")
    if (summary["origin"] == "quoted").any():
        notes.append(quoted.NOTE[summary["artifact"].iloc[0]])
    return notes


def _cell(metric: str, value: float, low: float, high: float) -> str:
    digits = next((n for start, n in DIGITS.items() if metric.startswith(start)), 2)
    shown = f"{value:,.{digits}f}"
    return shown if pd.isna(low) else f"{shown} [{low:,.{digits}f}, {high:,.{digits}f}]"


def _escape_markdown(text: str) -> str:
    return re.sub(r"([\\`*_|<>])", r"\\\1", text)


def _escape_latex(text: str) -> str:
    text = text.replace("\\", r"\textbackslash ")
    return re.sub(r"([&%$#_{}])", r"\\\1", text).replace("~", r"\textasciitilde ").replace("^", r"\textasciicircum ")
