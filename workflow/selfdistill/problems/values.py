"""Values as their file writes them: JSON and Arrow columns as plain Python, and a number as text, digit for digit.

Binary doubles would round long decimals, and a decimal text of them may carry an exponent or the noise of a cast.
"""

import json
from collections.abc import Callable, Iterable
from decimal import Decimal, InvalidOperation
from typing import Any

import pyarrow as pa

LARGEST_EXPONENT = 308  # of ten in a double; what lies beyond is refused, as infinity is
SHOWN = 200  # characters of another library's message

Convert = Callable[[Any], Any]


def read_json(text: str) -> Any:
    """JSON with numbers as `Decimal` and without doubled keys; `ValueError` (often `JSONDecodeError`) for any other."""
    try:
        return json.loads(
            text, parse_float=_decimal, parse_int=_decimal, parse_constant=Decimal, object_pairs_hook=_object
        )
    except RecursionError:
        raise ValueError("nests too deeply") from None


def _decimal(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:  # an exponent of more digits than a Decimal's
        return Decimal("Infinity")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        name, value = pairs[0]
        raise ValueError(f"the key '{twice}' stands twice in the object that begins with '{name}': {str(value)!r:.60}")
    return found


def column_values(column: pa.Array | pa.ChunkedArray) -> list[Any]:
    """The values of an Arrow column, those of JSON decoded; `ValueError` and pyarrow's errors for broken ones."""
    values = column.to_pylist()
    convert = _converter(column.type)
    return values if convert is None else [convert(value) for value in values]


def _converter(kind: pa.DataType) -> Convert | None:
    """A function that makes values of an Arrow type exact; None if they already are."""
    if pa.types.is_float16(kind) or pa.types.is_float32(kind):
        narrow = kind.to_pandas_dtype()
        return _for_values(lambda value: Decimal(str(narrow(value))))  # the shortest text of its own precision
    if isinstance(kind, pa.JsonType):
        return _for_values(read_json)
    if pa.types.is_struct(kind):
        fields = {field.name: convert for field in kind if (convert := _converter(field.type))}
        whole = _for_values(lambda value: value | {name: convert(value[name]) for name, convert in fields.items()})
        return whole if fields else None
    if pa.types.is_map(kind):
        inner = _converter(kind.item_type) or (lambda value: value)
        return _for_values(lambda pairs: _object([(name, inner(value)) for name, value in pairs]))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        inner = _converter(kind.value_type)
        return inner and _for_values(lambda value: [inner(part) for part in value])
    return None


def _for_values(convert: Convert) -> Convert:
    return lambda value: None if value is None else convert(value)


def number_text(value: int | float | Decimal) -> str:
    """A number in plain decimal digits, without an exponent; 27.0 is 27. `ValueError` if it is not finite or so large.

    A double is written by its shortest text.
    """
    number = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    if number.is_zero():
        return "0"
    if not number.is_finite() or abs(number.adjusted()) > LARGEST_EXPONENT:
        raise ValueError("a number beyond those of double precision")
    text = format(number, "f")
    whole, _, places = text.partition(".")
    return text if places.strip("0") else whole


def one_line(error: object) -> str:
    """The message of another library's error, which may go over several lines and name whole values."""
    return " ".join(str(error).split())[:SHOWN]


def shown(columns: Iterable[str]) -> str:
    """Names of columns for a message: a file without a header has whole problems for names."""
    names = [f"{one_line(name):.40}" for name in columns]
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "") or "none"
