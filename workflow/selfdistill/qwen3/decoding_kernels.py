"""Compiled passes of one decoding step. Shapes: n rows, H width of the model, D of a head."""

import numpy as np
from numba import njit

from selfdistill.qwen3.arithmetic import exp

# "numpy": a division by zero gives infinity. Python's error would keep a loop from becoming vector instructions.
compiled = njit(cache=True, fastmath=True, error_model="numpy")

BLOCK = 32  # positions that lie together in the cache
NEVER = np.float32(-1e30)  # the score of a position that is empty


@compiled
def rms_norm(x: np.ndarray, weight: np.ndarray, eps: float, out: np.ndarray) -> None:
    """``out`` [n, H] = ``x`` [n, H] over its root mean square, times ``weight`` [H]."""
    n, width = x.shape
    for row in range(n):
        total = np.float32(0)
        for i in range(width):
            total += x[row, i] * x[row, i]
        factor = np.float32(1) / np.sqrt(total / np.float32(width) + np.float32(eps))
        for i in range(width):
            out[row, i] = weight[i] * (x[row, i] * factor)


@compiled
def gate(gate_up: np.ndarray, out: np.ndarray) -> None:
    """``out`` [n, I] = silu of the first half of ``gate_up`` [n, 2 I], times the second."""
    n, width = out.shape
    for row in range(n):
        x, up, gated = gate_up[row, :width], gate_up[row, width:], out[row]
        for i in range(width):
            gated[i] = x[i] / (np.float32(1) + exp(-x[i])) * up[i]


@compiled
def _place_head(
    x: np.ndarray, weight: np.ndarray, eps: float, cos: np.ndarray, sin: np.ndarray, out: np.ndarray
) -> None:
    """``out`` [D or more] = ``x`` [D] normalised, times ``weight``, rotated by angles: [D / 2] cosines and sines."""
    width = x.size
    half = width // 2
    total = np.float32(0)
    for i in range(width):
        total += x[i] * x[i]
    factor = np.float32(1) / np.sqrt(total / np.float32(width) + np.float32(eps))
    for i in range(half):
        first, second = x[i] * factor * weight[i], x[half + i] * factor * weight[half + i]
        out[i] = first * cos[i] - second * sin[i]
        out[half + i] = second * cos[i] + first * sin[i]


# The next two run over a whole block, as loops of known length become vector instructions without remainder, and for
# two heads at a time, as sums of one would wait for each other.


@compiled
def _score(
    keys: np.ndarray, first: np.ndarray, second: np.ndarray, of_first: np.ndarray, of_second: np.ndarray
) -> None:
    """Scores [BLOCK] of two queries [D], their products with ``keys`` [D, BLOCK]; D is a multiple of 4."""
    for t in range(BLOCK):
        of_first[t] = np.float32(0)
    for t in range(BLOCK):
        of_second[t] = np.float32(0)
    for d in range(0, keys.shape[0], 4):
        k, q, r = keys[d : d + 4], first[d : d + 4], second[d : d + 4]
        q0, q1, q2, q3 = q[0], q[1], q[2], q[3]
        r0, r1, r2, r3 = r[0], r[1], r[2], r[3]
        for t in range(BLOCK):
            of_first[t] += (q0 * k[0, t] + q1 * k[1, t]) + (q2 * k[2, t] + q3 * k[3, t])
            of_second[t] += (r0 * k[0, t] + r1 * k[1, t]) + (r2 * k[2, t] + r3 * k[3, t])


@compiled
def _mix(
    values: np.ndarray, first: np.ndarray, second: np.ndarray, of_first: np.ndarray, of_second: np.ndarray
) -> None:
    """Add the sums of ``values`` [BLOCK, D], weighed by the shares [BLOCK] of two heads, to what the heads have [D]."""
    for t in range(0, BLOCK, 4):
        v, p, q = values[t : t + 4], first[t : t + 4], second[t : t + 4]
        p0, p1, p2, p3 = p[0], p[1], p[2], p[3]
        q0, q1, q2, q3 = q[0], q[1], q[2], q[3]
        for d in range(of_first.size):
            of_first[d] += (p0 * v[0, d] + p1 * v[1, d]) + (p2 * v[2, d] + p3 * v[3, d])
            of_second[d] += (q0 * v[0, d] + q1 * v[1, d]) + (q2 * v[2, d] + q3 * v[3, d])


@compiled
def _ordered(bits: np.int32) -> np.int32:
    """Of a float32's bits; its own inverse."""
    return np.int32(bits ^ ((bits >> np.int32(31)) & np.int32(2**31 - 1)))


@compiled
def _powers(scores: np.ndarray) -> np.float32:
    """Powers of ``scores`` [n] in their place, over that of the largest; their sum."""
    # Bits as an integer that orders as the number does: the largest of integers is found by vector instructions.
    largest = np.int32(-(2**31))
    for t in range(scores.size):
        largest = max(largest, _ordered(np.float32(scores[t]).view(np.int32)))
    shift = np.int32(_ordered(largest)).view(np.float32)
    total = np.float32(0)
    for t in range(scores.size):
        power = exp(scores[t] - shift)
        scores[t] = power
        total += power
    return total


@compiled
def attend(
    qkv: np.ndarray,
    query_norm: np.ndarray,
    key_norm: np.ndarray,
    eps: float,
    cos: np.ndarray,
    sin: np.ndarray,
    keys: np.ndarray,
    values: np.ndarray,
    prompts: np.ndarray,
    prompt_lengths: np.ndarray,
    slots: np.ndarray,
    lengths: np.ndarray,
    out: np.ndarray,
) -> None:
    """One token of each row attends to its prompt, to what its row has drawn and to itself, and joins the cache.

    ``qkv`` [n, (heads + 2 kv) D] are its projections, ``out`` [n, heads D]. ``keys`` [slots, blocks, kv, D', BLOCK], D'
    being D rounded up to a multiple of 8, and ``values`` [slots, blocks, kv, BLOCK, D] hold a prompt of
    ``prompt_lengths`` [n] tokens in the slots ``prompts`` [n], and the ``lengths`` [n] tokens drawn before in the slots
    ``slots`` [n]. ``cos`` and ``sin`` are [positions, D / 2].
    """
    n, kv, width = qkv.shape[0], values.shape[2], values.shape[4]
    heads = out.shape[1] // width
    group = heads // kv
    scale = np.float32(1 / np.sqrt(width))
    key = np.empty(width, np.float32)
    pairs = (group + 1) // 2  # an odd head is paired with one of zeros
    queries = np.zeros((pairs * 2, keys.shape[3]), np.float32)
    mixed = np.empty((pairs * 2, width), np.float32)
    totals = np.empty(group, np.float32)
    scores = np.empty((pairs * 2, 2 * keys.shape[1] * BLOCK), np.float32)
    for row in range(n):
        places, reaches = (prompts[row], slots[row]), (prompt_lengths[row], lengths[row] + 1)
        position, own, place = prompt_lengths[row] + lengths[row], lengths[row] // BLOCK, lengths[row] % BLOCK
        for h in range(kv):
            start = (heads + h) * width
            _place_head(qkv[row, start : start + width], key_norm, eps, cos[position], sin[position], key)
            for d in range(width):
                keys[slots[row], own, h, d, place] = key[d]
                values[slots[row], own, h, place, d] = qkv[row, start + kv * width + d]
            for g in range(group):
                start = (h * group + g) * width
                head = qkv[row, start : start + width]
                _place_head(head, query_norm, eps, cos[position], sin[position], queries[g])
                for d in range(width):
                    queries[g, d] *= scale
                    mixed[g, d] = np.float32(0)
            seen = 0
            for slot, reach in zip(places, reaches):  # noqa: B905 (numba knows no `strict`)
                for block in range((reach + BLOCK - 1) // BLOCK):
                    for g in range(0, group, 2):
                        first, second = scores[g, seen : seen + BLOCK], scores[g + 1, seen : seen + BLOCK]
                        _score(keys[slot, block, h], queries[g], queries[g + 1], first, second)
                    seen += BLOCK
                for g in range(group):
                    for t in range(seen - (-reach) % BLOCK, seen):
                        scores[g, t] = NEVER
            for g in range(group):
                totals[g] = _powers(scores[g, :seen])
            seen = 0
            for slot, reach in zip(places, reaches):  # noqa: B905
                for block in range((reach + BLOCK - 1) // BLOCK):
                    for g in range(0, group, 2):
                        first, second = scores[g, seen : seen + BLOCK], scores[g + 1, seen : seen + BLOCK]
                        _mix(values[slot, block, h], first, second, mixed[g], mixed[g + 1])
                    seen += BLOCK
            for g in range(group):
                for d in range(width):
                    out[row, (h * group + g) * width + d] = mixed[g, d] / totals[g]
