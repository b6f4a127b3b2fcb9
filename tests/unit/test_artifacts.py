"""Tables 1, A.1.1 and 2 against numbers worked out by hand, and how they are written."""

import pandas as pd
import pytest
from selfdistill import artifacts, compare, quoted, rendering, tables
from selfdistill.errors import UserError
from selfdistill.statistics import Bootstrap

BOOTSTRAP = Bootstrap(resamples=200)


def traces(rows, *, setting="unguided", model="m"):
    """Traces from (problem, sample, correct, tokens, wait as substring, wait as word, finish)."""
    names = ["problem_id", "sample", "correct", "response_tokens", "substring_wait", "word_wait", "finish_reason"]
    frame = pd.DataFrame(rows, columns=names)
    zero = [c for columns in tables.MARKER_COLUMNS.values() for c in columns if c not in names]
    return frame.assign(study="s", model=model, stage="x", setting=setting, **dict.fromkeys(zero, 0))


A = traces(
    [
        ("p", 0, True, 10, 2, 1, "stop"),
        ("p", 1, False, 30, 4, 2, "length"),
        ("q", 0, True, 20, 0, 0, "stop"),
        ("q", 1, True, 40, 6, 3, "stop"),
    ]
)


def value(frame, **labels):
    for name, wanted in labels.items():
        frame = frame[frame[name] == wanted]
    assert len(frame) == 1, f"{labels} stands {len(frame)} times"
    return frame["value"].iloc[0]


def test_table_1_by_hand():
    table = artifacts.table_1({"unguided": A}, A, bootstrap=BOOTSTRAP)
    row = {"row": "unguided", "origin": "measured"}
    assert value(table, metric="score", **row) == 0.75
    assert value(table, metric="L", **row) == 25
    assert value(table, metric="E_substring", **row) == 3
    assert value(table, metric="E_word", **row) == 1.5
    assert value(table, metric="E_per_1000_tokens_substring", **row) == 1000 * (3 + 3) / (20 + 30)
    assert value(table, metric="truncated", **row) == 0.25
    measured = table[table["origin"] == "measured"]
    assert set(measured["problems"]) == {2} and set(measured["samples"]) == {4}
    assert (measured["low"] <= measured["value"]).all() and (measured["value"] <= measured["high"]).all()


def test_problems_weigh_alike_whatever_their_samples():
    uneven = pd.concat([A, traces([("q", 2, False, 30, 0, 0, "stop"), ("q", 3, False, 30, 0, 0, "stop")])])
    table = artifacts.table_1({"unguided": uneven}, uneven, bootstrap=BOOTSTRAP)
    assert value(table, metric="score", row="unguided", origin="measured") == (0.5 + 0.5) / 2


def test_the_selection_draw_covers_the_selected_problems_only():
    drawn = pd.concat([A, traces([("never selected", 0, False, 999, 0, 0, "stop")])])
    table = artifacts.table_1({"unguided": A}, drawn, bootstrap=BOOTSTRAP)
    assert value(table, metric="L", row=artifacts.SELECTION_DRAW, origin="measured") == 25


def test_table_a1_counts_each_marker():
    table = artifacts.table_a1({"unguided": A}, bootstrap=BOOTSTRAP)
    assert value(table, metric="substring_wait") == 3
    assert value(table, metric="word_wait") == 1.5
    assert value(table, metric="word_hmm") == 0
    assert len(table) == 20


def test_selection_histogram_counts_problems_by_correct_rollouts():
    table = artifacts.selection_histogram(A)
    assert table.set_index("row")["value"].to_dict() == {"0": 0, "1": 1, "2": 1}


def test_table_2_by_hand():
    worse = A.assign(correct=[False, False, True, False])
    evaluations = {("base", "hard"): A, ("sft-guided-lr0.1", "hard"): worse}
    table = artifacts.table_2(evaluations, bootstrap=BOOTSTRAP)
    assert value(table, row="base", metric="avg", origin="measured") == 75
    assert value(table, row="sft-guided-lr0.1", metric="avg", origin="measured") == 25
    assert value(table, row="sft-guided-lr0.1", metric="avg_difference_to_base", origin="measured") == -50
    average = table[table["metric"] == "avg"]
    assert average[["sampling_low", "sampling_high"]].notna().all().all()


def test_uneven_samples_and_other_problems_are_refused():
    with pytest.raises(UserError, match="fewer samples than others"):
        artifacts.table_2({("base", "b"): A.iloc[:3]}, bootstrap=BOOTSTRAP)
    other = A.assign(problem_id=A["problem_id"].replace("q", "r"))
    with pytest.raises(UserError, match="not evaluated on the same problems"):
        artifacts.table_2({("base", "b"): A, ("sft-x-lr1", "b"): other}, bootstrap=BOOTSTRAP)


def test_quoted_numbers_are_the_published_ones_and_marked():
    table_1, table_2 = quoted.table_1(), quoted.table_2()
    assert value(table_1, row="unguided", metric="L") == 13054
    assert value(table_1, row="solution", metric="E_substring") == 8.8
    assert value(table_1, row="regeneration", metric="score") == 0.95
    assert value(table_1, row="unguided", metric="E_per_1000_tokens_substring") == pytest.approx(13.98, abs=0.005)
    assert value(table_2, row="sft-guided", benchmark="AIME24", metric="avg") == 20.21
    assert value(table_2, row="sft-unguided", benchmark="AIME25", metric="avg_difference_to_base") == pytest.approx(
        2.08
    )
    for table in (table_1, table_2):
        assert set(table["origin"]) == {"quoted"} and set(table["study"]) == {"paper"}
        assert table[["low", "high", "confidence"]].isna().all().all()


def summary():
    rows = [
        {"row": "solution", "metric": "L", "value": 1234.56, "low": 1200.0, "high": 1300.0, "origin": "measured"},
        {"row": "unguided", "metric": "L", "value": 10.0, "low": 9.0, "high": 11.0, "origin": "measured"},
        {"row": "unguided", "metric": "score", "value": 0.5, "low": 0.25, "high": 0.75, "origin": "measured"},
        {"row": "unguided", "metric": "score", "value": 0.3, "origin": "quoted"},
    ]
    frame = pd.DataFrame(rows).assign(study="tiny", model="a_b", artifact="table_1", benchmark="", confidence=0.95)
    frame.loc[frame["origin"] == "quoted", ["study", "model"]] = ["paper", "100% & more"]
    return frame.reindex(columns=tables.SUMMARY.names)


def test_markdown_is_as_written_here():
    text = rendering.markdown(summary())
    assert text.startswith("**tiny study: a tiny model trained from scratch on CPU; not the paper's models**\n")
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert lines == [
        "| model | row | score | L |",
        "|---|---|---|---|",
        "| a\\_b | unguided | 0.500 [0.250, 0.750] | 10.0 [9.0, 11.0] |",
        "| a\\_b | solution |  | 1,234.6 [1,200.0, 1,300.0] |",
        "| 100% & more | unguided (quoted) | 0.300 |  |",
    ]
    assert "95% bootstrap interval with problems as the resampling unit" in text
    assert "Quoted: Table 1 of the paper, second-hand" in text


def test_latex_is_escaped():
    text = rendering.latex(summary())
    assert r"a\_b & unguided & 0.500 [0.250, 0.750] & 10.0 [9.0, 11.0] \\" in text
    assert r"100\% \& more & unguided (quoted)" in text
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == 1


def test_rendering_does_not_depend_on_the_order_of_rows():
    shuffled = summary().sample(frac=1, random_state=1)
    assert rendering.markdown(shuffled) == rendering.markdown(summary())


def write_tables(folder, frame):
    tables.write(frame, folder / "tables" / "table_1.parquet", "summary")
    return folder


def test_compare_judges_by_intervals(tmp_path):
    reference = summary()
    overlapping = reference.assign(value=reference["value"] * 1.01, low=reference["low"] * 1.01)
    apart = reference.copy()
    apart.loc[0, ["value", "low", "high"]] = [2000.0, 1900.0, 2100.0]
    folders = {
        name: write_tables(tmp_path / name, frame)
        for name, frame in {"reference": reference, "same": overlapping, "apart": apart, "less": reference[1:]}.items()
    }
    assert compare.compare_folders(folders["same"], folders["reference"])[1]
    text, agree = compare.compare_folders(folders["apart"], folders["reference"])
    assert not agree
    assert "! table_1 / a_b / solution / L: 2000 [1900, 2100], reference 1235 [1200, 1300]" in text
    assert text.endswith("3 values compared, 2 agree, 1 differ")
    text, agree = compare.compare_folders(folders["less"], folders["reference"])
    assert not agree and "solution / L: missing, reference 1235" in text
    text, agree = compare.compare_folders(folders["reference"], folders["less"])
    assert not agree and "reference missing" in text


def test_nothing_to_compare_is_said(tmp_path):
    with pytest.raises(UserError, match="holds a table to compare"):
        compare.compare_folders(tmp_path / "a", tmp_path / "b")
