"""Numba kernels for everything in a Qwen3 layer that is not a matrix product (CPU, float32).

All kernels are in one file because numba's cache on disk does not notice changes in another file. All arrays are
contiguous, and inner loops run along the last axis. Shapes: H width of the model, I of the feed-forward layer, D of a
head.

*Sampling* computes the next token of each of n rows.

*Training* computes N tokens of several sequences laid end to end. Attention takes S sequences at a time, longest first,
in B blocks of R queries each: KV key heads, each read by G query heads. Arrays of queries are [B, S, KV, G, R, D], so
that a block of the A sequences that reach it is contiguous; those of keys and values [S, KV, B * R, D]. Rows behind a
sequence's end are zero. Gradients of weights are accumulated in their arrays.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

# "numpy": a division by zero gives infinity. Testing for it would keep loops from becoming vector instructions.
_kernel = njit(cache=True, fastmath=True, error_model="numpy")
# Helpers must be inlined, and are not cached. Otherwise a process that compiles and one that loads numba's disk cache
# call different copies, which round differently; and a cached function is machine code, which cannot be inlined.
_inlined = njit(fastmath=True, error_model="numpy", forceinline=True)

LANES = 16  # loops of training run over multiples of this: an incomplete vector takes as long as a whole one
BLOCK = 32  # positions per block of the key-value cache
_ZERO, _ONE, _LOWEST = np.float32(0), np.float32(1), np.float32(-3e38)
_SIGN, _BUT_SIGN, _LEAST_WHOLE = np.int32(31), np.int32(2**31 - 1), np.int32(-(2**31))
_LEAST_GATE = np.float32(-80)  # silu is zero below, and `exp` of its negative still a number
_LOG2_E = np.float32(1.4426950408889634)
# ln 2 in two parts, of which the first has so few digits that its multiples are exact (Cody and Waite).
_LN2_HIGH, _LN2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)
_SMALLEST = np.float32(-87.0)
# exp(r) = 1 + r + r^2 P(r) for |r| <= ln(2) / 2, P from the highest power down (Cephes, expf.c).
_P5, _P4, _P3 = np.float32(1.9875691500e-4), np.float32(1.3981999507e-3), np.float32(8.3334519073e-3)
_P2, _P1, _P0 = np.float32(4.1665795894e-2), np.float32(1.6666665459e-1), np.float32(5.0000001201e-1)
_EXPONENT_BIAS, _MANTISSA_BITS = 127, 23


# Without fast-math flags, which would allow the two parts of ln 2 to be joined.
@njit(forceinline=True)
def exp(x: np.float32) -> np.float32:
    """e to the ``x`` in float32, to 3e-7 of its value; for ``x`` up to 88; below -87 it stays at 1.6e-38."""
    x = max(x, _SMALLEST)
    power = np.rint(x * _LOG2_E)
    rest = (x - power * _LN2_HIGH) - power * _LN2_LOW
    p = ((((_P5 * rest + _P4) * rest + _P3) * rest + _P2) * rest + _P1) * rest + _P0
    mantissa = p * rest * rest + rest + _ONE
    bits = np.int32((np.int64(np.int32(power)) + _EXPONENT_BIAS) << _MANTISSA_BITS)
    return mantissa * bits.view(np.float32)


@_inlined
def _ordered(bits: np.int32) -> np.int32:
    """The ``bits`` of a float32 as an integer that sorts alike, which vector instructions compare; its own inverse."""
    return np.int32(bits ^ ((bits >> _SIGN) & _BUT_SIGN))


@_inlined
def _largest(values: np.ndarray) -> np.float32:
    """The maximum of ``values`` [n], compared as integers (see `_ordered`)."""
    largest, bits = _LEAST_WHOLE, values.view(np.int32)
    for i in range(values.size):
        largest = max(largest, _ordered(bits[i]))
    return np.int32(_ordered(largest)).view(np.float32)


@_kernel
def rms_norm(x, weight, eps, normed, inverse):
    """Fill ``normed`` [N, H] with ``x`` of mean square 1 times ``weight`` [H], and ``inverse`` [N] with the scales."""
    rows, width = x.shape
    for n in range(rows):
        square = _ZERO
        for i in range(width):
            square += x[n, i] * x[n, i]
        scale = _ONE / np.sqrt(square / np.float32(width) + np.float32(eps))
        inverse[n] = scale
        for i in range(width):
            normed[n, i] = x[n, i] * scale * weight[i]


@_kernel
def add_rms_norm(x, added, weight, eps, total, normed, inverse):
    """Fill ``total`` with ``x + added`` [N, H], and ``normed`` and ``inverse`` with its `rms_norm`."""
    rows, width = x.shape
    for n in range(rows):
        square = _ZERO
        for i in range(width):
            value = x[n, i] + added[n, i]
            total[n, i] = value
            square += value * value
        scale = _ONE / np.sqrt(square / np.float32(width) + np.float32(eps))
        inverse[n] = scale
        for i in range(width):
            normed[n, i] = total[n, i] * scale * weight[i]


@_kernel
def silu_product(gate_up, product):
    """Fill ``product`` [N, I] with silu(gate) * up, of ``gate_up`` [N, 2 I]."""
    rows, width = product.shape
    for n in range(rows):
        gates, ups, row = gate_up[n, :width], gate_up[n, width:], product[n]
        for i in range(width):
            gate = gates[i]
            row[i] = gate * ups[i] / (_ONE + exp(-max(gate, _LEAST_GATE)))


# --- sampling ---------------------------------------------------------------------------------------------------------


@_kernel
def choose(logits: np.ndarray, uniforms: np.ndarray, tokens: np.ndarray, logps: np.ndarray) -> None:
    """Fill ``tokens`` [n] by inverse transform, and ``logps`` [n] with their log-probabilities.

    A row's token is the first whose cumulated probability, by ``logits`` [n, V], exceeds its number in ``uniforms``.
    Tokens less likely than e^-87 times the likeliest, where float32 ends, are never sampled.
    """
    n, vocabulary = logits.shape
    powers = np.empty(vocabulary, np.float32)
    for row in range(n):
        row_logits = logits[row]
        largest = _largest(row_logits)
        for i in range(vocabulary):
            gap = row_logits[i] - largest
            powers[i] = exp(gap) if gap >= _SMALLEST else _ZERO
        total = 0.0
        for i in range(vocabulary):
            total += np.float64(powers[i])
        target, cumulated, token = uniforms[row] * total, 0.0, vocabulary - 1
        for i in range(vocabulary):
            cumulated += np.float64(powers[i])
            if cumulated > target:
                token = i
                break
        tokens[row], logps[row] = token, row_logits[token] - largest - np.log(np.float32(total))


@_inlined
def _place_head(
    x: np.ndarray, weight: np.ndarray, eps: float, cos: np.ndarray, sin: np.ndarray, out: np.ndarray
) -> None:
    """``out`` [D or more] = ``x`` [D] normalised, times ``weight``, rotated by angles: [D / 2] cosines and sines."""
    width = x.size
    half = width // 2
    total = _ZERO
    for i in range(width):
        total += x[i] * x[i]
    factor = np.float32(1) / np.sqrt(total / np.float32(width) + np.float32(eps))
    for i in range(half):
        first, second = x[i] * factor * weight[i], x[half + i] * factor * weight[half + i]
        out[i] = first * cos[i] - second * sin[i]
        out[half + i] = second * cos[i] + first * sin[i]


@intrinsic
def _add_products(_, matrix, first, second, of_first, of_second):
    """Add ``first`` and ``second`` [n], each times ``matrix`` [n, m], to ``of_first`` and ``of_second`` [m].

    m is a multiple of `BLOCK`. Two heads at a time, because the sums of one wait for each other. The vector
    instructions are written by hand: in a loop, numba checks at each entry whether inputs and outputs overlap, which
    takes as long as the work.
    """

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        typed = zip(signature.args, arguments, strict=True)
        arrays = [context.make_array(kind)(context, builder, value) for kind, value in typed]
        table, *weights = (array.data for array in arrays[:3])
        rows, columns = cgutils.unpack_tuple(builder, arrays[0].shape)
        lanes, step = ir.VectorType(ir.FloatType(), BLOCK), ir.Constant(columns.type, BLOCK)
        place_of_lane = ir.VectorType(ir.IntType(32), BLOCK)

        def lanes_at(data: ir.Value, index: ir.Value) -> ir.Value:
            return builder.bitcast(builder.gep(data, [index]), lanes.as_pointer())

        def in_all_lanes(value: ir.Value) -> ir.Value:
            one = builder.insert_element(ir.Constant(lanes, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
            return builder.shuffle_vector(one, one, ir.Constant(place_of_lane, [0] * BLOCK))

        with cgutils.for_range_slice(builder, ir.Constant(columns.type, 0), columns, step) as (column, _):
            outs = [lanes_at(array.data, column) for array in arrays[3:]]
            sums = [cgutils.alloca_once_value(builder, builder.load(out, align=4)) for out in outs]
            with cgutils.for_range(builder, rows) as row:
                index = builder.add(builder.mul(row.index, columns), column)
                entries = builder.load(lanes_at(table, index), align=4)
                for total, data in zip(sums, weights, strict=True):
                    weight = in_all_lanes(builder.load(builder.gep(data, [row.index])))
                    product = builder.fmul(weight, entries, flags=["contract"])
                    builder.store(builder.fadd(builder.load(total), product, flags=["contract"]), total)
            for total, out in zip(sums, outs, strict=True):
                builder.store(builder.load(total), out, align=4)
        return context.get_dummy_value()

    return types.void(matrix, first, second, of_first, of_second), generate


@_inlined
def _powers(scores: np.ndarray) -> np.float32:
    """Replace ``scores`` [n] by exp(score - largest score); their sum."""
    largest = _largest(scores)
    total = _ZERO
    for t in range(scores.size):
        power = exp(scores[t] - largest)
        scores[t] = power
        total += power
    return total


@_kernel
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
    """One token of each row attends to its prompt, to the row's earlier tokens and to itself, and joins the cache.

    ``qkv`` [n, (heads + 2 kv) D] are its projections, ``out`` [n, heads D]. ``keys`` [slots, blocks, kv, D, BLOCK]
    and ``values`` [slots, blocks, kv, BLOCK, D'], D' being D rounded up to a multiple of `BLOCK`, hold a prompt of
    ``prompt_lengths`` [n] tokens in the slots ``prompts`` [n], and the ``lengths`` [n] earlier tokens of the row in the
    slots ``slots`` [n]. ``cos`` and ``sin`` are [positions, D / 2].
    """
    n, kv, width = qkv.shape[0], values.shape[2], 2 * cos.shape[1]
    heads = out.shape[1] // width
    group = heads // kv
    scale = np.float32(1 / np.sqrt(width))
    key = np.empty(width, np.float32)
    pairs = (group + 1) // 2  # an odd head is paired with one of zeros
    queries = np.zeros((pairs * 2, keys.shape[3]), np.float32)
    mixed = np.empty((pairs * 2, values.shape[4]), np.float32)
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
            mixed[:] = _ZERO
            seen = 0
            for slot, reach in zip(places, reaches):  # noqa: B905 (numba knows no `strict`)
                for block in range((reach + BLOCK - 1) // BLOCK):
                    for g in range(0, group, 2):
                        first, second = scores[g, seen : seen + BLOCK], scores[g + 1, seen : seen + BLOCK]
                        first[:], second[:] = _ZERO, _ZERO
                        _add_products(keys[slot, block, h], queries[g], queries[g + 1], first, second)
                    seen += BLOCK
                for g in range(group):
                    for t in range(seen - (-reach) % BLOCK, seen):
                        scores[g, t] = _LOWEST
            for g in range(group):
                totals[g] = _powers(scores[g, :seen])
            seen = 0
            for slot, reach in zip(places, reaches):  # noqa: B905
                for block in range((reach + BLOCK - 1) // BLOCK):
                    for g in range(0, group, 2):
                        first, second = scores[g, seen : seen + BLOCK], scores[g + 1, seen : seen + BLOCK]
                        _add_products(values[slot, block, h], first, second, mixed[g], mixed[g + 1])
                    seen += BLOCK
            for g in range(group):
                for d in range(width):
                    out[row, (h * group + g) * width + d] = mixed[g, d] / totals[g]


# --- training ---------------------------------------------------------------------------------------------------------


@_kernel
def rms_norm_backward(x, inverse, weight, grad_normed, grad_past, normed, grad_x, grad_weight):
    """Fill ``grad_x`` [N, H] with the gradient through the norm plus ``grad_past``, that of the residual.

    Also recompute ``normed``.
    """
    rows, width = x.shape
    for n in range(rows):
        scale, dot = inverse[n], _ZERO
        for i in range(width):
            dot += grad_normed[n, i] * weight[i] * x[n, i]
        along = dot * scale * scale * scale / np.float32(width)
        for i in range(width):
            unit = x[n, i] * scale
            normed[n, i] = unit * weight[i]
            grad_weight[i] += grad_normed[n, i] * unit
            grad_x[n, i] = grad_past[n, i] + grad_normed[n, i] * weight[i] * scale - x[n, i] * along


@_kernel
def silu_product_backward(gate_up, product, grad_gate_up):
    """Fill ``grad_gate_up`` [N, 2 I]; ``product`` [N, I] is its gradient before the call, and the product after it."""
    rows, width = product.shape
    for n in range(rows):
        gates, ups, row = gate_up[n, :width], gate_up[n, width:], product[n]
        grad_gates, grad_ups = grad_gate_up[n, :width], grad_gate_up[n, width:]
        for i in range(width):
            gate, up, grad = gates[i], ups[i], row[i]
            sigmoid = _ONE / (_ONE + exp(-max(gate, _LEAST_GATE)))
            silu = gate * sigmoid
            row[i] = silu * up
            grad_ups[i] = grad * silu
            grad_gates[i] = grad * up * (sigmoid + silu - silu * sigmoid)


@_kernel
def split_heads(qkv, starts, lengths, q_weight, k_weight, eps, cos, sin, half_head, queries, keys, values):
    """Fill ``queries``, ``keys`` and ``values`` from ``qkv`` [N, (KV * G + 2 KV) * D], ready for the scores.

    Queries and keys are normalised and rotated; queries divided by the root of D. ``starts`` and ``lengths`` [S] say
    which rows of ``qkv`` are a sequence's. ``half_head`` is a tuple of D / 2 values.
    """
    # Written out for queries and for keys, here and in the backward kernel: a common function, which would have to take
    # views as `_place_head` does, made these kernels 1.3 to 1.7 times as slow.
    blocks, sequences, kv_heads, groups, rows, _ = queries.shape
    half = len(half_head)  # a constant for the compiler: loops this short are fast only if their length is known
    width = 2 * half
    eps, root = np.float32(eps), _ONE / np.sqrt(np.float32(width))
    first_key, first_value = kv_heads * groups * width, kv_heads * (groups + 1) * width
    for s in range(sequences):
        for i in range(lengths[s]):
            block, row, n = i // rows, i % rows, starts[s] + i
            for k in range(kv_heads):
                for g in range(groups):
                    at, square = (k * groups + g) * width, _ZERO
                    for d in range(width):
                        square += qkv[n, at + d] * qkv[n, at + d]
                    scale = root / np.sqrt(square / np.float32(width) + eps)
                    for d in range(half):
                        low = qkv[n, at + d] * scale * q_weight[d]
                        high = qkv[n, at + half + d] * scale * q_weight[half + d]
                        queries[block, s, k, g, row, d] = low * cos[i, d] - high * sin[i, d]
                        queries[block, s, k, g, row, half + d] = high * cos[i, d] + low * sin[i, d]
                at, square = first_key + k * width, _ZERO
                for d in range(width):
                    square += qkv[n, at + d] * qkv[n, at + d]
                scale = _ONE / np.sqrt(square / np.float32(width) + eps)
                for d in range(half):
                    low = qkv[n, at + d] * scale * k_weight[d]
                    high = qkv[n, at + half + d] * scale * k_weight[half + d]
                    keys[s, k, i, d] = low * cos[i, d] - high * sin[i, d]
                    keys[s, k, i, half + d] = high * cos[i, d] + low * sin[i, d]
                at = first_value + k * width
                for d in range(width):
                    values[s, k, i, d] = qkv[n, at + d]
        for i in range(lengths[s], blocks * rows):
            queries[i // rows, s, :, :, i % rows] = _ZERO
        keys[s, :, lengths[s] :] = _ZERO
        values[s, :, lengths[s] :] = _ZERO


@_kernel
def causal_softmax(scores, starts, lengths, first, sums, log_sums):
    """Replace ``scores`` [A * KV * G * R, T] by weights of the keys up to each query, not yet divided by their sum.

    ``first`` is the position of the first query. Fills ``sums`` [S, KV, G, R], and ``log_sums`` [N, KV * G] with the
    logarithms of the sums of exponentials of scores. T is a multiple of `LANES`.
    """
    _, kv_heads, groups, rows = sums.shape
    queries, positions = scores.shape
    heads = kv_heads * groups
    bits = scores.view(np.int32)
    for s in range(queries // (heads * rows)):
        for head in range(heads):
            for r in range(rows):
                q, seen = (s * heads + head) * rows + r, first + r + 1
                if seen > lengths[s]:
                    seen = 0
                parts = (seen + LANES - 1) // LANES
                for j in range(seen, parts * LANES):
                    scores[q, j] = _LOWEST
                highest_bits = _LEAST_WHOLE
                for j in range(parts * LANES):
                    highest_bits = max(highest_bits, _ordered(bits[q, j]))
                highest = np.int32(_ordered(highest_bits)).view(np.float32)
                total = _ZERO
                for j in range(parts * LANES):
                    weight = exp(scores[q, j] - highest)
                    scores[q, j] = weight
                    total += weight
                for j in range(seen, positions):
                    scores[q, j] = _ZERO
                if seen > 0:
                    sums[s, head // groups, head % groups, r] = total
                    log_sums[starts[s] + first + r, head] = highest + np.log(total)


@_kernel
def join_heads(outputs, sums, starts, lengths, attended):
    """Fill ``attended`` [N, KV * G * D] with ``outputs`` [B, S, KV, G, R, D] over ``sums`` [B, S, KV, G, R]."""
    _, sequences, kv_heads, groups, rows, width = outputs.shape
    for s in range(sequences):
        for i in range(lengths[s]):
            block, row, token = i // rows, i % rows, attended[starts[s] + i]
            for k in range(kv_heads):
                for g in range(groups):
                    at, values = (k * groups + g) * width, outputs[block, s, k, g, row]
                    scale = _ONE / sums[block, s, k, g, row]
                    for d in range(width):
                        token[at + d] = values[d] * scale


@_kernel
def split_gradients(grad_attended, attended, starts, lengths, grads, dots):
    """Fill ``grads`` [B, S, KV, G, R, D] from ``grad_attended`` [N, KV * G * D].

    Also fill ``dots`` [B, S, KV, G, R] with the dot product of every output with its gradient.
    """
    blocks, sequences, kv_heads, groups, rows, width = grads.shape
    for s in range(sequences):
        for i in range(blocks * rows):
            block, row = i // rows, i % rows
            if i >= lengths[s]:
                grads[block, s, :, :, row] = _ZERO
                continue
            token, output = grad_attended[starts[s] + i], attended[starts[s] + i]
            for k in range(kv_heads):
                for g in range(groups):
                    at, values, dot = (k * groups + g) * width, grads[block, s, k, g, row], _ZERO
                    for d in range(width):
                        values[d] = token[at + d]
                        dot += token[at + d] * output[at + d]
                    dots[block, s, k, g, row] = dot


@_kernel
def causal_softmax_backward(scores, grads, starts, lengths, first, log_sums, dots):
    """Replace ``scores`` [A * KV * G * R, T] by weights of keys, and ``grads`` of weights by gradients of scores.

    ``dots`` [S, KV, G, R] is the dot product of each query's weights with their gradients. T is a multiple of `LANES`.
    """
    _, kv_heads, groups, rows = dots.shape
    queries, positions = scores.shape
    heads = kv_heads * groups
    for s in range(queries // (heads * rows)):
        for head in range(heads):
            for r in range(rows):
                q, seen, log_sum, dot = (s * heads + head) * rows + r, first + r + 1, _ZERO, _ZERO
                if seen > lengths[s]:
                    seen = 0
                else:
                    log_sum, dot = log_sums[starts[s] + first + r, head], dots[s, head // groups, head % groups, r]
                for j in range((seen + LANES - 1) // LANES * LANES):
                    weight = exp(min(scores[q, j] - log_sum, _ZERO))
                    scores[q, j] = weight
                    grads[q, j] = weight * (grads[q, j] - dot)
                for j in range(seen, positions):
                    scores[q, j] = _ZERO
                    grads[q, j] = _ZERO


@_kernel
def add_keys(target, added):
    """Add ``added`` [A * KV, T, D] to the first sequences and positions of ``target`` [S, KV, T', D]."""
    _, kv_heads, _, width = target.shape
    pairs, positions, _ = added.shape
    for pair in range(pairs):
        s, k = pair // kv_heads, pair % kv_heads
        for i in range(positions):
            for d in range(width):
                target[s, k, i, d] += added[pair, i, d]


@_kernel
def split_heads_backward(
    qkv, starts, lengths, q_weight, k_weight, eps, cos, sin, half_head,
    grad_queries, grad_keys, grad_values, grads, grad_q, grad_k,
):  # fmt: skip
    """Fill ``grads``, of ``qkv`` in `split_heads`, and add to ``grad_q`` and ``grad_k`` [D], of the norms' weights."""
    _, sequences, kv_heads, groups, rows, _ = grad_queries.shape
    half = len(half_head)
    width = 2 * half
    eps, root = np.float32(eps), _ONE / np.sqrt(np.float32(width))
    first_key, first_value = kv_heads * groups * width, kv_heads * (groups + 1) * width
    turned = np.empty(width, np.float32)
    for s in range(sequences):
        for i in range(lengths[s]):
            block, row, n = i // rows, i % rows, starts[s] + i
            for k in range(kv_heads):
                for g in range(groups):
                    at, square, dot = (k * groups + g) * width, _ZERO, _ZERO
                    for d in range(half):
                        low, high = grad_queries[block, s, k, g, row, d], grad_queries[block, s, k, g, row, half + d]
                        turned[d] = root * (low * cos[i, d] + high * sin[i, d])
                        turned[half + d] = root * (high * cos[i, d] - low * sin[i, d])
                    for d in range(width):
                        square += qkv[n, at + d] * qkv[n, at + d]
                        dot += turned[d] * q_weight[d] * qkv[n, at + d]
                    inverse = _ONE / np.sqrt(square / np.float32(width) + eps)
                    along = dot * inverse * inverse * inverse / np.float32(width)
                    for d in range(width):
                        grad_q[d] += turned[d] * qkv[n, at + d] * inverse
                        grads[n, at + d] = turned[d] * q_weight[d] * inverse - qkv[n, at + d] * along
                at, square, dot = first_key + k * width, _ZERO, _ZERO
                for d in range(half):
                    low, high = grad_keys[s, k, i, d], grad_keys[s, k, i, half + d]
                    turned[d] = low * cos[i, d] + high * sin[i, d]
                    turned[half + d] = high * cos[i, d] - low * sin[i, d]
                for d in range(width):
                    square += qkv[n, at + d] * qkv[n, at + d]
                    dot += turned[d] * k_weight[d] * qkv[n, at + d]
                inverse = _ONE / np.sqrt(square / np.float32(width) + eps)
                along = dot * inverse * inverse * inverse / np.float32(width)
                for d in range(width):
                    grad_k[d] += turned[d] * qkv[n, at + d] * inverse
                    grads[n, at + d] = turned[d] * k_weight[d] * inverse - qkv[n, at + d] * along
                at = first_value + k * width
                for d in range(width):
                    grads[n, at + d] = grad_values[s, k, i, d]
