"""How a token is drawn from logits: random numbers of one's own for every response, filters, inverse transform."""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from selfdistill.generation.requests import Sampling

UNIFORMS_STEP = 256  # random numbers drawn ahead per response

# Filters logits [B, V]; the first argument, which transformers' filters take, is not used.
Warp = Callable[[None, torch.Tensor], torch.Tensor]


class Uniforms:
    """One stream of uniform numbers per response, keyed by its seed; the same at any step however it is read."""

    def __init__(self, seeds: Sequence[int]):
        self._streams = [np.random.Generator(np.random.Philox(key=seed)) for seed in seeds]
        self._blocks = np.empty((len(seeds), UNIFORMS_STEP))
        self._starts = np.full(len(seeds), -UNIFORMS_STEP)

    def at(self, steps: np.ndarray, rows: np.ndarray) -> torch.Tensor:
        """Number ``steps`` [n] (which never decrease) of the streams ``rows`` [n], float64 in [0, 1)."""
        for i in np.flatnonzero(steps >= self._starts[rows] + UNIFORMS_STEP):
            self._blocks[rows[i]] = self._streams[rows[i]].random(UNIFORMS_STEP)
            self._starts[rows[i]] += UNIFORMS_STEP
        return torch.from_numpy(self._blocks[rows, steps - self._starts[rows]])


def pick(warp: Warp, logits: torch.Tensor, uniforms: torch.Tensor, temperature: float) -> torch.Tensor:
    """Token ids [B] by inverse transform: the first token whose cumulated probability exceeds the uniform number."""
    if temperature == 0:
        return logits.argmax(dim=-1)
    cumulated = warp(None, logits).softmax(dim=-1).double().cumsum(dim=-1)
    target = uniforms[:, None] * cumulated[:, -1:]
    return torch.searchsorted(cumulated, target, right=True).squeeze(1).clamp(max=logits.shape[-1] - 1)


def warper(sampling: Sampling) -> Warp:
    """The filters of logits [B, V], in the order in which transformers and vLLM apply them."""
    if sampling.temperature in (0.0, 1.0) and not sampling.top_k and sampling.top_p == 1:
        return lambda _, logits: logits
    # Imported where they are needed: with them come all of transformers' models.
    from transformers import LogitsProcessorList, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    filters = LogitsProcessorList()
    if sampling.temperature not in (0.0, 1.0):
        filters.append(TemperatureLogitsWarper(sampling.temperature))
    if sampling.top_k > 0:
        filters.append(TopKLogitsWarper(sampling.top_k))
    if sampling.top_p < 1:
        filters.append(TopPLogitsWarper(sampling.top_p))
    return filters
