"""A Qwen3 model on the CPU, token by token: its weights, a cache in blocks, and one decoding step for many rows."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from selfdistill.qwen3.kernels import BLOCK, LANES, add_rms_norm, attend, multiply, pack, rms_norm, silu_product

FIRST_CAPACITY = 512  # tokens per row that the cache holds at first
READ_TOGETHER = 512  # tokens of prompts that are read at a time


def is_plain(config: Any) -> bool:
    """True if ``config`` (transformers) is of a Qwen3 that this package computes."""
    return (
        config.model_type == "qwen3"
        and config.hidden_act == "silu"
        and not config.attention_bias
        and config.rope_parameters["rope_type"] == "default"
        and set(config.layer_types) == {"full_attention"}
    )


def inverse_frequencies(config: Any) -> np.ndarray:
    """Inverse frequencies of the rotary position embedding, float32 [D / 2]."""
    exponents = np.arange(0, config.head_dim, 2) / config.head_dim
    return (1.0 / config.rope_parameters["rope_theta"] ** exponents).astype(np.float32)


def angles(positions: int, frequencies: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cosines and sines [positions, D / 2] of the rotation at each position; in float64, then rounded."""
    turns = np.arange(positions, dtype=np.float32)[:, None] * frequencies
    return np.cos(turns, dtype=np.float64).astype(np.float32), np.sin(turns, dtype=np.float64).astype(np.float32)


def places_within(sizes: np.ndarray) -> np.ndarray:
    """0, 1, ... within each of the pieces of ``sizes`` that lie end to end."""
    return np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)


class Layer(NamedTuple):
    """Weights of a layer; matrices are packed, and those with the same input joined."""

    norm: np.ndarray
    qkv: np.ndarray
    query_norm: np.ndarray
    key_norm: np.ndarray
    out: np.ndarray
    mlp_norm: np.ndarray
    gate_up: np.ndarray
    down: np.ndarray


class Weights:
    """A copy of a model's weights, laid out for decoding; make a new one after a weight has changed.

    ``tensors`` are float32, by transformers' names; ``config`` is the model's configuration.
    """

    def __init__(self, config: Any, tensors: Mapping[str, torch.Tensor]):
        arrays = {name: tensor.detach().numpy() for name, tensor in tensors.items()}
        self.heads, self.kv_heads, self.width = config.num_attention_heads, config.num_key_value_heads, config.head_dim
        self.inner, self.eps = config.intermediate_size, config.rms_norm_eps
        self.embedding = arrays["model.embed_tokens.weight"]
        output = arrays.get("lm_head.weight", self.embedding)
        self.vocabulary, self.output = len(output), pack(output.T)
        self.norm = arrays["model.norm.weight"]
        self.inverse_frequency = inverse_frequencies(config)
        self.layers = [_layer(arrays, f"model.layers.{i}.") for i in range(config.num_hidden_layers)]


def _layer(arrays: Mapping[str, np.ndarray], prefix: str) -> Layer:
    def joined(*names: str) -> np.ndarray:
        return pack(np.concatenate([arrays[f"{prefix}{name}.weight"] for name in names]).T)

    def vector(name: str) -> np.ndarray:
        return arrays[f"{prefix}{name}.weight"]

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
        self._angles = *angles(longest + max_tokens, weights.inverse_frequency), (None,) * (weights.width // 2)
        self._reserve(len(prompts) + places, max(longest, min(max_tokens, FIRST_CAPACITY)))
        self.logits = np.empty((len(prompts), weights.vocabulary), np.float32)
        self._read(prompts)

    def _reserve(self, slots: int, tokens: int) -> None:
        """Allocate ``tokens`` tokens in every slot. Untouched pages take no memory, so unused blocks cost nothing."""
        kv, width, layers = self.weights.kv_heads, self.weights.width, self.weights.layers
        shape, whole_lanes = (slots, -(-tokens // BLOCK), kv), -(-width // LANES) * LANES
        self._capacity = shape[1] * BLOCK
        self._keys = [np.zeros((*shape, width, BLOCK), np.float32) for _ in layers]
        self._values = [np.zeros((*shape, BLOCK, whole_lanes), np.float32) for _ in layers]

    def _grow(self) -> None:
        """Double the capacity; the content stays."""
        old = *self._keys, *self._values
        self._reserve(len(old[0]), 2 * self._capacity)
        for larger, smaller in zip((*self._keys, *self._values), old, strict=True):
            larger[:, : smaller.shape[1]] = smaller

    def _read(self, prompts: Sequence[tuple[int, ...]]) -> None:
        """Prefill the prompts: all tokens of some of them at a time."""
        for numbers in _together(self.prompt_lengths):
            lengths = self.prompt_lengths[numbers]
            slots = np.repeat(self.places + numbers, lengths)
            none = np.zeros_like(slots)
            tokens = np.concatenate([prompts[number] for number in numbers])
            logits = self.forward(tokens, Rows(none, none, slots, places_within(lengths)))
            self.logits[numbers] = logits[np.cumsum(lengths) - 1]

    def start(self, numbers: np.ndarray, places: np.ndarray) -> Rows:
        """Rows that follow the prompts ``numbers``, in the free ``places`` (from 0 on)."""
        return Rows(self.places + numbers, self.prompt_lengths[numbers], places, np.zeros_like(numbers))

    def forward(self, tokens: np.ndarray, rows: Rows) -> np.ndarray:
        """Append one of the ``tokens`` [n] to each row; the logits [n, V] after it.

        A slot may stand in several rows that follow each other, with lengths that do, too. A token that was appended is
        forgotten when a row of its length or a smaller one is appended.
        """
        while rows.lengths.max() >= self._capacity:
            self._grow()
        weights, work = self.weights, _Working(self.weights, len(tokens))
        x = weights.embedding[tokens]
        places = rows.prompts, rows.prompt_lengths, rows.slots, rows.lengths
        for layer, keys, values in zip(weights.layers, self._keys, self._values, strict=True):
            rms_norm(x, layer.norm, weights.eps, work.normed, work.scales)
            multiply(work.normed, layer.qkv, work.qkv, False)
            norms = layer.query_norm, layer.key_norm, weights.eps
            attend(work.qkv, *norms, *self._angles, keys, values, *places, work.attended)
            multiply(work.attended, layer.out, work.added, False)
            add_rms_norm(x, work.added, layer.mlp_norm, weights.eps, work.total, work.normed, work.scales)
            multiply(work.normed, layer.gate_up, work.gate_up, False)
            silu_product(work.gate_up, work.product)
            x[:] = work.total
            multiply(work.product, layer.down, x, True)
        rms_norm(x, weights.norm, weights.eps, work.normed, work.scales)
        logits = np.empty((len(tokens), weights.vocabulary), np.float32)
        multiply(work.normed, weights.output, logits, False)
        return logits


def _together(lengths: np.ndarray) -> Iterator[np.ndarray]:
    """Numbers of prompts of ``lengths``, in order, in parts of up to `READ_TOGETHER` tokens."""
    ends, first = np.cumsum(lengths), 0
    while first < len(lengths):
        before = ends[first - 1] if first else 0
        last = max(first + 1, int(np.searchsorted(ends, before + READ_TOGETHER, side="right")))
        yield np.arange(first, last)
        first = last


class _Working:
    """Memory that a step works in: [n, width], and ``scales`` [n]."""

    def __init__(self, weights: Weights, rows: int):
        hidden, attended = weights.embedding.shape[1], weights.heads * weights.width
        joined = attended + 2 * weights.kv_heads * weights.width
        self.normed, self.added, self.total = np.empty((3, rows, hidden), np.float32)
        self.qkv, self.attended = np.empty((rows, joined), np.float32), np.empty((rows, attended), np.float32)
        self.gate_up = np.empty((rows, 2 * weights.inner), np.float32)
        self.product = np.empty((rows, weights.inner), np.float32)
        self.scales = np.empty(rows, np.float32)
