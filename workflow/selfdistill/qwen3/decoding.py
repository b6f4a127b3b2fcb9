"""A Qwen3 model on the CPU, token by token: its weights, a cache in blocks, and one decoding step for many rows."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from selfdistill.qwen3.kernels import BLOCK, add_rms_norm, attend, rms_norm, silu_product

FIRST_CAPACITY = 512  # tokens per row that the cache holds at first


def is_plain(config: Any) -> bool:
    """True if ``config`` (transformers) is of a Qwen3 that this package computes."""
    return (
        config.model_type == "qwen3"
        and config.hidden_act == "silu"
        and not config.attention_bias
        and config.rope_parameters["rope_type"] == "default"
        and set(config.layer_types) == {"full_attention"}
    )


@dataclass(frozen=True)
class Layer:
    """Weights of a layer: matrices [in, out], which is faster for few rows; those with the same input are joined."""

    norm: np.ndarray
    qkv: torch.Tensor
    query_norm: np.ndarray
    key_norm: np.ndarray
    out: torch.Tensor
    mlp_norm: np.ndarray
    gate_up: torch.Tensor
    down: torch.Tensor


class Weights:
    """A copy of a model's weights, laid out for decoding; make a new one after a weight has changed.

    ``tensors`` are float32, by transformers' names; ``config`` is the model's configuration.
    """

    def __init__(self, config: Any, tensors: Mapping[str, torch.Tensor]):
        tensors = {name: tensor.detach() for name, tensor in tensors.items()}
        self.heads, self.kv_heads, self.width = config.num_attention_heads, config.num_key_value_heads, config.head_dim
        self.inner, self.eps = config.intermediate_size, config.rms_norm_eps
        self.embedding = tensors["model.embed_tokens.weight"]
        self.output = tensors.get("lm_head.weight", self.embedding).T.contiguous()
        self.norm = tensors["model.norm.weight"].numpy()
        exponents = torch.arange(0, self.width, 2, dtype=torch.int64).float() / self.width
        self.inverse_frequency = 1.0 / config.rope_parameters["rope_theta"] ** exponents
        self.layers = [_layer(tensors, f"model.layers.{i}.") for i in range(config.num_hidden_layers)]


def _layer(tensors: Mapping[str, torch.Tensor], prefix: str) -> Layer:
    def joined(*names: str) -> torch.Tensor:
        return torch.cat([tensors[f"{prefix}{name}.weight"] for name in names]).T.contiguous()

    def vector(name: str) -> np.ndarray:
        return tensors[f"{prefix}{name}.weight"].numpy()

    return Layer(
        norm=vector("input_layernorm"),
        qkv=joined("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
        query_norm=vector("self_attn.q_norm"),
        key_norm=vector("self_attn.k_norm"),
        out=joined("self_attn.o_proj"),
        mlp_norm=vector("post_attention_layernorm"),
        gate_up=joined("mlp.gate_proj", "mlp.up_proj"),
        down=joined("mlp.down_proj"),
    )


@dataclass
class Rows:
    """Rows that are decoded together: the cache slots of prompts and of own tokens, and the numbers of tokens in both.

    All arrays are [n].
    """

    prompts: np.ndarray
    prompt_lengths: np.ndarray
    slots: np.ndarray
    lengths: np.ndarray

    def __getitem__(self, chosen: slice | np.ndarray) -> "Rows":
        return Rows(*(column[chosen] for column in vars(self).values()))


class Decoder:
    """A key-value cache of ``prompts`` and of up to ``places`` rows of up to ``max_tokens`` tokens that follow them.

    ``logits`` [prompts, V] are those after each prompt. All rows of a prompt share its keys and values.
    """

    def __init__(self, weights: Weights, prompts: Sequence[tuple[int, ...]], *, places: int, max_tokens: int):
        self.weights, self.places = weights, places
        self.prompt_lengths = np.array([len(prompt) for prompt in prompts])
        longest = int(self.prompt_lengths.max())
        angles = torch.arange(longest + max_tokens)[:, None].float() * weights.inverse_frequency
        self._cos, self._sin = angles.cos().numpy(), angles.sin().numpy()
        self._reserve(len(prompts) + places, max(longest, min(max_tokens, FIRST_CAPACITY)))
        self._buffers = _Buffers(0, ())
        self.logits = torch.empty(len(prompts), weights.output.shape[1])
        for side_by_side in self._by_length():
            self._read(side_by_side, prompts)

    def _reserve(self, slots: int, tokens: int) -> None:
        """Allocate ``tokens`` tokens in every slot. Untouched pages take no memory, so unused blocks cost nothing."""
        kv, width, layers = self.weights.kv_heads, self.weights.width, self.weights.layers
        shape, whole_blocks = (slots, -(-tokens // BLOCK), kv), -(-width // BLOCK) * BLOCK
        self._capacity = shape[1] * BLOCK
        self._keys = [np.zeros((*shape, width, BLOCK), np.float32) for _ in layers]
        self._values = [np.zeros((*shape, BLOCK, whole_blocks), np.float32) for _ in layers]

    def _grow(self) -> None:
        """Double the capacity; the content stays."""
        old = *self._keys, *self._values
        self._reserve(len(old[0]), 2 * self._capacity)
        for larger, smaller in zip((*self._keys, *self._values), old, strict=True):
            larger[:, : smaller.shape[1]] = smaller

    def _by_length(self) -> Iterator[np.ndarray]:
        """Numbers of the prompts in batches of similar length, longest first."""
        order = np.argsort(-self.prompt_lengths, kind="stable")
        yield from (order[first : first + self.places] for first in range(0, len(order), self.places))

    def _read(self, numbers: np.ndarray, prompts: Sequence[tuple[int, ...]]) -> None:
        """Prefill the prompts ``numbers`` (longest first) together, one token of each at a time."""
        lengths = self.prompt_lengths[numbers]
        tokens = torch.zeros(len(numbers), int(lengths[0]), dtype=torch.long)
        for row, number in enumerate(numbers):
            tokens[row, : lengths[row]] = torch.tensor(prompts[number])
        none, slots = np.zeros_like(numbers), self.places + numbers
        for read in range(int(lengths[0])):
            rows = Rows(none, none, slots, none + read)[lengths > read]
            logits = self.forward(tokens[: len(rows.slots), read], rows)
            ending = lengths[: len(rows.slots)] == read + 1
            self.logits[numbers[: len(ending)][ending]] = logits[ending]

    def start(self, numbers: np.ndarray, places: np.ndarray) -> Rows:
        """Rows that follow the prompts ``numbers``, in the free ``places`` (from 0 on)."""
        return Rows(self.places + numbers, self.prompt_lengths[numbers], places, np.zeros_like(numbers))

    def forward(self, tokens: torch.Tensor, rows: Rows) -> torch.Tensor:
        """Append one of the ``tokens`` [n] to each row; the logits [n, V] after it."""
        if rows.lengths.max() >= self._capacity:
            self._grow()
        weights, buffers = self.weights, self._buffers_for(len(tokens))
        x, total, normed, added, qkv, attended, gate_up, gated = buffers.tensors
        x_, total_, normed_, added_, qkv_, attended_, gate_up_, gated_ = buffers.arrays
        torch.index_select(weights.embedding, 0, tokens, out=x)
        places = rows.prompts, rows.prompt_lengths, rows.slots, rows.lengths
        for layer, keys, values in zip(weights.layers, self._keys, self._values, strict=True):
            rms_norm(x_, layer.norm, weights.eps, normed_, buffers.scales)
            torch.mm(normed, layer.qkv, out=qkv)
            norms = layer.query_norm, layer.key_norm, weights.eps
            attend(qkv_, *norms, self._cos, self._sin, keys, values, *places, attended_)
            torch.mm(attended, layer.out, out=added)
            add_rms_norm(x_, added_, layer.mlp_norm, weights.eps, total_, normed_, buffers.scales)
            torch.mm(normed, layer.gate_up, out=gate_up)
            silu_product(gate_up_, gated_)
            torch.addmm(total, gated, layer.down, out=x)
        rms_norm(x_, weights.norm, weights.eps, normed_, buffers.scales)
        return torch.mm(normed, weights.output)

    def _buffers_for(self, rows: int) -> "_Buffers":
        """Buffers for ``rows`` rows; those of the last step if it had as many."""
        if self._buffers.rows != rows:
            weights = self.weights
            hidden, attended = weights.embedding.shape[1], weights.heads * weights.width
            qkv = attended + 2 * weights.kv_heads * weights.width
            self._buffers = _Buffers(rows, [hidden] * 4 + [qkv, attended, 2 * weights.inner, weights.inner])
        return self._buffers


class _Buffers:
    """Memory that a step works in: ``tensors`` [rows, width], and the same memory as ``arrays``, for the kernels."""

    def __init__(self, rows: int, widths: Sequence[int]):
        self.rows, self.scales = rows, np.empty(rows, np.float32)
        self.tensors = [torch.empty(rows, width) for width in widths]
        self.arrays = [tensor.numpy() for tensor in self.tensors]
