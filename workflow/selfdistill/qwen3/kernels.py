"""Numba kernels for the arithmetic of a Qwen3 model (CPU, float32).

Every processor finds the same bits: no rounding is left to the compiler (no fast math), products are chains of fused
multiply-adds in a written order, and sums are kept in `LANES` partial sums, however wide the vectors of the processor
are. Its width decides only how many results are computed side by side.

All kernels are in one file because numba's cache on disk does not notice changes in another file. All arrays are
contiguous, and inner loops run along the last axis. Shapes: N tokens, H width of the model, I of the feed-forward
layer, D of a head, D' = D rounded up to a multiple of `LANES`.

*Sampling* computes the next token of each of N rows. *Training* computes N tokens of S sequences laid end to end; KV
key heads are read by G query heads each. Gradients of weights are accumulated in their arrays.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import config, njit, types
from numba.core import cgutils
from numba.extending import intrinsic

# "numpy": a division by zero gives infinity. Testing for it would keep loops from becoming vector instructions.
_kernel = njit(cache=True, error_model="numpy")
_helper = njit(error_model="numpy")
_inlined = njit(error_model="numpy", forceinline=True)

LANES = 16  # partial sums of a dot product; rows of scores are multiples of this long
BLOCK = 64  # positions per block of the key-value cache
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
# 1.5 * 2^23: a small number that is added to it is rounded to a whole one, which its last bits then hold.
_TO_WHOLE, _BITS_OF_WHOLE = np.float32(12582912.0), np.int32(0x4B400000)
_EXPONENT_BIAS, _MANTISSA_BITS = np.int32(127), np.int32(23)

_F32, _I32, _VECTOR = ir.FloatType(), ir.IntType(32), ir.VectorType(ir.FloatType(), LANES)


def _has_wide_vectors() -> bool:
    """Whether the processor that kernels are compiled for has AVX-512: 32 registers of `LANES` numbers."""
    given = config.CPU_FEATURES
    return "+avx512f" in given.split(",") if given else bool(binding.get_host_cpu_features().get("avx512f"))


# A tile of results stays in registers: `TILE` rows of so many vectors.
TILE, ACROSS = 6, 4 if _has_wide_vectors() else 1
PANEL = ACROSS * LANES  # columns of a panel of packed weights


# --- products and sums ------------------------------------------------------------------------------------------------
def plain_product(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """``c`` [N, M] + ``a`` [N, K] @ ``b`` [K, M] as every kernel adds up: K fused multiply-adds, one after the other.

    In extended precision, rounded to float32 after each.
    """
    for k in range(a.shape[1]):
        c = (a[:, k : k + 1].astype(np.longdouble) * b[k] + c).astype(np.float32)
    return c


def plain_dot(x: np.ndarray, y: np.ndarray) -> np.float32:
    """The dot product of ``x`` and ``y`` [n] in the order of `_dot`: `LANES` chains, their halves added, the rest."""
    whole = len(x) // LANES * LANES
    sums = np.zeros(LANES, np.float32)
    for i in range(0, whole, LANES):
        sums = (x[i : i + LANES].astype(np.longdouble) * y[i : i + LANES] + sums).astype(np.float32)
    while len(sums) > 1:
        sums = sums[: len(sums) // 2] + sums[len(sums) // 2 :]
    for i in range(whole, len(x)):
        sums = (x[i : i + 1].astype(np.longdouble) * y[i : i + 1] + sums).astype(np.float32)
    return sums[0]


def _data(context: Any, builder: ir.IRBuilder, kind: Any, array: Any, at: ir.Value) -> ir.Value:
    """The address of element ``at`` of an array."""
    return builder.gep(context.make_array(kind)(context, builder, array).data, [at])


def _vector_at(builder: ir.IRBuilder, pointer: ir.Value, offset: ir.Value) -> ir.Value:
    return builder.bitcast(builder.gep(pointer, [offset]), _VECTOR.as_pointer())


def _fused(builder: ir.IRBuilder, kind: ir.Type, suffix: str, x: ir.Value, y: ir.Value, z: ir.Value) -> ir.Value:
    """x y + z, rounded once."""
    kinds = ir.FunctionType(kind, [kind] * 3)
    return builder.call(cgutils.get_or_insert_function(builder.module, kinds, f"llvm.fma.{suffix}"), [x, y, z])


def _in_all_lanes(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    one = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), value, _I32(0))
    return builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(_I32, LANES), [0] * LANES))


@intrinsic
def _fma(_, x, y, z):
    """x y + z, rounded once."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        return _fused(builder, _F32, "f32", *arguments)

    return types.float32(types.float32, types.float32, types.float32), generate


def _tile(rows: int, vectors: int) -> Callable[..., None]:
    """A tile of a product, in registers. The vector instructions are written by hand: no loop keeps a tile there.

    c[i, j] = sum over k of a[i, k] b[k, j], added to what is there if ``keep``, for ``rows`` rows and ``vectors`` times
    `LANES` columns, as `plain_product` adds up. Entries are those of the arrays from ``.._at`` on, with ``.._row`` from
    one row to the next, and ``a_step`` from one column of ``a`` to the next.
    """

    @intrinsic
    def tile(_, a, a_at, a_row, a_step, b, b_at, b_row, c, c_at, c_row, depth, keep):
        whole = types.intp
        signature = types.void(a, whole, whole, whole, b, whole, whole, c, whole, whole, whole, types.boolean)

        def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
            kinds = signature.args
            a, a_at, a_row, a_step, b, b_at, b_row, c, c_at, c_row, depth, keep = arguments
            a = _data(context, builder, kinds[0], a, a_at)
            b = _data(context, builder, kinds[4], b, b_at)
            c = _data(context, builder, kinds[7], c, c_at)
            number = c_row.type
            places = [
                _vector_at(builder, c, builder.add(builder.mul(c_row, number(i)), number(j * LANES)))
                for i in range(rows)
                for j in range(vectors)
            ]
            sums = [cgutils.alloca_once_value(builder, ir.Constant(_VECTOR, None)) for _ in places]
            with builder.if_then(keep):
                for place, total in zip(places, sums, strict=True):
                    builder.store(builder.load(place, align=4), total)
            firsts = [builder.gep(a, [builder.mul(a_row, number(i))]) for i in range(rows)]
            with cgutils.for_range(builder, depth, intp=number) as loop:
                from_b, from_a = builder.mul(loop.index, b_row), builder.mul(loop.index, a_step)
                right = [
                    builder.load(_vector_at(builder, b, builder.add(from_b, number(j * LANES))), align=4)
                    for j in range(vectors)
                ]
                for i, first in enumerate(firsts):
                    left = _in_all_lanes(builder, builder.load(builder.gep(first, [from_a])))
                    for total, factor in zip(sums[i * vectors : (i + 1) * vectors], right, strict=True):
                        found = _fused(builder, _VECTOR, f"v{LANES}f32", left, factor, builder.load(total))
                        builder.store(found, total)
            for place, total in zip(places, sums, strict=True):
                builder.store(builder.load(total), place, align=4)
            return context.get_dummy_value()

        return signature, generate

    return tile


def _strip(vectors: int) -> Callable[..., None]:
    """A product's ``vectors`` times `LANES` columns for any number of ``rows``, by the largest tiles that fit."""
    six, two, one = (_tile(rows, vectors) for rows in (TILE, 2, 1))

    @_helper
    def strip(a, a_at, a_row, a_step, b, b_at, b_row, c, c_at, c_row, rows, depth, keep):
        i = 0
        while rows - i >= TILE:
            six(a, a_at + i * a_row, a_row, a_step, b, b_at, b_row, c, c_at + i * c_row, c_row, depth, keep)
            i += TILE
        while rows - i >= 2:
            two(a, a_at + i * a_row, a_row, a_step, b, b_at, b_row, c, c_at + i * c_row, c_row, depth, keep)
            i += 2
        if rows - i >= 1:
            one(a, a_at + i * a_row, a_row, a_step, b, b_at, b_row, c, c_at + i * c_row, c_row, depth, keep)

    return strip


_strip_of_panel, _strip_of_two, _strip_of_one = _strip(ACROSS), _strip(min(2, ACROSS)), _strip(1)


@_helper
def _add_up(a, a_at, a_row, a_step, b, b_at, b_row, c, c_at, c_row, rows, columns, depth, keep):
    """A product as in `_tile`, of ``rows`` rows and ``columns`` columns, a multiple of `LANES`."""
    j = 0
    while columns - j >= PANEL:
        _strip_of_panel(a, a_at, a_row, a_step, b, b_at + j, b_row, c, c_at + j, c_row, rows, depth, keep)
        j += PANEL
    while columns - j >= min(2, ACROSS) * LANES:
        _strip_of_two(a, a_at, a_row, a_step, b, b_at + j, b_row, c, c_at + j, c_row, rows, depth, keep)
        j += min(2, ACROSS) * LANES
    while columns - j > 0:
        _strip_of_one(a, a_at, a_row, a_step, b, b_at + j, b_row, c, c_at + j, c_row, rows, depth, keep)
        j += LANES


@_inlined
def _add_product(a, a_at, a_row, a_step, b, b_at, b_row, c, c_at, c_row, rows, columns, depth, keep):
    """`_add_up` of arrays of any shape. It knows one kind, flat, so that it is compiled once."""
    _add_up(
        a.reshape(-1), a_at, a_row, a_step, b.reshape(-1), b_at, b_row, c.reshape(-1), c_at, c_row, rows, columns,
        depth, keep,
    )  # fmt: skip


def pack(matrix: np.ndarray) -> np.ndarray:
    """A right factor [K, M] as `multiply` takes it: panels [M / `PANEL`, rounded up, K, `PANEL`], filled with zeros."""
    depth, columns = matrix.shape
    panels = -(-columns // PANEL)
    packed = np.zeros((panels, depth, PANEL), np.float32)
    for panel in range(panels):
        part = matrix[:, panel * PANEL : (panel + 1) * PANEL]
        packed[panel, :, : part.shape[1]] = part
    return packed


@_kernel
def multiply(a, packed, c, keep):
    """Fill ``c`` [N, M] with ``a`` [N, K] @ a `pack`ed matrix [K, M], added to what is there if ``keep``."""
    rows, columns = c.shape
    depth = a.shape[1]
    rest = columns % LANES
    ending = np.zeros((rows if rest else 0, LANES), np.float32)
    left, factors, filled = a.reshape(-1), packed.reshape(-1), c.reshape(-1)
    for panel in range(packed.shape[0]):
        first = panel * PANEL
        whole = min(PANEL, columns - rest - first)
        right = panel * depth * PANEL
        if whole > 0:
            _add_up(left, 0, depth, 1, factors, right, PANEL, filled, first, columns, rows, whole, depth, keep)
        if whole < PANEL and rest:
            if keep:
                ending[:, :rest] = c[:, columns - rest :]
            _add_up(
                left, 0, depth, 1, factors, right + max(whole, 0), PANEL, ending.reshape(-1), 0, LANES, rows, LANES,
                depth, keep,
            )  # fmt: skip
            c[:, columns - rest :] = ending[:, :rest]


@_kernel
def add_outer(a, b, c):
    """Add ``a`` [N, M].T @ ``b`` [N, K] to ``c`` [M, K], token after token."""
    tokens, rows = a.shape
    columns = b.shape[1]
    rest = columns % LANES
    whole = columns - rest
    left, right, total = a.reshape(-1), b.reshape(-1), c.reshape(-1)
    for first in range(0, tokens, _OUTER_TOKENS):
        depth = min(_OUTER_TOKENS, tokens - first)
        if whole:
            _add_up(
                left, first * rows, 1, rows, right, first * columns, columns, total, 0, columns, rows, whole, depth,
                True,
            )  # fmt: skip
        for i in range(rows if rest else 0):
            for j in range(whole, columns):
                for n in range(first, first + depth):
                    c[i, j] = _fma(a[n, i], b[n, j], c[i, j])


_OUTER_TOKENS = 64  # of both factors of `add_outer`, so that a panel of the right one stays in the first-level cache


@intrinsic
def _dot(_, x, x_at, y, y_at, count):
    """The dot product of ``count`` entries, from ``x_at`` and ``y_at`` on, as `plain_dot` adds up."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        x, x_at, y, y_at, count = arguments
        x = _data(context, builder, signature.args[0], x, x_at)
        y = _data(context, builder, signature.args[2], y, y_at)
        number = count.type
        sums = cgutils.alloca_once_value(builder, ir.Constant(_VECTOR, None))
        whole = builder.and_(count, number(-LANES))
        with cgutils.for_range_slice(builder, number(0), whole, number(LANES)) as (index, _):
            left, right = (builder.load(_vector_at(builder, data, index), align=4) for data in (x, y))
            builder.store(_fused(builder, _VECTOR, f"v{LANES}f32", left, right, builder.load(sums)), sums)
        total = cgutils.alloca_once_value(builder, _added_up(builder, builder.load(sums)))
        with cgutils.for_range_slice(builder, whole, count, number(1)) as (index, _):
            left, right = (builder.load(builder.gep(data, [index])) for data in (x, y))
            builder.store(_fused(builder, _F32, "f32", left, right, builder.load(total)), total)
        return builder.load(total)

    return types.float32(x, types.intp, y, types.intp, types.intp), generate


def _added_up(builder: ir.IRBuilder, vector: ir.Value) -> ir.Value:
    """The sum of a vector's lanes: its halves are added until one number is left."""
    width = LANES
    while width > 1:
        width //= 2
        halves = (
            builder.shuffle_vector(
                vector, vector, ir.Constant(ir.VectorType(_I32, width), list(range(first, first + width)))
            )
            for first in (0, width)
        )
        vector = builder.fadd(*halves)
    return builder.extract_element(vector, _I32(0))


@_inlined
def _sum(values: np.ndarray, ones: np.ndarray, count: int) -> np.float32:
    """The sum of the first ``count`` of ``values``; ``ones`` are as many ones."""
    return _dot(values, 0, ones, 0, count)


# --- passes that both kinds share -------------------------------------------------------------------------------------
@_inlined
def exp(x: np.float32) -> np.float32:
    """e to the ``x`` in float32, to 3e-7 of its value; for ``x`` up to 88; below -87 it stays at 1.6e-38."""
    x = max(x, _SMALLEST)
    shifted = x * _LOG2_E + _TO_WHOLE
    power = shifted - _TO_WHOLE
    rest = (x - power * _LN2_HIGH) - power * _LN2_LOW
    p = ((((_P5 * rest + _P4) * rest + _P3) * rest + _P2) * rest + _P1) * rest + _P0
    mantissa = p * rest * rest + rest + _ONE
    bits = np.int32((np.int32(np.float32(shifted).view(np.int32) - _BITS_OF_WHOLE) + _EXPONENT_BIAS) << _MANTISSA_BITS)
    return mantissa * bits.view(np.float32)


@_inlined
def _up_to_lanes(count):
    return (count + LANES - 1) // LANES * LANES


@_inlined
def _log(x: np.float32) -> np.float32:
    """The natural logarithm, by way of float64, in whose last bit alone the libraries of two systems differ."""
    return np.float32(np.log(np.float64(x)))


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
        square = _dot(x, n * width, x, n * width, width)
        scale = _ONE / np.sqrt(square / np.float32(width) + np.float32(eps))
        inverse[n] = scale
        for i in range(width):
            normed[n, i] = x[n, i] * scale * weight[i]


@_kernel
def add_rms_norm(x, added, weight, eps, total, normed, inverse):
    """Fill ``total`` with ``x + added`` [N, H], and ``normed`` and ``inverse`` with its `rms_norm`."""
    rows, width = x.shape
    for n in range(rows):
        for i in range(width):
            total[n, i] = x[n, i] + added[n, i]
        square = _dot(total, n * width, total, n * width, width)
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


@_inlined
def _to_powers(scores, highest, count):
    """Replace the first ``count`` of ``scores`` by the exponentials of their distance to ``highest``."""
    for t in range(count):
        scores[t] = exp(scores[t] - highest)


@_inlined
def _place_head(x, at, weight, eps, cos, sin, half_head, factor, out, start, step):
    """Fill ``out``, from ``start`` on and ``step`` apart, with a head of ``x``: normalised, rotated, times ``factor``.

    ``x`` is read from ``at`` on, ``weight`` [D] is the norm's. ``half_head`` is a tuple of D / 2 values: loops this
    short are fast only if the compiler knows their length. ``cos`` and ``sin`` [D / 2] are of the angles.
    """
    half = len(half_head)
    width = 2 * half
    square = _dot(x, at, x, at, width)
    scale = factor / np.sqrt(square / np.float32(width) + np.float32(eps))
    for d in range(half):
        low, high = x[at + d] * scale * weight[d], x[at + half + d] * scale * weight[half + d]
        out[start + d * step] = low * cos[d] - high * sin[d]
        out[start + (half + d) * step] = high * cos[d] + low * sin[d]


# --- sampling ---------------------------------------------------------------------------------------------------------
@_kernel
def choose(logits: np.ndarray, uniforms: np.ndarray, tokens: np.ndarray, logps: np.ndarray) -> None:
    """Fill ``tokens`` [N] by inverse transform, and ``logps`` [N] with their log-probabilities.

    A row's token is the first whose cumulated probability, by ``logits`` [N, V], exceeds its number in ``uniforms``.
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
        tokens[row], logps[row] = token, row_logits[token] - largest - np.float32(np.log(total))


RUN = 16  # rows of one slot that are computed together, at most


@_helper
def _tokens_together(slots, row):
    """How many rows from ``row`` on are of its slot, up to `RUN`."""
    last = min(len(slots), row + RUN)
    end = row + 1
    while end < last and slots[end] == slots[row]:
        end += 1
    return end - row


@_kernel
def attend(
    qkv, query_norm, key_norm, eps, cos, sin, half_head, keys, values, prompts, prompt_lengths, slots, lengths, out
):  # fmt: skip
    """The token of each row attends to its prompt, to its slot's earlier tokens and to itself, and joins the cache.

    ``qkv`` [N, (heads + 2 kv) D] are its projections, ``out`` [N, heads D]. ``keys`` [slots, blocks, kv, D, BLOCK]
    and ``values`` [slots, blocks, kv, BLOCK, D'] hold a prompt of ``prompt_lengths`` [N] tokens in the slots
    ``prompts`` [N], and the ``lengths`` [N] earlier tokens in the slots ``slots`` [N]. Rows of one slot follow each
    other, and so do their lengths. ``cos`` and ``sin`` are [positions, D / 2].
    """
    stride, (_, blocks, kv, width, _), padded = qkv.shape[1], keys.shape, values.shape[4]
    heads = out.shape[1] // width
    group, factor, step = heads // kv, np.float32(1 / np.sqrt(width)), 2 * blocks * BLOCK
    queries, mixed = np.empty((RUN * group, width), np.float32), np.empty((RUN * group, padded), np.float32)
    scores, ones = np.empty((RUN * group, step), np.float32), np.ones(step, np.float32)
    flat_qkv, flat_keys, flat_values = qkv.reshape(-1), keys.reshape(-1), values.reshape(-1)
    flat_queries, flat_scores, flat_mixed = queries.reshape(-1), scores.reshape(-1), mixed.reshape(-1)
    row = 0
    while row < len(qkv):
        count = _tokens_together(slots, row)
        for h in range(kv):
            for r in range(count):
                length, n = lengths[row + r], row + r
                position, own, place = prompt_lengths[n] + length, length // BLOCK, length % BLOCK
                at = n * stride + (heads + h) * width
                _place_head(
                    flat_qkv, at, key_norm, eps, cos[position], sin[position], half_head, _ONE, flat_keys,
                    ((slots[n] * blocks + own) * kv + h) * width * BLOCK + place, BLOCK,
                )  # fmt: skip
                for d in range(width):
                    values[slots[n], own, h, place, d] = flat_qkv[at + kv * width + d]
                for g in range(group):
                    _place_head(
                        flat_qkv, n * stride + (h * group + g) * width, query_norm, eps, cos[position], sin[position],
                        half_head, factor, flat_queries, (r * group + g) * width, 1,
                    )  # fmt: skip
            seen, of_prompt, last = 0, prompt_lengths[row], lengths[row] + count
            for slot, reach in ((prompts[row], of_prompt), (slots[row], last)):
                for block in range((reach + BLOCK - 1) // BLOCK):
                    lanes = _up_to_lanes(min(BLOCK, reach - block * BLOCK))
                    keys_at = ((slot * blocks + block) * kv + h) * width * BLOCK
                    _add_up(
                        flat_queries, 0, width, 1, flat_keys, keys_at, BLOCK, flat_scores, seen, step, count * group,
                        lanes, width, False,
                    )  # fmt: skip
                    seen += lanes
            first_own = _up_to_lanes(of_prompt)
            for i in range(count * group):
                end = first_own + lengths[row] + i // group + 1
                scores[i, of_prompt:first_own], scores[i, end:seen] = _LOWEST, _LOWEST
                _to_powers(scores[i], _largest(scores[i, :seen]), seen)
                scores[i, of_prompt:first_own], scores[i, end:seen] = _ZERO, _ZERO
            mixed[:] = _ZERO
            seen = 0
            for slot, reach in ((prompts[row], of_prompt), (slots[row], last)):
                for block in range((reach + BLOCK - 1) // BLOCK):
                    in_block = min(BLOCK, reach - block * BLOCK)
                    values_at = ((slot * blocks + block) * kv + h) * BLOCK * padded
                    _add_up(
                        flat_scores, seen, step, 1, flat_values, values_at, padded, flat_mixed, 0, padded,
                        count * group, padded, in_block, True,
                    )  # fmt: skip
                    seen += _up_to_lanes(in_block)
            for i in range(count * group):
                scale = _ONE / _sum(scores[i], ones, seen)
                at = (h * group + i % group) * width
                for d in range(width):
                    out[row + i // group, at + d] = mixed[i, d] * scale
        row += count


# --- training ---------------------------------------------------------------------------------------------------------
QUERIES = 48  # queries of a head whose scores are computed together


@_kernel
def rms_norm_backward(x, inverse, weight, grad_normed, grad_past, normed, grad_x, grad_weight):
    """Fill ``grad_x`` [N, H] with the gradient through the norm plus ``grad_past``, that of the residual.

    Also recompute ``normed``.
    """
    rows, width = x.shape
    weighted = np.empty(width, np.float32)
    for n in range(rows):
        scale = inverse[n]
        for i in range(width):
            weighted[i] = grad_normed[n, i] * weight[i]
        along = _dot(weighted, 0, x, n * width, width) * scale * scale * scale / np.float32(width)
        for i in range(width):
            unit = x[n, i] * scale
            normed[n, i] = unit * weight[i]
            grad_weight[i] += grad_normed[n, i] * unit
            grad_x[n, i] = grad_past[n, i] + weighted[i] * scale - x[n, i] * along


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


@_helper
def _transpose(rows, count, turned):
    """Fill ``turned`` [D', T] with the first ``count`` of ``rows`` [T, D'] as columns, and zeros up to whole lanes."""
    for d in range(turned.shape[0]):
        for i in range(count):
            turned[d, i] = rows[i, d]
        for i in range(count, _up_to_lanes(count)):
            turned[d, i] = _ZERO


@_helper
def _read_heads(qkv, start, length, head, stride, weight, eps, cos, sin, half_head, factor, out):
    """Fill ``out`` [T, D'] with a head of the ``length`` tokens from ``start`` on, as `_place_head` does."""
    flat_qkv, flat, width = qkv.reshape(-1), out.reshape(-1), 2 * len(half_head)
    for i in range(length):
        at = (start + i) * stride + head * width
        _place_head(flat_qkv, at, weight, eps, cos[i], sin[i], half_head, factor, flat, i * out.shape[1], 1)


@_helper
def _copy_heads(source, start, length, head, width, out):
    """Fill ``out`` [T, D'] with a head of the ``length`` tokens of ``source`` [N, ...] from ``start`` on."""
    for i in range(length):
        for d in range(width):
            out[i, d] = source[start + i, head * width + d]


@_helper
def _layout(qkv, lengths, half_head, log_sums):
    """Numbers in a row of ``qkv``, D, KV, G, D', positions of the longest sequence up to whole lanes, 1 / root of D."""
    stride, width, heads = qkv.shape[1], 2 * len(half_head), log_sums.shape[1]
    kv_heads = (stride // width - heads) // 2
    factor = _ONE / np.sqrt(np.float32(width))
    return stride, width, kv_heads, heads // kv_heads, _up_to_lanes(width), _up_to_lanes(lengths.max()), factor


@_kernel
def attend_causally(qkv, starts, lengths, q_weight, k_weight, eps, cos, sin, half_head, attended, log_sums):
    """Fill ``attended`` [N, KV * G * D]: each token attends to its sequence up to itself.

    Of ``qkv`` [N, (KV * G + 2 KV) * D]. ``starts`` and ``lengths`` [S] say which rows are a sequence's. Fills
    ``log_sums`` [N, KV * G] with the logarithms of the sums of exponentials of scores.
    """
    stride, width, kv_heads, groups, padded, longest, factor = _layout(qkv, lengths, half_head, log_sums)
    heads, rows = kv_heads * groups, np.zeros((3, longest, padded), np.float32)
    queries, keys, values = rows[0], rows[1], rows[2]
    turned, scores = np.zeros((padded, longest), np.float32), np.empty((QUERIES, longest), np.float32)
    outputs, totals = np.empty((QUERIES, padded), np.float32), np.empty(QUERIES, np.float32)
    ones = np.ones(longest, np.float32)
    for s in range(len(starts)):
        start, length = starts[s], lengths[s]
        for k in range(kv_heads):
            _read_heads(qkv, start, length, heads + k, stride, k_weight, eps, cos, sin, half_head, _ONE, keys)
            _copy_heads(qkv, start, length, heads + kv_heads + k, width, values)
            _transpose(keys, length, turned)
            for head in range(k * groups, (k + 1) * groups):
                _read_heads(qkv, start, length, head, stride, q_weight, eps, cos, sin, half_head, factor, queries)
                for first in range(0, length, QUERIES):
                    count = min(QUERIES, length - first)
                    seen = first + count
                    _add_product(
                        queries, first * padded, padded, 1, turned, 0, longest, scores, 0, longest, count,
                        _up_to_lanes(seen), padded, False,
                    )  # fmt: skip
                    for r in range(count):
                        own, row = first + r + 1, scores[r]
                        row[own : _up_to_lanes(own)] = _LOWEST
                        highest = _largest(row[: _up_to_lanes(own)])
                        _to_powers(row, highest, _up_to_lanes(own))
                        total = _sum(row, ones, _up_to_lanes(own))
                        row[own:seen] = _ZERO
                        totals[r], log_sums[start + first + r, head] = total, highest + _log(total)
                    _add_product(
                        scores, 0, longest, 1, values, 0, padded, outputs, 0, padded, count, padded, seen, False
                    )
                    for r in range(count):
                        scale = _ONE / totals[r]
                        for d in range(width):
                            attended[start + first + r, head * width + d] = outputs[r, d] * scale


@_inlined
def _head_backward(x, at, weight, eps, cos, sin, half_head, factor, slope, slope_at, turned, grads, grad_weight):
    """Fill a head of ``grads``, from ``at`` on, of ``x`` in `_place_head`; add to ``grad_weight`` [D].

    The gradient of what `_place_head` filled is ``slope`` from ``slope_at`` on. ``turned`` [2, D] is working memory.
    """
    half = len(half_head)
    width = 2 * half
    for d in range(half):
        low, high = slope[slope_at + d], slope[slope_at + half + d]
        turned[d] = factor * (low * cos[d] + high * sin[d])
        turned[half + d] = factor * (high * cos[d] - low * sin[d])
    for d in range(width):
        turned[width + d] = turned[d] * weight[d]
    square, dot = _dot(x, at, x, at, width), _dot(turned, width, x, at, width)
    inverse = _ONE / np.sqrt(square / np.float32(width) + np.float32(eps))
    along = dot * inverse * inverse * inverse / np.float32(width)
    for d in range(width):
        grad_weight[d] += turned[d] * x[at + d] * inverse
        grads[at + d] = turned[width + d] * inverse - x[at + d] * along


@_kernel
def attend_causally_backward(
    qkv, starts, lengths, q_weight, k_weight, eps, cos, sin, half_head, attended, log_sums, grad_attended, grad_qkv,
    grad_q, grad_k,
):  # fmt: skip
    """Fill ``grad_qkv``, of `attend_causally`, from ``grad_attended``; add to ``grad_q`` and ``grad_k`` [D]."""
    stride, width, kv_heads, groups, padded, longest, factor = _layout(qkv, lengths, half_head, log_sums)
    heads, rows = kv_heads * groups, np.zeros((7, longest, padded), np.float32)
    queries, keys, values, slopes = rows[0], rows[1], rows[2], rows[3]
    grad_keys, grad_values, grad_queries = rows[4], rows[5], rows[6]
    keys_turned, values_turned = np.zeros((padded, longest), np.float32), np.zeros((padded, longest), np.float32)
    scores, grad_scores = np.empty((QUERIES, longest), np.float32), np.empty((QUERIES, longest), np.float32)
    turned, flat_qkv, flat_grads = np.empty(2 * width, np.float32), qkv.reshape(-1), grad_qkv.reshape(-1)
    flat_attended, flat_slopes = attended.reshape(-1), slopes.reshape(-1)
    for s in range(len(starts)):
        start, length = starts[s], lengths[s]
        for k in range(kv_heads):
            _read_heads(qkv, start, length, heads + k, stride, k_weight, eps, cos, sin, half_head, _ONE, keys)
            _copy_heads(qkv, start, length, heads + kv_heads + k, width, values)
            _transpose(keys, length, keys_turned)
            _transpose(values, length, values_turned)
            grad_keys[:length], grad_values[:length] = _ZERO, _ZERO
            for head in range(k * groups, (k + 1) * groups):
                _read_heads(qkv, start, length, head, stride, q_weight, eps, cos, sin, half_head, factor, queries)
                _copy_heads(grad_attended, start, length, head, width, slopes)
                for first in range(0, length, QUERIES):
                    count = min(QUERIES, length - first)
                    seen, at = first + count, first * padded
                    _add_product(
                        queries, at, padded, 1, keys_turned, 0, longest, scores, 0, longest, count, _up_to_lanes(seen),
                        padded, False,
                    )  # fmt: skip
                    _add_product(
                        slopes, at, padded, 1, values_turned, 0, longest, grad_scores, 0, longest, count,
                        _up_to_lanes(seen), padded, False,
                    )  # fmt: skip
                    for r in range(count):
                        n, own = start + first + r, first + r + 1
                        weights, grads, log_sum = scores[r], grad_scores[r], log_sums[n, head]
                        dot = _dot(flat_slopes, at + r * padded, flat_attended, (n * heads + head) * width, width)
                        for j in range(own):
                            weight = exp(min(weights[j] - log_sum, _ZERO))
                            weights[j] = weight
                            grads[j] = weight * (grads[j] - dot)
                        weights[own:seen], grads[own:seen] = _ZERO, _ZERO
                    _add_product(
                        scores, 0, 1, longest, slopes, at, padded, grad_values, 0, padded, seen, padded, count, True
                    )
                    _add_product(
                        grad_scores, 0, 1, longest, queries, at, padded, grad_keys, 0, padded, seen, padded, count, True
                    )
                    _add_product(
                        grad_scores, 0, longest, 1, keys, 0, padded, grad_queries, at, padded, count, padded, seen,
                        False,
                    )  # fmt: skip
                for i in range(length):
                    _head_backward(
                        flat_qkv, (start + i) * stride + head * width, q_weight, eps, cos[i], sin[i], half_head, factor,
                        grad_queries.reshape(-1), i * padded, turned, flat_grads, grad_q,
                    )  # fmt: skip
            for i in range(length):
                at = (start + i) * stride + (heads + k) * width
                _head_backward(
                    flat_qkv, at, k_weight, eps, cos[i], sin[i], half_head, _ONE, grad_keys.reshape(-1), i * padded,
                    turned, flat_grads, grad_k,
                )  # fmt: skip
                for d in range(width):
                    flat_grads[at + kv_heads * width + d] = grad_values[i, d]


# --- optimisation -----------------------------------------------------------------------------------------------------
_FIRST, _THIRD, _FIFTH = np.float32(3.4445), np.float32(-4.7750), np.float32(2.0315)
_LEAST_NORM = np.float32(1e-7)


@_kernel
def orthogonalise(matrix, iterations):
    """``matrix`` [m, n], m <= n, with all singular values near 1, by Newton and Schulz's iteration of fifth order.

    X <- a X + (b X X^T + c (X X^T)^2) X, from X of Frobenius norm 1.
    """
    rows, columns = matrix.shape
    padded, wide = _up_to_lanes(rows), _up_to_lanes(columns)
    x, turned = np.zeros((padded, wide), np.float32), np.zeros((wide, padded), np.float32)
    gram, change = np.zeros((padded, padded), np.float32), np.zeros((padded, padded), np.float32)
    longer = np.zeros((padded, wide), np.float32)
    norm = np.sqrt(_dot(matrix, 0, matrix, 0, rows * columns))
    x[:rows, :columns] = matrix / max(norm, _LEAST_NORM)
    for _ in range(iterations):
        _transpose(x, padded, turned)
        _add_product(x, 0, wide, 1, turned, 0, padded, gram, 0, padded, padded, padded, wide, False)
        _add_product(gram, 0, padded, 1, gram, 0, padded, change, 0, padded, padded, padded, padded, False)
        for i in range(padded):
            for j in range(padded):
                change[i, j] = _THIRD * gram[i, j] + _FIFTH * change[i, j]
        _add_product(change, 0, padded, 1, x, 0, wide, longer, 0, wide, padded, wide, padded, False)
        for i in range(padded):
            for j in range(wide):
                x[i, j] = _FIRST * x[i, j] + longer[i, j]
    return x[:rows, :columns].copy()
