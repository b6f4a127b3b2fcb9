"""What pages say of the shipped runs is what the shipped runs say."""

import re
from pathlib import Path

import pytest
from selfdistill import tables
from selfdistill.pages import numbers
from selfdistill.pages.ledger_page import MARKS, with_verdicts

ROOT = Path(__file__).resolve().parents[2]
REFERENCES = ROOT / "results" / "reference"
RESULTS = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
# A decimal, or a number of what tables measure; learning rates (3e-4) and settings are neither.
MEASURED = re.compile(r"(?<![\w./-])-?\d*\.\d+\b(?!e)|\d+ (?:points|markers|tokens|%)(?! interval)")


@pytest.mark.parametrize(("page", "study", "marks"), [("results", "microcosm", 15), ("microcosm", "microcosm", 12)])
def test_every_marked_number_and_verdict_equals_its_cell(page, study, marks):
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    assert len(numbers.MARK.findall(text)) >= marks
    assert numbers.filled(text, REFERENCES / study) == text


def test_no_result_is_written_by_hand():
    before, rest = RESULTS.split(MARKS[0])
    by_hand = numbers.unmarked(before) + rest.split(MARKS[1])[1]
    assert MEASURED.findall(by_hand) == []
    assert MEASURED.findall("gains .43, 1.2 or 18 points at 3e-4 in 95 % intervals of 2 cores") == [
        ".43",
        "1.2",
        "18 points",
    ]


def test_the_first_page_states_no_result():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    came_out = readme[readme.index("## What came out") : readme.index("## Reading it")]
    assert MEASURED.findall(came_out) == [] and numbers.MARK.findall(readme) == []


def test_the_ledger_is_that_of_the_reference_run():
    ledger = tables.read(REFERENCES / "microcosm" / "claims" / "ledger.parquet", "ledger")
    assert ledger["id"].nunique() >= 35
    assert with_verdicts(RESULTS, ledger) == RESULTS
