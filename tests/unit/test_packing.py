"""Sequences shared out to micro-batches by their tokens."""

import random

import pytest
from selfdistill.training.packing import fewest_parts, parted


def test_the_longest_sequences_come_first_each_where_least_is_so_far():
    assert parted([5, 9, 3, 3, 8], 2) == [[1, 2, 3], [4, 0]]
    assert parted([4, 4, 4], 3) == [[0], [1], [2]]
    assert parted([2, 7], 1) == [[1, 0]]


def test_a_sequence_beyond_the_limit_is_alone():
    assert fewest_parts([30, 4, 4, 2], 10) == 2
    assert parted([30, 4, 4, 2], 2) == [[0], [1, 2, 3]]
    assert fewest_parts([30, 30, 1], 10) == 3


@pytest.mark.parametrize("seed", range(20))
def test_parts_hold_every_sequence_once_and_no_more_than_the_limit(seed: int):
    draw = random.Random(seed)
    tokens = [draw.randint(1, 100) for _ in range(draw.randint(1, 60))]
    limit = draw.randint(1, 300)
    number = fewest_parts(tokens, limit)
    for more in (number, min(number + 2, len(tokens))):  # another process may need more of them
        parts = parted(tokens, more)
        assert sorted(sequence for part in parts for sequence in part) == list(range(len(tokens)))
        assert all(parts) and len(parts) == more
        assert all(len(part) == 1 or sum(tokens[sequence] for sequence in part) <= limit for part in parts)
    assert number <= len(tokens) and number * limit >= sum(min(limit, size) for size in tokens)
