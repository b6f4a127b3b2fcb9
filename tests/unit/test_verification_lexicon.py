"""Phrases of verification: how well they tell labelled sentences apart, and that hostile text costs no more."""

import csv
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from selfdistill.markers.counting import as_column
from selfdistill.verification.lexicon import PATTERN, PHRASES, verifies

ROOT = Path(__file__).parents[2]
SENTENCES = ROOT / "tests/fixtures/verification_sentences.csv"


def found(part: str, label: str) -> tuple[int, int]:
    """How many sentences of ``part`` with the ``label`` have a phrase, and how many there are."""
    with SENTENCES.open(encoding="utf-8", newline="") as file:
        texts = [row["sentence"] for row in csv.DictReader(file) if (row["part"], row["verifies"]) == (part, label)]
    return int(verifies(texts).sum()), len(texts)


def test_the_page_states_what_the_labelled_sentences_give():
    page = " ".join((ROOT / "docs/statistics.md").read_text(encoding="utf-8").split())
    stated = re.search(
        r"finds (\d+) of (\d+) verifying sentences \(sensitivity (\d+) %\) and passes over (\d+) of (\d+) others "
        r"\(specificity (\d+) %\); on the half that it was tuned on (\d+) of (\d+) and (\d+) of (\d+)",
        page,
    )
    assert stated is not None
    (hits, verifying), (false, others) = found("validation", "1"), found("validation", "0")
    measured = [hits, verifying, round(100 * hits / verifying), others - false, others]
    measured.append(round(100 * (others - false) / others))
    (hits, verifying), (false, others) = found("tuning", "1"), found("tuning", "0")
    assert [int(number) for number in stated.groups()] == [*measured, hits, verifying, others - false, others]


@pytest.mark.parametrize("phrase", PHRASES)
def test_no_phrase_repeats_without_bound(phrase: str):
    syntax = re.sub(r"\\.|\[[^\]]*\]", "", phrase)  # escaped characters and sets are no repetition
    assert not re.search(r"[*+]|,\}", syntax)


def test_the_matcher_is_one_that_cannot_backtrack():
    """It refuses what only backtracking can match, so its steps grow as the text does."""
    for pattern in ("a(?!b)", r"(a)\1"):
        with pytest.raises(pa.ArrowInvalid):
            pc.match_substring_regex(as_column(["ab"]), pattern)
    assert pc.match_substring_regex(as_column(["Let me check."]), PATTERN, ignore_case=True).to_pylist() == [True]


@pytest.mark.parametrize(
    "text",
    [
        "Let me check.",
        "let's verify that",
        "LET ME DOUBLE-CHECK",
        "Let’s verify that",
        "x = 2.\nVerification: 4 = 4",
        "= 4 ✓",
    ],
)
def test_phrases_are_found_whatever_their_case_apostrophe_and_place(text: str):
    assert verifies(["so x = 2", "so x = 2. " + text + " The answer is 2"]).tolist() == [False, True]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a checkered board",
        "to check that f is onto, one needs more",
        "we substitute x = 2",
        "one would have to check",
    ],
)
def test_other_uses_of_the_words_are_passed_over(text: str):
    assert verifies([text]).tolist() == [False]


def test_half_a_surrogate_pair_is_text_like_any_other():
    assert verifies(["\ud800", "\ud800 Let me verify that."]).tolist() == [False, True]


@pytest.mark.parametrize(
    "piece",
    ["a", " ", "re", "let me just just ", "plug plug ", "substitut", "both all sides ", "\n", ". and so and ", "é"],
)
def test_a_megabyte_of_beginnings_of_phrases_is_searched_to_its_end(piece: str):
    """Steps that grew as the square of a megabyte would not end."""
    text = piece * (2**20 // len(piece))
    assert verifies([text, text + ". Let me verify that."]).tolist() == [False, True]
