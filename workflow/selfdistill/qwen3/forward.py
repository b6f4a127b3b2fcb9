"""Hidden states of a Qwen3 model on the CPU, differentiable, of sequences that are laid end to end without padding.

A tiny model spends most of a pass between its matrix products, in small operations that each read and write memory.
Here these are compiled passes; groups of sequences go through all layers one after another, so that their states stay
in the cache; and the layers are one step of autograd. Saved for the backward pass are the inputs of norms, the joined
projections before and after attention, the logarithm of each softmax's sum, and the gate and up of the feed-forward
layer; the rest is computed again. Gradients of all weights are computed, also where some of them are frozen.

Shapes: N tokens in all, H width of the model, I of the feed-forward layer, D of a head.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.autograd.function import FunctionCtx, once_differentiable
from transformers import PreTrainedModel, Qwen3ForCausalLM
from transformers.modeling_outputs import BaseModelOutputWithPast

from selfdistill.qwen3 import kernels
from selfdistill.qwen3.decoding import is_plain

# Sizes that keep most of what one product writes and the next pass reads within a core's cache.
GROUP = 768  # tokens
BLOCK = 64  # queries
OF_LAYER = 11  # weights


def is_plain_model(model: PreTrainedModel) -> bool:
    """Whether ``model`` is a plain Qwen3 in float32 on the CPU, and products now are so too."""
    if type(model) is not Qwen3ForCausalLM:
        return False
    weight = model.lm_head.weight
    here = weight.device.type == "cpu" and weight.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    return here and is_plain(model.config)


def supports(model: PreTrainedModel) -> bool:
    """Whether `hidden_states` computes what ``model`` does in training.

    Not where activations are computed again in the backward pass.
    """
    return is_plain_model(model) and not model.config.attention_dropout and not model.is_gradient_checkpointing


def hidden_states(
    model: Qwen3ForCausalLM, ids: torch.Tensor, lengths: Sequence[int], graded: Sequence[bool] | None = None
) -> torch.Tensor:
    """States [N, H] behind the final norm of sequences of ``lengths``, whose tokens ``ids`` [N] stand end to end.

    Each attends to itself alone, from position 0. Differentiable once with respect to the model's parameters.
    ``graded`` says which sequences will get a gradient (None: all), and decides about time only: of the others, which
    pass through the layers in groups of their own, the backward pass is left out if their gradient is zero indeed.
    ValueError where the lengths do not add up to N.
    """
    if ids.shape != (sum(lengths),):
        raise ValueError(f"tokens of shape {tuple(ids.shape)} are not those of sequences of {sum(lengths)} in all")
    body = model.model
    weights = [body.norm.weight, *(weight for layer in body.layers for weight in _layer_weights(layer))]
    saving = torch.is_grad_enabled() and any(weight.requires_grad for weight in model.parameters())
    batch = _Batch(model, lengths, graded, saving=saving)
    x = body.embed_tokens(ids[batch.order])
    states = _Stack.apply(batch, x, *weights) if saving else _states(batch, x, *weights)
    return states.index_select(0, batch.places)


@contextmanager
def sequences_end_to_end(
    model: Qwen3ForCausalLM, lengths: Sequence[int], graded: Sequence[bool] | None = None
) -> Iterator[None]:
    """Within, ``model`` reads ``input_ids`` [1, N] as sequences of ``lengths``, by `hidden_states`.

    Its outputs are those of transformers, with the last of the hidden states alone. ValueError from a call that says
    more than the ids about what is attended to.
    """

    def forward(input_ids: torch.Tensor, **options: Any) -> BaseModelOutputWithPast:
        _refuse(options, "attention_mask")
        states = hidden_states(model, input_ids.squeeze(0), lengths, graded)[None]
        return BaseModelOutputWithPast(last_hidden_state=states, hidden_states=(states,))

    with _reading_by(model, forward):
        yield


@contextmanager
def without_padding(model: Qwen3ForCausalLM) -> Iterator[None]:
    """Within, ``model`` reads ``input_ids`` [B, T], padded on the right as ``attention_mask`` says, by `hidden_states`.

    States of padding are zero. ValueError from a call that says more about what is attended to.
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
    """The body's own way to call it stays, so that wrappers and hooks around the model see the call."""
    model.model.forward = forward
    try:
        yield
    finally:
        del model.model.forward


class _Memory:
    """A tensor, and the same memory as an array: matrix products take the one, compiled passes the other."""

    __slots__ = "array", "tensor"

    def __init__(self, tensor: torch.Tensor):
        self.tensor = tensor.detach()
        self.array = self.tensor.numpy()


class _Weights(NamedTuple):
    """Of one layer, or their gradients; projections that read the same input are joined."""

    norm: _Memory
    qkv: _Memory
    q_norm: _Memory
    k_norm: _Memory
    out: _Memory
    mlp_norm: _Memory
    gate_up: _Memory
    down: _Memory


def _layer_weights(layer: nn.Module) -> list[torch.Tensor]:
    attention, mlp = layer.self_attn, layer.mlp
    modules = (
        layer.input_layernorm, attention.q_proj, attention.k_proj, attention.v_proj, attention.q_norm,
        attention.k_norm, attention.o_proj, layer.post_attention_layernorm, mlp.gate_proj, mlp.up_proj, mlp.down_proj,
    )  # fmt: skip
    return [module.weight for module in modules]


def _joined(weights: Sequence[torch.Tensor]) -> list[_Weights]:
    """Layers of ``weights`` in the order of `_layer_weights`."""
    layers = []
    for norm, q, k, v, q_norm, k_norm, out, mlp_norm, gate, up, down in _batched(weights, OF_LAYER):
        joined = norm, torch.cat([q, k, v]), q_norm, k_norm, out, mlp_norm, torch.cat([gate, up]), down
        layers.append(_Weights(*map(_Memory, joined)))
    return layers


def _parted(layers: Sequence[_Weights], like: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """The opposite of `_joined`, in parts of the lengths of ``like``."""
    parts = []
    for joined, shapes in zip(layers, _batched([len(weight) for weight in like], OF_LAYER), strict=True):
        norm, qkv, q_norm, k_norm, out, mlp_norm, gate_up, down = (memory.tensor for memory in joined)
        q, k, v = qkv.split(shapes[1:4])
        parts += [norm, q, k, v, q_norm, k_norm, out, mlp_norm, *gate_up.split(shapes[8:10]), down]
    return parts


def _batched(values: Sequence[Any], size: int) -> list[Sequence[Any]]:
    return [values[i : i + size] for i in range(0, len(values), size)]


class _Saved(NamedTuple):
    """What the backward pass of a layer needs of its tokens: [N, .], or [N] of what scales in norms."""

    x: _Memory
    inverse: _Memory
    qkv: _Memory
    attended: _Memory
    log_sums: _Memory
    middle: _Memory  # between attention and the feed-forward layer
    mlp_inverse: _Memory
    gate_up: _Memory


class _Block:
    """Queries of the sequences of a group that reach position ``first``, with the keys up to the last of them."""

    def __init__(self, group: "_Group", index: int, scratch: Callable[..., _Memory], *, saving: bool):
        _, _, kv_heads, groups, rows, width = group.queries.array.shape
        self.first = index * rows
        active, seen = int((group.lengths > self.first).sum()), _whole_lanes(self.first + rows)
        batch = active * kv_heads
        of_queries, of_keys, of_scores = (
            (batch, groups * rows, width),
            (batch, seen, width),
            (batch, groups * rows, seen),
        )

        def queries(memory: _Memory) -> torch.Tensor:
            return memory.tensor[index, :active].view(of_queries)

        def keys(memory: _Memory) -> torch.Tensor:
            return memory.tensor[:active, :, :seen].view(of_keys)

        self.queries, self.outputs = queries(group.queries), queries(group.outputs)
        self.keys, self.values = keys(group.keys), keys(group.values)
        self.scores = scratch("scores", *of_scores)
        self.rows_of_scores = self.scores.array.reshape(-1, seen)
        self.sums = group.sums[index]
        if saving:
            self.grad_outputs = queries(group.grad_outputs)
            self.grad_scores, self.grad_of_keys = scratch("grad_scores", *of_scores), scratch("grad_of_keys", *of_keys)
            self.rows_of_grad_scores = self.grad_scores.array.reshape(-1, seen)


class _Group:
    """Sequences of similar lengths that pass through all layers together, longest first."""

    def __init__(self, batch: "_Batch", lengths: list[int]):
        self.lengths, self.tokens = np.array(lengths), sum(lengths)
        self.where = np.cumsum(self.lengths) - self.lengths, self.lengths
        blocks = -(-lengths[0] // BLOCK)
        rows = -(-lengths[0] // blocks)
        of_queries = blocks, len(lengths), batch.kv_heads, batch.heads // batch.kv_heads, rows, batch.width
        of_keys = len(lengths), batch.kv_heads, _whole_lanes(blocks * rows), batch.width
        scratch, tokens = batch.scratch, self.tokens
        self.queries, self.outputs = scratch("queries", *of_queries), scratch("outputs", *of_queries)
        self.keys, self.values = scratch("keys", *of_keys), scratch("values", *of_keys)
        self.sums = scratch("sums", *of_queries[:-1]).array
        self.normed, self.added = scratch("normed", tokens, batch.hidden), scratch("added", tokens, batch.hidden)
        self.product = scratch("product", tokens, batch.inner)
        if batch.saving:
            self.grad_outputs = scratch("grad_outputs", *of_queries)
            self.grad_keys, self.grad_values = scratch("grad_keys", *of_keys), scratch("grad_values", *of_keys)
            self.grad_normed, self.grad_middle = self.added, scratch("grad_middle", tokens, batch.hidden)
            self.grad_attended = scratch("grad_attended", tokens, batch.heads * batch.width)
            self.grad_qkv = scratch("grad_qkv", tokens, (batch.heads + 2 * batch.kv_heads) * batch.width)
            self.grad_gate_up = scratch("grad_gate_up", tokens, 2 * batch.inner)
        self.blocks = [_Block(self, index, scratch, saving=batch.saving) for index in range(blocks)]


class _Batch:
    """How sequences are laid out, those that get a gradient first and of either kind the longest, and memory that all
    groups and layers use in turn.
    """

    def __init__(self, model: Qwen3ForCausalLM, lengths: Sequence[int], graded: Sequence[bool] | None, *, saving: bool):
        config, self.saving = model.config, saving
        self.heads, self.kv_heads, self.width = config.num_attention_heads, config.num_key_value_heads, config.head_dim
        self.hidden, self.inner, self.eps = config.hidden_size, config.intermediate_size, config.rms_norm_eps
        angles = torch.arange(max(lengths, default=0))[:, None].float() * model.model.rotary_emb.inv_freq
        self.angles = angles.cos().numpy(), angles.sin().numpy(), (None,) * (self.width // 2)
        sizes = np.asarray(lengths, dtype=np.int64)
        idle = np.zeros(len(sizes), dtype=bool) if graded is None else ~np.asarray(graded, dtype=bool)
        laid = np.lexsort((-sizes, idle))
        starts, sizes, idle = (np.cumsum(sizes) - sizes)[laid], sizes[laid], idle[laid]
        order = np.arange(sizes.sum()) + np.repeat(starts - (np.cumsum(sizes) - sizes), sizes)
        self.order, self.places = torch.from_numpy(order), torch.from_numpy(np.argsort(order))
        self._memory: dict[str, torch.Tensor] = {}
        kinds = (sizes[(sizes > 0) & (idle == kind)].tolist() for kind in (False, True))
        self.groups = [_Group(self, group) for kind in kinds for group in _grouped(kind)]
        self.sizes = [group.tokens for group in self.groups]

    def scratch(self, name: str, *shape: int) -> _Memory:
        """Memory of ``shape``, whose content is that of whoever wrote to ``name`` last."""
        size = math.prod(shape)
        if name not in self._memory or self._memory[name].numel() < size:
            self._memory[name] = torch.empty(size)
        return _Memory(self._memory[name][:size].view(shape))

    def room(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Memory for what is to be saved of a layer whose input is ``x`` [N, H]."""
        attended, joined = self.heads * self.width, (self.heads + 2 * self.kv_heads) * self.width
        widths = (), (joined,), (attended,), (self.heads,), (self.hidden,), (), (2 * self.inner,)
        return [x, *(x.new_empty(len(x), *width) for width in widths)]

    def split(self, tensors: Sequence[torch.Tensor]) -> list[list[_Memory]]:
        """The rows of each group."""
        parts = zip(*(tensor.split(self.sizes) for tensor in tensors), strict=True)
        return [list(map(_Memory, of_group)) for of_group in parts]


def _whole_lanes(positions: int) -> int:
    return -(-positions // kernels.LANES) * kernels.LANES


def _grouped(lengths: Sequence[int]) -> list[list[int]]:
    """Neighbours together while they are at most `GROUP` tokens."""
    groups: list[list[int]] = []
    for length in lengths:
        if groups and sum(groups[-1]) + length <= GROUP:
            groups[-1].append(length)
        else:
            groups.append([length])
    return groups


def _layer(batch: _Batch, group: _Group, weights: _Weights, room: _Saved, y: _Memory) -> None:
    """Fill ``room`` and ``y`` [N, H] for one group; ``y`` may be the layer's input."""
    normed, added, product = group.normed, group.added, group.product
    kernels.rms_norm(room.x.array, weights.norm.array, batch.eps, normed.array, room.inverse.array)
    torch.mm(normed.tensor, weights.qkv.tensor.T, out=room.qkv.tensor)
    _attend(batch, group, weights, room)
    torch.mm(room.attended.tensor, weights.out.tensor.T, out=added.tensor)
    kernels.add_rms_norm(
        room.x.array, added.array, weights.mlp_norm.array, batch.eps, room.middle.array, normed.array,
        room.mlp_inverse.array,
    )  # fmt: skip
    torch.mm(normed.tensor, weights.gate_up.tensor.T, out=room.gate_up.tensor)
    kernels.silu_product(room.gate_up.array, product.array)
    torch.addmm(room.middle.tensor, product.tensor, weights.down.tensor.T, out=y.tensor)


def _attend(batch: _Batch, group: _Group, weights: _Weights, room: _Saved) -> None:
    """Causal attention over each sequence of the group: fills ``attended`` and ``log_sums``."""
    _split_heads(batch, group, weights, room)
    for block in group.blocks:
        torch.bmm(block.queries, block.keys.mT, out=block.scores.tensor)
        kernels.causal_softmax(block.rows_of_scores, *group.where, block.first, block.sums, room.log_sums.array)
        torch.bmm(block.scores.tensor, block.values, out=block.outputs)
    kernels.join_heads(group.outputs.array, group.sums, *group.where, room.attended.array)


def _split_heads(batch: _Batch, group: _Group, weights: _Weights, room: _Saved) -> None:
    kernels.split_heads(
        room.qkv.array, *group.where, weights.q_norm.array, weights.k_norm.array, batch.eps, *batch.angles,
        group.queries.array, group.keys.array, group.values.array,
    )  # fmt: skip


def _layer_backward(
    batch: _Batch, group: _Group, weights: _Weights, room: _Saved, grad_y: _Memory, grads: _Weights, grad_x: _Memory
) -> None:
    """Fill ``grad_x`` and add to ``grads``; ``grad_y`` and ``grad_x`` [N, H] may be the same memory."""
    normed, grad_normed, grad_middle = group.normed, group.grad_normed, group.grad_middle
    product, grad_gate_up = group.product, group.grad_gate_up
    torch.mm(grad_y.tensor, weights.down.tensor, out=product.tensor)  # the gradient, until the product takes its place
    kernels.silu_product_backward(room.gate_up.array, product.array, grad_gate_up.array)
    grads.down.tensor.addmm_(grad_y.tensor.T, product.tensor)
    torch.mm(grad_gate_up.tensor, weights.gate_up.tensor, out=grad_normed.tensor)
    kernels.rms_norm_backward(
        room.middle.array, room.mlp_inverse.array, weights.mlp_norm.array, grad_normed.array, grad_y.array,
        normed.array, grad_middle.array, grads.mlp_norm.array,
    )  # fmt: skip
    grads.gate_up.tensor.addmm_(grad_gate_up.tensor.T, normed.tensor)
    grads.out.tensor.addmm_(grad_middle.tensor.T, room.attended.tensor)
    torch.mm(grad_middle.tensor, weights.out.tensor, out=group.grad_attended.tensor)
    _attend_backward(batch, group, weights, room, grads)
    torch.mm(group.grad_qkv.tensor, weights.qkv.tensor, out=grad_normed.tensor)
    kernels.rms_norm_backward(
        room.x.array, room.inverse.array, weights.norm.array, grad_normed.array, grad_middle.array, normed.array,
        grad_x.array, grads.norm.array,
    )  # fmt: skip
    grads.qkv.tensor.addmm_(group.grad_qkv.tensor.T, normed.tensor)


def _attend_backward(batch: _Batch, group: _Group, weights: _Weights, room: _Saved, grads: _Weights) -> None:
    """Fill the group's ``grad_qkv`` from ``grad_attended``, and add to ``grads`` of the norms of heads."""
    _split_heads(batch, group, weights, room)
    kernels.split_gradients(
        group.grad_attended.array, room.attended.array, *group.where, group.grad_outputs.array, group.sums
    )
    group.grad_keys.tensor.zero_()
    group.grad_values.tensor.zero_()
    for block in group.blocks:
        scores, grad_scores, grad_of_keys = block.scores.tensor, block.grad_scores.tensor, block.grad_of_keys
        torch.bmm(block.queries, block.keys.mT, out=scores)
        torch.bmm(block.grad_outputs, block.values.mT, out=grad_scores)
        kernels.causal_softmax_backward(
            block.rows_of_scores, block.rows_of_grad_scores, *group.where, block.first, room.log_sums.array, block.sums
        )
        torch.bmm(scores.mT, block.grad_outputs, out=grad_of_keys.tensor)
        kernels.add_keys(group.grad_values.array, grad_of_keys.array)
        torch.bmm(grad_scores.mT, block.queries, out=grad_of_keys.tensor)
        kernels.add_keys(group.grad_keys.array, grad_of_keys.array)
        torch.bmm(grad_scores, block.keys, out=block.outputs)  # outputs are not needed here: gradients of queries
    kernels.split_heads_backward(
        room.qkv.array, *group.where, weights.q_norm.array, weights.k_norm.array, batch.eps, *batch.angles,
        group.outputs.array, group.grad_keys.array, group.grad_values.array, group.grad_qkv.array,
        grads.q_norm.array, grads.k_norm.array,
    )  # fmt: skip


def _states(batch: _Batch, x: torch.Tensor, final: torch.Tensor, *weights: torch.Tensor) -> torch.Tensor:
    """States [N, H] of ``x`` [N, H], which is overwritten."""
    layers, norm, states = _joined(weights), _Memory(final), torch.empty_like(x)
    room = batch.room(x[: max(batch.sizes, default=0)])
    for group, (rows, out) in zip(batch.groups, batch.split([x, states]), strict=True):
        of_group = _Saved(rows, *(_Memory(tensor[: group.tokens]) for tensor in room[1:]))
        for layer in layers:
            _layer(batch, group, layer, of_group, rows)
        kernels.rms_norm(rows.array, norm.array, batch.eps, out.array, of_group.inverse.array)
    return states


class _Stack(torch.autograd.Function):
    """All layers and the final norm."""

    @staticmethod
    def forward(
        ctx: FunctionCtx, batch: _Batch, x: torch.Tensor, final: torch.Tensor, *weights: torch.Tensor
    ) -> torch.Tensor:
        layers, norm, rooms = _joined(weights), _Memory(final), []
        xs = [x, *(torch.empty_like(x) for _ in layers)]
        rooms = [batch.room(of_layer) for of_layer in xs[:-1]]
        states, inverse = torch.empty_like(x), x.new_empty(len(x))
        ends, split = batch.split([xs[-1], inverse, states]), [batch.split(room) for room in rooms]
        for index, (group, (last, scales, out)) in enumerate(zip(batch.groups, ends, strict=True)):
            of_group = [_Saved(*of_layer[index]) for of_layer in split]
            ys = [*(room.x for room in of_group[1:]), last]
            for layer, room, y in zip(layers, of_group, ys, strict=True):
                _layer(batch, group, layer, room, y)
            kernels.rms_norm(last.array, norm.array, batch.eps, out.array, scales.array)
        ctx.batch = batch
        ctx.save_for_backward(xs[-1], inverse, final, *weights, *(tensor for room in rooms for tensor in room))
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        batch, (last, inverse, final, *tensors) = ctx.batch, ctx.saved_tensors
        count = len(tensors) // (OF_LAYER + len(_Saved._fields))
        weights, rooms = tensors[: count * OF_LAYER], _batched(tensors[count * OF_LAYER :], len(_Saved._fields))
        layers, norm, split = _joined(weights), _Memory(final), [batch.split(room) for room in rooms]
        grads = [_Weights(*(_Memory(torch.zeros_like(memory.tensor)) for memory in layer)) for layer in layers]
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
        return None, grad_x, grad_final.tensor, *_parted(grads, weights)
