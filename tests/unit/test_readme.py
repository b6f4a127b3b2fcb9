"""What pages say of the shipped runs is what the shipped runs say."""

import re
from pathlib import Path

import pytest
from selfdistill import tables
from selfdistill.pages import numbers
from selfdistill.pages.ledger_page import MARKS, with_verdicts

ROOT = Path(__file__).resolve().parents[2]
REFERENCES = ROOT / "results" / "reference"
README = (ROOT / "README.md").read_text(encoding="utf-8")
# A decimal, or a number of what tables measure; learning rates (3e-4) and settings are neither.
MEASURED = re.compile(r"(?<![\w./-])-?\d*\.\d+\b(?!e)|\d+ (?:points|markers|tokens|%)(?! interval)")


@pytest.mark.parametrize(
    ("page", "study", "marks"), [("README.md", "microcosm_thorough", 15), ("docs/microcosm.md", "microcosm", 12)]
)
def test_every_marked_number_and_verdict_equals_its_cell(page, study, marks):
    text = (ROOT / page).read_text(encoding="utf-8")
    assert len(numbers.MARK.findall(text)) >= marks
    assert numbers.filled(text, REFERENCES / study) == text


def test_no_result_is_written_by_hand():
    results = README[README.index("## The numbers to expect") : README.index("## Reading it")]
    before, rest = results.split(MARKS[0])
    by_hand = numbers.unmarked(before) + rest.split(MARKS[1])[1]
    assert MEASURED.findall(by_hand) == []
    assert MEASURED.findall("gains .43, 1.2 or 18 points at 3e-4 in 95 % intervals of 2 cores") == [
        ".43",
        "1.2",
        "18 points",
    ]


def test_the_ledger_is_that_of_the_reference_run():
    ledger = tables.read(REFERENCES / "microcosm_thorough" / "claims" / "ledger.parquet", "ledger")
    assert ledger["id"].nunique() >= 35
    assert with_verdicts(README, ledger) == README
