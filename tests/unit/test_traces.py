"""The traces table: answers, verdicts and both counts of every marker."""

from pathlib import Path

import pandas as pd
import pytest
from selfdistill import tables
from selfdistill.errors import UserError
from selfdistill.generation import traces
from selfdistill.markers.counting import MARKERS

LABELS = {"study": "s", "model": "m", "run": "base", "stage": "section3", "setting": "unguided"}
PROBLEMS = pd.DataFrame(
    {
        "problem_id": ["p", "q", "r"],
        "problem": ["What is 3 + 4?", "What is 3 : 6?", "Find x with m12 = 0 , i = 1 , d = 3 ."],
        "answer": ["7", r"\frac{1}{2}", "36"],
    }
)


def sampled(responses: list[str], problem_ids: list[str] | None = None) -> pd.DataFrame:
    """What `generate` returns for these responses."""
    return pd.DataFrame(
        {
            "problem_id": problem_ids or ["p"] * len(responses),
            "context_sample": pd.array([None] * len(responses), dtype="Int32"),
            "sample": range(len(responses)),
            "seed": pd.array([2**64 - 1 - n for n in range(len(responses))], dtype="uint64"),
            "prompt_sha256": "00",
            "response": pd.Series(responses, dtype="str"),
            "response_tokens": [len(text.split()) for text in responses],
            "finish_reason": "stop",
        }
    )


def annotate(responses: list[str], problem_ids: list[str] | None = None, *, opened: bool = False) -> pd.DataFrame:
    return traces.annotate(sampled(responses, problem_ids), PROBLEMS, opened=opened, **LABELS)


@pytest.mark.parametrize(
    ("response", "answer", "correct"),
    [
        (r"<think> so 3 </think> The answer is \boxed{ 7 }", "7", True),
        (r"\boxed{ 8 } no \boxed{ 7 }", "7", True),
        (r"\boxed{ 7 } no \boxed{ 8 }", "8", False),
        (r"<think> \boxed{ 7 } </think> \boxed{ 8 }", "8", False),
        (r"<think> so \boxed{ 7 }", None, False),  # the thinking never ends
        (r"<think> so \boxed{ 7 } </think> so", None, False),
        (r"\boxed{ 7", None, False),
        (r"\boxed{ }", None, False),
        ("7", None, False),
        ("", None, False),
    ],
)
def test_answer_and_verdict(response: str, answer: str | None, correct: bool):
    row = annotate([response]).iloc[0]
    assert (None if pd.isna(row["answer"]) else row["answer"]) == answer
    assert bool(row["correct"]) is correct


@pytest.mark.parametrize(
    ("response", "correct"),
    [(r"so 3 </think> \boxed{ 7 }", True), (r"so \boxed{ 7 }", False), (r"\boxed{ 7 } </think> so", False)],
)
def test_a_response_to_a_prompt_that_opened_thinking_begins_inside(response: str, correct: bool):
    assert annotate([response], opened=True)["correct"].tolist() == [correct]


def test_an_answer_is_read_where_it_was_asked_for():
    responses = sampled([r"<answer>7</answer>", r"\boxed{7}", r"<answer>8</answer> \boxed{7}"])
    boxed, tagged = (
        traces.annotate(responses, PROBLEMS, opened=False, answer_in=place, **LABELS) for place in ("box", "tag")
    )
    assert boxed["correct"].tolist() == [False, True, True]
    assert tagged["correct"].tolist() == [True, False, False]
    assert tagged["answer"].fillna("none").tolist() == ["7", "none", "8"]
    with pytest.raises(UserError, match="unknown answer_in 'tags'"):
        traces.annotate(responses, PROBLEMS, opened=False, answer_in="tags", **LABELS)


def test_every_response_is_graded_against_its_own_problem():
    boxes = [r"\boxed{7}", r"\boxed{0.5}", r"\boxed{7}", r"\boxed{0.5}"]
    assert annotate(boxes, ["p", "q", "q", "p"])["correct"].tolist() == [True, True, False, False]


def test_an_answer_is_accepted_and_verified_by_what_its_own_problem_asks_to_be_shown():
    checked = r"i 36 = 1 ok d 36 = 3 ok so x = 36 . \boxed{ 36 }"
    said = r"Let me verify that. \boxed{ 36 }"
    table = annotate([checked, said, said, checked, "no box"], ["r", "r", "p", "p", "p"])
    assert table["accepted"].tolist() == [True, False, True, True, False]
    assert table["verified"].tolist() == [True, False, True, False, False]


def test_both_counts_of_every_marker_over_the_whole_response():
    text = "<think> Wait wait, unlikely </think> checked: seemsmight maybe"
    row = annotate(["", text]).iloc[1]
    substring = {"wait": 2, "likely": 1, "check": 1, "seems": 1, "might": 1, "maybe": 1}
    word = {"wait": 2, "maybe": 1}
    assert {marker: row[f"substring_{marker}"] for marker in MARKERS} == dict.fromkeys(MARKERS, 0) | substring
    assert {marker: row[f"word_{marker}"] for marker in MARKERS} == dict.fromkeys(MARKERS, 0) | word


def test_columns_labels_and_responses_pass_through_a_file_unchanged(tmp_path: Path):
    generated = sampled([r"\boxed{7}", "no", "maybe"])
    generated["context_sample"] = pd.array([3, None, 0], dtype="Int32")
    generated.index = [5, 5, 9]  # as after a filter
    table = traces.annotate(generated, PROBLEMS, opened=False, **LABELS)
    assert list(table.columns) == tables.TRACES.columns
    tables.write(table, tmp_path / "t.parquet", tables.TRACES)
    back = tables.read(tmp_path / "t.parquet", tables.TRACES)
    assert back[list(LABELS)].drop_duplicates().to_dict("records") == [LABELS]
    assert back["seed"].tolist() == [2**64 - 1, 2**64 - 2, 2**64 - 3]
    assert back["context_sample"].fillna(-1).tolist() == [3, -1, 0]
    assert back["correct"].tolist() == [True, False, False]
    assert back["answer"].isna().tolist() == [False, True, True]
    assert back["word_maybe"].tolist() == [0, 0, 1]


def test_a_table_that_was_read_can_be_written_again_with_the_same_bytes(tmp_path: Path):
    tables.write(annotate([r"\boxed{7}", "no"]), tmp_path / "one.parquet", tables.TRACES)
    tables.write(tables.read(tmp_path / "one.parquet", tables.TRACES), tmp_path / "two.parquet", tables.TRACES)
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()
