"""Summaries as Markdown and LaTeX tables: values with their intervals, quoted numbers marked as quoted."""

import re
from functools import partial

import pandas as pd

from selfdistill.analysis import quoted, summaries
from selfdistill.analysis.words import GUIDANCE, interval_over
from selfdistill.pages import reading_room
from selfdistill.pages.stamp import stamp_text

# Digits after the point, by the beginning of a metric's name.
SHARES = {"distinct_per": 1, "shared": 1, "training_share": 0, "evaluation_share": 0}  # percent
COUNTS = dict.fromkeys(("problem", "questions", "draws", "distinct", "expected_distinct", "runs", "step", "chosen"), 0)
DIGITS = {"score": 3, "truncated": 3, "V": 3, "avg": 1, "L": 1, "E_per": 2, **SHARES, **COUNTS}
QUOTED_DIGITS = {"score": 2, "avg": 2, "L": 0, "E_per": 2, "E": 1, **SHARES, **COUNTS}  # as published
MARKS = {"measured": "", "quoted": " (quoted)", "derived": " (derived)"}
MOST_COLUMNS = 13
# Which comparison of the reading room a table's responses are in.
VIEWS = {"table_1": "guidance", "table_a1": "guidance", "table_2": "sft", "table_onpolicy": "training"}
LATEX_WORDS = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
ROW_ORDER = (
    summaries.SELECTION_DRAW,
    *GUIDANCE,
    "base",
    "sft-unguided",
    "sft-guided",
    "sft-unguided_unfiltered",
)
RUN_KEYS = ("run", "data", "learning_rate")  # of the `sft_runs` schema
ACCURACIES = [name + suffix for name in ("avg", summaries.DEEP) for suffix in ("", "_difference_to_base")]
METRIC_ORDER = (*ACCURACIES, summaries.RELATIVE, *summaries.MEANS, *summaries.TOTALS, *summaries.MARKER_MEANS)
OF_V = ("accepted", "verified")  # what V is made of


def wide(summary: pd.DataFrame, sft_runs: pd.DataFrame) -> pd.DataFrame:
    """One line per model, row and benchmark, one column per metric, cells ``value [low, high]``.

    Accuracies have the interval with problems held fixed beside it: ``value [low, high] (low, high)``.
    Many metrics stand below one another, with a column per row. Ratios, pass@k and what V is made of are left to the
    CSV: with them the table would be wider than a page. ``sft_runs``: the runs among the rows of Table 2 (`sft_runs`
    schema).
    """
    in_order = partial(_ranks, sft_runs=sft_runs)
    left_out = summary["metric"].isin([*summaries.RATIOS, *OF_V]) | summary["metric"].str.startswith("pass@")
    shown = summary[~left_out]
    down, across = ("metric", "row") if shown["metric"].nunique() > MOST_COLUMNS else ("row", "metric")
    ordered = shown.sort_values(["origin", "model", down, "benchmark"], key=in_order, kind="stable")
    cells = ordered.assign(
        cell=[cell(row) for row in ordered.to_dict("records")],
        row=ordered["row"] + ordered["origin"].map(MARKS),
    )
    keys = [key for key in ("model", down, "benchmark") if cells[key].nunique() > 1 or key == down]
    table = cells.pivot(index=keys, columns=across, values="cell").fillna("")
    lines = pd.MultiIndex.from_frame(cells[keys].drop_duplicates())
    lines = lines if len(keys) > 1 else lines.get_level_values(0)
    columns = cells[across].drop_duplicates().sort_values(key=in_order)
    return table.reindex(lines)[columns.tolist()].reset_index()


def _ranks(values: pd.Series, sft_runs: pd.DataFrame) -> pd.Series:
    """Rows and metrics in the paper's order, anything else after them by name; runs by learning rate."""
    places = {name: i for i, name in enumerate(("training", *ROW_ORDER, *METRIC_ORDER))}
    runs = {run: (f"sft-{data}", rate) for run, data, rate in zip(*(sft_runs[c] for c in RUN_KEYS), strict=True)}

    def rank(name: str) -> tuple[int, str, float]:
        stem, rate = runs.get(name, (name, 0.0))
        return places.get(stem, len(places)), stem, rate

    return values.map(rank)


def markdown(summary: pd.DataFrame, sft_runs: pd.DataFrame) -> str:
    """The table as Markdown, under a line that names its study and how its intervals were made."""
    table = wide(summary, sft_runs)
    head = "| " + " | ".join(escape_markdown(name) for name in table.columns) + " |"
    lines = ["| " + " | ".join(map(escape_markdown, row)) + " |" for row in table.itertuples(index=False)]
    rule = "|" + "---|" * len(table.columns)
    parts = [f"**{escape_markdown(stamp)}**" for stamp in _stamps(summary)]
    return "\n\n".join([*parts, "\n".join([head, rule, *lines]), *_notes(summary), *_responses(summary)]) + "\n"


def _responses(summary: pd.DataFrame) -> list[str]:
    """Where the responses of a measured table can be read."""
    view = VIEWS.get(summary["artifact"].iloc[0])
    return [f"The responses: [reading room]({reading_room.link(view=view)})."] if view else []


def latex(summary: pd.DataFrame, sft_runs: pd.DataFrame) -> str:
    """The table for LaTeX with the booktabs package; what names its study and its origin are lines of it."""
    table = wide(summary, sft_runs)
    rows = [table.columns, *table.itertuples(index=False)]
    head, *body = (" & ".join(map(_escape_latex, row)) + r" \\" for row in rows)
    lines = [
        rf"\begin{{tabular}}{{{'l' * len(table.columns)}}}",
        r"\toprule",
        head,
        r"\midrule",
        *body,
        r"\bottomrule",
        *(
            rf"\multicolumn{{{len(table.columns)}}}{{p{{0.95\textwidth}}}}{{{_escape_latex(text)}}} \\"
            for text in [*_stamps(summary), *_notes(summary)]
        ),
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def _stamps(summary: pd.DataFrame) -> list[str]:
    """The line that sets the study apart from the paper; none for the paper's own."""
    measured = summary[summary["origin"] == "measured"]
    study = (summary if measured.empty else measured)["study"].iloc[0]
    return [text for text in [stamp_text(study)] if text]


def _notes(summary: pd.DataFrame) -> list[str]:
    measured = summary[summary["origin"] == "measured"]
    notes = []
    if measured["low"].notna().any():
        level = measured["confidence"].dropna().iloc[0]
        models = set(measured["models"].dropna().astype(int))
        notes.append(f"Brackets: {100 * level:g}% interval over {interval_over(models)}.")
        if measured["sampling_low"].notna().any():
            held = "the problems" if models == {1} else "base models and problems"
            notes.append(f"Parentheses: the same with {held} held fixed and only their samples redrawn.")
    averages = measured[measured["metric"] == "avg"]
    if len(averages):
        per_problem = averages["samples"] / averages["problems"] / averages["models"]
        samples = sorted({f"{k:g}" for k in per_problem.dropna() if k == round(k)})
        name = f"avg@{' or '.join(samples)}" if samples else "the mean accuracy"
        notes.append(f"avg is {name} in percent, its difference to the base model in points.")
    if (measured["metric"] == summaries.DEEP).any():
        notes.append(f"{summaries.DEEP} is the same over the first problems, which have more responses each.")
    if (measured["metric"] == summaries.RELATIVE).any():
        notes.append(f"{summaries.RELATIVE} is that difference in percent of the base model's accuracy.")
    if measured["metric"].str.startswith("pass@").any():
        notes.append("pass@k and its difference stand in the CSV.")
    if (summary["origin"] == "quoted").any():
        notes.append(quoted.NOTE[summary["artifact"].iloc[0]])
    return notes


def cell(row: dict) -> str:
    """A row of a summary as ``value [low, high] (low, high)``."""
    known = QUOTED_DIGITS if row["origin"] == "quoted" else DIGITS
    digits = next((n for start, n in known.items() if row["metric"].startswith(start)), 2)
    bounds = ("low", "high", "sampling_low", "sampling_high")
    value, low, high, sampling_low, sampling_high = (
        f"{row[name]:z,.{digits}f}"
        for name in ("value", *bounds)  # z: no "-0.0"
    )
    shown = value if pd.isna(row["low"]) else f"{value} [{low}, {high}]"
    return shown if pd.isna(row["sampling_low"]) else f"{shown} ({sampling_low}, {sampling_high})"


def escape_markdown(text: str) -> str:
    """A text as it is to be read, not as Markdown."""
    return re.sub(r"([\\`*_|<>&])", r"\\\1", text)


def _escape_latex(text: str) -> str:
    return re.sub(r"[\\&%$#_{}~^]", lambda found: LATEX_WORDS.get(found[0], "\\" + found[0]), text)
