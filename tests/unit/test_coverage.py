"""Table 3 against numbers worked out by hand, and its quoted rows against the published ones."""

import random

import pandas as pd
import pytest
from selfdistill import tables
from selfdistill.analysis import quoted
from selfdistill.analysis.coverage import expected_distinct, table_3
from selfdistill.errors import UserError


def problems(types):
    return pd.DataFrame({"problem_id": list(types), "problem_type": list(types.values())})


TRAIN = problems({"p": "sum", "q": "sum", "r": "chain", "s": "chain"})
BENCHMARKS = {"new": problems({"x": "sum", "y": "other"}), "old": problems({"p": "sum", "q": "sum"})}


def runs(*rows):
    arm = {"study": "s", "model": "m", "family": "f", "problem_set": "train", "whole_set": True}
    return pd.DataFrame([{**arm, **row} for row in rows])


def rollouts(groups, size=2, *, model="m", run="a"):
    """Rollouts from (step, problem), one for every group of ``size``."""
    rows = [{"model": model, "run": run, "step": s, "problem_id": p} for s, p in groups for _ in range(size)]
    return pd.DataFrame(rows)


# Eight draws of three questions; p twice in the second step.
DRAWN = rollouts([(1, "p"), (1, "q"), (2, "p"), (2, "p"), (3, "r"), (3, "q"), (4, "r"), (4, "p")])
ONE = runs({"run": "a"})


def values(table):
    return table.set_index(["row", "benchmark", "metric"])["value"].to_dict()


def test_table_3_by_hand(tmp_path):
    table = table_3({"train": TRAIN}, DRAWN, ONE, BENCHMARKS)
    assert values(table) == {
        ("train", "", "questions"): 4,
        ("train", "", "problem_types"): 2,
        ("train", "", "runs"): 1,
        ("train", "", "draws"): 8,
        ("train", "", "distinct"): 3,
        ("train", "", "distinct_per_draw"): 37.5,
        ("train", "", "distinct_per_question"): 75,
        ("train", "", "expected_distinct_with_replacement"): pytest.approx(4 * (1 - 0.75**8)),
        ("train", "", "expected_distinct_without_replacement"): 4,
        ("train", "new", "shared_questions"): 0,
        ("train", "new", "shared_types"): 50,
        ("train", "old", "shared_questions"): 100,
        ("train", "old", "shared_types"): 100,
    }
    assert set(table["origin"]) == {"measured"} and set(table["artifact"]) == {"table_3"}
    assert table[["low", "high", "sampling_low", "sampling_high", "confidence"]].isna().all(axis=None)
    tables.write(table, tmp_path / "table.parquet", tables.SUMMARY)


def test_runs_of_a_set_are_averaged_and_small_sets_left_out():
    small = {"run": "small", "whole_set": False}
    both = pd.concat([DRAWN, rollouts([(1, "s")], run="b"), rollouts([(1, "p")], run="small")])
    found = values(table_3({"train": TRAIN}, both, runs({"run": "a"}, {"run": "b"}, small), {}))
    assert found["train", "", "runs"] == 2
    assert found["train", "", "draws"] == (8 + 1) / 2
    assert found["train", "", "distinct"] == (3 + 1) / 2
    assert found["train", "", "distinct_per_draw"] == (37.5 + 100) / 2
    assert found["train", "", "distinct_per_question"] == (75 + 25) / 2
    assert found["train", "", "expected_distinct_without_replacement"] == (4 + 1) / 2


def test_sets_stand_apart_and_runs_of_other_models_with_the_same_name():
    other = problems({"z": "sum"})
    table = table_3(
        {"train": TRAIN, "other": other, "unused": other},
        pd.concat([DRAWN, rollouts([(1, "z")], model="n")]),
        runs({"run": "a"}, {"run": "a", "model": "n", "problem_set": "other"}),
        {},
    )
    found = values(table)
    assert {row for row, _, _ in found} == {"train", "other"}
    assert (found["train", "", "draws"], found["other", "", "draws"]) == (8, 1)
    assert found["other", "", "expected_distinct_with_replacement"] == 1


def test_the_size_of_a_group_can_be_said_where_every_prompt_stands_twice():
    twice = rollouts([(1, "p"), (1, "p"), (2, "q"), (2, "q")])
    assert values(table_3({"train": TRAIN}, twice, ONE, {}))["train", "", "draws"] == 2
    assert values(table_3({"train": TRAIN}, twice, ONE, {}, rollouts_per_prompt=2))["train", "", "draws"] == 4
    with pytest.raises(UserError, match="do not come in groups of 3"):
        table_3({"train": TRAIN}, twice, ONE, {}, rollouts_per_prompt=3)


@pytest.mark.parametrize("unknown", ["", None, "unknown"])
def test_unknown_types_are_left_out(unknown):
    untyped = TRAIN.assign(problem_type=unknown)
    found = values(table_3({"train": untyped}, DRAWN, ONE, BENCHMARKS))
    assert not {"problem_types", "shared_types"} & {metric for _, _, metric in found}
    found = values(table_3({"train": TRAIN}, DRAWN, ONE, {"new": problems({"x": "sum", "y": unknown})}))
    assert ("train", "new", "shared_questions") in found and ("train", "new", "shared_types") not in found
    both = {name: benchmark.assign(problem_type=unknown) for name, benchmark in BENCHMARKS.items()}
    found = values(table_3({"train": untyped}, DRAWN, ONE, both))
    assert not {"problem_types", "shared_types"} & {metric for _, _, metric in found}


def test_what_does_not_fit_is_refused():
    with pytest.raises(UserError, match="problem set 'train', which is not among those given"):
        table_3({}, DRAWN, ONE, {})
    with pytest.raises(UserError, match="no rollouts of run 'b' of 'm'"):
        table_3({"train": TRAIN}, DRAWN, runs({"run": "a"}, {"run": "b"}), {})
    with pytest.raises(UserError, match="run 'a' drew problems that are not in its problem set"):
        table_3({"train": TRAIN.iloc[:2]}, DRAWN, ONE, {})
    with pytest.raises(UserError, match="no run trains on a whole problem set"):
        table_3({"train": TRAIN}, DRAWN, ONE.assign(whole_set=False), {})


def test_expected_distinct_questions_equal_a_plain_loop():
    rng = random.Random(1)
    loop = sum(len({rng.randrange(50) for _ in range(40)}) for _ in range(4000)) / 4000
    assert expected_distinct(50, 40) == pytest.approx(loop, abs=0.2)
    assert expected_distinct(50, 1) == pytest.approx(1)
    assert expected_distinct(1, 40) == 1 and expected_distinct(50, 0) == 0


def test_quoted_table_3_is_the_published_one():
    table = quoted.table_3()
    published = table[table["origin"] == "quoted"].set_index(["row", "metric"])["value"].to_dict()
    assert published == {
        ("SciKnowEval Chemistry", "questions"): 2400,
        ("SciKnowEval Chemistry", "problem_types"): 6,
        ("SciKnowEval Chemistry", "training_share"): 90,
        ("SciKnowEval Chemistry", "evaluation_share"): 10,
        ("LiveCodeBench v6", "questions"): 131,
        ("LiveCodeBench v6", "shared_questions"): 100,
        ("DAPO-Math-17k", "draws"): 25600,
        ("DAPO-Math-17k", "distinct"): 14000,
        ("DAPO-Math-17k", "distinct_per_draw"): 78,
    }
    assert set(table["study"]) == {"paper"} and set(table["model"]) == {""}
    assert table[["low", "high", "sampling_low", "sampling_high", "confidence"]].isna().all(axis=None)


def test_the_arithmetic_beside_the_published_share():
    derived = quoted.table_3().query("origin == 'derived'").set_index("metric")["value"].round(1).to_dict()
    assert derived == {
        "questions": 17917,
        "distinct_per_draw": 54.7,
        "distinct_per_question": 78.1,
        "expected_distinct_with_replacement": 13624.4,
        "expected_distinct_without_replacement": 17917,
    }
    assert "55 %" in quoted.NOTE["table_3"] and "78 %" in quoted.NOTE["table_3"]
