"""Curves of on-policy runs against numbers worked out by hand."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from selfdistill import tables
from selfdistill.analysis import arms, curves, responses, summaries
from selfdistill.analysis.estimates import estimate, spread_of
from selfdistill.errors import UserError

LEVEL = 0.95
ARM = {
    "study": "s",
    "family": "f",
    "thinking": "on",
    "method": "grpo",
    "context": "none",
    "teacher_update_rate": np.nan,
    "problem_set": "train",
    "problems": 100,
    "whole_set": True,
    "learning_rate": 3e-4,
    "top_k": np.nan,
}
SDPO = {"method": "sdpo", "context": "solution", "teacher_update_rate": 0.0, "top_k": 100.0}


def run_table(*rows):
    return pd.DataFrame([{**ARM, "draw": 0, "seed": 0, **row} for row in rows])[tables.RUNS.columns]


ONE = run_table({"model": "m", "run": "a"})
TWO = run_table({"model": "m", "run": "a"}, {"model": "n", "run": "a", "seed": 1})


def traces(rows, *, stage="training"):
    """Traces from (model, run, step, problem, correct, tokens, wait as substring, wait as word, finish).

    Every answer is accepted, and verified where it is right.
    """
    names = ["model", "run", "step", "problem_id", "correct", "response_tokens"]
    frame = pd.DataFrame(rows, columns=[*names, "substring_wait", "word_wait", "finish_reason"])
    zero = [c for columns in tables.MARKER_COLUMNS.values() for c in columns if c not in frame]
    frame = frame.assign(study="s", stage=stage, setting=frame["run"], sample=range(len(frame)))
    frame = frame.assign(accepted=True, verified=frame["correct"])
    return frame.assign(step=frame["step"].astype("Int32"), **dict.fromkeys(zero, 0))


def evaluations(*parts, setting="hard"):
    """Traces of one benchmark from (model, run, step, {problem: (correct share of four samples, tokens)})."""
    rows = [
        (model, run, step, problem, sample < 4 * share, tokens, 2, 1, "stop")
        for model, run, step, problems in parts
        for problem, (share, tokens) in problems.items()
        for sample in range(4)
    ]
    return traces(rows, stage="evaluation").assign(setting=setting)


def t_interval(values, level=LEVEL):
    return tuple(stats.ttest_1samp(values, 0).confidence_interval(level))


def bounds(row):
    return tuple(row[["low", "high"]])


def line(frame, **labels):
    for name, wanted in labels.items():
        frame = frame[frame[name] == wanted]
    assert len(frame) == 1, f"{labels} stands {len(frame)} times"
    return frame.iloc[0]


ROLLOUTS = traces(
    [
        ("m", "a", 1, "p", True, 10, 2, 1, "stop"),
        ("m", "a", 1, "p", False, 30, 4, 2, "length"),
        ("m", "a", 2, "q", True, 20, 0, 0, "stop"),
        ("m", "a", 2, "q", True, 40, 6, 3, "stop"),
        ("m", "a", 3, "p", False, 8, 1, 0, "stop"),
        ("m", "a", 3, "p", False, 12, 1, 0, "stop"),
    ]
)


def test_windows_of_training_by_hand():
    table = curves.training_curves(ROLLOUTS, ONE, window=2, confidence=LEVEL)
    first = {
        "score": 0.75,
        "L": 25,
        "E_substring": 3,
        "E_word": 1.5,
        "truncated": 0.25,
        "accepted": 1,
        "verified": 0.75,
        "V": 0.75,
        "E_per_1000_tokens_substring": 1000 * 12 / 100,
        "E_per_1000_tokens_word": 1000 * 6 / 100,
    }
    for metric, value in first.items():
        row = line(table, step=2, metric=metric)
        assert row["value"] == pytest.approx(value)
        assert (row["runs"], row["samples"], row["band"], row["benchmark"]) == (1, 4, "problems", "")
    assert bounds(line(table, step=2, metric="score")) == pytest.approx(t_interval([0.5, 1.0]))
    assert bounds(line(table, step=2, metric="L")) == pytest.approx(t_interval([20, 30]))
    # The last window holds step 3 only, and one problem, which says nothing about others.
    assert set(table["step"]) == {2, 3}
    assert line(table, step=3, metric="L")["value"] == 10
    assert table.loc[table["step"] == 3, ["low", "high"]].isna().all(axis=None)


def test_a_problem_drawn_twice_in_a_window_counts_twice():
    table = curves.training_curves(ROLLOUTS, ONE, window=3, confidence=LEVEL)
    score = line(table, metric="score", step=3)
    assert score["value"] == pytest.approx(3 / 6)
    # p has a quarter right of two thirds of the rollouts, q all of one third: linear in totals and numbers.
    assert bounds(score) == pytest.approx(t_interval([0.5 + 4 / 3 * (0.25 - 0.5), 0.5 + 2 / 3 * (1 - 0.5)]))
    assert line(table, metric="E_per_1000_tokens_word", step=3)["value"] == pytest.approx(1000 * 6 / 120)


def test_responses_without_tokens_have_no_density():
    table = curves.training_curves(ROLLOUTS.assign(response_tokens=0), ONE, window=3, confidence=LEVEL)
    assert set(table["metric"]) == {*summaries.MEANS, "V"}


def test_training_rows_fit_the_schema(tmp_path):
    table = curves.training_curves(ROLLOUTS, ONE, window=1, confidence=LEVEL)
    tables.write(table, tmp_path / "curves.parquet", tables.CURVES)
    assert len(tables.read(tmp_path / "curves.parquet", tables.CURVES)) == 3 * 10


def test_v_of_a_window_is_of_its_accepted_answers():
    """Steps 1 and 2: of p one answer is accepted and not verified, of q both are accepted and one verified."""
    rollouts = ROLLOUTS.assign(
        accepted=[True, False, True, True, False, False], verified=[False, False, True, False, False, False]
    )
    table = curves.training_curves(rollouts, ONE, window=2, confidence=LEVEL)
    row = line(table, step=2, metric="V")
    assert row["value"] == pytest.approx(1 / 3)
    # By problem, in units of the three quarters accepted, half the rollouts each: p 0 of .25, q .25 of .5.
    assert bounds(row) == pytest.approx(
        t_interval([1 / 3 + 2 * (0 - 0.25 / 3) / 0.75, 1 / 3 + 2 * (0.25 - 0.5 / 3) / 0.75])
    )
    assert "V" not in set(table.loc[table["step"] == 3, "metric"])
    assert line(table, step=3, metric="accepted")["value"] == 0


def test_replicates_are_pooled_whatever_their_rollouts():
    other = [("n", "a", 1, problem, False, 5, 0, 0, "stop") for problem in "wxyz" for _ in range(3)]
    rollouts = pd.concat([ROLLOUTS[ROLLOUTS["step"] < 3], traces(other)], ignore_index=True)
    table = curves.training_curves(rollouts.assign(step=1), TWO, window=1, confidence=LEVEL)
    score = line(table, metric="score")
    assert score["value"] == (0.75 + 0) / 2
    # Each base model saw problems of its own: their means alone vary.
    assert (score["runs"], score["models"], score["samples"], score["band"]) == (2, 2, 16, "base models")
    assert bounds(score) == pytest.approx(t_interval([0.75, 0]))
    # One has 60 markers per 1,000 tokens, the other none.
    assert line(table, metric="E_per_1000_tokens_word")["value"] == pytest.approx((60 + 0) / 2)


def test_seeds_of_one_base_model_are_averaged_before_anything():
    runs = run_table(*({"model": m, "run": r} for m, r in [("m", "a"), ("m", "b"), ("n", "a")]))
    right = {("m", "a"): 2, ("m", "b"): 0, ("n", "a"): 2}
    rows = [
        (*run, 1, problem, sample < number, 10, 0, 0, "stop")
        for run, number in right.items()
        for problem in "pq"
        for sample in range(4)
    ]
    score = line(curves.training_curves(traces(rows), runs, window=1, confidence=LEVEL), metric="score")
    assert score[["value", "runs", "models", "band"]].tolist() == [0.375, 3, 2, "base models and problems"]
    assert json.loads(score["by_model"]) == {"m": 0.25, "n": 0.5}
    assert bounds(score) == pytest.approx(t_interval([0.25, 0.5]))


def test_seeds_with_problems_of_their_own_count_alike():
    runs = run_table({"model": "m", "run": "a"}, {"model": "m", "run": "b"})
    rows = [("m", "a", 1, "p", True, 10, 0, 0, "stop")] * 2
    rows += [("m", "b", 1, problem, False, 30, 0, 0, "stop") for problem in "pqrs"]
    table = curves.training_curves(traces(rows), runs, window=1, confidence=LEVEL)
    assert line(table, metric="score")["value"] == pytest.approx(0.5)
    assert line(table, metric="L")["value"] == pytest.approx(20)


def test_the_last_windows_of_like_arms_lend_their_spread():
    rng = np.random.default_rng(1)
    models, rates = "mno", (1e-4, 3e-4, 1e-3, 3e-3)
    runs = run_table(*({"model": m, "run": f"r{rate}", "learning_rate": rate} for m in models for rate in rates))
    rows = [
        (m, f"r{rate}", step, f"{problem}", rng.random() < 0.5, int(rng.integers(5, 50)), 0, 0, "stop")
        for m in models
        for rate in rates
        for step in (1, 2)
        for problem in range(6)
    ]
    table = curves.training_curves(traces(rows), runs, window=1, confidence=LEVEL)
    lengths = table[table["metric"] == "L"]
    plain = [estimate(values_of(rows, rate, step), confidence=LEVEL) for rate in rates for step in (1, 2)]
    spread = spread_of(plain[1::2])  # of the last step of each arm
    expected = [estimate(values_of(rows, r, s), confidence=LEVEL, spread=spread).low for r in rates for s in (1, 2)]
    assert lengths["low"].tolist() == pytest.approx(expected)
    assert lengths["plain_low"].tolist() == pytest.approx([each.low for each in plain])


def values_of(rows, rate, step):
    """Tokens per problem by base model; rows as of `traces`, one rollout each."""
    found = {}
    for model, run, at, problem, _, tokens, *_ in rows:
        if (run, at) == (f"r{rate}", step):
            found.setdefault(model, {})[problem] = float(tokens)
    return {model: pd.Series(own) for model, own in found.items()}


def test_of_single_problems_only_runs_matter():
    rows = [(model, "a", 1, "p", model == "m", 10, 0, 0, "stop") for model in "mn" for _ in range(8)]
    runs = TWO.assign(problems=1, whole_set=False)
    score = line(curves.training_curves(traces(rows), runs, window=5, confidence=LEVEL), metric="score")
    assert score[["step", "value", "band"]].tolist() == [1, 0.5, "base models"]
    assert bounds(score) == pytest.approx(t_interval([0, 1]))


def test_arms_stay_apart(tmp_path):
    runs = run_table({"model": "m", "run": "a"}, {"model": "m", "run": "b", **SDPO}, {"model": "n", "run": "b", **SDPO})
    rows = [("m", "a"), ("m", "b"), ("n", "b")]
    rollouts = traces([(*row, 1, "p", row[1] == "b", 10, 0, 0, "stop") for row in rows])
    table = curves.training_curves(rollouts, runs, window=1, confidence=LEVEL)
    assert line(table, metric="score", method="grpo")[["value", "runs"]].tolist() == [0, 1]
    assert line(table, metric="score", method="sdpo")[["value", "runs"]].tolist() == [1, 2]
    tables.write(table, tmp_path / "curves.parquet", tables.CURVES)
    kept = tables.read(tmp_path / "curves.parquet", tables.CURVES)
    assert line(kept, metric="score", method="grpo")[["top_k", "teacher_update_rate"]].isna().all()
    assert set(arms.final_table(kept, kept.iloc[:0])["row"]) == {"GRPO, lr 3e-4", "SDPO c=s, lr 3e-4"}


def test_equal_inputs_give_equal_tables_in_any_order():
    table = curves.training_curves(ROLLOUTS, ONE, window=2, confidence=LEVEL)
    again = curves.training_curves(ROLLOUTS.sample(frac=1, random_state=1), ONE, window=2, confidence=LEVEL)
    pd.testing.assert_frame_equal(table, again)


def test_rollouts_and_runs_must_match():
    with pytest.raises(UserError, match="no rollouts of run 'a' of 'n'"):
        curves.training_curves(ROLLOUTS, TWO, window=2, confidence=LEVEL)
    with pytest.raises(UserError, match="rollouts of run 'a' of 'm', which is not in the table of runs"):
        curves.training_curves(ROLLOUTS, TWO.iloc[1:], window=2, confidence=LEVEL)
    with pytest.raises(UserError, match="run 'a' of 'm' stands twice"):
        curves.training_curves(ROLLOUTS, pd.concat([ONE, ONE]), window=2, confidence=LEVEL)
    with pytest.raises(UserError, match="window is 0"):
        curves.training_curves(ROLLOUTS, ONE, window=0, confidence=LEVEL)
    with pytest.raises(UserError, match="table of runs is empty"):
        curves.training_curves(ROLLOUTS.iloc[:0], ONE.iloc[:0], window=2, confidence=LEVEL)


EASY_BASE = {"p": (0.5, 100), "q": (0.75, 200)}
RATES = {"a": 1e-4, "b": 3e-4, "c": 1e-3}
HARD_BASE = {"p": (0.25, 60), "q": (1.0, 80)}


def shifted(problems, share, tokens):
    return {name: (old + share, length + tokens) for name, (old, length) in problems.items()}


def test_evaluation_by_hand():
    worse = {"p": (0.25, 40), "q": (0.0, 60)}
    traces_ = evaluations(("m", "base", None, EASY_BASE), ("m", "a", 10, worse))
    traces_.loc[traces_["run"] == "a", "substring_wait"] = 0
    table = curves.evaluation_curves(traces_, ONE, confidence=LEVEL)
    assert line(table, step=0, metric="avg")["value"] == 62.5
    assert bounds(line(table, step=0, metric="avg")) == pytest.approx(t_interval([50, 75]))
    assert line(table, step=10, metric="avg")["value"] == 12.5
    assert line(table, step=0, metric="L")["value"] == 150
    assert line(table, step=0, metric="E_per_1000_tokens_word")["value"] == pytest.approx(1000 / 150)
    difference = line(table, step=10, metric="avg_difference_to_base")
    assert difference["value"] == -50 and bounds(difference) == pytest.approx(t_interval([-75, -25]))
    assert line(table, step=10, metric="substring_wait_difference_to_base")["value"] == -2
    assert line(table, step=10, metric="word_wait_difference_to_base")["value"] == 0
    assert line(table, step=10, metric="E_substring_difference_to_base")["value"] == -2
    row = line(table, step=10, metric="truncated")
    assert row[["value", "runs", "samples", "band", "benchmark"]].tolist() == [0, 1, 8, "problems", "hard"]


def test_evaluation_holds_every_metric_and_no_difference_of_the_base_to_itself(tmp_path):
    own = evaluations(("m", "base", None, EASY_BASE), ("m", "a", 10, EASY_BASE))
    table = curves.evaluation_curves(own, ONE, confidence=LEVEL)
    passes = {"pass@2", "pass@4"}  # of four samples
    plain = {*curves.EVALUATED, *summaries.TOTALS} - {"pass@8", "pass@16", "avg_deep"}
    assert {"avg", "L", "E_word", "truncated", "V", "accepted", "verified", *passes} < plain
    assert set(table.loc[table["step"] == 0, "metric"]) == plain
    differences = {"avg", "L", "E_substring", "E_word", "V", *summaries.MARKER_MEANS, *passes}
    changes = {f"{n}_difference_to_base" for n in differences} | {"avg_relative_to_base"}
    assert set(table.loc[table["step"] == 10, "metric"]) == plain | changes
    tables.write(table, tmp_path / "curves.parquet", tables.CURVES)


def test_v_and_its_difference_to_the_base_by_hand():
    """Accepted and verified of four: base, of p three and one, of q four and three; run, two and none, two and one."""
    own = evaluations(("m", "base", None, EASY_BASE), ("m", "a", 10, EASY_BASE))
    marks = {("base", "p"): (3, 1), ("base", "q"): (4, 3), ("a", "p"): (2, 0), ("a", "q"): (2, 1)}
    limits = [marks[pair] for pair in zip(own["run"], own["problem_id"], strict=True)]
    number = own.groupby(["run", "problem_id"]).cumcount()
    own = own.assign(accepted=number < [a for a, _ in limits], verified=number < [v for _, v in limits])
    table = curves.evaluation_curves(own, ONE, confidence=LEVEL)
    assert line(table, step=0, metric="V")["value"] == pytest.approx(4 / 7)
    assert line(table, step=10, metric="V")["value"] == pytest.approx(1 / 4)
    difference = line(table, step=10, metric="V_difference_to_base")
    assert difference["value"] == pytest.approx(1 / 4 - 4 / 7)
    # Each ratio is made linear at its value, then subtracted problem by problem.
    before = [4 / 7 + (verified - 4 / 7 * accepted) / 0.875 for accepted, verified in ((0.75, 0.25), (1, 0.75))]
    after = [1 / 4 + (verified - 1 / 4 * accepted) / 0.5 for accepted, verified in ((0.5, 0), (0.5, 0.25))]
    assert bounds(difference) == pytest.approx(t_interval([a - b for a, b in zip(after, before, strict=True)]))
    for run, left in (("base", {10}), ("a", {0})):
        table = curves.evaluation_curves(
            own.assign(accepted=own["accepted"] & (own["run"] != run)), ONE, confidence=LEVEL
        )
        assert set(table.loc[table["metric"] == "V", "step"]) == left
        assert "V_difference_to_base" not in set(table["metric"])
        assert line(table, step=10, metric="avg_difference_to_base")["value"] == 0


def test_each_run_is_set_against_its_base_model_on_the_problems_that_it_trains_on():
    """Two base models with draws of their own, and two seeds of the first, which share one of their problems."""
    runs = run_table(
        {"model": "m", "run": "a"}, {"model": "m", "run": "b", "seed": 1}, {"model": "n", "run": "a", "draw": 1}
    )
    base_m = {"p": (0.5, 10), "q": (0.25, 10), "r": (0.0, 10)}
    own = evaluations(
        ("m", "base", None, base_m),
        ("n", "base", None, {"x": (0.25, 10), "y": (0.75, 10)}),
        ("m", "a", 10, {"p": (1.0, 10), "q": (0.75, 10)}),
        ("m", "b", 10, {"q": (0.25, 10), "r": (0.5, 10)}),
        ("n", "a", 10, {"x": (0.5, 10)}),
        setting="trained",
    )
    table = curves.evaluation_curves(own, runs, confidence=LEVEL)
    values = {
        (step, metric): json.loads(line(table, step=step, metric=metric)["by_model"])
        for step, metric in [(0, "avg"), (10, "avg"), (10, "avg_difference_to_base"), (10, "avg_relative_to_base")]
    }
    # Of m: p by one run, q by both, r by the other; of n: x alone, as the run does not train on y.
    assert values[0, "avg"] == {"m": 25, "n": 25}
    assert values[10, "avg"] == pytest.approx({"m": (100 + 50 + 50) / 3, "n": 50}, rel=1e-5)
    assert values[10, "avg_difference_to_base"] == pytest.approx({"m": (50 + 25 + 50) / 3, "n": 25}, rel=1e-5)
    assert values[10, "avg_relative_to_base"] == pytest.approx({"m": 100 * (200 / 75 - 1), "n": 100}, rel=1e-5)
    assert line(table, step=10, metric="avg")["band"] == "base models"
    lacking = own[(own["run"] != "base") | (own["problem_id"] != "p")]
    with pytest.raises(UserError, match="not evaluated on the same problems of 'trained'"):
        curves.evaluation_curves(lacking, runs, confidence=LEVEL)


def test_a_change_in_percent_of_the_base_has_the_spread_of_a_ratio():
    after = {"p": (0.25, 10), "q": (0.0, 10)}
    own = evaluations(("m", "base", None, {"p": (0.5, 10), "q": (0.75, 10)}), ("m", "a", 10, after))
    row = line(curves.evaluation_curves(own, ONE, confidence=LEVEL), step=10, metric="avg_relative_to_base")
    assert row["value"] == pytest.approx(100 * (0.125 / 0.625 - 1))
    # Around the ratio .2, in units of the base's .625: p is .25 - .2 * .5 off, q is 0 - .2 * .75.
    assert bounds(row) == pytest.approx(t_interval([100 * (0.2 - 1 + off / 0.625) for off in (0.15, -0.15)]))
    nothing = evaluations(("m", "base", None, {"p": (0.0, 10)}), ("m", "a", 10, {"p": (0.5, 10)}))
    assert "avg_relative_to_base" not in set(curves.evaluation_curves(nothing, ONE, confidence=LEVEL)["metric"])


def test_changes_in_percent_borrow_no_spread():
    runs = run_table(*({"model": m, "run": run, "learning_rate": rate} for m in "mno" for run, rate in RATES.items()))
    start = {"m": {"p": (0.5, 10), "q": (0.75, 10)}, "n": {"p": (0.75, 10), "q": (0.75, 10)}, "o": EASY_BASE}
    gains = {"m": (0.0, 0.25, -0.25), "n": (0.25, -0.25, 0.0), "o": (0.25, 0.0, -0.25)}
    after = [(m, run, 10, shifted(start[m], gain, 0)) for m in "mno" for run, gain in zip(RATES, gains[m], strict=True)]
    own = evaluations(*((m, "base", None, start[m]) for m in "mno"), *after)
    table = curves.evaluation_curves(own, runs, confidence=LEVEL).set_index("metric")
    points, percent = table.loc["avg_difference_to_base"], table.loc["avg_relative_to_base"]
    assert (points["low"] != points["plain_low"]).all() and len(points) == 3
    assert (percent["low"] == percent["plain_low"]).all() and percent["low"].notna().all()


def test_problems_with_more_samples_stand_apart_as_well():
    own = evaluations(("m", "base", None, HARD_BASE), ("m", "a", 10, HARD_BASE))
    fewer = own[(own["problem_id"] == "p") | (own.groupby(["run", "problem_id"]).cumcount() < 2)]
    table = curves.evaluation_curves(fewer, ONE, confidence=LEVEL)
    assert line(table, step=10, metric="avg")["value"] == (25 + 100) / 2
    assert line(table, step=10, metric="avg_deep")["value"] == 25
    assert line(table, step=10, metric="pass@4")["value"] == 100
    assert line(table, step=10, metric="pass@2")["value"] == pytest.approx((50 + 100) / 2)


def test_a_shift_that_all_problems_share_has_an_interval_of_no_width():
    own = evaluations(
        ("m", "base", None, EASY_BASE),
        ("m", "a", 10, shifted(EASY_BASE, -0.25, 7)),
        ("n", "base", None, HARD_BASE),
        ("n", "a", 10, shifted(HARD_BASE, -0.25, 7)),
    )
    table = curves.evaluation_curves(own, TWO, confidence=LEVEL)
    # Each run against the base of its own model: against the other's, runs would differ.
    difference = line(table, step=10, metric="avg_difference_to_base")
    assert difference[["value", "low", "high", "runs"]].tolist() == pytest.approx([-25, -25, -25, 2])
    assert line(table, step=10, metric="L_difference_to_base")[["low", "high"]].tolist() == pytest.approx([7, 7])
    average = line(table, step=10, metric="avg")
    assert average["value"] == (0 + 75 + 25 + 50) / 4
    assert average["low"] < average["value"] < average["high"] and average["band"] == "base models and problems"


def test_the_base_counts_once_for_its_model_whatever_its_runs():
    runs = run_table(*({"model": m, "run": r} for m, r in [("m", "a"), ("m", "b"), ("n", "a")]))
    own = evaluations(
        ("m", "base", None, EASY_BASE),
        ("n", "base", None, HARD_BASE),
        *((m, r, 10, HARD_BASE) for m, r in [("m", "a"), ("m", "b"), ("n", "a")]),
    )
    start = line(curves.evaluation_curves(own, runs, confidence=LEVEL), step=0, metric="L")
    assert start[["value", "models"]].tolist() == pytest.approx([(150 + 70) / 2, 2])


def test_problems_are_common_to_all_runs():
    """Two runs alike in every problem are as uncertain as one, where their problems are what differs."""
    spread = {f"p{number}": (number % 5 / 4, 50 * number) for number in range(20)}
    pair = evaluations(*((m, run, step, spread) for m in "mn" for run, step in [("base", None), ("a", 10)]))
    two = curves.evaluation_curves(pair, TWO, confidence=LEVEL)
    one = curves.evaluation_curves(pair[pair["model"] == "m"], ONE, confidence=LEVEL)
    found = [bounds(line(table, step=10, metric="avg")) for table in (one, two)]
    assert found[0] == pytest.approx(found[1]) and found[0][0] < 50 < found[0][1]


def test_steps_may_come_as_read_from_a_file_with_nulls():
    own = evaluations(("m", "base", None, EASY_BASE), ("m", "a", 10, HARD_BASE))
    table = curves.evaluation_curves(own, ONE, confidence=LEVEL)
    as_read = curves.evaluation_curves(own.assign(step=own["step"].astype(float)), ONE, confidence=LEVEL)
    pd.testing.assert_frame_equal(table, as_read)


def test_a_single_problem_of_one_run_has_no_interval():
    own = evaluations(("m", "base", None, {"p": (0.5, 9)}), ("m", "a", 10, {"p": (0.75, 9)}))
    table = curves.evaluation_curves(own, ONE, confidence=LEVEL)
    assert line(table, metric="avg_difference_to_base")["value"] == 25
    assert table[["low", "high"]].isna().all(axis=None)


def test_benchmarks_and_checkpoints_stay_apart():
    hard = evaluations(("m", "base", None, HARD_BASE), ("m", "a", 10, HARD_BASE), ("m", "a", 20, EASY_BASE))
    easy = evaluations(("m", "base", None, EASY_BASE), ("m", "a", 20, HARD_BASE), setting="easy")
    table = curves.evaluation_curves(pd.concat([hard, easy]), ONE, confidence=LEVEL)
    lengths = table[table["metric"] == "L"].set_index(["benchmark", "step"])["value"].to_dict()
    assert lengths == {("easy", 0): 150, ("easy", 20): 70, ("hard", 0): 70, ("hard", 10): 70, ("hard", 20): 150}


def test_the_base_is_asked_what_its_runs_are_asked():
    own = evaluations(("m", "base", None, EASY_BASE), ("m", "a", 10, {"p": (0.5, 1)}), ("m", "a", 20, {"p": (0.5, 1)}))
    own["sample"] = own.groupby(["run", "step", "problem_id"], dropna=False).cumcount()
    base, runs = own[own["run"] == "base"], own[(own["run"] == "a") & (own["sample"] < 3)]
    assert len(base) == 8
    asked = responses.same_questions(base, runs)
    assert asked[["problem_id", "sample"]].to_numpy().tolist() == [["p", 0], ["p", 1], ["p", 2]]
    assert responses.same_questions(base, runs.assign(model="n")).empty


def test_evaluations_that_cannot_be_compared_are_refused():
    base, run = ("m", "base", None, EASY_BASE), ("m", "a", 10, EASY_BASE)

    def curve(*parts, runs=ONE):
        return curves.evaluation_curves(evaluations(*parts), runs, confidence=LEVEL)

    with pytest.raises(UserError, match="run 'a' was evaluated on 'hard', its base model 'm' was not"):
        curve(run)
    with pytest.raises(UserError, match="no evaluations of run 'a' of 'm'"):
        curve(base)
    with pytest.raises(UserError, match="evaluations of run 'z' of 'm', which is not in the table of runs"):
        curve(base, run, ("m", "z", 10, EASY_BASE))
    with pytest.raises(UserError, match="evaluations of run 'a' do not say after which step"):
        curve(base, ("m", "a", None, EASY_BASE))
    with pytest.raises(UserError, match="'base' and 'a' were not evaluated on the same problems of 'hard'"):
        curve(base, ("m", "a", 10, {"p": (0.5, 100), "r": (0.5, 100)}))
    both = [base, run, ("n", "base", None, EASY_BASE)]
    with pytest.raises(UserError, match="run 'a' of 'n' was not evaluated on 'hard' after step 10"):
        curve(*both, ("n", "a", 20, EASY_BASE), runs=TWO)


@pytest.mark.parametrize(
    ("arm", "label"),
    [
        ({}, "GRPO, lr 3e-4"),
        ({**SDPO, "learning_rate": 3e-3, "problems": 8, "whole_set": False}, "SDPO c=s, lr 3e-3, |D|=8"),
        (
            {**SDPO, "context": "solution_without_thinking", "teacher_update_rate": 0.05, "top_k": 20.0},
            r"SDPO c=s\think, lr 3e-4, EMA 0.05, k=20",
        ),
        ({"thinking": "off", "learning_rate": 1.5e-6}, "GRPO, lr 1.5e-6, thinking off"),
        ({"problem_set": "other", "family": "g"}, "GRPO, lr 3e-4, other, g"),
    ],
)
def test_labels_say_what_is_not_usual(arm, label):
    usual = {"family": "f", "problem_set": "train", "top_k": 100.0, "thinking": "on", "teacher_update_rate": 0.0}
    assert arms.arm_label({**ARM, **arm}, usual) == label


def test_what_is_usual_is_what_most_arms_have():
    small = {**SDPO, "top_k": 20.0}
    frame = pd.DataFrame([ARM, {**ARM, **SDPO}, {**ARM, **small}, {**ARM, "problem_set": "b"}])
    usual = {"teacher_update_rate": 0.0, "thinking": "on", "family": "f", "top_k": 100.0, "problem_set": "train"}
    assert arms.usual_values(frame) == usual
    several = arms.usual_values(pd.concat([frame, frame.assign(family="g")]))
    assert "family" not in several


def test_final_table_holds_the_last_window_and_the_last_step(tmp_path):
    own = evaluations(("m", "base", None, EASY_BASE), ("m", "a", 2, EASY_BASE), ("m", "a", 3, shifted(EASY_BASE, 0, 5)))
    training = curves.training_curves(ROLLOUTS, ONE, window=2, confidence=LEVEL)
    evaluation = curves.evaluation_curves(own, ONE, confidence=LEVEL)
    table = arms.final_table(training, evaluation)
    assert set(table["row"]) == {"GRPO, lr 3e-4"} and set(table["artifact"]) == {"table_onpolicy"}
    values = table.set_index(["benchmark", "metric"])["value"].to_dict()
    assert values == {
        ("training", "score"): 0,
        ("training", "L"): 10,
        ("training", "E_substring"): 1,
        ("training", "E_word"): 0,
        ("training", "V"): 0,
        ("training", "truncated"): 0,
        ("training", "runs"): 1,
        ("training", "step"): 3,
        ("hard", "avg"): 62.5,
        ("hard", "avg_difference_to_base"): 0,
        ("hard", "avg_relative_to_base"): 0,
        ("hard", "pass@2"): pytest.approx(100 * (5 / 6 + 1) / 2),
        ("hard", "pass@2_difference_to_base"): 0,
        ("hard", "pass@4"): 100,
        ("hard", "pass@4_difference_to_base"): 0,
        ("hard", "L"): 155,
        ("hard", "E_substring"): 2,
        ("hard", "E_word"): 1,
        ("hard", "V"): 0.625,
        ("hard", "truncated"): 0,
        ("hard", "runs"): 1,
        ("hard", "step"): 3,
    }
    average = line(table, benchmark="hard", metric="avg")
    assert average[["models", "samples"]].tolist() == [1, 8] and bounds(average) == pytest.approx(t_interval([50, 75]))
    assert table["problems"].isna().all()  # |D| is no number of problems behind a value
    assert line(table, benchmark="hard", metric="runs")[["low", "high", "confidence"]].isna().all()
    tables.write(table, tmp_path / "table.parquet", tables.SUMMARY)


def test_labels_that_do_not_tell_arms_apart_are_refused():
    runs = run_table({"model": "m", "run": "a"}, {"model": "m", "run": "b", "thinking": "off"})
    rollouts = pd.concat([ROLLOUTS, ROLLOUTS.assign(run="b")])
    training = curves.training_curves(rollouts, runs, window=2, confidence=LEVEL)
    assert set(arms.final_table(training, training.iloc[:0])["row"]) == {
        "GRPO, lr 3e-4",
        "GRPO, lr 3e-4, thinking off",
    }
    different = training.assign(problems=training["thinking"].map({"on": 100, "off": 99}), thinking="on")
    with pytest.raises(UserError, match="two arms would both be called 'GRPO, lr 3e-4'"):
        arms.final_table(different, training.iloc[:0])


def score_curves(rates, **columns):
    """Curves of training scores by learning rate, one value per window of 10 steps."""
    rows = [
        {**ARM, "benchmark": "", "learning_rate": rate, "step": 10 * (i + 1), "metric": "score", "value": value}
        for rate, values in rates.items()
        for i, value in enumerate(values)
    ]
    return pd.DataFrame(rows).assign(**columns)


def test_the_rate_with_the_best_last_third_is_chosen():
    rates = {1e-3: [0.9, 0.9, 0.9, 0.5], 3e-4: [0.1, 0.1, 0.7, 0.6], 1e-4: [0.1, 0.2, 0.6, 0.7]}
    training = score_curves(rates)
    scores = arms.rate_scores(training, family="f", problem_set="train")
    assert scores["learning_rate"].tolist() == [1e-4, 3e-4, 1e-3]
    assert scores["score"].tolist() == pytest.approx([0.65, 0.65, 0.7]) and set(scores["windows"]) == {2}
    assert arms.choose_rate(training, family="f", problem_set="train") == 1e-3
    assert arms.choose_rate(training[training["learning_rate"] < 1e-3], family="f", problem_set="train") == 1e-4


@pytest.mark.parametrize(
    "other",
    [
        {"family": "g"},
        {"problem_set": "b"},
        {"whole_set": False},
        {"thinking": "off"},
        {"method": "sdpo"},
        {"metric": "L"},
    ],
)
def test_nothing_but_whole_grpo_runs_chooses_the_rate(other):
    training = score_curves({1e-4: [0.5], 3e-4: [0.4]})
    better = score_curves({1e-2: [0.9]}, **other)
    both = pd.concat([training, better])
    assert arms.choose_rate(both, family="f", problem_set="train") == 1e-4
    with pytest.raises(UserError, match="no GRPO run of 'f' on the whole of 'train'"):
        arms.choose_rate(better, family="f", problem_set="train")


def test_the_table_of_rates_shows_every_rate_and_marks_the_one_that_the_rule_takes():
    rows = [
        {"learning_rate": rate, "step": step, "value": value}
        for rate, values in {1e-4: (0.9, 0.5, 0.6), 3e-4: (0.1, 0.5, 0.8)}.items()
        for step, value in zip((5, 10, 15), values, strict=True)
    ]
    arm = {"study": "s", "family": "f", "thinking": "on", "method": "grpo", "problem_set": "train", "whole_set": True}
    table = arms.rate_table(pd.DataFrame(rows).assign(metric="score", **arm))
    found = table.pivot(index="row", columns="metric", values="value").to_dict("index")
    assert found == {"GRPO, lr 1e-4": {"chosen": 0.0, "score": 0.6}, "GRPO, lr 3e-4": {"chosen": 1.0, "score": 0.8}}


def test_a_problem_that_every_step_shows_is_numbered_anew_in_each():
    again = pd.concat([ROLLOUTS.assign(step=step, sample=range(6), problem_id="p") for step in (1, 2)])
    table = curves.training_curves(again.astype({"step": "Int32"}), ONE, window=2, confidence=LEVEL)
    assert line(table, metric="L")["value"] == pytest.approx(20)
    assert line(table, metric="L")["samples"] == 12
    with pytest.raises(UserError, match="some samples stand twice"):
        curves.training_curves(pd.concat([again, again]), ONE, window=2, confidence=LEVEL)
