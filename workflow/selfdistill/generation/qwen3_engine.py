"""The CPU engine for plain Qwen3 models, on top of `selfdistill.qwen3`, with continuous batching.

It imports none of transformers' models, which would take longer than sampling some hundred responses.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from selfdistill import models
from selfdistill.generation import progress
from selfdistill.generation.drafts import Drafts, accept
from selfdistill.generation.picking import Uniforms, Warp, pick, warper
from selfdistill.generation.requests import ALL_WORDS, Completion, Row, Sampling, Words
from selfdistill.generation.word_rules import Rule, word_rule
from selfdistill.qwen3.decoding import Decoder, Weights, is_plain, places_within

# Rows sampled at a time. With more, two processes wait for memory, because the keys and values of all rows are read for
# every token (128: a sixth slower); with fewer, the matrix products have too few rows (32: a tenth slower).
PLACES = 64
READ_TOGETHER = 1024  # rows whose prompts are in the cache at a time

WEIGHTS, ARCHITECTURE = "model.safetensors", "Qwen3ForCausalLM"


class Qwen3Engine:
    """Samples from a saved model. Raises `UserError` for a broken manifest."""

    max_model_len = math.inf

    def __init__(self, manifest: Path):
        self.tokenizer = models.load_tokenizer(manifest)
        folder = Path(models.location(manifest)[0])
        tensors = {name: tensor.float() for name, tensor in load_file(folder / WEIGHTS).items()}
        self.weights = Weights(models.config(manifest), tensors)
        ends = models.end_ids(models.generation_config(manifest), self.tokenizer.eos_token_id)
        self.end_ids, self.drafts = np.array(sorted(ends)), Drafts()

    @staticmethod
    def takes(manifest: Path) -> bool:
        """True if the model is a plain Qwen3 with all weights in one local file."""
        config = models.config(manifest)
        at_hand = WEIGHTS in models.read_manifest(manifest).get("files", {})
        return at_hand and config.architectures == [ARCHITECTURE] and is_plain(config)

    def sample(self, rows: Sequence[Row], sampling: Sampling, words: Words = ALL_WORDS) -> list[Completion]:
        """One completion per row, in order."""
        rule = word_rule(words, self.tokenizer)
        return sample_rows(self.weights, rows, sampling, self.end_ids, self.drafts, rule=rule)

    def decode(self, token_ids: Sequence[int]) -> str:
        return self.tokenizer.decode(token_ids, skip_special_tokens=True)

    def close(self) -> None:
        """Nothing to do: all memory is Python's own."""


@torch.inference_mode()
def sample_rows(
    weights: Weights,
    rows: Sequence[Row],
    sampling: Sampling,
    end_ids: np.ndarray,
    drafts: Drafts,
    *,
    rule: Rule | None = None,
    logps: bool = False,
) -> list[Completion]:
    """One completion per row, in order; with the log-probabilities of its tokens if ``logps``.

    ``drafts`` learn from what is sampled, and save time alone. ``rule``: what is made of logits first.
    """
    warp = warper(sampling, rule)
    parts = [rows[first : first + READ_TOGETHER] for first in range(0, len(rows), READ_TOGETHER)]
    return [
        completion
        for part in parts
        for completion in _Batch(weights, part, sampling, warp, end_ids, drafts).completions(logps)
    ]


class _Batch:
    """Continuous batching: of ``rows`` at most `PLACES` run at a time, and when one ends, the next takes its place."""

    def __init__(
        self,
        weights: Weights,
        rows: Sequence[Row],
        sampling: Sampling,
        warp: Warp,
        end_ids: np.ndarray,
        drafts: Drafts,
    ):
        self.sampling, self.warp, self.drafts = sampling, warp, drafts
        self.is_end = np.zeros(weights.vocabulary, bool)
        self.is_end[end_ids[end_ids < len(self.is_end)]] = True  # a tokenizer may know more tokens than the model
        prompts = list(dict.fromkeys(row.token_ids for row in rows))
        numbers = {prompt: number for number, prompt in enumerate(prompts)}
        self.prompt_of = np.array([numbers[row.token_ids] for row in rows])
        self.waiting = list(np.argsort(-self.prompt_of, kind="stable"))  # the next one last
        self.decoder = Decoder(weights, prompts, places=PLACES, max_tokens=sampling.max_tokens)
        self.uniforms = Uniforms([row.seed for row in rows])
        self.tokens = np.zeros((len(rows), sampling.max_tokens), np.int32)
        self.logps = np.zeros((len(rows), sampling.max_tokens), np.float32)
        self.counts = np.zeros(len(rows), np.int64)

    def completions(self, with_logps: bool) -> list[Completion]:
        self._sample_all()
        return [self._completion(row, with_logps) for row in range(len(self.tokens))]

    def _sample_all(self) -> None:
        free = list(range(PLACES))
        numbers = slots = fed = sizes = np.empty(0, np.int64)  # of the rows that run; see `Drafts.propose`
        logits = self.decoder.logits[:0]
        while True:
            starting = min(len(free), len(self.waiting))
            if starting:
                new, places = _taken(self.waiting, starting), _taken(free, starting)
                numbers, slots = np.concatenate([numbers, new]), np.concatenate([slots, places])
                logits = np.concatenate([logits, self.decoder.logits[self.prompt_of[new]]])
                fed, sizes = np.concatenate([fed, new]), np.concatenate([sizes, np.ones_like(new)])
            if not len(numbers):
                return
            ended = self._draw(logits, numbers, fed, sizes)
            free += slots[ended].tolist()
            numbers, slots = numbers[~ended], slots[~ended]
            fed, sizes = self.drafts.propose(self.tokens, numbers, self.counts[numbers])
            logits = self._feed(fed, sizes, numbers, slots) if len(numbers) else logits[:0]

    def _draw(self, logits: np.ndarray, numbers: np.ndarray, fed: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        """Append tokens to the responses ``numbers``, by the ``logits`` [N, V] after what was fed; which ended."""
        before, ended = self.counts[numbers], np.empty(len(numbers), bool)
        steps = np.repeat(before, sizes) + places_within(sizes)
        uniforms = self.uniforms.at(steps, np.repeat(numbers, sizes))
        drawn, logps = pick(self.warp, torch.from_numpy(logits), uniforms, self.sampling.temperature)
        accept(drawn, logps, fed, sizes, self.is_end, numbers, self.tokens, self.logps, self.counts, ended)
        self.drafts.learn(self.tokens, numbers, before, self.counts[numbers])
        progress.count(int((self.counts[numbers] - before).sum()))
        return ended

    def _feed(self, fed: np.ndarray, sizes: np.ndarray, numbers: np.ndarray, slots: np.ndarray) -> np.ndarray:
        """The logits [N, V] after each of the tokens ``fed`` [N]. All tokens of a response but its last are cached."""
        rows = self.decoder.start(self.prompt_of[numbers], slots)[np.repeat(np.arange(len(numbers)), sizes)]
        rows.lengths = np.repeat(self.counts[numbers] - 1, sizes) + places_within(sizes)
        return self.decoder.forward(fed, rows)

    def _completion(self, row: int, with_logps: bool) -> Completion:
        ids = self.tokens[row, : self.counts[row]].tolist()
        logps = self.logps[row, : self.counts[row]].tolist() if with_logps else None
        if self.is_end[ids[-1]]:
            return Completion(ids[:-1], "stop", logps, (ids[-1],))
        return Completion(ids, "length", logps)


def _taken(stack: list[int], count: int) -> np.ndarray:
    """Pop ``count`` members of ``stack``, the last first."""
    return np.array([stack.pop() for _ in range(count)])
