"""Differentiable forward pass of Qwen3 on the CPU over sequences laid end to end, without padding.

A tiny model spends most of a pass between its matrix products, in small operations that each read and write memory.
`kernels` replace these; groups of sequences go through all layers one after another, so that their states stay in the
processor's cache; and all layers together are one autograd function. It saves the inputs of norms, the joined
projections before and after attention, the logarithm of each softmax's sum, and the gate and up of the feed-forward
layer; the backward pass recomputes the rest. It computes the gradients of all weights, even if some are frozen.

Shapes: N tokens in all, H width of the model, I of the feed-forward layer, D of a head.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.autograd.function import FunctionCtx, once_differentiable
from transformers import PreTrainedModel, Qwen3ForCausalLM
from transformers.modeling_outputs import BaseModelOutputWithPast

from selfdistill.qwen3 import kernels
from selfdistill.qwen3.decoding import angles, inverse_frequencies, is_plain, places_within
from selfdistill.qwen3.kernels import pack
from selfdistill.qwen3.products import linear

GROUP = 768  # tokens; most of what a product writes stays within a core's cache until the next kernel reads it


def is_plain_model(model: PreTrainedModel) -> bool:
    """True if ``model`` is a plain Qwen3 in float32 on the CPU, and no autocast changes its matrix products now."""
    if type(model) is not Qwen3ForCausalLM:
        return False
    weight = model.lm_head.weight
    here = weight.device.type == "cpu" and weight.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    return here and is_plain(model.config)


def supports(model: PreTrainedModel) -> bool:
    """True if `hidden_states` reproduces the model's training forward pass; False under gradient checkpointing."""
    return is_plain_model(model) and not model.config.attention_dropout and not model.is_activation_checkpointing


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
    """Replace ``model.model.forward``, not ``__call__``, so that wrappers and hooks around the model see the call.

    The output layer's product is ours, too.
    """
    model.model.forward, model.lm_head.forward = forward, lambda states: linear(states, model.lm_head.weight)
    try:
        yield
    finally:
        del model.model.forward, model.lm_head.forward


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


class _Joined(NamedTuple):
    """The weights of one layer, or their gradients, as arrays; projections that read the same input are joined."""

    norm: np.ndarray
    qkv: np.ndarray
    q_norm: np.ndarray
    k_norm: np.ndarray
    out: np.ndarray
    mlp_norm: np.ndarray
    gate_up: np.ndarray
    down: np.ndarray

    def packed(self) -> "_Joined":
        """The same with its matrices [out, in] as factors of the inputs."""
        return _Joined(*(pack(weight.T) if weight.ndim == 2 else weight for weight in self))

    def packed_backward(self) -> "_Joined":
        """The same with its matrices [out, in] as factors of the outputs' gradients."""
        return _Joined(*(pack(weight) if weight.ndim == 2 else weight for weight in self))


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


def _joined(weights: Sequence[torch.Tensor]) -> list[_Joined]:
    return [
        _Joined(
            norm=layer.norm,
            qkv=np.concatenate([layer.q, layer.k, layer.v]),
            q_norm=layer.q_norm,
            k_norm=layer.k_norm,
            out=layer.out,
            mlp_norm=layer.mlp_norm,
            gate_up=np.concatenate([layer.gate, layer.up]),
            down=layer.down,
        )
        for layer in _by_layer(_arrays(weights))
    ]


def _separate(joined: _Joined, like: _LayerWeights) -> _LayerWeights:
    """The opposite of `_joined`, in parts of the lengths of ``like``."""
    q, k, v = np.split(joined.qkv, np.cumsum([len(like.q), len(like.k)]))
    gate, up = np.split(joined.gate_up, [len(like.gate)])
    return _LayerWeights(
        norm=joined.norm,
        q=q,
        k=k,
        v=v,
        q_norm=joined.q_norm,
        k_norm=joined.k_norm,
        out=joined.out,
        mlp_norm=joined.mlp_norm,
        gate=gate,
        up=up,
        down=joined.down,
    )


def _batched(values: Sequence[Any], size: int) -> list[Sequence[Any]]:
    return [values[i : i + size] for i in range(0, len(values), size)]


def _arrays(tensors: Sequence[torch.Tensor]) -> list[np.ndarray]:
    """The memory of the ``tensors``, for kernels."""
    return [np.ascontiguousarray(tensor.detach().numpy()) for tensor in tensors]


class _Saved(NamedTuple):
    """The activations of a layer that its backward pass needs: [N, .], or [N] for the scales of norms."""

    x: np.ndarray
    inverse: np.ndarray
    qkv: np.ndarray
    attended: np.ndarray
    log_sums: np.ndarray
    middle: np.ndarray  # between attention and the feed-forward layer
    mlp_inverse: np.ndarray
    gate_up: np.ndarray

    def of(self, group: "_Group") -> "_Saved":
        return _Saved(*(array[group.rows] for array in self))


class _Working:
    """Memory that all groups and layers use in turn, for groups of up to ``tokens`` tokens."""

    def __init__(self, batch: "_Batch", tokens: int):
        self.normed, self.added, self.grad_middle = np.empty((3, tokens, batch.hidden), np.float32)
        self.product = np.empty((tokens, batch.inner), np.float32)
        if batch.saving:
            self.grad_attended = np.empty((tokens, batch.heads * batch.width), np.float32)
            self.grad_qkv = np.empty((tokens, batch.joined), np.float32)
            self.grad_gate_up = np.empty((tokens, 2 * batch.inner), np.float32)

    def of(self, group: "_Group") -> SimpleNamespace:
        """The same memory for as many tokens as the ``group`` has."""
        return SimpleNamespace(**{name: array[: group.tokens] for name, array in vars(self).items()})


class _Group:
    """Sequences of similar lengths that go through all layers together; ``rows`` are theirs among all tokens."""

    def __init__(self, first: int, lengths: list[int]):
        self.lengths, self.tokens = np.array(lengths), sum(lengths)
        self.starts = np.cumsum(self.lengths) - self.lengths
        self.rows = slice(first, first + self.tokens)


class _Batch:
    """The layout of sequences, those with a gradient first and the longest of either kind first."""

    def __init__(
        self, model: Qwen3ForCausalLM, lengths: Sequence[int], with_gradient: Sequence[bool] | None, *, saving: bool
    ):
        config, self.saving = model.config, saving
        self.heads, self.kv_heads, self.width = config.num_attention_heads, config.num_key_value_heads, config.head_dim
        self.hidden, self.inner, self.eps = config.hidden_size, config.intermediate_size, config.rms_norm_eps
        self.joined = (self.heads + 2 * self.kv_heads) * self.width
        self.angles = *angles(max(lengths, default=0), inverse_frequencies(config)), (None,) * (self.width // 2)
        sizes = np.asarray(lengths, dtype=np.int64)
        idle = np.zeros(len(sizes), dtype=bool) if with_gradient is None else ~np.asarray(with_gradient, dtype=bool)
        by_length = np.lexsort((-sizes, idle))
        starts, sizes, idle = (np.cumsum(sizes) - sizes)[by_length], sizes[by_length], idle[by_length]
        order = np.repeat(starts, sizes) + places_within(sizes)
        self.order, self.places = torch.from_numpy(order), torch.from_numpy(np.argsort(order))
        kinds = (sizes[(sizes > 0) & (idle == kind)].tolist() for kind in (False, True))
        self.groups: list[_Group] = []
        for part in (part for kind in kinds for part in _grouped(kind)):
            self.groups.append(_Group(self.groups[-1].rows.stop if self.groups else 0, part))
        self.largest = max((group.tokens for group in self.groups), default=0)

    def saved(self, x: np.ndarray) -> _Saved:
        """Room for the activations of a layer whose input is ``x`` [N, H]."""
        attended = self.heads * self.width
        widths = (), (self.joined,), (attended,), (self.heads,), (self.hidden,), (), (2 * self.inner,)
        return _Saved(x, *(np.empty((len(x), *width), np.float32) for width in widths))


def _grouped(lengths: Sequence[int]) -> list[list[int]]:
    """``lengths`` cut into groups of at most `GROUP` tokens, neighbours together."""
    groups: list[list[int]] = []
    for length in lengths:
        if groups and sum(groups[-1]) + length <= GROUP:
            groups[-1].append(length)
        else:
            groups.append([length])
    return groups


def _layer(batch: _Batch, group: _Group, weights: _Joined, saved: _Saved, y: np.ndarray, work: SimpleNamespace) -> None:
    """Fill ``saved`` and ``y`` [N, H] for one group; ``y`` may be the layer's input."""
    kernels.rms_norm(saved.x, weights.norm, batch.eps, work.normed, saved.inverse)
    kernels.multiply(work.normed, weights.qkv, saved.qkv, False)
    kernels.attend_causally(
        saved.qkv, group.starts, group.lengths, weights.q_norm, weights.k_norm, batch.eps, *batch.angles,
        saved.attended, saved.log_sums,
    )  # fmt: skip
    kernels.multiply(saved.attended, weights.out, work.added, False)
    kernels.add_rms_norm(saved.x, work.added, weights.mlp_norm, batch.eps, saved.middle, work.normed, saved.mlp_inverse)
    kernels.multiply(work.normed, weights.gate_up, saved.gate_up, False)
    kernels.silu_product(saved.gate_up, work.product)
    y[:] = saved.middle
    kernels.multiply(work.product, weights.down, y, True)


def _layer_backward(
    batch: _Batch,
    group: _Group,
    weights: _Joined,
    saved: _Saved,
    grad_y: np.ndarray,
    grads: _Joined,
    grad_x: np.ndarray,
    work: SimpleNamespace,
) -> None:
    """Fill ``grad_x`` and add to ``grads``; ``grad_y`` and ``grad_x`` [N, H] may be the same memory."""
    grad_normed = work.added  # the same memory: `added` is not needed in the backward pass
    kernels.multiply(grad_y, weights.down, work.product, False)  # the gradient; the kernel puts the product there
    kernels.silu_product_backward(saved.gate_up, work.product, work.grad_gate_up)
    kernels.add_outer(grad_y, work.product, grads.down)
    kernels.multiply(work.grad_gate_up, weights.gate_up, grad_normed, False)
    kernels.rms_norm_backward(
        saved.middle, saved.mlp_inverse, weights.mlp_norm, grad_normed, grad_y, work.normed, work.grad_middle,
        grads.mlp_norm,
    )  # fmt: skip
    kernels.add_outer(work.grad_gate_up, work.normed, grads.gate_up)
    kernels.add_outer(work.grad_middle, saved.attended, grads.out)
    kernels.multiply(work.grad_middle, weights.out, work.grad_attended, False)
    kernels.attend_causally_backward(
        saved.qkv, group.starts, group.lengths, weights.q_norm, weights.k_norm, batch.eps, *batch.angles,
        saved.attended, saved.log_sums, work.grad_attended, work.grad_qkv, grads.q_norm, grads.k_norm,
    )  # fmt: skip
    kernels.multiply(work.grad_qkv, weights.qkv, grad_normed, False)
    kernels.rms_norm_backward(
        saved.x, saved.inverse, weights.norm, grad_normed, work.grad_middle, work.normed, grad_x, grads.norm
    )
    kernels.add_outer(work.grad_qkv, work.normed, grads.qkv)


def _states(batch: _Batch, embedded: torch.Tensor, final: torch.Tensor, *weights: torch.Tensor) -> torch.Tensor:
    """States [N, H] of ``embedded`` [N, H], which is overwritten."""
    layers, (x, norm) = [layer.packed() for layer in _joined(weights)], _arrays([embedded, final])
    saved, working = batch.saved(x[: batch.largest]), _Working(batch, batch.largest)
    states = np.empty_like(x)
    for group in batch.groups:
        rows, work = x[group.rows], working.of(group)
        of_group = _Saved(rows, *(array[: group.tokens] for array in saved[1:]))
        for layer in layers:
            _layer(batch, group, layer, of_group, rows, work)
        kernels.rms_norm(rows, norm, batch.eps, states[group.rows], of_group.inverse)
    return torch.from_numpy(states)


class _Stack(torch.autograd.Function):
    """All layers and the final norm, as one function of autograd."""

    @staticmethod
    def forward(
        ctx: FunctionCtx, batch: _Batch, embedded: torch.Tensor, final: torch.Tensor, *weights: torch.Tensor
    ) -> torch.Tensor:
        layers, (x, norm) = [layer.packed() for layer in _joined(weights)], _arrays([embedded, final])
        saved = [batch.saved(layer_input) for layer_input in (x, *(np.empty_like(x) for _ in layers[1:]))]
        last, states, inverse = np.empty_like(x), np.empty_like(x), np.empty(len(x), np.float32)
        working, outputs = _Working(batch, batch.largest), [*(of_layer.x for of_layer in saved[1:]), last]
        for group in batch.groups:
            work = working.of(group)
            for layer, of_layer, y in zip(layers, saved, outputs, strict=True):
                _layer(batch, group, layer, of_layer.of(group), y[group.rows], work)
            kernels.rms_norm(last[group.rows], norm, batch.eps, states[group.rows], inverse[group.rows])
        ctx.batch, ctx.working, ctx.saved = batch, working, saved
        ctx.save_for_backward(torch.from_numpy(last), torch.from_numpy(inverse), final, *weights)
        return torch.from_numpy(states)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        batch, working, saved = ctx.batch, ctx.working, ctx.saved
        end, end_inverse, final, *weights = ctx.saved_tensors
        del ctx.saved
        joined = _joined(weights)
        layers = [layer.packed_backward() for layer in joined]
        last, inverse, norm, slope = _arrays([end, end_inverse, final, grad])
        grads = [_Joined(*map(np.zeros_like, layer)) for layer in joined]
        grad_x, grad_final = np.empty_like(last), np.zeros_like(norm)
        nothing_past = np.zeros((batch.largest, batch.hidden), np.float32)
        for group in batch.groups:
            flow, work = grad_x[group.rows], working.of(group)
            if not slope[group.rows].any():
                flow[:] = 0
                continue
            kernels.rms_norm_backward(
                last[group.rows], inverse[group.rows], norm, slope[group.rows], nothing_past[: group.tokens],
                work.normed, flow, grad_final,
            )  # fmt: skip
            for layer, of_layer, of_grads in zip(reversed(layers), reversed(saved), reversed(grads), strict=True):
                _layer_backward(batch, group, layer, of_layer.of(group), flow, of_grads, flow, work)
        of_weights = chain.from_iterable(map(_separate, grads, _by_layer(weights)))
        return None, *(torch.from_numpy(array) for array in (grad_x, grad_final, *of_weights))
