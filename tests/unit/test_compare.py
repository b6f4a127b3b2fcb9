"""A fresh run against a reference: which values agree, and what the command says of it."""

import pandas as pd
import pytest
from selfdistill import cli, tables
from selfdistill.errors import UserError
from selfdistill.records import compare

REFERENCE = [
    {"row": "solution", "metric": "L", "value": 1234.56, "low": 1200.0, "high": 1300.0},
    {"row": "unguided", "metric": "L", "value": 10.0, "low": 9.0, "high": 11.0},
    {"row": "3", "metric": "problems", "value": 5.0},
]


def folder(path, rows, *, name="table_1", origin="measured"):
    """A results folder with one table of ``rows``."""
    labels = {"study": "smoke", "artifact": name, "model": "m", "benchmark": "", "origin": origin}
    frame = pd.DataFrame(rows).assign(**labels).reindex(columns=tables.SUMMARY.names)
    tables.write(frame, path / "tables" / f"{name}.parquet", "summary")
    return path


def changed(place, **values):
    return [{**row, **values} if place == i else row for i, row in enumerate(REFERENCE)]


@pytest.mark.parametrize(
    ("fresh", "agree", "said"),
    [
        (REFERENCE, True, "3 values compared, 3 agree, 0 differ"),
        (
            changed(0, value=1350.0, low=1300.0, high=1400.0),
            True,
            "~ table_1 / m / solution / L: 1350 [1300, 1400], reference 1235 [1200, 1300], difference +115",
        ),
        (
            changed(0, value=1290.0, low=1250.0, high=1400.0),
            True,
            "  table_1 / m / solution / L: 1290 [1250, 1400], reference 1235 [1200, 1300], difference +55.4",
        ),
        (changed(2, value=5 * (1 + 1e-15)), True, "3 values compared, 3 agree, 0 differ"),
        (changed(0, value=1350.0, low=1301.0, high=1400.0), False, "! table_1 / m / solution / L: 1350 [1301, 1400]"),
        (changed(0, value=1100.0, low=1000.0, high=1199.0), False, "3 values compared, 2 agree, 1 differ"),
        (changed(2, value=6.0), False, "! table_1 / m / 3 / problems: 6, reference 5, difference +1"),
        (
            changed(1, value=10.5, low=None, high=None),
            False,
            "! table_1 / m / unguided / L: 10.5, reference 10 [9, 11]",
        ),
        (REFERENCE[1:], False, "! table_1 / m / solution / L: missing, reference 1235 [1200, 1300]"),
        ([*REFERENCE, {"row": "x", "metric": "L", "value": 1.0}], False, "! table_1 / m / x / L: 1, reference missing"),
    ],
)
def test_values_agree_when_intervals_overlap_or_numbers_are_equal(tmp_path, capsys, fresh, agree, said):
    paths = folder(tmp_path / "fresh", fresh), folder(tmp_path / "reference", REFERENCE)
    report, found = compare.compare_folders(*paths)
    assert said in report and found is agree
    status = cli.main(["compare", "--fresh", str(paths[0]), "--reference", str(paths[1])])
    assert status == (0 if agree else 1)
    assert capsys.readouterr().out == report + "\n"


@pytest.mark.parametrize("swap", [False, True])
def test_a_table_on_one_side_only_is_a_disagreement(tmp_path, swap):
    more = folder(folder(tmp_path / "more", REFERENCE), REFERENCE, name="table_2")
    less = folder(tmp_path / "less", REFERENCE)
    report, agree = compare.compare_folders(*((less, more) if swap else (more, less)))
    assert not agree
    assert report.count("missing") == 3 and report.endswith("6 values compared, 3 agree, 3 differ")


def test_quoted_values_are_not_compared(tmp_path):
    fresh = folder(folder(tmp_path / "fresh", REFERENCE), REFERENCE, name="quotes", origin="quoted")
    report, agree = compare.compare_folders(fresh, folder(tmp_path / "reference", REFERENCE))
    assert agree and report.endswith("3 values compared, 3 agree, 0 differ")


def test_a_folder_without_tables_is_named(tmp_path, capsys):
    full, empty = folder(tmp_path / "full", REFERENCE), tmp_path / "empty"
    for paths in [(full, empty), (empty, full), (empty, empty)]:
        with pytest.raises(UserError, match="empty/tables holds no table to compare"):
            compare.compare_folders(*paths)
    assert cli.main(["compare", "--fresh", str(full), "--reference", str(empty)]) == 2
    assert capsys.readouterr().err.splitlines() == [f"selfdistill: {empty}/tables holds no table to compare"]
