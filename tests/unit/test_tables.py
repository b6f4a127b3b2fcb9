"""One writer, one reader: equal tables give equal bytes, and a wrong file is told in one sentence."""

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from selfdistill import tables
from selfdistill.errors import UserError

PROBLEMS = pd.DataFrame(
    {
        "problem_id": ["a", "b", "c"],
        "position": [0, 1, 2],
        "problem": ["A", "B", "C"],
        "answer": ["1", "2", "3"],
        "source": "s",
        "problem_type": "t",
    }
)


def test_a_table_comes_back_as_it_was(tmp_path):
    tables.write(PROBLEMS, tmp_path / "p.parquet", "problems")
    back = tables.read(tmp_path / "p.parquet", "problems")
    assert back.to_dict("list") == PROBLEMS.to_dict("list")


def test_order_of_rows_and_columns_does_not_change_the_bytes(tmp_path):
    tables.write(PROBLEMS, tmp_path / "p.parquet", "problems")
    shuffled = PROBLEMS.sample(frac=1, random_state=3)[list(reversed(PROBLEMS.columns))]
    tables.write(shuffled, tmp_path / "q.parquet", "problems")
    assert (tmp_path / "p.parquet").read_bytes() == (tmp_path / "q.parquet").read_bytes()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda t: t.drop_columns("answer"), "column 'answer' is missing"),
        (
            lambda t: t.rename_columns(["problem_id", "position", "problem", "anwser", "source", "problem_type"]),
            "column 'answer' is missing (did you mean 'anwser'?)",
        ),
        (lambda t: t.append_column("extra", pa.array([1, 2, 3])), "unknown column 'extra'"),
        (
            lambda t: t.set_column(1, "position", pa.array(["x", "y", "z"])),
            "column 'position' is string, expected int32",
        ),
    ],
)
def test_a_table_of_another_shape_is_refused(tmp_path, change, sentence):
    path = tmp_path / "p.parquet"
    tables.write(PROBLEMS, path, "problems")
    pq.write_table(change(pq.read_table(path)), path)
    with pytest.raises(UserError) as error:
        tables.read(path, "problems")
    assert sentence in str(error.value) and str(path) in str(error.value)


def test_other_files_are_refused(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        tables.read(tmp_path / "missing.parquet", "problems")
    (tmp_path / "text.parquet").write_text("not Parquet")
    with pytest.raises(UserError, match="not a readable Parquet file"):
        tables.read(tmp_path / "text.parquet", "problems")
    with pytest.raises(UserError, match=r"unknown table schema 'problem' \(did you mean 'problems'\?\)"):
        tables.read(tmp_path / "text.parquet", "problem")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "p.parquet"
    tables.write(PROBLEMS, path, "problems")
    before = path.read_bytes()
    with pytest.raises(pa.ArrowInvalid):
        tables.write(PROBLEMS.assign(position=["x", "y", "z"]), path, "problems")
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
