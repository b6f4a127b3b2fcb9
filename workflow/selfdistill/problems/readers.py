"""Rows of a Parquet, JSONL or JSON file and of a hub data set, read a batch at a time, each with its place."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from selfdistill.errors import UserError, one_of

BATCH_ROWS = 4096
SMALL = 4_000_000  # bytes of text that are read in a moment


@dataclass(frozen=True)
class Rows:
    """A source of problems: its name for messages, its top-level columns, and its rows.

    ``rows`` gives (place, row), where the place is "row 0" (counted from 0) or "line 1" (counted from 1).
    """

    where: str
    columns: list[str]
    rows: Iterator[tuple[str, dict[str, Any]]]


def read_file(path: Path) -> Rows:
    """The rows of a local file, by its suffix; `UserError` names the file and the place of what is wrong."""
    check_kind(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    return _READERS[path.suffix](path)


def check_kind(path: Path) -> None:
    """`UserError` for a file that no reader is for, and for a folder."""
    if path.is_dir():
        raise UserError(f"{path}: a folder, where a file of problems is expected")
    one_of("kind of file", path.suffix, _READERS, where=str(path))


def rows_at_most(path: Path) -> int | None:
    """The number of rows of a file, where finding it takes a moment; `UserError` for one that is not readable."""
    if path.suffix == ".parquet":
        _read_parquet(path)
        return pq.read_metadata(path).num_rows
    return sum(1 for _ in read_file(path).rows) if path.stat().st_size <= SMALL else None


def read_hub(repo: str, *, name: str | None, split: str, revision: str) -> Rows:
    """The rows of a hub data set at a commit; no code from the repository is run."""
    import datasets

    where = f"{repo}@{revision[:12]}"
    try:
        dataset = datasets.load_dataset(repo, name, split=split, revision=revision)
    except Exception as error:  # the hub's, the file system's and the data set builder's errors share no base class
        reason = str(error).strip().partition("\n")[0]
        raise UserError(f"{where}: split '{split}' cannot be loaded: {type(error).__name__}: {reason}") from error
    tables = dataset.with_format("arrow").iter(batch_size=BATCH_ROWS)
    return Rows(where, list(dataset.column_names), _numbered(tables))


def _read_parquet(path: Path) -> Rows:
    try:
        file = pq.ParquetFile(path)
    except pa.ArrowInvalid as error:
        raise UserError(f"{path}: not a readable Parquet file: {error}") from None
    return Rows(str(path), file.schema_arrow.names, _parquet_rows(path, file))


def _parquet_rows(path: Path, file: pq.ParquetFile) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        yield from _numbered(file.iter_batches(batch_size=BATCH_ROWS))
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{path}: not a readable Parquet file: {error}") from None


def _numbered(tables: Iterable[pa.Table | pa.RecordBatch]) -> Iterator[tuple[str, dict[str, Any]]]:
    position = 0
    for table in tables:
        for row in table.to_pylist():
            yield f"row {position}", row
            position += 1


def _read_json(path: Path) -> Rows:
    """A JSON list of objects, or one object a line (which some data sets also call ``.json``)."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text (byte {error.start})") from None
    rows = _json_list(path, text) if text.lstrip().startswith("[") else _json_lines(path, text)
    first = next(rows, None)
    if first is None:
        raise UserError(f"{path}: holds no rows")
    return Rows(str(path), list(first[1]), _chain(first, rows))


def _chain(first: tuple[str, dict[str, Any]], rest: Iterator[tuple[str, dict[str, Any]]]) -> Iterator:
    yield first
    yield from rest


def _json_list(path: Path, text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for position, value in enumerate(_parse(text, f"{path}: ", first_line=1)):
        yield f"row {position}", _object(value, f"{path}: row {position}")


def _json_lines(path: Path, text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    # Not splitlines(): U+2028 and the like may occur inside a JSON string.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield f"line {number}", _object(_parse(line, f"{path}: ", first_line=number), f"{path}: line {number}")


def _parse(text: str, where: str, *, first_line: int) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        line = first_line + error.lineno - 1
        raise UserError(f"{where}line {line} is not valid JSON: {error.msg} (column {error.colno})") from None
    except RecursionError:
        raise UserError(f"{where}line {first_line} nests too deeply") from None


def _object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UserError(f"{where} is a JSON {type(value).__name__}, expected an object with named columns")
    return value


_READERS = {".parquet": _read_parquet, ".jsonl": _read_json, ".json": _read_json}
KINDS = tuple(_READERS)  # of files, by their suffix
