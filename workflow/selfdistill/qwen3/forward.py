"""Differentiable forward pass of Qwen3 on the CPU over sequences laid end to end, without padding.

A tiny model spends most of a pass between its matrix products, in small operations that each read and write memory.
`kernels` replace these; groups of sequences go through all layers one after another, so that their states stay in the
processor's cache; and all layers together are one autograd function. It saves the inputs of norms, the joined
projections before and after attention, the logarithm of each softmax's sum, and the gate and up of the feed-forward
layer; the backward pass recomputes the rest. It computes the gradients of all weights, even if some are frozen.

Shapes: N tokens in all, H width of the model, I of the feed-forward layer, D of a head.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.autograd.function import FunctionCtx, once_differentiable
from transformers import PreTrainedModel, Qwen3ForCausalLM
from transformers.modeling_outputs import BaseModelOutputWithPast

from selfdistill.qwen3 import kernels
from selfdistill.qwen3.decoding import is_plain

# Sizes that keep most of what a matrix product writes within a core's cache until the next kernel reads it.
GROUP = 768  # tokens
BLOCK = 64  # queries


def is_plain_model(model: PreTrainedModel) -> bool:
    """True if ``model`` is a plain Qwen3 in float32 on the CPU, and no autocast changes its matrix products now."""
    if type(model) is not Qwen3ForCausalLM:
        return False
    weight = model.lm_head.weight
    here = weight.device.type == "cpu" and weight.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    return here and is_plain(model.config)


def supports(model: PreTrainedModel) -> bool:
    """True if `hidden_states` reproduces the model's training forward pass; False under gradient checkpointing."""
    return is_plain_model(model) and not model.config.attention_dropout and not model.is_gradient_checkpointing


def hidden_states(
    model: Qwen3ForCausalLM, ids: torch.Tensor, lengths: Sequence[int], with_gradient: Sequence[bool] | None = None
) -> torch.Tensor:
    """States [N, H] after the final norm of sequences of ``lengths``, whose tokens ``ids`` [N] are laid end to end.

    Each sequence attends to itself alone, from position 0. Differentiable once with respect to the model's parameters.
    ``with_gradient`` marks the sequences that will get a gradient (None: all). It changes the time alone: the others
    form groups of their own, whose backward pass is skipped if their gradient is zero, as announced. ValueError if the
    lengths do not add up to N.
    """
    if ids.shape != (sum(lengths),):
        raise ValueError(
            f"tokens have shape {tuple(ids.shape)}, but the lengths are of sequences of {sum(lengths)} in all"
        )
    body = model.model
    weights = [body.norm.weight, *(weight for layer in body.layers for weight in _weights_of(layer))]
    saving = torch.is_grad_enabled() and any(weight.requires_grad for weight in model.parameters())
    batch = _Batch(model, lengths, with_gradient, saving=saving)
    x = body.embed_tokens(ids[batch.order])
    states = _Stack.apply(batch, x, *weights) if saving else _states(batch, x, *weights)
    return states.index_select(0, batch.places)


@contextmanager
def sequences_end_to_end(
    model: Qwen3ForCausalLM, lengths: Sequence[int], with_gradient: Sequence[bool] | None = None
) -> Iterator[None]:
    """While open, ``model`` reads ``input_ids`` [1, N] as sequences of ``lengths``, by `hidden_states`.

    Its outputs are those of transformers; of the hidden states they hold the last layer's alone. ValueError from a call
    with a mask, positions or a cache.
    """

    def forward(input_ids: torch.Tensor, **options: Any) -> BaseModelOutputWithPast:
        _refuse(options, "attention_mask")
        states = hidden_states(model, input_ids.squeeze(0), lengths, with_gradient)[None]
        return BaseModelOutputWithPast(last_hidden_state=states, hidden_states=(states,))

    with _reading_by(model, forward):
        yield


@contextmanager
def without_padding(model: Qwen3ForCausalLM) -> Iterator[None]:
    """While open, ``model`` reads ``input_ids`` [B, T], padded on the right by ``attention_mask``, by `hidden_states`.

    States of padding are zero. ValueError from a call with positions or a cache.
    """

    def forward(input_ids: torch.Tensor, attention_mask: torch.Tensor, **options: Any) -> BaseModelOutputWithPast:
        _refuse(options)
        seen = attention_mask.bool()
        states = hidden_states(model, input_ids[seen], seen.sum(dim=1).tolist())
        padded = states.new_zeros(*seen.shape, states.size(-1)).masked_scatter(seen[..., None], states)
        return BaseModelOutputWithPast(last_hidden_state=padded, hidden_states=(padded,))

    with _reading_by(model, forward):
        yield


def _refuse(options: dict[str, Any], *more: str) -> None:
    for name in ("position_ids", "past_key_values", "inputs_embeds", "use_cache", *more):
        if not (options.get(name) is None or options[name] is False):
            raise ValueError(f"sequences that lie end to end are read without {name}")


@contextmanager
def _reading_by(model: Qwen3ForCausalLM, forward: Callable[..., BaseModelOutputWithPast]) -> Iterator[None]:
    """Replace ``model.model.forward``, not ``__call__``, so that wrappers and hooks around the model see the call."""
    model.model.forward = forward
    try:
        yield
    finally:
        del model.model.forward


class _Memory:
    """One piece of memory as a ``tensor``, for matrix products, and as an ``array``, for kernels."""

    __slots__ = "array", "tensor"

    def __init__(self, tensor: torch.Tensor):
        self.tensor = tensor.detach()
        self.array = self.tensor.numpy()


class _LayerWeights(NamedTuple):
    """One value per weight of a layer, in the order in which `_Stack` takes and returns them."""

    norm: Any
    q: Any
    k: Any
    v: Any
    q_norm: Any
    k_norm: Any
    out: Any
    mlp_norm: Any
    gate: Any
    up: Any
    down: Any


class _JoinedWeights(NamedTuple):
    """The weights of one layer, or their gradients; projections that read the same input are joined."""

    norm: _Memory
    qkv: _Memory
    q_norm: _Memory
    k_norm: _Memory
    out: _Memory
    mlp_norm: _Memory
    gate_up: _Memory
    down: _Memory


def _weights_of(layer: nn.Module) -> _LayerWeights:
    attention, mlp = layer.self_attn, layer.mlp
    return _LayerWeights(
        norm=layer.input_layernorm.weight,
        q=attention.q_proj.weight,
        k=attention.k_proj.weight,
        v=attention.v_proj.weight,
        q_norm=attention.q_norm.weight,
        k_norm=attention.k_norm.weight,
        out=attention.o_proj.weight,
        mlp_norm=layer.post_attention_layernorm.weight,
        gate=mlp.gate_proj.weight,
        up=mlp.up_proj.weight,
        down=mlp.down_proj.weight,
    )


def _by_layer(weights: Sequence[torch.Tensor]) -> list[_LayerWeights]:
    return [_LayerWeights(*of_layer) for of_layer in _batched(weights, len(_LayerWeights._fields))]


def _joined(weights: Sequence[torch.Tensor]) -> list[_JoinedWeights]:
    return [
        _JoinedWeights(
            norm=_Memory(layer.norm),
            qkv=_Memory(torch.cat([layer.q, layer.k, layer.v])),
            q_norm=_Memory(layer.q_norm),
            k_norm=_Memory(layer.k_norm),
            out=_Memory(layer.out),
            mlp_norm=_Memory(layer.mlp_norm),
            gate_up=_Memory(torch.cat([layer.gate, layer.up])),
            down=_Memory(layer.down),
        )
        for layer in _by_layer(weights)
    ]


def _separate(joined: _JoinedWeights, like: _LayerWeights) -> _LayerWeights:
    """The opposite of `_joined`, in parts of the lengths of ``like``."""
    q, k, v = joined.qkv.tensor.split([len(like.q), len(like.k), len(like.v)])
    gate, up = joined.gate_up.tensor.split([len(like.gate), len(like.up)])
    return _LayerWeights(
        norm=joined.norm.tensor,
        q=q,
        k=k,
        v=v,
        q_norm=joined.q_norm.tensor,
        k_norm=joined.k_norm.tensor,
        out=joined.out.tensor,
        mlp_norm=joined.mlp_norm.tensor,
        gate=gate,
        up=up,
        down=joined.down.tensor,
    )


def _batched(values: Sequence[Any], size: int) -> list[Sequence[Any]]:
    return [values[i : i + size] for i in range(0, len(values), size)]


class _Buffer:
    """Memory that is used again and again; it grows to the largest shape that was taken."""

    def __init__(self) -> None:
        self._tensor = torch.empty(0)

    def take(self, *shape: int) -> _Memory:
        """Memory of ``shape``; it holds what the last user wrote."""
        size = math.prod(shape)
        if self._tensor.numel() < size:
            self._tensor = torch.empty(size)
        return _Memory(self._tensor[:size].view(shape))


class _Buffers(NamedTuple):
    """Memory that all groups and layers of a batch use in turn; shapes as in `kernels`."""

    queries: _Buffer  # of attention: [B, S, KV, G, R, D]
    outputs: _Buffer  # [B, S, KV, G, R, D]
    keys: _Buffer  # [S, KV, B * R, D]
    values: _Buffer  # [S, KV, B * R, D]
    sums: _Buffer  # [B, S, KV, G, R]
    scores: _Buffer  # of one block: [A * KV, G * R, T]
    normed: _Buffer  # [N, H]
    added: _Buffer  # [N, H]
    product: _Buffer  # [N, I]
    grad_outputs: _Buffer  # [B, S, KV, G, R, D]
    grad_keys: _Buffer  # [S, KV, B * R, D]
    grad_values: _Buffer  # [S, KV, B * R, D]
    grad_scores: _Buffer  # of one block: [A * KV, G * R, T]
    grad_of_keys: _Buffer  # of one block: [A * KV, T, D]
    grad_middle: _Buffer  # [N, H]
    grad_attended: _Buffer  # [N, KV * G * D]
    grad_qkv: _Buffer  # [N, (KV * G + 2 KV) * D]
    grad_gate_up: _Buffer  # [N, 2 I]


class _Saved(NamedTuple):
    """The activations of a layer that its backward pass needs: [N, .], or [N] for the scales of norms."""

    x: _Memory
    inverse: _Memory
    qkv: _Memory
    attended: _Memory
    log_sums: _Memory
    middle: _Memory  # between attention and the feed-forward layer
    mlp_inverse: _Memory
    gate_up: _Memory


class _Block:
    """The queries of a group from position ``first`` on, and the keys up to the last of them.

    Of the sequences that reach this position.
    """

    def __init__(self, group: "_Group", index: int, buffers: _Buffers, *, saving: bool):
        _, _, kv_heads, groups, rows, width = group.queries.array.shape
        self.first = index * rows
        active, seen = int((group.lengths > self.first).sum()), _whole_lanes(self.first + rows)
        batch = active * kv_heads
        queries_shape, keys_shape = (batch, groups * rows, width), (batch, seen, width)
        scores_shape = batch, groups * rows, seen

        def queries(memory: _Memory) -> torch.Tensor:
            return memory.tensor[index, :active].view(queries_shape)

        def keys(memory: _Memory) -> torch.Tensor:
            return memory.tensor[:active, :, :seen].view(keys_shape)

        self.queries, self.outputs = queries(group.queries), queries(group.outputs)
        self.keys, self.values = keys(group.keys), keys(group.values)
        self.scores = buffers.scores.take(*scores_shape)
        self.rows_of_scores = self.scores.array.reshape(-1, seen)
        self.sums = group.sums[index]
        if saving:
            self.grad_outputs = queries(group.grad_outputs)
            self.grad_scores = buffers.grad_scores.take(*scores_shape)
            self.grad_of_keys = buffers.grad_of_keys.take(*keys_shape)
            self.rows_of_grad_scores = self.grad_scores.array.reshape(-1, seen)


class _Group:
    """Sequences of similar lengths that go through all layers together, longest first."""

    def __init__(self, batch: "_Batch", lengths: list[int]):
        self.lengths, self.tokens = np.array(lengths), sum(lengths)
        self.where = np.cumsum(self.lengths) - self.lengths, self.lengths
        blocks = -(-lengths[0] // BLOCK)
        rows = -(-lengths[0] // blocks)
        queries_shape = blocks, len(lengths), batch.kv_heads, batch.heads // batch.kv_heads, rows, batch.width
        keys_shape = len(lengths), batch.kv_heads, _whole_lanes(blocks * rows), batch.width
        buffers, tokens = batch.buffers, self.tokens
        self.queries, self.outputs = buffers.queries.take(*queries_shape), buffers.outputs.take(*queries_shape)
        self.keys, self.values = buffers.keys.take(*keys_shape), buffers.values.take(*keys_shape)
        self.sums = buffers.sums.take(*queries_shape[:-1]).array
        self.normed, self.added = buffers.normed.take(tokens, batch.hidden), buffers.added.take(tokens, batch.hidden)
        self.product = buffers.product.take(tokens, batch.inner)
        if batch.saving:
            self.grad_outputs = buffers.grad_outputs.take(*queries_shape)
            self.grad_keys, self.grad_values = (
                buffers.grad_keys.take(*keys_shape),
                buffers.grad_values.take(*keys_shape),
            )
            self.grad_normed = self.added  # the same memory: `added` is not needed in the backward pass
            self.grad_middle = buffers.grad_middle.take(tokens, batch.hidden)
            self.grad_attended = buffers.grad_attended.take(tokens, batch.heads * batch.width)
            self.grad_qkv = buffers.grad_qkv.take(tokens, (batch.heads + 2 * batch.kv_heads) * batch.width)
            self.grad_gate_up = buffers.grad_gate_up.take(tokens, 2 * batch.inner)
        self.blocks = [_Block(self, index, buffers, saving=batch.saving) for index in range(blocks)]


class _Batch:
    """The layout of sequences, those with a gradient first and the longest of either kind first, and their buffers."""

    def __init__(
        self, model: Qwen3ForCausalLM, lengths: Sequence[int], with_gradient: Sequence[bool] | None, *, saving: bool
    ):
        config, self.saving = model.config, saving
        self.heads, self.kv_heads, self.width = config.num_attention_heads, config.num_key_value_heads, config.head_dim
        self.hidden, self.inner, self.eps = config.hidden_size, config.intermediate_size, config.rms_norm_eps
        angles = torch.arange(max(lengths, default=0))[:, None].float() * model.model.rotary_emb.inv_freq
        self.angles = angles.cos().numpy(), angles.sin().numpy(), (None,) * (self.width // 2)
        sizes = np.asarray(lengths, dtype=np.int64)
        idle = np.zeros(len(sizes), dtype=bool) if with_gradient is None else ~np.asarray(with_gradient, dtype=bool)
        by_length = np.lexsort((-sizes, idle))
        starts, sizes, idle = (np.cumsum(sizes) - sizes)[by_length], sizes[by_length], idle[by_length]
        order = np.arange(sizes.sum()) + np.repeat(starts - (np.cumsum(sizes) - sizes), sizes)
        self.order, self.places = torch.from_numpy(order), torch.from_numpy(np.argsort(order))
        self.buffers = _Buffers(*(_Buffer() for _ in _Buffers._fields))
        kinds = (sizes[(sizes > 0) & (idle == kind)].tolist() for kind in (False, True))
        self.groups = [_Group(self, group) for kind in kinds for group in _grouped(kind)]
        self.sizes = [group.tokens for group in self.groups]

    def saved(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Tensors for the saved activations (`_Saved`) of a layer whose input is ``x`` [N, H]."""
        attended, joined = self.heads * self.width, (self.heads + 2 * self.kv_heads) * self.width
        widths = (), (joined,), (attended,), (self.heads,), (self.hidden,), (), (2 * self.inner,)
        return [x, *(x.new_empty(len(x), *width) for width in widths)]

    def split(self, tensors: Sequence[torch.Tensor]) -> list[list[_Memory]]:
        """``tensors`` [N, ...] cut into the rows of each group."""
        parts = zip(*(tensor.split(self.sizes) for tensor in tensors), strict=True)
        return [list(map(_Memory, of_group)) for of_group in parts]


def _whole_lanes(positions: int) -> int:
    return -(-positions // kernels.LANES) * kernels.LANES


def _grouped(lengths: Sequence[int]) -> list[list[int]]:
    """``lengths`` cut into groups of at most `GROUP` tokens, neighbours together."""
    groups: list[list[int]] = []
    for length in lengths:
        if groups and sum(groups[-1]) + length <= GROUP:
            groups[-1].append(length)
        else:
            groups.append([length])
    return groups


def _layer(batch: _Batch, group: _Group, weights: _JoinedWeights, saved: _Saved, y: _Memory) -> None:
    """Fill ``saved`` and ``y`` [N, H] for one group; ``y`` may be the layer's input."""
    normed, added, product = group.normed, group.added, group.product
    kernels.rms_norm(saved.x.array, weights.norm.array, batch.eps, normed.array, saved.inverse.array)
    torch.mm(normed.tensor, weights.qkv.tensor.T, out=saved.qkv.tensor)
    _attend(batch, group, weights, saved)
    torch.mm(saved.attended.tensor, weights.out.tensor.T, out=added.tensor)
    kernels.add_rms_norm(
        saved.x.array, added.array, weights.mlp_norm.array, batch.eps, saved.middle.array, normed.array,
        saved.mlp_inverse.array,
    )  # fmt: skip
    torch.mm(normed.tensor, weights.gate_up.tensor.T, out=saved.gate_up.tensor)
    kernels.silu_product(saved.gate_up.array, product.array)
    torch.addmm(saved.middle.tensor, product.tensor, weights.down.tensor.T, out=y.tensor)


def _attend(batch: _Batch, group: _Group, weights: _JoinedWeights, saved: _Saved) -> None:
    """Causal attention over each sequence of the group: fills ``attended`` and ``log_sums``."""
    _split_heads(batch, group, weights, saved)
    for block in group.blocks:
        torch.bmm(block.queries, block.keys.mT, out=block.scores.tensor)
        kernels.causal_softmax(block.rows_of_scores, *group.where, block.first, block.sums, saved.log_sums.array)
        torch.bmm(block.scores.tensor, block.values, out=block.outputs)
    kernels.join_heads(group.outputs.array, group.sums, *group.where, saved.attended.array)


def _split_heads(batch: _Batch, group: _Group, weights: _JoinedWeights, saved: _Saved) -> None:
    kernels.split_heads(
        saved.qkv.array, *group.where, weights.q_norm.array, weights.k_norm.array, batch.eps, *batch.angles,
        group.queries.array, group.keys.array, group.values.array,
    )  # fmt: skip


def _layer_backward(
    batch: _Batch,
    group: _Group,
    weights: _JoinedWeights,
    saved: _Saved,
    grad_y: _Memory,
    grads: _JoinedWeights,
    grad_x: _Memory,
) -> None:
    """Fill ``grad_x`` and add to ``grads``; ``grad_y`` and ``grad_x`` [N, H] may be the same memory."""
    normed, grad_normed, grad_middle = group.normed, group.grad_normed, group.grad_middle
    product, grad_gate_up = group.product, group.grad_gate_up
    torch.mm(grad_y.tensor, weights.down.tensor, out=product.tensor)  # the gradient; the kernel puts the product there
    kernels.silu_product_backward(saved.gate_up.array, product.array, grad_gate_up.array)
    grads.down.tensor.addmm_(grad_y.tensor.T, product.tensor)
    torch.mm(grad_gate_up.tensor, weights.gate_up.tensor, out=grad_normed.tensor)
    kernels.rms_norm_backward(
        saved.middle.array, saved.mlp_inverse.array, weights.mlp_norm.array, grad_normed.array, grad_y.array,
        normed.array, grad_middle.array, grads.mlp_norm.array,
    )  # fmt: skip
    grads.gate_up.tensor.addmm_(grad_gate_up.tensor.T, normed.tensor)
    grads.out.tensor.addmm_(grad_middle.tensor.T, saved.attended.tensor)
    torch.mm(grad_middle.tensor, weights.out.tensor, out=group.grad_attended.tensor)
    _attend_backward(batch, group, weights, saved, grads)
    torch.mm(group.grad_qkv.tensor, weights.qkv.tensor, out=grad_normed.tensor)
    kernels.rms_norm_backward(
        saved.x.array, saved.inverse.array, weights.norm.array, grad_normed.array, grad_middle.array, normed.array,
        grad_x.array, grads.norm.array,
    )  # fmt: skip
    grads.qkv.tensor.addmm_(group.grad_qkv.tensor.T, normed.tensor)


def _attend_backward(
    batch: _Batch, group: _Group, weights: _JoinedWeights, saved: _Saved, grads: _JoinedWeights
) -> None:
    """Fill the group's ``grad_qkv`` from ``grad_attended``, and add to ``grads.q_norm`` and ``grads.k_norm``."""
    _split_heads(batch, group, weights, saved)
    kernels.split_gradients(
        group.grad_attended.array, saved.attended.array, *group.where, group.grad_outputs.array, group.sums
    )
    group.grad_keys.tensor.zero_()
    group.grad_values.tensor.zero_()
    for block in group.blocks:
        scores, grad_scores, grad_of_keys = block.scores.tensor, block.grad_scores.tensor, block.grad_of_keys
        torch.bmm(block.queries, block.keys.mT, out=scores)
        torch.bmm(block.grad_outputs, block.values.mT, out=grad_scores)
        kernels.causal_softmax_backward(
            block.rows_of_scores, block.rows_of_grad_scores, *group.where, block.first, saved.log_sums.array, block.sums
        )
        torch.bmm(scores.mT, block.grad_outputs, out=grad_of_keys.tensor)
        kernels.add_keys(group.grad_values.array, grad_of_keys.array)
        torch.bmm(grad_scores.mT, block.queries, out=grad_of_keys.tensor)
        kernels.add_keys(group.grad_keys.array, grad_of_keys.array)
        torch.bmm(grad_scores, block.keys, out=block.outputs)  # gradients of queries: the outputs are not needed here
    kernels.split_heads_backward(
        saved.qkv.array, *group.where, weights.q_norm.array, weights.k_norm.array, batch.eps, *batch.angles,
        group.outputs.array, group.grad_keys.array, group.grad_values.array, group.grad_qkv.array,
        grads.q_norm.array, grads.k_norm.array,
    )  # fmt: skip


def _states(batch: _Batch, x: torch.Tensor, final: torch.Tensor, *weights: torch.Tensor) -> torch.Tensor:
    """States [N, H] of ``x`` [N, H], which is overwritten."""
    layers, norm, states = _joined(weights), _Memory(final), torch.empty_like(x)
    saved = batch.saved(x[: max(batch.sizes, default=0)])
    for group, (rows, out) in zip(batch.groups, batch.split([x, states]), strict=True):
        of_group = _Saved(rows, *(_Memory(tensor[: group.tokens]) for tensor in saved[1:]))
        for layer in layers:
            _layer(batch, group, layer, of_group, rows)
        kernels.rms_norm(rows.array, norm.array, batch.eps, out.array, of_group.inverse.array)
    return states


class _Stack(torch.autograd.Function):
    """All layers and the final norm, as one function of autograd."""

    @staticmethod
    def forward(
        ctx: FunctionCtx, batch: _Batch, x: torch.Tensor, final: torch.Tensor, *weights: torch.Tensor
    ) -> torch.Tensor:
        layers, norm = _joined(weights), _Memory(final)
        xs = [x, *(torch.empty_like(x) for _ in layers)]
        saved_by_layer = [batch.saved(layer_input) for layer_input in xs[:-1]]
        states, inverse = torch.empty_like(x), x.new_empty(len(x))
        ends, split = batch.split([xs[-1], inverse, states]), [batch.split(saved) for saved in saved_by_layer]
        for index, (group, (last, scales, out)) in enumerate(zip(batch.groups, ends, strict=True)):
            of_group = [_Saved(*of_layer[index]) for of_layer in split]
            ys = [*(saved.x for saved in of_group[1:]), last]
            for layer, saved, y in zip(layers, of_group, ys, strict=True):
                _layer(batch, group, layer, saved, y)
            kernels.rms_norm(last.array, norm.array, batch.eps, out.array, scales.array)
        ctx.batch = batch
        ctx.save_for_backward(xs[-1], inverse, final, *weights, *chain.from_iterable(saved_by_layer))
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        batch, (last, inverse, final, *tensors) = ctx.batch, ctx.saved_tensors
        count = len(tensors) // (len(_LayerWeights._fields) + len(_Saved._fields)) * len(_LayerWeights._fields)
        weights, saved_by_layer = tensors[:count], _batched(tensors[count:], len(_Saved._fields))
        layers, norm, split = _joined(weights), _Memory(final), [batch.split(saved) for saved in saved_by_layer]
        grads = [_JoinedWeights(*(_Memory(torch.zeros_like(memory.tensor)) for memory in layer)) for layer in layers]
        grad_x, grad_final = torch.empty_like(last), _Memory(torch.zeros_like(final))
        nothing_past = torch.zeros(max(batch.sizes, default=0), batch.hidden).numpy()
        ends = batch.split([last, inverse, grad.contiguous(), grad_x])
        for index, (group, (x, scales, slope, flow)) in enumerate(zip(batch.groups, ends, strict=True)):
            if not slope.tensor.any():
                flow.tensor.zero_()
                continue
            kernels.rms_norm_backward(
                x.array, scales.array, norm.array, slope.array, nothing_past, group.normed.array, flow.array,
                grad_final.array,
            )  # fmt: skip
            for layer, of_layer, of_grads in zip(reversed(layers), reversed(split), reversed(grads), strict=True):
                _layer_backward(batch, group, layer, _Saved(*of_layer[index]), flow, of_grads, flow)
        of_weights = chain.from_iterable(map(_separate, grads, _by_layer(weights)))
        return None, grad_x, grad_final.tensor, *of_weights
