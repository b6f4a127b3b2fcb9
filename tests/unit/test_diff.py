"""Two results trees: what is said of a changed key, of changed responses and of a verdict that flipped."""

from pathlib import Path

import pandas as pd
import pytest
from selfdistill import tables
from selfdistill.errors import UserError
from selfdistill.records.diff import diff, flat


def tree(
    folder: Path,
    *,
    steps: int = 30,
    longer: int = 0,
    correct: int = 4,
    accepted: int = 6,
    verified: int = 3,
    verdict: str = "holds",
) -> Path:
    """20 problems with 8 responses each, so many of which are right, accepted and verified; ``longer``: in tokens."""
    (folder).mkdir()
    (folder / "config.yaml").write_text(f"study: s\nonpolicy:\n  steps: {steps}\n  runs: [1, 2]\n")
    rows = [(f"p{n:02d}", sample) for n in range(20) for sample in range(8)]
    frame = pd.DataFrame(rows, columns=["problem_id", "sample"])
    for column in tables.TRACES.columns:
        if column not in frame:
            frame[column] = 0 if column.startswith(("substring", "word")) else "x"
    lengths = 100 + longer + frame["problem_id"].str[1:].astype(int)
    frame = frame.assign(
        seed=1, context_sample=None, step=None, correct=frame["sample"] < correct, response_tokens=lengths,
        accepted=frame["sample"] < accepted, verified=frame["sample"] < min(verified, accepted),
    )  # fmt: skip
    tables.write(frame.assign(setting="easy"), folder / "evaluations/m/base/easy.parquet", tables.TRACES)
    ledger = {name: None for name in tables.LEDGER.columns} | {
        "place": 0,
        "id": "c",
        "variant": "lr 1",
        "verdict": verdict,
    }
    tables.write(
        pd.DataFrame([ledger | {"test": "t", "benchmark": "", "part": ""}]),
        folder / "claims/ledger.parquet",
        tables.LEDGER,
    )
    return folder


def test_equal_trees_have_no_difference(tmp_path: Path):
    lines = diff(tree(tmp_path / "a"), tree(tmp_path / "b"))
    assert lines.count("  no difference") == 3 and len(lines) == 6


def test_what_changed_is_named_with_its_interval(tmp_path: Path):
    first = tree(tmp_path / "a")
    second = tree(tmp_path / "b", steps=20, longer=7, verdict="contradicted")
    lines = diff(first, second)
    assert "  onpolicy.steps: 30 -> 20" in lines
    assert "  c lr 1: holds -> contradicted" in lines
    (changed,) = [line for line in lines if "easy.parquet" in line]
    assert "(20 problems)" in changed and "L +7.0 [7.0, 7.0]" in changed and changed.endswith("*")
    assert "score +0.000" in changed


def test_v_stands_where_both_sides_have_accepted_answers(tmp_path: Path):
    first, second = tree(tmp_path / "a", verified=3), tree(tmp_path / "b", accepted=4, verified=3)
    (changed,) = [line for line in diff(first, second) if "easy.parquet" in line]
    assert "V +0.250 [0.250, 0.250]" in changed and changed.endswith("*")  # of 3 in 6 and 3 in 4
    nothing = tree(tmp_path / "c", accepted=0)
    for pair in ((first, nothing), (nothing, first)):
        (changed,) = [line for line in diff(*pair) if "easy.parquet" in line]
        assert "V " not in changed and "E_substring +0.00" in changed


def test_a_table_on_one_side_only_is_said(tmp_path: Path):
    first, second = tree(tmp_path / "a"), tree(tmp_path / "b")
    (second / "evaluations/m/base/easy.parquet").rename(second / "evaluations/m/base/hard.parquet")
    lines = diff(first, second)
    assert "  evaluations/m/base/easy.parquet: only in the first" in lines
    assert "  evaluations/m/base/hard.parquet: only in the second" in lines


def test_a_missing_tree_is_told(tmp_path: Path):
    with pytest.raises(UserError, match="no such results tree"):
        diff(tmp_path / "nowhere", tmp_path)
    (tmp_path / "README.md").write_text("a page")
    with pytest.raises(UserError, match=r"README\.md: a file, no results tree"):
        diff(tmp_path / "README.md", tmp_path)


def test_a_folder_that_holds_nothing_to_compare_is_told(tmp_path: Path):
    (tmp_path / "docs").mkdir()
    with pytest.raises(UserError, match=r"docs: no results tree \(expected one of config\.yaml, evaluations, traces, "):
        diff(tree(tmp_path / "a"), tmp_path / "docs")


@pytest.mark.parametrize("content", [b"", b"- a\n", b"study: [a\n", b"\x80", None])
def test_a_recorded_configuration_that_is_none_is_named(tmp_path: Path, content: bytes | None):
    """Before anything is said: else all of the other one's keys would stand as absent."""
    damaged = tree(tmp_path / "b") / "config.yaml"
    damaged.unlink()
    damaged.mkdir() if content is None else damaged.write_bytes(content)
    for trees in [("a", "b"), ("b", "a")]:
        with pytest.raises(UserError, match=r"b/config\.yaml"):
            diff(*(tree(tmp_path / name) if not (tmp_path / name).exists() else tmp_path / name for name in trees))


def test_keys_are_joined_by_dots():
    assert flat({"a": {"b": 1, "c": {}}, "d": [1]}) == {"a.b": 1, "a.c": {}, "d": [1]}
