"""Guesses of the next tokens of a response, from what others have said after the same words.

Guessed tokens are fed together with the last sampled one, so that one pass yields several tokens. Every token is still
drawn from the model's own distribution by its own random number; a guess is kept only if it is what was drawn. So
guesses change the time that sampling takes, and nothing else.

All arrays are contiguous: R rows that run, N tokens fed (those of a row follow each other), T tokens of a response.
"""

import numpy as np
from numba import njit

# Without fast math, as all kernels of this package (see `qwen3.kernels`).
_kernel = njit(cache=True)
_inlined = njit(forceinline=True)

MOST = 8  # tokens guessed at a time
CONTEXTS = (4, 2)  # numbers of tokens that a guess is looked up by, the longest first
SEEN = 3  # how often in a row a continuation must have been seen
SIZE = 2**16  # entries of the table
_MIX, _SHIFT = np.uint64(0x9E3779B97F4A7C15), np.uint64(29)


class Drafts:
    """A table of continuations: the token that last followed a context, and how often in a row it did."""

    def __init__(self) -> None:
        self.keys = np.zeros(SIZE, np.uint64)
        self.tokens, self.seen = np.zeros(SIZE, np.int64), np.zeros(SIZE, np.int64)

    def learn(self, sampled: np.ndarray, numbers: np.ndarray, before: np.ndarray, counts: np.ndarray) -> None:
        """Take in tokens ``before`` to ``counts`` [R] of the responses ``numbers`` [R] of ``sampled`` [., T]."""
        _learn(sampled, numbers, before, counts, self.keys, self.tokens, self.seen)

    def propose(self, sampled: np.ndarray, numbers: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Tokens to feed next [N] (each row's last token, then its guesses), and how many per row [R]."""
        fed, sizes = np.empty(len(numbers) * (1 + MOST), np.int64), np.empty(len(numbers), np.int64)
        total = _propose(sampled, numbers, counts, self.keys, self.tokens, self.seen, fed, sizes)
        return fed[:total], sizes


@_inlined
def _key(tokens, end, length):
    """A number for the ``length`` tokens before ``end``; others may share it, which costs a wrong guess."""
    key = np.uint64(length)
    for i in range(end - length, end):
        key = (key ^ np.uint64(tokens[i])) * _MIX
        key ^= key >> _SHIFT
    return key


@_kernel
def _learn(sampled, numbers, before, counts, keys, tokens, seen):
    for row in range(len(numbers)):
        of_row = sampled[numbers[row]]
        for i in range(before[row], counts[row]):
            for length in CONTEXTS:
                if i < length:
                    continue
                key = _key(of_row, i, length)
                place = np.int64(key % np.uint64(SIZE))
                if keys[place] == key and tokens[place] == of_row[i]:
                    seen[place] += 1
                else:
                    keys[place], tokens[place], seen[place] = key, of_row[i], 1


@_kernel
def _propose(sampled, numbers, counts, keys, tokens, seen, fed, sizes):
    total, limit = 0, sampled.shape[1]
    longest = CONTEXTS[0]
    words = np.empty(longest + MOST + 1, np.int64)
    for row in range(len(numbers)):
        of_row, count = sampled[numbers[row]], counts[row]
        known = min(longest, count)
        for i in range(known):
            words[i] = of_row[count - known + i]
        size = 1
        while size <= min(MOST, limit - count - 1):
            guess = np.int64(-1)
            for length in CONTEXTS:
                end = known + size - 1
                if guess < 0 and end >= length:
                    key = _key(words, end, length)
                    place = np.int64(key % np.uint64(SIZE))
                    if keys[place] == key and seen[place] >= SEEN:
                        guess = tokens[place]
            if guess < 0:
                break
            words[known + size - 1] = guess
            size += 1
        for i in range(size):
            fed[total + i] = words[known - 1 + i]
        sizes[row] = size
        total += size
    return total


@_kernel
def accept(drawn, logps, fed, sizes, is_end, numbers, sampled, sampled_logps, counts, ended):
    """Append to ``sampled`` and ``sampled_logps`` [., T] of each row what was ``drawn`` [N] after right guesses.

    ``sizes`` [R] are the numbers of tokens ``fed`` [N] of each row. ``counts`` [.] of the responses ``numbers`` [R]
    grow; ``ended`` [R] tells which ended by a token of ``is_end`` [V], or at T tokens.
    """
    first = 0
    for row in range(len(numbers)):
        number = numbers[row]
        last = first + sizes[row]
        i = first
        ended[row] = False
        while True:
            token = drawn[i]
            sampled[number, counts[number]], sampled_logps[number, counts[number]] = token, logps[i]
            counts[number] += 1
            ended[row] = is_end[token] or counts[number] == sampled.shape[1]
            i += 1
            if ended[row] or i == last or fed[i] != token:
                break
        first = last
