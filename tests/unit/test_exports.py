"""Refusals of the exports; tests/workflow/test_other_programs.py reads what they write with the programs themselves."""

import pytest
from selfdistill import cli
from selfdistill.errors import UserError
from selfdistill.exports import inspect_log, logbook, tensorboard

CLAIMS = {
    "format": 1,
    "paper": "p",
    "study": "s",
    "scale": "microcosm",
    "level": 0.05,
    "conflicts": [],
    "files": {"a": "0"},
}
STATEMENT = {
    "id": "shorter", "variant": "", "section": "3", "statement": "a | b <script> [x](y) *z*", "public": "toy",
    "verdict": "holds", "same_as": "", "taught": False, "published": None, "note": "", "files": ["a"],
    "cost": {"jobs": 2, "processor_minutes": None}, "tests": [],
}  # fmt: skip


def test_text_of_a_ledger_cannot_break_its_page(tmp_path):
    logbook.write(CLAIMS | {"statements": [STATEMENT]}, tmp_path)
    row = next(line for line in (tmp_path / logbook.INDEX).read_text().splitlines() if "shorter" in line)
    assert r"a \| b \<script\> \[x\](y) \*z\*" in row


def test_two_rates_of_a_statement_are_told_apart_and_intervals_say_their_level(tmp_path):
    effect = {"value": 18.7, "low": 14.6, "high": 22.7, "confidence": 0.95, "unit": "points"}
    test = {"test": "a > b", "benchmark": "easy", "part": "", "effect": effect, "base_models": 1, "problems": 9}
    both = [STATEMENT | {"variant": f"lr {rate}", "tests": [test | {"remark": ""}], "files": []} for rate in (0.1, 0.2)]
    logbook.write(CLAIMS | {"statements": both}, tmp_path)
    index = (tmp_path / logbook.INDEX).read_text()
    assert "[shorter lr 0.1](shorter_lr_0.1.md)" in index and "[shorter lr 0.2](shorter_lr_0.2.md)" in index
    assert "| 18.7 points | [14.6, 22.7] (95 %) | 1 | 9 |" in (tmp_path / "shorter_lr_0.1.md").read_text()


def test_a_ledger_of_another_format_is_refused(tmp_path):
    with pytest.raises(UserError, match="format 2; this version reads 1"):
        logbook.write(CLAIMS | {"format": 2, "statements": []}, tmp_path)
    with pytest.raises(UserError, match=r"expected an object with 'format' and 'statements' \(found \[1\]\)"):
        logbook.write([1], tmp_path)


def test_a_ledger_that_is_no_json_is_refused_in_a_sentence(tmp_path, capsys):
    (tmp_path / "claims.json").write_text("{")
    assert cli.main(["export-logbook", "--claims", str(tmp_path / "claims.json"), "--out", str(tmp_path / "out")]) == 2
    assert "claims.json: not to be read as JSON" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_a_study_without_training_or_problems_is_refused(tmp_path):
    with pytest.raises(UserError, match="no training tables"):
        tensorboard.write(tmp_path, tmp_path / "out")
    with pytest.raises(UserError, match="no tables of problems"):
        inspect_log.write(tmp_path, tmp_path / "traces.parquet", tmp_path / "out")
