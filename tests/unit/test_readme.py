"""What pages say of the shipped runs is what the shipped runs say."""

import re
from pathlib import Path

import pytest
from selfdistill import tables
from selfdistill.pages import numbers
from selfdistill.pages.ledger_page import MARKS, with_verdicts

ROOT = Path(__file__).resolve().parents[2]
REFERENCES = ROOT / "results" / "reference"
LEDGERS = {"docs/results.md": "microcosm", "docs/thorough.md": "microcosm_thorough"}  # pages with a ledger, and whose
# A decimal, or a number of what tables measure; learning rates (3e-4) and settings are neither.
MEASURED = re.compile(r"(?<![\w./-])-?\d*\.\d+\b(?!e)|\d+ (?:points|markers|tokens|%)(?! interval)")


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("page", "study", "marks"),
    [
        ("docs/results.md", "microcosm", 15),
        ("docs/microcosm.md", "microcosm", 12),
        ("docs/thorough.md", "microcosm_thorough", 5),
        ("README.md", "microcosm_thorough", 2),
        ("docs/worlds.md", "microcosm_beyond_carrier", 2),
        ("docs/beyond.md", "microcosm_beyond_carrier", 1),
    ],
)
def test_every_marked_number_and_verdict_equals_its_cell(page, study, marks):
    text = text_of(page)
    assert len(numbers.MARK.findall(text)) >= marks
    assert numbers.filled(text, REFERENCES / study) == text
    assert f"{page}={study}" in text_of("Makefile")  # where they are written


@pytest.mark.parametrize("page", LEDGERS)
def test_no_result_is_written_by_hand(page):
    before, rest = text_of(page).split(MARKS[0])
    by_hand = numbers.unmarked(before) + rest.split(MARKS[1])[1]
    assert MEASURED.findall(by_hand) == []


def test_results_are_told_from_settings():
    assert MEASURED.findall("gains .43, 1.2 or 18 points at 3e-4 in 95 % intervals of 2 cores") == [
        ".43",
        "1.2",
        "18 points",
    ]


def test_the_first_page_states_no_result_by_hand():
    readme = text_of("README.md")
    came_out = readme[readme.index("## What came out") : readme.index("## Reading it")]
    assert MEASURED.findall(numbers.unmarked(came_out)) == []
    assert numbers.MARK.findall(numbers.unmarked(readme)) == []


@pytest.mark.parametrize("page", LEDGERS)
def test_the_ledger_is_that_of_the_shipped_study(page):
    ledger = tables.read(REFERENCES / LEDGERS[page] / "claims" / "ledger.parquet", tables.LEDGER)
    assert ledger["id"].nunique() >= 35
    assert with_verdicts(text_of(page), ledger) == text_of(page)
