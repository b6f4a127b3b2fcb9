"""Rows of a Parquet, JSON or CSV file, perhaps compressed by gzip, and of a hub data set, each with its place."""

import csv
import gzip
import io
import json
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from selfdistill.errors import UserError, one_of
from selfdistill.problems.values import column_values, one_line, read_json, shown

BATCH_ROWS = 4096
SMALL = 4_000_000  # bytes of text that are read in a moment
GZIP = b"\x1f\x8b"  # the first bytes of what gzip wrote, by which it is known whatever its suffix
BROKEN = pa.ArrowException, OSError, UnicodeDecodeError  # of a Parquet file; the last for the names of columns
JSON_NAMES = {"str": "text", "Decimal": "number", "bool": "truth value", "NoneType": "null"}

Placed = tuple[str, dict[str, Any]]


@dataclass(frozen=True)
class Rows:
    """A source of problems: its name for messages, its top-level columns, its rows and their number.

    ``rows`` gives (place, row), where the place is "row 0" (counted from 0) or "line 1" (counted from 1).
    """

    where: str
    columns: list[str]
    rows: Iterator[Placed]
    number: int


def read_file(path: Path) -> Rows:
    """The rows of a local file, by its suffix; `UserError` names the file and the place of what is wrong."""
    check_kind(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    return _READERS[kind_of(path)](path)


def kind_of(path: Path) -> str:
    """The suffix in small letters, without ``.gz``."""
    return Path(path.name.lower().removesuffix(".gz")).suffix


def check_kind(path: Path) -> None:
    """`UserError` for a file that no reader is for, and for a folder."""
    if path.is_dir():
        raise UserError(f"{path}: a folder, where a file of problems is expected")
    one_of("kind of file", kind_of(path), _READERS, where=str(path))


def read_at_once(path: Path) -> Rows | None:
    """`read_file`, but None for a text that it would not read in a moment: a large or a compressed one."""
    if kind_of(path) != ".parquet" and (path.suffix.lower() == ".gz" or path.stat().st_size > SMALL):
        return None
    return read_file(path)


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
    return Rows(where, list(dataset.column_names), _arrow_rows(where, tables), len(dataset))


def _content(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if content.startswith(GZIP) else content
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path}: cannot be read: {one_line(error)}") from None


def _text(path: Path) -> str:
    content = _content(path)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}: line {line} is not UTF-8 text (byte {error.start}); save the file in UTF-8") from None


def _listed(path: Path, rows: Iterable[Placed]) -> Rows:
    """Rows of a text file, with the columns of all of them: the first row may lack some."""
    listed = list(rows)
    if not listed:
        raise UserError(f"{path}: holds no rows")
    columns = list(dict.fromkeys(column for _, row in listed for column in row))
    return Rows(str(path), columns, iter(listed), len(listed))


# --- Arrow: Parquet files and the hub --------------------------------------------------------------------------------
def _read_parquet(path: Path) -> Rows:
    file = _parquet_file(path)
    return Rows(str(path), file.schema_arrow.names, _parquet_rows(path, file), file.metadata.num_rows)


def _parquet_file(path: Path) -> pq.ParquetFile:
    try:
        with path.open("rb") as opened:
            compressed = opened.read(len(GZIP)) == GZIP
        file = pq.ParquetFile(pa.BufferReader(_content(path)) if compressed else path)
    except BROKEN as error:
        raise UserError(f"{path}: not a readable Parquet file: {one_line(error)}") from None
    _refuse_doubled(path, file.schema_arrow.names)
    return file


def _refuse_doubled(path: Path, names: list[str]) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise UserError(f"{path}: several columns are named '{one_line(twice[0])}'; keep one")


def _parquet_rows(path: Path, file: pq.ParquetFile) -> Iterator[Placed]:
    try:
        yield from _arrow_rows(str(path), file.iter_batches(batch_size=BATCH_ROWS))
    except BROKEN as error:
        raise UserError(f"{path}: not a readable Parquet file: {one_line(error)}") from None


def _arrow_rows(where: str, tables: Iterable[pa.Table | pa.RecordBatch]) -> Iterator[Placed]:
    position = 0
    for table in tables:
        labels = _label_names(table.schema)
        columns = [_column(table, name, labels.get(name), where, position) for name in table.column_names]
        for values in zip(*columns, strict=True):
            yield f"row {position}", dict(zip(table.column_names, values, strict=True))
            position += 1


def _column(
    table: pa.Table | pa.RecordBatch, name: str, labels: list[str] | None, where: str, position: int
) -> list[Any]:
    """The values of a column; the first of them is row ``position``."""
    broken = ValueError, OverflowError, pa.ArrowException
    column = table.column(name)
    try:
        values = column_values(column)
    except broken:
        for i in range(len(column)):
            try:
                column_values(column.slice(i, 1))
            except broken as error:
                reason = "not UTF-8 text" if isinstance(error, UnicodeDecodeError) else one_line(error)
                raise UserError(f"{where}: row {position + i}, column '{name}': {reason}") from None
        raise
    if labels is None:
        return values
    return [labels[value] if value is not None and 0 <= value < len(labels) else None for value in values]


def _label_names(schema: pa.Schema) -> dict[str, list[str]]:
    """The names that the numbers of a class column stand for, by column: `datasets` keeps them in the schema."""
    features: dict[str, Any] = {}
    with suppress(ValueError, KeyError, TypeError):
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    return {name: kind["names"] for name, kind in features.items() if kind.get("_type") == "ClassLabel"}


# --- JSON ------------------------------------------------------------------------------------------------------------
def _read_json(path: Path) -> Rows:
    """A JSON list of objects, or one object a line (which some data sets also call ``.json``)."""
    text = _text(path)
    return _listed(path, _json_list(path, text) if text.lstrip().startswith("[") else _json_lines(path, text))


def _json_list(path: Path, text: str) -> Iterator[Placed]:
    for position, value in enumerate(_parse(text, f"{path}: ", first_line=1)):
        yield f"row {position}", _object(value, f"{path}: row {position}")


def _json_lines(path: Path, text: str) -> Iterator[Placed]:
    if "\n" in text.strip():
        _refuse_one_object(path, text)
    # Not splitlines(): U+2028 and the like may occur inside a JSON string.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield f"line {number}", _object(_parse(line, f"{path}: ", first_line=number), f"{path}: line {number}")


def _refuse_one_object(path: Path, text: str) -> None:
    try:
        value = read_json(text)  # gives up behind the first line of JSON lines
    except ValueError:
        return
    if isinstance(value, dict):
        raise UserError(
            f"{path}: one JSON object over several lines, with the keys {shown(value)}; "
            "expected a list of objects, or one object a line"
        )


def _parse(text: str, where: str, *, first_line: int) -> Any:
    try:
        return read_json(text)
    except json.JSONDecodeError as error:
        line = first_line + error.lineno - 1
        raise UserError(f"{where}line {line} is not valid JSON: {error.msg} (column {error.colno})") from None
    except ValueError as error:
        place = "" if "\n" in text else f"line {first_line}: "
        raise UserError(f"{where}{place}{one_line(error)}") from None


def _object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        kind = type(value).__name__
        raise UserError(f"{where} is a JSON {JSON_NAMES.get(kind, kind)}, expected an object with named columns")
    return value


# --- CSV -------------------------------------------------------------------------------------------------------------
def _read_csv(path: Path) -> Rows:
    """Comma-separated text with a line of column names. Every value is text, as it stands in the file."""
    text = _text(path)
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))
    return _listed(path, _csv_rows(path, text))


def _csv_rows(path: Path, text: str) -> Iterator[Placed]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] = []
    following = 1  # the line that the next record begins on
    try:
        for values in reader:
            line, following = following, reader.line_num + 1
            if not any(values):
                continue
            if not header:
                header = _header(path, values)
            elif len(values) == len(header):
                yield f"line {line}", dict(zip(header, values, strict=True))
            else:
                raise UserError(
                    f"{path}: line {line} has {len(values)} values, the header names {len(header)} columns; "
                    "put values with commas or line breaks in double quotes"
                )
    except csv.Error as error:
        raise UserError(
            f"{path}: line {following} is not valid CSV: {error}; a quote inside a quoted value is written twice"
        ) from None


def _header(path: Path, names: list[str]) -> list[str]:
    names = [name.strip() for name in names]
    _refuse_doubled(path, names)
    separator = next((mark for mark in (";", "\t") if len(names) == 1 and mark in names[0]), None)
    if separator:
        raise UserError(f"{path}: the columns are separated by {separator!r}, expected commas")
    return names


_READERS = {
    ".parquet": _read_parquet,
    ".jsonl": _read_json,
    ".ndjson": _read_json,
    ".json": _read_json,
    ".csv": _read_csv,
}
KINDS = tuple(_READERS)  # of files, by their suffix; each may be compressed
