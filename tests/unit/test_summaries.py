"""Tables 1, A.1.1 and 2 against numbers worked out by hand."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy import special, stats
from selfdistill import tables
from selfdistill.analysis import quoted, responses, summaries
from selfdistill.errors import UserError

SHOWN = {"family": "f", "confidence": 0.95}


def traces(rows, *, setting="unguided", model="m"):
    """Traces from (problem, sample, correct, tokens, wait as substring, wait as word, finish); none is accepted."""
    names = ["problem_id", "sample", "correct", "response_tokens", "substring_wait", "word_wait", "finish_reason"]
    frame = pd.DataFrame(rows, columns=names)
    zero = [c for columns in tables.MARKER_COLUMNS.values() for c in columns if c not in names]
    fixed = {"study": "s", "model": model, "stage": "x", "setting": setting, "accepted": False, "verified": False}
    return frame.assign(**fixed, **dict.fromkeys(zero, 0))


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


def every(frames):
    return {key: reduced(frame) for key, frame in frames.items()}


def table_1(settings, selection, **others):
    """Of base model "m"; ``others``: settings of more base models, whose selection draw is their unguided one."""
    more = {model: every(own) for model, own in others.items()}
    draws = {"m": reduced(selection)} | {model: own["unguided"] for model, own in more.items()}
    return summaries.table_1({"m": every(settings), **more}, draws, **SHOWN)


def table_2(evaluations, **others):
    return summaries.table_2({"m": every(evaluations)} | {m: every(own) for m, own in others.items()}, **SHOWN)


def t_interval(values):
    return tuple(stats.ttest_1samp(values, 0).confidence_interval(0.95))


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


V_A = A.assign(accepted=[True, True, True, False], verified=[True, False, True, False])


def test_v_is_a_ratio_of_shares_over_problems():
    """Of p both answers are accepted and one is verified, of q one is accepted and verified."""
    nothing = A.assign(setting="solution")
    table = table_1({"unguided": V_A, "solution": nothing}, V_A)
    row = table[(table["row"] == "unguided") & (table["metric"] == "V")].iloc[0]
    assert row["value"] == pytest.approx((0.5 + 0.5) / (1 + 0.5))
    # Around the ratio 2/3, in units of the accepted .75: p is .5 - 2/3 off, q is .5 - 1/3.
    assert (row["low"], row["high"]) == pytest.approx(t_interval([2 / 3 + off / 0.75 for off in (-1 / 6, 1 / 6)]))
    assert value(table, metric="accepted", row="unguided") == 0.75
    assert value(table, metric="verified", row="unguided") == 0.5
    # Without accepted answers there is none, and all else stays.
    assert "V" not in set(table.loc[table["row"] == "solution", "metric"])
    assert value(table, metric="accepted", row="solution") == 0
    assert value(table, metric="L", row="solution", origin="measured") == 25


def test_v_needs_accepted_answers_of_every_base_model():
    other = {"unguided": V_A.assign(model="n", verified=False)}
    both = table_1({"unguided": V_A}, V_A, n=other)
    assert value(both, metric="V", row="unguided") == pytest.approx((2 / 3 + 0) / 2)
    none = table_1({"unguided": V_A}, V_A, n={"unguided": A.assign(model="n")})
    assert "V" not in set(none["metric"])


def test_problems_weigh_alike_whatever_their_samples():
    uneven = pd.concat([A, traces([("q", 2, False, 30, 0, 0, "stop"), ("q", 3, False, 30, 0, 0, "stop")])])
    table = table_1({"unguided": uneven}, uneven)
    assert value(table, metric="score", row="unguided", origin="measured") == (0.5 + 0.5) / 2


def test_the_selection_draw_covers_the_selected_problems_only():
    drawn = pd.concat([A, traces([("never selected", 0, False, 999, 0, 0, "stop")])])
    table = table_1({"unguided": A}, drawn)
    assert value(table, metric="L", row=summaries.SELECTION_DRAW, origin="measured") == 25


def test_what_contexts_tell_by_hand():
    guided = traces([("p", 0, True, 2, 0, 0, "stop"), ("q", 0, True, 4, 0, 0, "stop")], setting="solution")
    rows = [("p", 0, 3, -1.0, -5.0), ("p", 1, 5, -2.0, -4.0), ("q", 0, 8, -2.0, -3.0)]
    told = pd.DataFrame(rows, columns=["problem_id", "sample", "tokens", "given", "alone"])
    told = told.assign(model="m", setting="solution")
    settings = {"m": {"unguided": reduced(A), "solution": reduced(guided)}}
    table = summaries.table_information(settings, told, **SHOWN)
    assert value(table, metric="information", row="solution") == (3 + 1) / 2  # of p: (4 + 2) / 2
    assert value(table, metric="information_per_token", row="solution") == pytest.approx(4 / (4 + 8))
    assert value(table, metric="L", row="solution") == 3
    assert "information" not in set(table.loc[table["row"] == "unguided", "metric"])


def test_table_a1_counts_each_marker():
    table = summaries.table_a1({"m": {"unguided": reduced(A)}}, **SHOWN)
    assert value(table, metric="substring_wait") == 3
    assert value(table, metric="word_wait") == 1.5
    assert value(table, metric="word_hmm") == 0
    assert len(table) == 20


def test_selection_histogram_counts_problems_by_correct_rollouts():
    table = summaries.selection_histogram({"m": reduced(A)}, **SHOWN).set_index("row")
    assert table["value"].to_dict() == {"0": 0, "1": 1, "2": 1}
    assert table.loc["0", ["low", "high"]].tolist() == [0, 0]
    assert tuple(table.loc["1", ["low", "high"]]) == pytest.approx(t_interval([0, 2]))
    both = {"m": reduced(A), "n": reduced(A.assign(correct=True, model="n"))}
    assert summaries.selection_histogram(both, **SHOWN)["value"].tolist() == [0, 0.5, 1.5]


def test_table_2_by_hand():
    worse = A.assign(correct=[False, False, True, False])
    evaluations = {("base", "hard"): A, ("sft-guided-lr0.1", "hard"): worse}
    table = table_2(evaluations)
    assert value(table, row="base", metric="avg", origin="measured") == 75
    assert value(table, row="sft-guided-lr0.1", metric="avg", origin="measured") == 25
    assert value(table, row="sft-guided-lr0.1", metric="avg_difference_to_base", origin="measured") == -50
    average = table[table["metric"] == "avg"]
    assert average[["sampling_low", "sampling_high"]].notna().all().all()


def test_problems_with_more_samples_count_alike_and_stand_apart_as_well():
    """Problem p has 4 samples, q and r have 2: means over problems, then avg over p alone."""
    outcomes = {"p": [1, 0, 0, 0], "q": [1, 1], "r": [1, 0]}
    rows = [(name, n, bool(won), 10, 0, 0, "stop") for name, own in outcomes.items() for n, won in enumerate(own)]
    base = [(name, n, n == 0 and name == "p", 10, 0, 0, "stop") for name, n, *_ in rows]
    found = table_2({("base", "b"): traces(base), ("sft-x-lr1", "b"): traces(rows)})
    run = found[found["row"] == "sft-x-lr1"].set_index("metric")
    assert run.loc["avg", "value"] == pytest.approx((25 + 100 + 50) / 3)
    assert run.loc["avg", ["problems", "samples"]].tolist() == [3, 8]
    assert run.loc["avg_deep", ["value", "problems", "samples"]].tolist() == [25, 1, 4]
    assert run.loc["avg_difference_to_base", "value"] == pytest.approx((0 + 100 + 50) / 3)
    assert run.loc["avg_deep_difference_to_base", "value"] == 0
    assert run.loc["avg_relative_to_base", "value"] == pytest.approx(100 * (175 / 25 - 1))
    # C(3, 2) of the C(4, 2) pairs of p hold nothing correct.
    assert run.loc["pass@2", ["value", "problems"]].tolist() == pytest.approx([(50 + 100 + 100) / 3, 3])
    assert run.loc["pass@4", ["value", "problems", "samples"]].tolist() == [100, 1, 4]
    assert run.loc["pass@2_difference_to_base", "value"] == pytest.approx((0 + 100 + 100) / 3)
    assert "pass@8" not in run.index
    # Samples redrawn: each problem's own variance over its own number of samples.
    within = [np.var(own, ddof=1) * 100**2 / len(own) for own in outcomes.values()]
    reach = special.stdtrit(8 - 3, 0.975) * np.sqrt(sum(within)) / 3
    assert run.loc["avg", "sampling_high"] - run.loc["avg", "value"] == pytest.approx(reach)


def test_missing_samples_and_other_problems_are_refused():
    with pytest.raises(UserError, match="lack samples before their last"):
        table_2({("base", "b"): A[A["sample"] > 0]})
    with pytest.raises(UserError, match="not evaluated on the same problems, equally often"):
        table_2({("base", "b"): A, ("sft-x-lr1", "b"): A.iloc[:3]})
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
    # Problem p has 10 of 20 tokens, q 30 of 30: around 40 / 50, in units of 25 tokens, 10 - 16 and 30 - 24.
    assert (length["low"], length["high"]) == pytest.approx(t_interval([0.8 - 6 / 25, 0.8 + 6 / 25]))
    for metric in summaries.RATIOS:
        own = line(table, metric=metric, row="unguided")
        assert own[["value", "low", "high"]].tolist() == [1, 1, 1]


def test_what_has_no_ratio_is_left_out_and_the_rest_stays():
    silent = A.assign(response_tokens=0, substring_wait=0, word_wait=0)
    table = table_1({"unguided": silent, "solution": B}, silent)
    assert set(table["metric"]) == set(summaries.MEANS) | set(summaries.DENSITIES)
    assert set(table.loc[table["metric"].isin(summaries.DENSITIES), "row"]) == {"solution"}
    assert np.isfinite(table["value"]).all()


def test_a_density_ratio_is_linear_in_both_its_sides():
    """The delta method by hand: d log(ratio) is the sum of each side's own relative deviations."""
    table = table_1({"unguided": A, "solution": B}, A)
    row = line(table, metric="E_per_1000_tokens_substring_ratio", row="solution")
    markers, tokens = np.array([1.5, 3.0]), np.array([10.0, 30.0])
    before_markers, before_tokens = np.array([3.0, 3.0]), np.array([20.0, 30.0])
    relative = sum(sign * side / side.mean() for sign, side in zip(
        (1, -1, -1, 1), (markers, before_markers, tokens, before_tokens), strict=True
    ))  # fmt: skip
    assert (row["low"], row["high"]) == pytest.approx(t_interval(row["value"] * (1 + relative)))


def test_base_models_of_a_family_are_averaged_and_shown():
    other = {"unguided": A.assign(model="n", response_tokens=[20, 40, 30, 50], problem_id=list("rrss"))}
    table = table_1({"unguided": A}, A, n=other)
    length = line(table, metric="L", row="unguided")
    assert length[["model", "value", "models", "problems", "samples"]].tolist() == ["f", 30, 2, 2, 8]
    assert json.loads(length["by_model"]) == {"m": 25, "n": 35}
    # Each base model selected problems of its own: their means alone vary.
    assert (length["low"], length["high"]) == pytest.approx(t_interval([25, 35]))
    assert set(table["model"]) == {"f"}


def test_like_quantities_lend_their_spread_to_few_base_models():
    rng = np.random.default_rng(0)

    def own(model, shifts):
        run = lambda share: A.assign(model=model, correct=rng.random(4) < share)  # noqa: E731
        return {("base", "b"): run(0.5)} | {(f"sft-x-lr{n}", "b"): run(0.5 + shift) for n, shift in enumerate(shifts)}

    found = table_2(own("m", [0.5, -0.5, 0.5]), n=own("n", [-0.5, 0.5, 0.5]), o=own("o", [0.5, 0.5, -0.5]))
    changes = found[found["metric"] == "avg_difference_to_base"]
    widths = changes["high"] - changes["low"]
    assert set(changes["models"]) == {3}
    assert (widths != changes["plain_high"] - changes["plain_low"]).all()
    assert widths.max() / widths.min() < 1.5  # none is taken for far better known than the others
    single = table_2(own("m", [0.5, -0.5, 0.5]))
    assert (single["low"] == single["plain_low"]).all()


def test_families_part_what_thinks_from_what_does_not():
    models = {
        name: {"family": family, "thinking": thinking}
        for name, family, thinking in [("b", "f", "on"), ("a", "f", "on"), ("c", "f", "off"), ("d", "g", "on")]
    }
    assert summaries.families(["d", "c", "b", "a"], models) == {"f": ["a", "b"], "f, thinking off": ["c"], "g": ["d"]}


def test_table_1_refuses_what_it_cannot_compare():
    other = B.assign(problem_id=B["problem_id"].replace("q", "r"))
    with pytest.raises(UserError, match="'solution' was not sampled on the same problems as 'unguided'"):
        table_1({"unguided": A, "solution": other}, A)
    with pytest.raises(UserError, match="needs traces of the setting 'unguided'; found of 'm': solution"):
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
    # Of each problem's two samples one lost 100 points: a variance of 5,000 within both, over two samples each.
    reach = stats.t.ppf(0.975, 2) * np.sqrt(2 * 5000 / 2 / 2**2)
    assert difference[["sampling_low", "sampling_high"]].tolist() == pytest.approx([-50 - reach, -50 + reach])
    average = line(table, metric="avg", row="base")
    assert average["value"] == 75 and average[["low", "high"]].tolist() == pytest.approx(t_interval([50, 100]))


def test_samples_that_base_models_draw_by_the_same_random_numbers_count_once():
    """Two base models that answer alike tell no more than one; with problems of their own they do."""
    easy = A.assign(setting="base", benchmark="easy")
    other = easy.assign(model="n")
    apart = other.assign(problem_id=other["problem_id"] + "2")
    alone, alike, twice = (
        table_2({("base", "easy"): easy}, **{model: {("base", "easy"): frame} for model, frame in others.items()})
        for others in ({}, {"n": other}, {"n": apart})
    )
    bounds = [line(frame, metric="avg")[["sampling_low", "sampling_high"]] for frame in (alone, alike, twice)]
    widths = [float(high) - float(low) for low, high in bounds]
    assert widths[1] == pytest.approx(widths[0])
    # Two independent halves, and twice the degrees of freedom.
    shares = special.stdtrit([4, 2], 0.975)
    assert widths[2] == pytest.approx(widths[0] * shares[0] / shares[1] / np.sqrt(2))


def test_the_sampling_interval_covers_what_redrawn_samples_give():
    rng = np.random.default_rng(3)
    rates, covered = rng.random((3, 20)), 0
    for _ in range(400):
        drawn = [100.0 * (rng.random((20, 8)) < own[:, None]) for own in rates]
        low, high = summaries.sampling_interval(drawn, 0.9)
        covered += low <= 100 * rates.mean() <= high
    assert covered / 400 == pytest.approx(0.9, abs=0.04)
    assert np.isnan(summaries.sampling_interval([np.ones((5, 1))], 0.9)).all()


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
    numbers = [
        "low",
        "high",
        "plain_low",
        "by_model",
        "models",
        "sampling_low",
        "sampling_high",
        "confidence",
        "problems",
        "samples",
    ]
    assert table[numbers].isna().all(axis=None)
