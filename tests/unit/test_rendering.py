"""Tables as they are written: every character of a small one, and what marks quoted numbers and small studies."""

import pandas as pd
import pytest
from selfdistill import tables
from selfdistill.analysis import quoted
from selfdistill.pages import rendering

ROWS = [
    {"row": "solution", "metric": "L", "value": 1234.56, "low": 1200.0, "high": 1300.0, "origin": "measured"},
    {"row": "unguided", "metric": "L", "value": 10.0, "low": 9.0, "high": 11.0, "origin": "measured"},
    {"row": "unguided", "metric": "score", "value": 0.5, "low": 0.25, "high": 0.75, "origin": "measured"},
    {"row": "unguided", "metric": "score", "value": 0.3, "origin": "quoted"},
]
SFT_RUNS = pd.DataFrame(columns=tables.SFT_RUNS.columns)
HOSTILE = r"a|b_c%d&e\f{g}$#~^<i>*"


def summary(rows=ROWS, *, study="smoke", model="a_b", confidence=0.95, models=1):
    frame = pd.DataFrame(rows).assign(study=study, model=model, benchmark="", artifact="table_1", models=models)
    frame["confidence"] = confidence
    frame.loc[frame["origin"] == "quoted", ["study", "model"]] = ["paper", "100% & more"]
    return frame.reindex(columns=tables.SUMMARY.columns)


MARKDOWN = r"""**smoke study: tiny models trained from scratch on CPU; not the paper's models**

| model | row | score | L |
|---|---|---|---|
| a\_b | unguided | 0.500 [0.250, 0.750] | 10.0 [9.0, 11.0] |
| a\_b | solution |  | 1,234.6 [1,200.0, 1,300.0] |
| 100% \& more | unguided (quoted) | 0.30 |  |

Brackets: 95% interval over problems; this base model only.

Quoted: Table 1 of the paper, second-hand (three independent notes agree); E per 1,000 tokens is derived.

The responses: [reading room](../reading_room/index.html#view=guidance).
"""

LATEX = r"""\begin{tabular}{llll}
\toprule
model & row & score & L \\
\midrule
a\_b & unguided & 0.500 [0.250, 0.750] & 10.0 [9.0, 11.0] \\
a\_b & solution &  & 1,234.6 [1,200.0, 1,300.0] \\
100\% \& more & unguided (quoted) & 0.30 &  \\
\bottomrule
\multicolumn{4}{p{0.95\textwidth}}{smoke study: tiny models trained from scratch on CPU; not the paper's models} \\
\multicolumn{4}{p{0.95\textwidth}}{Brackets: 95\% interval over problems; this base model only.} \\
\multicolumn{4}{p{0.95\textwidth}}{@NOTE@} \\
\end{tabular}
""".replace("@NOTE@", quoted.NOTE["table_1"])


def test_markdown_is_as_written_here():
    assert rendering.markdown(summary(), SFT_RUNS) == MARKDOWN


def test_latex_is_as_written_here():
    assert rendering.latex(summary(), SFT_RUNS) == LATEX


@pytest.mark.parametrize("seed", range(3))
def test_rendering_does_not_depend_on_the_order_of_rows(seed):
    shuffled = summary().sample(frac=1, random_state=seed)
    assert rendering.markdown(shuffled, SFT_RUNS) == MARKDOWN
    assert rendering.latex(shuffled, SFT_RUNS) == LATEX


def test_characters_with_a_meaning_are_escaped():
    rows = [{**ROWS[1], "row": HOSTILE}]
    (line,) = [line for line in rendering.markdown(summary(rows), SFT_RUNS).splitlines() if "9.0" in line]
    assert line == r"| a\|b\_c%d\&e\\f{g}$#~^\<i\>\* | 10.0 [9.0, 11.0] |"
    (line,) = [line for line in rendering.latex(summary(rows), SFT_RUNS).splitlines() if "9.0" in line]
    escaped = r"a|b\_c\%d\&e\textbackslash{}f\{g\}\$\#\textasciitilde{}\textasciicircum{}<i>*"
    assert line == escaped + r" & 10.0 [9.0, 11.0] \\"


@pytest.mark.parametrize("render", [rendering.markdown, rendering.latex])
@pytest.mark.parametrize(
    ("study", "stamp"),
    [
        ("microcosm", "microcosm study: tiny models trained from scratch on CPU; not the paper's models"),
        ("mine", "mine study: not the paper's configuration"),
    ],
)
def test_every_study_but_the_papers_is_stamped(render, study, stamp):
    assert stamp in render(summary(study=study), SFT_RUNS)
    assert "study" not in render(summary(study="paper"), SFT_RUNS)


def test_rows_stand_in_the_papers_order_and_quoted_ones_last():
    names = ["regeneration", "another", "solution", "selection draw", "solution_without_thinking", "unguided"]
    measured = summary([{**ROWS[1], "row": name} for name in names], model="z")
    table = rendering.wide(pd.concat([quoted.table_1(), measured]), SFT_RUNS)
    settings = ["unguided", "solution", "solution_without_thinking", "regeneration"]
    assert table["row"].tolist() == ["selection draw", *settings, "another", *[f"{s} (quoted)" for s in settings]]
    assert table.columns.tolist() == ["model", "row", "score", "L", "E_substring", "E_per_1000_tokens_substring"]


def test_ratios_are_left_to_the_csv():
    rows = [*ROWS, {**ROWS[0], "metric": "L_ratio", "value": 7.77, "low": 7.7, "high": 7.8}]
    assert rendering.markdown(summary(rows), SFT_RUNS) == MARKDOWN


def test_v_is_shown_and_what_it_is_made_of_is_left_to_the_csv():
    metrics = {"V": 0.7512, "accepted": 0.8, "verified": 0.601, "V_difference_to_base": -0.05}
    rows = [{**ROWS[1], "metric": name, "value": v, "low": v - 0.1, "high": v + 0.1} for name, v in metrics.items()]
    table = rendering.wide(summary(rows), SFT_RUNS)
    assert {"V", "V_difference_to_base"} == set(table.columns) - {"row"}
    assert table["V"].tolist() == ["0.751 [0.651, 0.851]"]


def test_markers_stand_below_one_another_in_the_papers_order():
    rows = [
        {**ROWS[1], "row": setting, "metric": metric}
        for setting in ("solution", "unguided")
        for columns in tables.MARKER_COLUMNS.values()
        for metric in sorted(columns)
    ]
    table = rendering.wide(summary(rows), SFT_RUNS)
    assert table.columns.tolist() == ["metric", "unguided", "solution"]
    assert table["metric"].tolist() == [*tables.MARKER_COLUMNS["substring"], *tables.MARKER_COLUMNS["word"]]


def test_small_negative_numbers_are_not_minus_zero():
    rows = [{**ROWS[1], "metric": "avg_difference_to_base", "value": -0.01, "low": -5.04, "high": 0.04}]
    assert "| 0.0 [-5.0, 0.0] |" in rendering.markdown(summary(rows), SFT_RUNS)


@pytest.mark.parametrize(("confidence", "shown"), [(0.9, "90%"), (0.995, "99.5%")])
def test_the_level_is_said(confidence, shown):
    assert f"Brackets: {shown} interval" in rendering.markdown(summary(confidence=confidence), SFT_RUNS)


def test_accuracies_show_both_intervals_and_say_how_many_samples():
    both = {"low": -5.04, "high": 0.5, "sampling_low": -4.0, "sampling_high": -1.0, "problems": 10, "samples": 160}
    rows = [{**ROWS[1], **both, "metric": metric, "value": -2.5} for metric in ("avg", "avg_difference_to_base")]
    text = rendering.markdown(summary(rows), SFT_RUNS)
    assert "| -2.5 [-5.0, 0.5] (-4.0, -1.0) | -2.5 [-5.0, 0.5] (-4.0, -1.0) |" in text
    assert "Parentheses: the same with the problems held fixed and only their samples redrawn." in text
    assert "avg is avg@16 in percent" in text


@pytest.mark.parametrize(
    ("models", "said"),
    [
        (3, "95% interval over 3 base models and their problems; provisional: fewer than five base models."),
        (16, "95% interval over 16 base models and their problems."),
    ],
)
def test_what_numbers_rest_on_is_said(models, said):
    both = {"sampling_low": -4.0, "sampling_high": -1.0, "problems": 10, "samples": 160 * models}
    text = rendering.markdown(summary([{**ROWS[1], **both, "metric": "avg"}], models=models), SFT_RUNS)
    assert f"Brackets: {said}\n" in text
    assert "Parentheses: the same with base models and problems held fixed and only their samples redrawn." in text
    assert "avg is avg@16 in percent" in text


def test_quoted_values_are_shown_as_published():
    table_1 = rendering.markdown(pd.concat([summary(ROWS[1:2]), quoted.table_1()]), SFT_RUNS)
    assert "| unguided (quoted) | 0.30 | 13,054 | 182.5 | 13.98 |" in table_1
    table_2 = rendering.markdown(pd.concat([summary([{**ROWS[1], "metric": "avg"}]), quoted.table_2()]), SFT_RUNS)
    assert "| base (quoted) | AIME25 | 37.92 |  |" in table_2
    assert "| sft-unguided (quoted) | AIME25 | 40.00 | 2.08 |" in table_2


def test_runs_stand_in_the_papers_order_by_data_set_and_rate_whatever_they_are_called():
    rates = {"b": ("guided", 1e-4), "d": ("guided", 1e-5), "c": ("unguided", 3e-4), "a": ("unguided_unfiltered", 1e-6)}
    runs = pd.DataFrame(
        [
            {"study": "s", "model": "m", "run": run, "data": of, "learning_rate": rate}
            for run, (of, rate) in rates.items()
        ]
    )
    table = rendering.wide(summary([{**ROWS[1], "row": name} for name in (*rates, "base")]), runs)
    assert table["row"].tolist() == ["base", "c", "d", "b", "a"]
