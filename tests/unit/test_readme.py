"""The README's numbers are those of the shipped reference run."""

import re
from pathlib import Path

from selfdistill import tables
from selfdistill.pages.ledger_page import with_verdicts

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "results" / "reference" / "microcosm_thorough"
README = (ROOT / "README.md").read_text(encoding="utf-8")
VALUE = re.compile(r"-?[\d,.]+ \[-?[\d,.]+, -?[\d,.]+\]")


def test_every_number_with_an_interval_stands_in_a_reference_table():
    text = "".join(path.read_text(encoding="utf-8") for path in (REFERENCE / "tables").glob("*.md"))
    shown, known = set(VALUE.findall(README)), set(VALUE.findall(text))
    assert len(shown) > 20
    assert shown <= known


def test_the_ledger_is_that_of_the_reference_run():
    ledger = tables.read(REFERENCE / "claims" / "ledger.parquet", "ledger")
    assert ledger["id"].nunique() >= 35
    assert with_verdicts(README, ledger) == README
