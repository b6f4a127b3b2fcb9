"""Tables 1, A.1.1 and 2 against numbers worked out by hand."""

import numpy as np
import pandas as pd
import pytest
from selfdistill import tables
from selfdistill.analysis import quoted, responses, summaries
from selfdistill.analysis.intervals import Bootstrap
from selfdistill.errors import UserError

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


def reduced(frame):
    return responses.reduce([frame], "made up")


def table_1(settings, selection):
    settings = {name: reduced(frame) for name, frame in settings.items()}
    return summaries.table_1(settings, reduced(selection), bootstrap=BOOTSTRAP)


def table_2(evaluations):
    return summaries.table_2({key: reduced(frame) for key, frame in evaluations.items()}, bootstrap=BOOTSTRAP)


def value(frame, **labels):
    for name, wanted in labels.items():
        frame = frame[frame[name] == wanted]
    assert len(frame) == 1, f"{labels} stands {len(frame)} times"
    return frame["value"].iloc[0]


def test_table_1_by_hand():
    table = table_1({"unguided": A}, A)
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
    table = table_1({"unguided": uneven}, uneven)
    assert value(table, metric="score", row="unguided", origin="measured") == (0.5 + 0.5) / 2


def test_the_selection_draw_covers_the_selected_problems_only():
    drawn = pd.concat([A, traces([("never selected", 0, False, 999, 0, 0, "stop")])])
    table = table_1({"unguided": A}, drawn)
    assert value(table, metric="L", row=summaries.SELECTION_DRAW, origin="measured") == 25


def test_table_a1_counts_each_marker():
    table = summaries.table_a1({"unguided": reduced(A)}, bootstrap=BOOTSTRAP)
    assert value(table, metric="substring_wait") == 3
    assert value(table, metric="word_wait") == 1.5
    assert value(table, metric="word_hmm") == 0
    assert len(table) == 20


def test_selection_histogram_counts_problems_by_correct_rollouts():
    table = summaries.selection_histogram(reduced(A))
    assert table.set_index("row")["value"].to_dict() == {"0": 0, "1": 1, "2": 1}
    # Another two problems like these would have been 0, 1 or 2 of either kind.
    assert table.set_index("row")[["low", "high"]].to_numpy().tolist() == [[0, 0], [0, 2], [0, 2]]


def test_table_2_by_hand():
    worse = A.assign(correct=[False, False, True, False])
    evaluations = {("base", "hard"): A, ("sft-guided-lr0.1", "hard"): worse}
    table = table_2(evaluations)
    assert value(table, row="base", metric="avg", origin="measured") == 75
    assert value(table, row="sft-guided-lr0.1", metric="avg", origin="measured") == 25
    assert value(table, row="sft-guided-lr0.1", metric="avg_difference_to_base", origin="measured") == -50
    average = table[table["metric"] == "avg"]
    assert average[["sampling_low", "sampling_high"]].notna().all().all()


def test_uneven_samples_and_other_problems_are_refused():
    with pytest.raises(UserError, match="fewer samples than others"):
        table_2({("base", "b"): A.iloc[:3]})
    other = A.assign(problem_id=A["problem_id"].replace("q", "r"))
    with pytest.raises(UserError, match="not evaluated on the same problems"):
        table_2({("base", "b"): A, ("sft-x-lr1", "b"): other})


# Problem p: half the tokens and a quarter of the markers of A; problem q: as in A.
B = traces(
    [
        ("p", 0, True, 5, 1, 1, "stop"),
        ("p", 1, True, 15, 2, 0, "stop"),
        ("q", 0, True, 20, 0, 0, "stop"),
        ("q", 1, True, 40, 6, 3, "stop"),
    ],
    setting="solution",
)


def line(frame, **labels):
    value(frame, **labels)
    for name, wanted in labels.items():
        frame = frame[frame[name] == wanted]
    return frame.iloc[0]


def test_ratios_divide_means_of_the_same_problems():
    table = table_1({"unguided": A, "solution": B}, A)
    row = {"row": "solution"}
    assert value(table, metric="L_ratio", **row) == (10 + 30) / (20 + 30)
    assert value(table, metric="E_substring_ratio", **row) == (1.5 + 3) / (3 + 3)
    assert value(table, metric="E_word_ratio", **row) == (0.5 + 1.5) / (1.5 + 1.5)
    density = value(table, metric="E_per_1000_tokens_substring_ratio", **row)
    assert density == pytest.approx((4.5 / 40) / (6 / 50))
    length = line(table, metric="L_ratio", **row)
    # Resamples hold p twice (10 / 20), p and q (40 / 50) or q twice (30 / 30): both sides always the same problems.
    assert (length["low"], length["high"]) == (0.5, 1.0)
    for metric in summaries.RATIOS:
        own = line(table, metric=metric, row="unguided")
        assert own[["value", "low", "high"]].tolist() == [1, 1, 1]


def test_what_has_no_ratio_is_left_out_and_the_rest_stays():
    silent = A.assign(response_tokens=0, substring_wait=0, word_wait=0)
    table = table_1({"unguided": silent, "solution": B}, silent)
    assert set(table["metric"]) == set(summaries.MEANS) | set(summaries.DENSITIES)
    assert set(table.loc[table["metric"].isin(summaries.DENSITIES), "row"]) == {"solution"}
    assert np.isfinite(table["value"]).all()


def test_a_ratio_that_some_resamples_lack_has_no_interval():
    rare = A.assign(word_wait=[0, 0, 0, 1])  # problem p has none: a resample of p alone has no ratio
    table = table_1({"unguided": rare, "solution": B}, rare)
    row = line(table, metric="E_word_ratio", row="solution")
    assert row["value"] == 2 / 0.5
    assert row[["low", "high"]].isna().all()


def test_table_1_refuses_what_it_cannot_compare():
    other = B.assign(problem_id=B["problem_id"].replace("q", "r"))
    with pytest.raises(UserError, match="'solution' was not sampled on the same problems as 'unguided'"):
        table_1({"unguided": A, "solution": other}, A)
    with pytest.raises(UserError, match="needs traces of the setting 'unguided'; found: solution"):
        table_1({"solution": B}, A)
    with pytest.raises(UserError, match="'selection draw' was not sampled on the same problems as 'unguided'"):
        table_1({"unguided": A}, A.assign(problem_id="r", sample=range(4)))
    twice = pd.concat([A, A.assign(stage="sft")])
    with pytest.raises(UserError, match=r"twice in the traces of 'unguided' \(stages found: x, sft\)"):
        table_1({"unguided": twice}, A)


def test_the_paired_difference_is_taken_problem_by_problem():
    # 50 points fewer on either problem, whatever the problem: the interval has no width, that of avg has.
    base, run = A.assign(correct=[True, False, True, True]), A.assign(correct=[False, False, True, False])
    table = table_2({("base", "b"): base, ("sft-x-lr1", "b"): run})
    difference = line(table, metric="avg_difference_to_base")
    assert difference[["value", "low", "high"]].tolist() == [-50, -50, -50]
    # Of each problem's two samples one lost 100 points: other samples could have lost all or nothing.
    assert difference[["sampling_low", "sampling_high"]].tolist() == [-100, 0]
    average = line(table, metric="avg", row="base")
    assert average[["value", "low", "high"]].tolist() == [75, 50, 100]


def test_table_2_needs_the_base_model():
    with pytest.raises(UserError, match="'sft-x-lr1' was evaluated on 'easy', the base model was not"):
        table_2({("base", "hard"): A, ("sft-x-lr1", "easy"): A})


@pytest.mark.parametrize(
    ("setting", "score", "length", "markers", "density"),
    [
        ("unguided", 0.30, 13054, 182.5, 13.98),
        ("solution", 0.98, 1873, 8.8, 4.70),
        ("solution_without_thinking", 0.78, 12036, 159.8, 13.28),
        ("regeneration", 0.95, 2808, 24.1, 8.58),
    ],
)
def test_quoted_table_1_is_the_published_one(setting, score, length, markers, density):
    table = quoted.table_1()
    assert value(table, row=setting, metric="score") == score
    assert value(table, row=setting, metric="L") == length
    assert value(table, row=setting, metric="E_substring") == markers
    assert round(value(table, row=setting, metric="E_per_1000_tokens_substring"), 2) == density
    assert len(table) == 16


@pytest.mark.parametrize(
    ("run", "accuracies"),
    [
        ("base", (54.79, 37.92, 89.06, 92.19)),
        ("sft-unguided", (51.04, 40.00, 87.66, 90.93)),
        ("sft-guided", (20.21, 12.71, 57.03, 65.52)),
    ],
)
def test_quoted_table_2_is_the_published_one(run, accuracies):
    table = quoted.table_2()
    for benchmark, accuracy in zip(("AIME24", "AIME25", "AMC23", "MATH500"), accuracies, strict=True):
        assert value(table, row=run, benchmark=benchmark, metric="avg") == accuracy
    assert len(table) == 12 + 8


def test_quoted_differences_are_to_the_quoted_base():
    labels = {"row": "sft-unguided", "benchmark": "AIME25", "metric": "avg_difference_to_base"}
    assert value(quoted.table_2(), **labels) == pytest.approx(2.08)


@pytest.mark.parametrize("table", [quoted.table_1(), quoted.table_2()])
def test_quoted_rows_are_marked_and_have_no_interval(table):
    assert set(table["origin"]) == {"quoted"} and set(table["study"]) == {"paper"}
    numbers = ["low", "high", "sampling_low", "sampling_high", "confidence", "problems", "samples"]
    assert table[numbers].isna().all(axis=None)
