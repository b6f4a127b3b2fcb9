"""Sampling a token from logits: filters, inverse transform, and a stream of random numbers for every response."""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from selfdistill.generation.requests import Sampling
from selfdistill.generation.word_rules import Rule
from selfdistill.qwen3.kernels import choose

UNIFORMS_STEP = 256  # random numbers made ahead per response

# Filters logits [B, V]; the first argument, which transformers' filters take, is not used.
Warp = Callable[[None, torch.Tensor], torch.Tensor]


class Uniforms:
    """One stream of uniform numbers per response, keyed by its seed; number i does not depend on how it is read."""

    def __init__(self, seeds: Sequence[int]):
        self._streams = [np.random.Generator(np.random.Philox(key=seed)) for seed in seeds]
        self._blocks = np.empty((len(seeds), 2 * UNIFORMS_STEP))
        self._starts = np.full(len(seeds), -2 * UNIFORMS_STEP)

    def at(self, steps: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Number ``steps`` [n] of the streams ``rows`` [n], float64 in [0, 1).

        The steps of a stream may fall back by less than `UNIFORMS_STEP`.
        """
        for i in np.flatnonzero(steps >= self._starts[rows] + 2 * UNIFORMS_STEP):
            row = rows[i]
            while steps[i] >= self._starts[row] + 2 * UNIFORMS_STEP:
                block = self._blocks[row]
                block[:UNIFORMS_STEP] = block[UNIFORMS_STEP:]
                block[UNIFORMS_STEP:] = self._streams[row].random(UNIFORMS_STEP)
                self._starts[row] += UNIFORMS_STEP
        return self._blocks[rows, steps - self._starts[rows]]


def pick(warp: Warp, logits: torch.Tensor, uniforms: np.ndarray, temperature: float) -> tuple[np.ndarray, np.ndarray]:
    """Token ids [B] by inverse transform of the ``uniforms`` [B], and their log-probabilities [B].

    Both are of the filtered distribution. At temperature 0: the likeliest tokens, with probabilities of the softmax.
    """
    scores = warp(None, logits)
    if temperature == 0:
        likeliest = scores.log_softmax(dim=-1).max(dim=-1)
        return likeliest.indices.numpy(), likeliest.values.numpy()
    tokens, logps = np.empty(len(scores), np.int64), np.empty(len(scores), np.float32)
    choose(scores.contiguous().numpy(), uniforms, tokens, logps)
    return tokens, logps


def warper(sampling: Sampling, rule: Rule | None = None) -> Warp:
    """The filters of logits [B, V], in the order of transformers and vLLM: words first (``rule``)."""
    filters = _filters(sampling)
    return filters if rule is None else lambda _, logits: filters(None, rule(logits))


def _filters(sampling: Sampling) -> Warp:
    if sampling.temperature in (0.0, 1.0) and not sampling.top_k and sampling.top_p == 1:
        return lambda _, logits: logits
    # Imported only here, because they import all of transformers' models.
    from transformers import LogitsProcessorList, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    filters = LogitsProcessorList()
    if sampling.temperature not in (0.0, 1.0):
        filters.append(TemperatureLogitsWarper(sampling.temperature))
    if sampling.top_k > 0:
        filters.append(TopKLogitsWarper(sampling.top_k))
    if sampling.top_p < 1:
        filters.append(TopPLogitsWarper(sampling.top_p))
    return filters
