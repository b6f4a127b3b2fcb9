"""The ten epistemic markers of the paper (Section 3), counted two ways.

``substring`` is the authors' way (make_report.py:7-22, check_epistemic_tokens.py:5-19): occurrences in the
lower-cased text, so that "check" is found in "checked" and "likely" in "unlikely". ``word`` counts whole words.
"""

import re
from collections.abc import Callable, Iterable
from typing import Literal

import pandas as pd

from selfdistill.errors import UserError, nearest

# "we define a set of 10 epistemic markers" (Section 3), in the authors' order.
MARKERS = ("wait", "hmm", "perhaps", "maybe", "actually", "alternatively", "seems", "might", "likely", "check")

Mode = Literal["substring", "word"]

_WORD = re.compile(rf"\b(?:{'|'.join(MARKERS)})\b")


def count_markers(text: str, mode: Mode = "substring") -> dict[str, int]:
    """Occurrences of each marker in ``text``, ignoring case; `UserError` for an unknown ``mode``."""
    return dict(zip(MARKERS, _counter(mode)(text.lower()), strict=True))


def count_table(texts: Iterable[str], mode: Mode = "substring") -> pd.DataFrame:
    """Counts as a frame: one row per text, one column per marker (int32)."""
    count = _counter(mode)
    return pd.DataFrame([count(text.lower()) for text in texts], columns=list(MARKERS), dtype="int32")


def _counter(mode: str) -> Callable[[str], list[int]]:
    counters = {"substring": _count_substrings, "word": _count_words}
    if mode not in counters:
        raise UserError(f"unknown way of counting '{mode}'{nearest(mode, counters)}; known: {', '.join(counters)}")
    return counters[mode]


def _count_substrings(lowered: str) -> list[int]:
    return [lowered.count(marker) for marker in MARKERS]


def _count_words(lowered: str) -> list[int]:
    found = _WORD.findall(lowered)
    return [found.count(marker) for marker in MARKERS]
