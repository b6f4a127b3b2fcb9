"""Counts of the paper's ten epistemic markers (Section 3), in two ways.

``substring`` is the authors' way (make_report.py:7-22, check_epistemic_tokens.py:5-19): occurrences in the
lower-cased text, so that "check" is found in "checked" and "likely" in "unlikely". ``word`` counts whole words.
"""

import sys
from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
import pyarrow as pa

from selfdistill.errors import one_of

if TYPE_CHECKING:
    from selfdistill.markers.scan import Patterns

# "we define a set of 10 epistemic markers" (Section 3), in the authors' order.
MARKERS = ("wait", "hmm", "perhaps", "maybe", "actually", "alternatively", "seems", "might", "likely", "check")

Mode = Literal["substring", "word"]
MODES: tuple[Mode, ...] = ("substring", "word")


def count_markers(text: str, mode: Mode = "substring") -> dict[str, int]:
    """Occurrences of each marker in ``text``, ignoring case; `UserError` for an unknown ``mode``."""
    return {marker: int(counts.iloc[0]) for marker, counts in count_table([text], mode).items()}


def count_table(texts: Iterable[str], mode: Mode = "substring") -> pd.DataFrame:
    """Counts as a frame: one row per text, one column per marker (int32); `UserError` for an unknown ``mode``."""
    return count_tables(texts)[one_of("way of counting", mode, MODES)]


def count_tables(texts: Iterable[str]) -> dict[Mode, pd.DataFrame]:
    """Counts both ways, in one search: one row per text, one column per marker (int32).

    A column of strings is counted as it lies in memory, without a Python object per text.
    """
    from selfdistill.markers.scan import count_both_ways  # here: most importers of the markers need no compiler

    data, bounds = _utf8(texts)
    counts = np.zeros((len(MODES), len(bounds) - 1, len(MARKERS)), dtype=np.int32)
    count_both_ways(data, bounds, *_sought(), *counts)
    return {mode: pd.DataFrame(found, columns=list(MARKERS)) for mode, found in zip(MODES, counts, strict=True)}


def _utf8(texts: Iterable[str]) -> tuple[np.ndarray, np.ndarray]:
    """The texts end to end, uint8, and the bounds of each, int64 [texts + 1]."""
    column = as_column(texts)
    if column.null_count:
        raise TypeError(f"{column.null_count} texts are missing")
    _, bounds, data = (buffer or b"" for buffer in column.buffers())
    bounds = np.frombuffer(bounds, dtype=np.int64)[column.offset :][: len(column) + 1]
    found = np.frombuffer(data, dtype=np.uint8), bounds if len(bounds) else np.zeros(1, dtype=np.int64)
    for array in found:  # one type for the compiler, whatever made the column
        array.flags.writeable = False
    return found


def as_column(texts: Iterable[str]) -> pa.LargeStringArray:
    """The texts as Arrow holds them; half a surrogate pair, which UTF-8 cannot say, becomes "?"."""
    texts = texts if isinstance(texts, pd.Series) else list(texts)
    try:
        column = pa.array(texts, type=pa.large_string())
    except UnicodeEncodeError:  # the "?" is, like what it is for, in no marker and no word
        column = pa.array([text.encode("utf-8", "replace").decode() for text in texts], type=pa.large_string())
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


@cache
def _sought() -> tuple["Patterns", np.ndarray]:
    """The markers for `scan`, and a mask of the code points that are letters, digits or "_"."""
    from selfdistill.markers.scan import patterns

    of_words = np.strings.isalnum(np.arange(sys.maxunicode + 1, dtype=np.uint32).view("U1"))
    of_words[ord("_")] = True
    return patterns(MARKERS), of_words
