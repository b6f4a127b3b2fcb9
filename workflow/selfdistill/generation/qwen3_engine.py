"""The CPU engine for plain Qwen3 models: `selfdistill.qwen3` draws, and a row that ends makes room for the next.

Nothing here needs transformers' models, whose import takes longer than drawing some hundred responses.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from selfdistill import models
from selfdistill.generation.picking import Uniforms, pick, warper
from selfdistill.generation.requests import Completion, Row, Sampling
from selfdistill.qwen3.decoding import Decoder, Rows, Weights, is_plain

# Rows drawn side by side: with more, two processes beside each other wait for memory, as the keys and values of all are
# read for every token (128: a sixth slower); with fewer, the products are short of rows (32: a tenth).
PLACES = 64
READ_TOGETHER = 1024  # rows whose prompts are held at a time

WEIGHTS, ARCHITECTURE = "model.safetensors", "Qwen3ForCausalLM"


class Qwen3Engine:
    """Draws from a saved model. Raises `UserError` for a broken manifest."""

    room = math.inf

    def __init__(self, manifest: Path):
        self.tokenizer = models.load_tokenizer(manifest)
        folder = Path(models.location(manifest)[0])
        tensors = {name: tensor.float() for name, tensor in load_file(folder / WEIGHTS).items()}
        self.weights = Weights(models.config(manifest), tensors)
        ends = models.end_ids(models.generation_config(manifest), self.tokenizer.eos_token_id)
        self.end_ids = np.array(sorted(ends))

    @staticmethod
    def takes(manifest: Path) -> bool:
        """Whether the model is a plain Qwen3 whose weights lie in one file at hand."""
        config = models.config(manifest)
        at_hand = WEIGHTS in models.read_manifest(manifest).get("files", {})
        return at_hand and config.architectures == [ARCHITECTURE] and is_plain(config)

    def draw(self, rows: Sequence[Row], sampling: Sampling) -> list[Completion]:
        """One completion per row, in order."""
        return draw_rows(self.weights, rows, sampling, self.end_ids)

    def decode(self, token_ids: Sequence[int]) -> str:
        return self.tokenizer.decode(token_ids, skip_special_tokens=True)

    def close(self) -> None:
        """Nothing is held outside of Python's own memory."""


@torch.inference_mode()
def draw_rows(
    weights: Weights, rows: Sequence[Row], sampling: Sampling, end_ids: np.ndarray, *, logps: bool = False
) -> list[Completion]:
    """One completion per row, in order; ``logps`` asks for the log-probabilities of its tokens."""
    return [
        completion
        for first in range(0, len(rows), READ_TOGETHER)
        for completion in _Draw(weights, rows[first : first + READ_TOGETHER], sampling, end_ids).completions(logps)
    ]


class _Draw:
    """Draws ``rows``, at most `PLACES` at a time; neighbours with one prompt find its keys and values in the cache."""

    def __init__(self, weights: Weights, rows: Sequence[Row], sampling: Sampling, end_ids: np.ndarray):
        self.sampling = sampling
        self.is_end = np.zeros(weights.output.shape[1], bool)
        self.is_end[end_ids[end_ids < len(self.is_end)]] = True  # a tokenizer may know more tokens than the model
        place = {prompt: number for number, prompt in enumerate(dict.fromkeys(row.token_ids for row in rows))}
        self.prompt_of = np.array([place[row.token_ids] for row in rows])
        self.waiting = list(np.argsort(-self.prompt_of, kind="stable"))  # the next one last
        self.decoder = Decoder(weights, list(place), places=PLACES, max_tokens=sampling.max_tokens)
        self.uniforms = Uniforms([row.seed for row in rows])
        self.tokens = np.zeros((len(rows), sampling.max_tokens), np.int32)
        self.logps = np.zeros((len(rows), sampling.max_tokens), np.float32)
        self.counts = np.zeros(len(rows), np.int64)

    def completions(self, with_logps: bool) -> list[Completion]:
        self._draw_all()
        return [self._completion(row, with_logps) for row in range(len(self.tokens))]

    def _draw_all(self) -> None:
        warp = warper(self.sampling)
        free = list(range(PLACES))
        numbers = np.empty(0, np.int64)  # of the rows that are running
        running = self.decoder.start(numbers, numbers)
        logits = self.decoder.logits[:0]
        while True:
            room = min(len(free), len(self.waiting))
            if room:
                new, places = _taken(self.waiting, room), _taken(free, room)
                numbers = np.concatenate([numbers, new])
                running = _joined(running, self.decoder.start(self.prompt_of[new], places))
                logits = torch.cat([logits, self.decoder.logits[self.prompt_of[new]]])
            if not len(numbers):
                return
            steps = running.lengths
            tokens, logps = pick(warp, logits, self.uniforms.at(steps, numbers), self.sampling.temperature)
            self.tokens[numbers, steps], self.logps[numbers, steps] = tokens, logps
            self.counts[numbers] = steps + 1
            ended = self.is_end[tokens] | (steps + 1 == self.sampling.max_tokens)
            if ended.any():
                free += running.slots[ended].tolist()
                left = ~ended
                numbers, running, tokens = numbers[left], running[left], tokens[left]
            if len(numbers):
                logits = self.decoder.forward(torch.from_numpy(tokens), running)
                running.lengths = running.lengths + 1
            else:
                logits = logits[:0]

    def _completion(self, row: int, with_logps: bool) -> Completion:
        ids = self.tokens[row, : self.counts[row]].tolist()
        logps = self.logps[row, : self.counts[row]].tolist() if with_logps else None
        if self.is_end[ids[-1]]:
            return Completion(ids[:-1], "stop", logps, (ids[-1],))
        return Completion(ids, "length", logps)


def _taken(stack: list[int], count: int) -> np.ndarray:
    """The last ``count`` members of ``stack``, the last first, which are gone from it."""
    return np.array([stack.pop() for _ in range(count)])


def _joined(first: Rows, second: Rows) -> Rows:
    return Rows(*(np.concatenate(pair) for pair in zip(vars(first).values(), vars(second).values(), strict=True)))
