"""One writer, one reader: equal tables give equal bytes, and a wrong file is told in one sentence."""

from functools import partial

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
    tables.write(PROBLEMS, tmp_path / "p.parquet", tables.PROBLEMS)
    back = tables.read(tmp_path / "p.parquet", tables.PROBLEMS)
    assert back.to_dict("list") == PROBLEMS.to_dict("list")


def test_order_of_rows_and_columns_does_not_change_the_bytes(tmp_path):
    tables.write(PROBLEMS, tmp_path / "p.parquet", tables.PROBLEMS)
    shuffled = PROBLEMS.sample(frac=1, random_state=3)[list(reversed(PROBLEMS.columns))]
    tables.write(shuffled, tmp_path / "q.parquet", tables.PROBLEMS)
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
        (lambda t: t.append_column("answer", t["answer"]), "column 'answer' occurs twice"),
    ],
)
def test_a_table_of_another_shape_is_refused(tmp_path, change, sentence):
    path = tmp_path / "p.parquet"
    tables.write(PROBLEMS, path, tables.PROBLEMS)
    pq.write_table(change(pq.read_table(path)), path)
    with pytest.raises(UserError) as error:
        tables.read(path, tables.PROBLEMS)
    assert sentence in str(error.value) and str(path) in str(error.value)


def test_other_files_are_refused(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        tables.read(tmp_path / "missing.parquet", tables.PROBLEMS)
    (tmp_path / "text.parquet").write_text("not Parquet")
    with pytest.raises(UserError, match="not a readable Parquet file"):
        tables.read(tmp_path / "text.parquet", tables.PROBLEMS)
    with pytest.raises(UserError, match="not a readable Parquet file"):
        tables.read(tmp_path, tables.PROBLEMS)


def test_a_damaged_file_is_refused_in_one_line_wherever_it_is_damaged(tmp_path):
    path = tmp_path / "p.parquet"
    tables.write(PROBLEMS, path, tables.PROBLEMS)
    whole = path.read_bytes()
    refused = 0
    for place in range(0, len(whole), 37):
        path.write_bytes(whole[:place] + bytes(byte ^ 0xFF for byte in whole[place : place + 8]) + whole[place + 8 :])
        try:
            tables.read(path, tables.PROBLEMS)
        except UserError as error:
            refused += 1
            assert str(path) in str(error) and "\n" not in str(error)
    assert refused
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="not a readable Parquet file"):
        tables.read(path, tables.PROBLEMS)


def test_one_bit_is_never_read_as_other_content(tmp_path):
    path = tmp_path / "p.parquet"
    tables.write(PROBLEMS, path, tables.PROBLEMS)
    whole, kept = path.read_bytes(), tables.read(path, tables.PROBLEMS)
    pages = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")  # the footer, which says where they are, follows
    refused = 0
    for bit in range(0, pages * 8, 5):
        path.write_bytes(flipped(whole, bit))
        try:
            assert tables.read(path, tables.PROBLEMS).equals(kept), bit
        except UserError:
            refused += 1
    assert refused > pages


def flipped(content: bytes, bit: int) -> bytes:
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def test_a_table_without_checksums_is_read_and_ours_is_read_by_others(tmp_path):
    """As earlier versions wrote them."""
    table = pa.Table.from_pandas(PROBLEMS, schema=tables.PROBLEMS.schema, preserve_index=False)
    pq.write_table(table, tmp_path / "old.parquet", compression="zstd")
    tables.write(PROBLEMS, tmp_path / "new.parquet", tables.PROBLEMS)
    assert tables.read(tmp_path / "old.parquet", tables.PROBLEMS).equals(pd.read_parquet(tmp_path / "new.parquet"))


def test_rows_are_counted_and_batches_are_of_the_size_asked_for(tmp_path):
    path = tmp_path / "p.parquet"
    tables.write(PROBLEMS, path, tables.PROBLEMS)
    assert tables.rows(path, tables.PROBLEMS) == 3
    batches = [batch.to_pydict() for batch in tables.record_batches(path, tables.PROBLEMS, ["answer"], 2)]
    assert batches == [{"answer": ["1", "2"]}, {"answer": ["3"]}]
    path.write_bytes(path.read_bytes()[:100])
    batches_of = partial(tables.batches, path, tables.PROBLEMS, ["answer"])
    for read in (lambda: tables.rows(path, tables.PROBLEMS), lambda: next(batches_of())):
        with pytest.raises(UserError, match="not a readable Parquet file"):
            read()


def test_folder_names_with_an_equals_sign_add_no_column(tmp_path):
    path = tmp_path / "answer=42" / "p.parquet"
    tables.write(PROBLEMS, path, tables.PROBLEMS)
    assert tables.read(path, tables.PROBLEMS)["answer"].tolist() == ["1", "2", "3"]


@pytest.mark.parametrize("kind", tables.KINDS.values(), ids=tables.KINDS)
def test_rows_have_a_fixed_order_in_every_kind(tmp_path, kind):
    keys = list(kind.key)
    assert set(keys) <= set(kind.columns)
    place = {number: [0, 1, 2] for number in ("int32", "uint64", "double")} | {"string": ["a", "b", "c"]}
    message = [[{"role": "user", "content": "x"}]] * 3
    place |= {"bool": [True] * 3, "list<item: string>": [["a"]] * 3}
    columns = {field.name: place.get(str(field.type), message) for field in kind.schema}
    frame = pd.DataFrame(columns)
    for i, path in enumerate([tmp_path / "p", tmp_path / "q"]):
        tables.write(frame.sample(frac=1, random_state=i), path, kind)
    assert (tmp_path / "p").read_bytes() == (tmp_path / "q").read_bytes()
    assert tables.read(tmp_path / "p", kind)[keys].to_dict("list") == frame[keys].to_dict("list")


@pytest.mark.parametrize(
    ("frame", "sentence"),
    [
        (PROBLEMS.drop(columns="answer"), "column 'answer' is missing"),
        (PROBLEMS.rename(columns={"answer": "answers"}), "column 'answer' is missing (did you mean 'answers'?)"),
        (PROBLEMS.assign(difficulty=1), "unknown column 'difficulty'"),
    ],
)
def test_a_table_of_another_shape_is_not_written(tmp_path, frame, sentence):
    with pytest.raises(UserError) as error:
        tables.write(frame, tmp_path / "p.parquet", tables.PROBLEMS)
    assert sentence in str(error.value) and not list(tmp_path.iterdir())


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "p.parquet"
    tables.write(PROBLEMS, path, tables.PROBLEMS)
    before = path.read_bytes()
    with pytest.raises(pa.ArrowInvalid):
        tables.write(PROBLEMS.assign(position=["x", "y", "z"]), path, tables.PROBLEMS)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
