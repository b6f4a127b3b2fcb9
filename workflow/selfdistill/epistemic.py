"""The ten epistemic markers of the paper (Section 3), counted two ways.

``substring`` is the authors' way (make_report.py:7-22, check_epistemic_tokens.py:5-19): occurrences in the
lower-cased text, so that "check" is found in "checked" and "likely" in "unlikely". ``word`` counts whole words.
"""

from collections.abc import Iterable, Iterator
from typing import Literal

import numpy as np
import pandas as pd

from selfdistill.errors import UserError, nearest

# "we define a set of 10 epistemic markers" (Section 3), in the authors' order.
MARKERS = ("wait", "hmm", "perhaps", "maybe", "actually", "alternatively", "seems", "might", "likely", "check")

Mode = Literal["substring", "word"]
MODES: tuple[Mode, ...] = ("substring", "word")

CHUNK_CHARACTERS = 1 << 20  # of text that is searched at once; as much as fits into a processor's cache

# The marker (from 1) that two bytes begin, by their value as one little-endian number. No two begin alike.
_BEGINNINGS = np.zeros(1 << 16, dtype=np.uint8)
for _number, _marker in enumerate(MARKERS, start=1):
    _BEGINNINGS[int.from_bytes(_marker[:2].encode("ascii"), "little")] = _number

_THIRD = np.array([0, *(ord(marker[2]) for marker in MARKERS)], dtype=np.uint8)

# The only characters beyond ASCII whose lower case has a letter of ASCII in it: "İ" and the Kelvin sign.
_LIKE_ASCII = "\u0130\u212a"

# ASCII characters of words, as `\w` has them; of others, their own text tells.
_OF_WORDS = np.array([chr(byte).isalnum() or chr(byte) == "_" for byte in range(128)] + [False] * 128)


def count_markers(text: str, mode: Mode = "substring") -> dict[str, int]:
    """Occurrences of each marker in ``text``, ignoring case; `UserError` for an unknown ``mode``."""
    return {marker: int(counts.iloc[0]) for marker, counts in count_table([text], mode).items()}


def count_table(texts: Iterable[str], mode: Mode = "substring") -> pd.DataFrame:
    """Counts as a frame: one row per text, one column per marker (int32); `UserError` for an unknown ``mode``."""
    if mode not in MODES:
        raise UserError(f"unknown way of counting '{mode}'{nearest(mode, MODES)}; known: {', '.join(MODES)}")
    return count_tables(texts)[mode]


def count_tables(texts: Iterable[str]) -> dict[Mode, pd.DataFrame]:
    """Counts both ways, in one search: one row per text, one column per marker (int32)."""
    found = [_count(chunk) for chunk in _chunks(list(texts))]
    empty = [np.zeros((0, len(MARKERS)), dtype=np.int32)]
    return {
        mode: pd.DataFrame(np.concatenate(empty + [counts[mode] for counts in found]), columns=list(MARKERS))
        for mode in MODES
    }


def _chunks(texts: list[str]) -> Iterator[list[str]]:
    """The texts in lists of about `CHUNK_CHARACTERS`."""
    begins = np.cumsum([0, *map(len, texts)])[:-1] // CHUNK_CHARACTERS
    ends = [*(np.flatnonzero(np.diff(begins)) + 1).tolist(), len(texts)]
    yield from (texts[start:end] for start, end in zip([0, *ends], ends, strict=False) if start < end)


def _count(texts: list[str]) -> dict[Mode, np.ndarray]:
    """Counts [texts, markers] by mode.

    The texts are searched as one, with line ends between them, which are in no marker and in no word.
    """
    joined, sizes = _joined(texts)
    starts = 1 + np.cumsum([0, *sizes[:-1]]) + np.arange(len(texts))
    letters = np.frombuffer(joined, dtype=np.uint8)
    counts = {mode: np.zeros((len(texts), len(MARKERS)), dtype=np.int32) for mode in MODES}
    for number, (marker, found) in enumerate(zip(MARKERS, _beginnings(joined, letters), strict=True)):
        for offset, letter in enumerate(marker.encode("ascii")[3:], start=3):
            found = found[letters[found + offset] == letter]
        within = np.searchsorted(starts, found, side="right") - 1
        whole = _stand_alone(joined, letters, found, len(marker))
        counts["word"][:, number] = np.bincount(within[whole], minlength=len(texts))
        apart = _apart(found, len(marker))
        counts["substring"][:, number] = np.bincount(within[apart], minlength=len(texts))
    return counts


def _joined(texts: list[str]) -> tuple[bytes, list[int]]:
    """The texts in lower case and UTF-8 with line ends before, between and behind them, and their sizes in bytes."""
    text = "\n".join(["", *texts, "\n" * max(map(len, MARKERS))])
    if text.isascii():
        return text.lower().encode("ascii"), list(map(len, texts))
    if any(letter in text for letter in _LIKE_ASCII):
        texts = [text.lower() for text in texts]
        text = "\n".join(["", *texts, "\n" * max(map(len, MARKERS))])
    sizes = [len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass")) for text in texts]
    return text.encode("utf-8", "surrogatepass").lower(), sizes


def _beginnings(joined: bytes, letters: np.ndarray) -> list[np.ndarray]:
    """For each marker, where its first three letters stand, in order."""
    places, numbers = [], []
    for shift in (0, 1):  # two bytes as one number, from even places and from odd ones
        pairs = np.frombuffer(joined, dtype="<u2", offset=shift, count=(len(joined) - shift) // 2)
        begun = _BEGINNINGS[pairs]
        at = np.flatnonzero(begun != 0)
        place, number = 2 * at + shift, begun[at]
        likely = letters[place + 2] == _THIRD[number]
        places.append(place[likely])
        numbers.append(number[likely])
    place, number = np.concatenate(places), np.concatenate(numbers)
    order = np.argsort(number, kind="stable")
    ends = np.cumsum(np.bincount(number, minlength=len(MARKERS) + 1))
    return [np.sort(found, kind="stable") for found in np.split(place[order], ends)[1:-1]]


def _apart(found: np.ndarray, length: int) -> np.ndarray:
    """Which of the places count when, as in `str.count`, no letter is used twice ("seemseems" holds one seems)."""
    kept = np.ones(len(found), dtype=bool)
    for later in np.flatnonzero(np.diff(found) < length) + 1:
        kept[later] = not kept[later - 1] or found[later] - found[later - 1] >= length
    return kept


def _stand_alone(joined: bytes, letters: np.ndarray, found: np.ndarray, length: int) -> np.ndarray:
    """Which of the markers at these places are whole words: with no character of a word on either side."""
    before, after = letters[found - 1], letters[found + length]
    alone = ~(_OF_WORDS[before] | _OF_WORDS[after])
    for index in np.flatnonzero(alone & ((before > 127) | (after > 127))):
        place = int(found[index])
        alone[index] = not (_ends_word(joined, place) or _begins_word(joined, place + length))
    return alone


def _ends_word(joined: bytes, place: int) -> bool:
    """Whether the character before ``place`` is one of words."""
    begin = place - 1
    while joined[begin] & 0xC0 == 0x80:  # a continuation byte
        begin -= 1
    return _is_of_word(joined[begin:place])


def _begins_word(joined: bytes, place: int) -> bool:
    """Whether the character at ``place`` is one of words."""
    end = place + 1
    while joined[end] & 0xC0 == 0x80:
        end += 1
    return _is_of_word(joined[place:end])


def _is_of_word(character: bytes) -> bool:
    text = character.decode("utf-8", "surrogatepass")
    return text.isalnum() or text == "_"
