"""D_ug and D_sg match by problem, hold correct responses only, and read as ordinary data sets."""

import datasets
import pandas as pd
import pytest
from selfdistill import tables
from selfdistill.errors import UserError
from selfdistill.sft_sets import build_sft_sets, data_card

PROBLEMS = pd.DataFrame({"problem_id": ["a", "b", "c"], "problem": ["A?", "B?", "C?"]})


def traces(correct, label):
    """Traces with the given outcomes by problem; a response names its origin."""
    rows = []
    for problem, outcomes in correct.items():
        for sample, outcome in enumerate(outcomes):
            rows.append(
                {"problem_id": problem, "sample": sample, "correct": bool(outcome), "finish_reason": "stop"}
                | {"response": f"{label} {problem}{sample}", "response_tokens": 5}
                | {column: 0 for columns in tables.MARKER_COLUMNS.values() for column in columns}
                | {"substring_wait": 2, "word_wait": 1}
            )
    return pd.DataFrame(rows)


UNGUIDED = traces({"a": [0, 1, 1, 1], "b": [1, 0, 0, 0], "c": [0, 1, 1, 0]}, "u")
GUIDED = traces({"a": [1, 1, 1, 1], "b": [1, 1, 1, 1], "c": [0, 0, 0, 1]}, "g")


def build(**changes):
    wanted = {"responses": 4, "at_least": 4, "per_problem": 2, "instruction": ""} | changes
    return build_sft_sets(UNGUIDED, GUIDED, PROBLEMS, **wanted)


def test_counts_match_by_problem_and_every_response_is_correct():
    sets = build()
    for name in ("unguided", "guided"):
        assert sets[name]["correct"].all()
        assert sets[name].groupby("problem_id").size().to_dict() == {"a": 2, "b": 1, "c": 1}
    assert sets["unguided"]["sample"].tolist() == [1, 2, 0, 1]


def test_what_cannot_be_matched_is_filled_from_spare_responses():
    sets = build(responses=6, at_least=6)
    assert sets["unguided"].groupby("problem_id").size().to_dict() == {"a": 3, "b": 1, "c": 2}
    assert sets["guided"].groupby("problem_id").size().to_dict() == {"a": 3, "b": 2, "c": 1}
    assert "different number to the two: 2" in data_card(sets, study="s", model="m").replace("\n", " ")


def test_the_unfiltered_set_has_the_same_size_and_keeps_wrong_responses():
    sets = build()
    unfiltered = sets["unguided_unfiltered"]
    assert unfiltered.groupby("problem_id").size().to_dict() == {"a": 2, "b": 1, "c": 1}
    assert unfiltered["sample"].tolist() == [0, 1, 0, 0]
    assert not unfiltered["correct"].all()


def test_the_prompt_is_unguided_with_one_instruction_and_no_system_turn():
    example = build(instruction="Box it.")["guided"].iloc[0]
    assert example["prompt"] == [{"role": "user", "content": "A?\nBox it."}]
    assert example["completion"] == [{"role": "assistant", "content": "g a0"}]
    assert (example["E_substring"], example["E_word"]) == (2, 1)


def test_too_few_correct_responses_is_one_sentence():
    with pytest.raises(UserError, match="unguided set has only 6 correct responses of 3 problems, at least 7"):
        build(responses=7, at_least=7)
    assert len(build(responses=7, at_least=6)["unguided"]) == 6


def test_the_file_reads_as_a_data_set(tmp_path):
    path = tmp_path / "guided.parquet"
    tables.write(build()["guided"], path, "sft_examples")
    loaded = datasets.load_dataset("parquet", data_files=str(path), split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded[0]["prompt"] == [{"role": "user", "content": "A?"}]
    assert loaded.num_rows == 4
