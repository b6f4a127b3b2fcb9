"""Sequences of an update shared out to micro-batches by their tokens.

Shapes: lists hold one entry per sequence.
"""

import heapq
from collections.abc import Sequence


def parted(tokens: Sequence[int], number: int) -> list[list[int]]:
    """The sequences in ``number`` parts of similar sums of ``tokens``: the longest first, each where least is so far.

    Of equal ones the first comes first; with at least as many sequences as parts, none is empty.
    """
    parts: list[list[int]] = [[] for _ in range(number)]
    sums = [(0, part) for part in range(number)]
    for sequence in sorted(range(len(tokens)), key=lambda sequence: -tokens[sequence]):
        least, part = sums[0]
        parts[part].append(sequence)
        heapq.heapreplace(sums, (least + tokens[sequence], part))
    return parts


def fewest_parts(tokens: Sequence[int], limit: int) -> int:
    """The least number of parts by `parted` of at most ``limit`` tokens; a longer sequence is alone in its part."""
    number = -(-sum(min(size, limit) for size in tokens) // limit)
    while any(len(part) > 1 and sum(tokens[sequence] for sequence in part) > limit for part in parted(tokens, number)):
        number += 1
    return number
