"""The CPU engine for any causal language model of transformers: our sampling loop, one random stream per response.

`transformers.generate` samples a batch from one generator, so a response would depend on its neighbours' random
numbers. Here every response has its own counter-based stream (Philox, keyed by its seed). Keys and values are computed
once per distinct prompt, the cache grows in place, and finished rows leave the batch.
"""

import math
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerBase
from transformers.cache_utils import DynamicLayer

from selfdistill.generation import progress
from selfdistill.generation.drafts import Drafts
from selfdistill.generation.picking import Uniforms, Warp, pick, warper
from selfdistill.generation.qwen3_engine import sample_rows
from selfdistill.generation.requests import ALL_WORDS, Completion, Row, Sampling, Words
from selfdistill.generation.word_rules import word_rule
from selfdistill.models import end_ids, load_model, load_tokenizer
from selfdistill.qwen3.decoding import Weights
from selfdistill.qwen3.forward import is_plain_model

CACHE_STEP = 64  # positions by which the key-value cache grows
KEEP_FULL = 0.9  # finished rows leave the batch when fewer than this share of it still runs
# Every row of a batch attends over the width of its longest prompt. Prompts of very different lengths are therefore in
# different batches: the longest has at most this many times the tokens of the shortest, and so many more.
LENGTH_RATIO, LENGTH_SLACK = 2, 32


def computes(model: PreTrainedModel) -> bool:
    """True if `selfdistill.qwen3` samples from ``model``; False if its attention was chosen by hand."""
    return is_plain_model(model) and model.config._attn_implementation == "sdpa"


class GrowingLayer(DynamicLayer):
    """A cache layer that writes new positions in place instead of copying all earlier ones at every token."""

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        super().lazy_initialization(key_states, value_states)
        self._buffers = [self._new_buffer(key_states, 0), self._new_buffer(value_states, 0)]

    @staticmethod
    def _new_buffer(states: torch.Tensor, length: int) -> torch.Tensor:
        batch, heads, new, width = states.shape
        return states.new_empty(batch, heads, length + new + CACHE_STEP, width)

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *args: object, **kwargs: object):
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        length = self.get_seq_length()
        end = length + key_states.shape[-2]
        for i, states in enumerate((key_states, value_states)):
            if end > self._buffers[i].shape[-2]:
                larger = self._new_buffer(states, length)
                larger[:, :, :length] = self._buffers[i][:, :, :length]
                self._buffers[i] = larger
            self._buffers[i][:, :, length:end] = states
        self.keys, self.values = (buffer[:, :, :end] for buffer in self._buffers)
        return self.keys, self.values

    def select(self, rows: torch.Tensor) -> None:
        """Keep (or repeat) the given rows."""
        length = self.get_seq_length()
        self._buffers = [buffer.index_select(0, rows) for buffer in self._buffers]
        self.keys, self.values = (buffer[:, :, :length] for buffer in self._buffers)


class ModelSampler:
    """Samples responses from a causal language model of transformers, with its weights at the time of the call.

    The model may be on any device. Tokens are sampled on the CPU, so that a stream of random numbers gives the same
    tokens everywhere.
    """

    max_model_len = math.inf

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, largest_batch: int = 1024):
        self.model = model
        self.tokenizer = tokenizer
        self.largest_batch, self.drafts = largest_batch, Drafts()
        self.end_ids = torch.tensor(sorted(end_ids(self.model.generation_config, self.tokenizer.eos_token_id)))

    @cached_property
    def takes_key_mask(self) -> bool:
        """True if the model takes a mask over keys alone: not with windows, nor in code that adds masks."""
        layers = DynamicCache(config=self.model.config).layers
        return all(type(layer) is DynamicLayer for layer in layers) and self.model.config._attn_implementation == "sdpa"

    def decode(self, token_ids: Sequence[int]) -> str:
        return self.tokenizer.decode(token_ids, skip_special_tokens=True)

    def close(self) -> None:
        """Nothing to do: all memory is Python's own."""

    def sample(
        self, rows: Sequence[Row], sampling: Sampling, words: Words = ALL_WORDS, *, logps: bool = False
    ) -> list[Completion]:
        """One completion per row, in order; with the log-probabilities of its tokens if ``logps``."""
        rule = word_rule(words, self.tokenizer)
        if computes(self.model):
            weights = Weights(self.model.config, self.model.state_dict())
            return sample_rows(weights, rows, sampling, self.end_ids.numpy(), self.drafts, rule=rule, logps=logps)
        warp = warper(sampling, rule)
        sampled: dict[int, Completion] = {}
        for batch in batches_by_length([len(row.token_ids) for row in rows], self.largest_batch):
            sampled |= zip(batch, self._sample_batch([rows[i] for i in batch], sampling, warp, logps), strict=True)
        return [sampled[i] for i in range(len(rows))]

    @torch.inference_mode()
    def _sample_batch(self, rows: Sequence[Row], sampling: Sampling, warp: Warp, with_logps: bool) -> list[Completion]:
        uniforms = Uniforms([row.seed for row in rows])
        logits, cache, visible, positions = self._read_prompts(rows)
        sampled: list[list[int]] = [[] for _ in rows]
        ended: list[tuple[int, ...]] = [()] * len(rows)
        logps: list[list[float]] = [[] for _ in rows]
        running = torch.arange(len(rows))  # row of each batch entry
        alive = torch.ones(len(rows), dtype=torch.bool)
        for step in range(sampling.max_tokens):
            numbers = uniforms.at(np.full(len(running), step), running.numpy())
            tokens, of_tokens = map(torch.from_numpy, pick(warp, logits, numbers, sampling.temperature))
            at_end = torch.isin(tokens, self.end_ids)
            columns = (column.tolist() for column in (running, tokens, of_tokens, alive, at_end))
            for row, token, logp, live, end in zip(*columns, strict=True):
                if live:
                    logps[row].append(logp)
                    if end:
                        ended[row] = (token,)
                    else:
                        sampled[row].append(token)
            progress.count(int(alive.sum()))
            alive &= ~at_end
            if step + 1 == sampling.max_tokens or not alive.any():
                break
            if alive.sum() < KEEP_FULL * len(alive):
                keep = alive.nonzero().squeeze(1)
                running, tokens, positions, visible = running[keep], tokens[keep], positions[keep], visible[keep]
                alive = alive[keep]
                _select(cache, keep.to(self.model.device))
            positions = positions + 1
            visible = torch.cat([visible, visible.new_ones(len(visible), 1)], dim=1)
            logits = self._forward(tokens[:, None], cache, visible, positions[:, None])
        return [
            Completion(ids, "stop" if end else "length", of_tokens if with_logps else None, end)
            for ids, end, of_tokens in zip(sampled, ended, logps, strict=True)
        ]

    def _read_prompts(self, rows: Sequence[Row]):
        """Prefill: logits [B, V] after the prompts, cache, visible positions [B, T], last position [B]; B rows."""
        distinct = list(dict.fromkeys(row.token_ids for row in rows))
        width = max(len(ids) for ids in distinct)
        inputs = torch.full((len(distinct), width), self.tokenizer.pad_token_id or 0)
        visible = torch.zeros(len(distinct), width, dtype=torch.bool)
        for i, ids in enumerate(distinct):
            inputs[i, width - len(ids) :] = torch.tensor(ids)
            visible[i, width - len(ids) :] = True
        positions = (visible.cumsum(1) - 1).clamp(min=0)
        cache = DynamicCache(config=self.model.config)
        cache.layers = [GrowingLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
        logits = self._forward(inputs, cache, visible, positions, prompt=True)
        place = {ids: i for i, ids in enumerate(distinct)}
        repeat = torch.tensor([place[row.token_ids] for row in rows])
        _select(cache, repeat.to(self.model.device))
        return logits[repeat], cache, visible[repeat], positions[repeat, -1]

    def _forward(
        self,
        inputs: torch.Tensor,
        cache: DynamicCache,
        visible: torch.Tensor,
        positions: torch.Tensor,
        *,
        prompt: bool = False,
    ) -> torch.Tensor:
        """Float32 logits [B, V] of the last position, on the CPU."""
        device = self.model.device
        mask: torch.Tensor | None = visible.to(device)
        if visible.all():
            mask = None
        elif self.takes_key_mask and not prompt:  # for one query, so that transformers builds no mask per token
            mask = mask[:, None, None, :]
        output = self.model(
            input_ids=inputs.to(device),
            attention_mask=mask,
            position_ids=positions.to(device),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        return output.logits[:, -1].float().cpu()


class TransformersEngine(ModelSampler):
    """A `ModelSampler` of a saved model. Raises `UserError` for a broken manifest."""

    def __init__(self, manifest: Path, *, largest_batch: int = 1024):
        super().__init__(load_model(manifest).eval(), load_tokenizer(manifest), largest_batch=largest_batch)


def batches_by_length(lengths: Sequence[int], largest: int) -> list[list[int]]:
    """Indices of ``lengths`` in batches of at most ``largest``, similar lengths together, equal ones in order."""
    batches: list[list[int]] = []
    for i in sorted(range(len(lengths)), key=lengths.__getitem__):
        longest = LENGTH_RATIO * lengths[batches[-1][0]] + LENGTH_SLACK if batches else 0
        if not batches or len(batches[-1]) == largest or lengths[i] > longest:
            batches.append([])
        batches[-1].append(i)
    return batches


def _select(cache: DynamicCache, rows: torch.Tensor) -> None:
    for layer in cache.layers:
        layer.select(rows) if isinstance(layer, GrowingLayer) else layer.batch_select_indices(rows)
