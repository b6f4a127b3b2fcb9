"""A numba kernel that finds markers in UTF-8.

All functions that it calls are in this file, because numba's cache on disk does not notice changes in another one. Only
the kernel itself is cached: cached helpers are machine code, which cannot be inlined.

The algorithm is Shift-And (Baeza-Yates and Gonnet 1992): one bit per letter of all markers. After every byte the set
bits are the prefixes of markers that the text ends with.
"""

import re
from typing import NamedTuple

import numpy as np
from numba import njit

BITS = 64
# Powers of two below 2^66 have different remainders when divided by it.
_PRIME = 67
# The Kelvin sign, the only character beyond ASCII whose lower case is one of ASCII's: "k".
_KELVIN_SIGN = (0xE2, 0x84, 0xAA)
_K = ord("k")
# The code point of "İ": its lower case is "i" and a mark, and the mark is in no word.
_DOTTED_I = 0x130


class Patterns(NamedTuple):
    """The markers as bits: their letters one after the other, the first in the lowest bit."""

    letters: np.ndarray  # uint64 [256]: the bits of which a byte is the letter
    first: np.uint64  # the bits of first letters
    last: np.uint64  # the bits of last letters
    with_k: np.uint64  # the bits of last letters of markers with a "k"
    numbers: np.ndarray  # int64 [67]: the marker, by the remainder of its last letter's bit
    sizes: np.ndarray  # int64 [markers]: letters of each


def patterns(markers: tuple[str, ...]) -> Patterns:
    """The `Patterns` of ``markers``: lower-case ASCII, at most 64 letters in all and one "k" in each.

    No marker may end with another one, so that at most one ends at a byte. `ValueError` for other markers.
    """
    joined, sizes = "".join(markers), np.array([len(marker) for marker in markers], dtype=np.int64)
    nested = any(one.endswith(other) for one in markers for other in markers if one is not other)
    if nested or len(joined) > BITS or re.search("[^a-z]", joined) or any(one.count("k") > 1 for one in markers):
        raise ValueError(f"these markers cannot be searched for: {markers}")
    letters, numbers = np.zeros(256, dtype=np.uint64), np.zeros(_PRIME, dtype=np.int64)
    for place, letter in enumerate(joined):
        letters[[ord(letter), ord(letter.upper())]] |= np.uint64(1 << place)
    lasts = [1 << end for end in (np.cumsum(sizes) - 1).tolist()]
    numbers[[last % _PRIME for last in lasts]] = range(len(markers))
    first = 1 | sum(last << 1 for last in lasts[:-1])
    with_k = sum(last for last, marker in zip(lasts, markers, strict=True) if "k" in marker)
    return Patterns(letters, np.uint64(first), np.uint64(sum(lasts)), np.uint64(with_k), numbers, sizes)


@njit(cache=True)
def count_both_ways(
    data: np.ndarray,
    bounds: np.ndarray,
    sought: Patterns,
    of_words: np.ndarray,
    substrings: np.ndarray,
    words: np.ndarray,
) -> None:
    """Add the markers in each text to ``substrings`` and ``words``, int32 [texts, markers].

    ``data``: UTF-8, uint8; text t is ``data[bounds[t] : bounds[t + 1]]``, with ``bounds`` int64 [texts + 1].
    ``of_words``: mask of the code points that occur in words, bool [code points]. As in `str.count`, a substring does
    not count if it overlaps the one counted before.
    """
    longest = 0
    for text in range(len(bounds) - 1):
        longest = max(longest, bounds[text + 1] - bounds[text])
    ends, kinds = np.empty(longest + 1, dtype=np.int64), np.empty(longest + 1, dtype=np.uint64)
    free = np.zeros(len(sought.sizes), dtype=np.int64)  # the first byte at which a marker may begin
    for text in range(len(bounds) - 1):
        start, end = bounds[text], bounds[text + 1]
        for number in range(_search(data, start, end, sought, ends, kinds)):
            after, kind = ends[number], kinds[number]
            marker = sought.numbers[kind % np.uint64(_PRIME)]
            begin = _begin(data, after, sought.sizes[marker], kind & sought.with_k != 0)
            if begin >= free[marker]:
                substrings[text, marker] += 1
                free[marker] = after
            if not (_word_before(data, start, begin, of_words) or _word_at(data, after, end, of_words)):
                words[text, marker] += 1


@njit
def _search(data: np.ndarray, start: int, end: int, sought: Patterns, ends: np.ndarray, kinds: np.ndarray) -> int:
    """The number of markers from ``start`` to ``end``; fills their ``ends`` and ``kinds``, the bits of last letters.

    Without a branch at the end of a marker, which a processor could not predict.
    """
    count = 0
    ended = earlier = earliest = np.uint64(0)  # the prefixes that the text ends with, and one and two bytes ago
    for place in range(start, end):
        byte = data[place]
        oldest, earliest, earlier = earliest, earlier, ended
        if byte == _KELVIN_SIGN[2] and _ends_kelvin_sign(data, start, place):
            ended = ((oldest << np.uint64(1)) | sought.first) & sought.letters[_K]
        else:
            ended = ((ended << np.uint64(1)) | sought.first) & sought.letters[byte]
        kind = ended & sought.last
        ends[count], kinds[count] = place + 1, kind
        count += kind != 0
    return count


@njit
def _begin(data: np.ndarray, after: int, size: int, with_k: bool) -> int:
    """The first byte of the marker of ``size`` letters that ends before ``after``."""
    begin = after - size
    if with_k:
        for place in range(begin, after):
            if data[place] == _KELVIN_SIGN[2]:
                return begin - len(_KELVIN_SIGN) + 1
    return begin


@njit
def _ends_kelvin_sign(data: np.ndarray, start: int, place: int) -> bool:
    return place >= start + 2 and data[place - 1] == _KELVIN_SIGN[1] and data[place - 2] == _KELVIN_SIGN[0]


@njit
def _word_before(data: np.ndarray, start: int, place: int, of_words: np.ndarray) -> bool:
    """True if the lower case of the character before ``place`` ends in a word character."""
    if place == start:
        return False
    begin = place - 1
    while data[begin] & 0xC0 == 0x80:  # a continuation byte
        begin -= 1
    point = _code_point(data, begin)
    return point != _DOTTED_I and of_words[point]


@njit
def _word_at(data: np.ndarray, place: int, end: int, of_words: np.ndarray) -> bool:
    """True if the lower case of the character at ``place`` begins with a word character."""
    return place < end and of_words[_code_point(data, place)]


@njit
def _code_point(data: np.ndarray, place: int) -> int:
    """The code point of the character that begins at ``place``."""
    lead = np.int64(data[place])
    if lead < 0x80:
        return lead
    size = 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
    point = lead & (0x7F >> size)
    for offset in range(1, size):
        point = (point << 6) | (data[place + offset] & 0x3F)
    return point
