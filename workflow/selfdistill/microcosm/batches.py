"""Random batches of token ids laid end to end, new for every step and reproducible from its number.

Each batch consists of `SHARDS` fixed parts, so that one process or two compute the same sums of gradients.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache, partial

import numpy as np
import torch
from transformers import PreTrainedTokenizerFast

from selfdistill.microcosm.documents import WORLDS, Document, Mix, sample_checks, sample_document, sample_facts
from selfdistill.microcosm.tokenizer import build_tokenizer
from selfdistill.microcosm.vocabulary import END

SHARDS = 2
# The documents of so many steps are made together and grouped by length, so that those of a batch take equally long.
POOL_STEPS = 32
FACTS_PER_ROW = 5
CHECKS_PER_ROW = 5
IGNORED = -100  # the label that cross entropy leaves out
Row = tuple[list[int], list[bool]]  # token ids, and which of them are labels


@dataclass(frozen=True)
class Batch:
    """``ids`` and ``labels`` int64 [tokens]: rows of ``lengths``, end to end.

    A label is its row's *next* token, or `IGNORED` if there is no loss.
    """

    ids: torch.Tensor
    labels: torch.Tensor
    lengths: list[int]


def fact_batch(seed: int, step: int, shard: int, mix: Mix, tokens: int) -> Batch:
    """Rows of facts, about ``tokens`` tokens in all; what is to be learnt of them is labels."""
    rng = random.Random(f"facts-{seed}-{step}-{shard}")
    return _end_to_end(_rows(partial(sample_facts, rng, mix, FACTS_PER_ROW), tokens), whole=True)


def check_batch(seed: int, step: int, shard: int, mix: Mix, tokens: int) -> Batch:
    """Rows of checks, about ``tokens`` tokens in all; what a check finds is labels."""
    rng = random.Random(f"checks-{seed}-{step}-{shard}")
    return _end_to_end(_rows(partial(sample_checks, rng, mix, CHECKS_PER_ROW), tokens))


def _rows(sample: Callable[[], tuple[list[str], list[bool]]], tokens: int) -> list[Row]:
    """Rows of words and whether they are labels, until they have so many tokens."""
    rows: list[Row] = []
    while sum(len(ids) for ids, _ in rows) < tokens:
        words, learnt = sample()
        rows.append((_tokenizer().convert_tokens_to_ids(words), learnt))
    return rows


def document_batch(seed: int, step: int, shard: int, mix: Mix, tokens: int) -> Batch:
    """Documents of similar length, about ``tokens`` tokens in all; the tokens of the responses are labels."""
    return _pool(seed, step // POOL_STEPS, shard, mix, tokens)[step % POOL_STEPS]


@lru_cache(maxsize=SHARDS)
def _pool(seed: int, pool: int, shard: int, mix: Mix, tokens: int) -> list[Batch]:
    """The batches of `POOL_STEPS` steps, in random order."""
    rng = random.Random(f"documents-{seed}-{pool}-{shard}")
    share, rows = WORLDS[mix.world].rehearsed, []
    while sum(len(ids) for ids, _ in rows) < tokens * POOL_STEPS * (1 - share):
        rows += _encode([sample_document(rng, mix) for _ in range(100)])
    of_documents = sum(len(ids) for ids, _ in rows)
    rows += _rows(partial(sample_facts, rng, mix, FACTS_PER_ROW), int(of_documents * share / (1 - share)))
    rows.sort(key=lambda row: len(row[0]))
    ends = equal_parts([len(ids) for ids, _ in rows])
    batches = [_end_to_end(rows[start:end]) for start, end in zip([0, *ends], [*ends, len(rows)], strict=True)]
    rng.shuffle(batches)
    return batches


def equal_parts(lengths: list[int]) -> list[int]:
    """Ends of the first `POOL_STEPS` - 1 of `POOL_STEPS` parts of about equal tokens; no part is empty."""
    cumulative, part = np.cumsum(lengths), np.arange(1, POOL_STEPS)
    ends = np.searchsorted(cumulative, cumulative[-1] * part / POOL_STEPS)
    # A row longer than a whole part would leave a part without rows: every end is beyond the one before it.
    ends = np.maximum.accumulate(np.maximum(ends, 1) - part) + part
    return np.minimum(ends, len(lengths) - POOL_STEPS + part).tolist()


def _encode(documents: list[Document]) -> list[Row]:
    """(token ids, which of them are labels) of each document: those of the response and its end."""
    prompts = [_chat(document.thinking).replace("@", document.prompt) for document in documents]
    responses = [document.response + END for document in documents]
    encode = _tokenizer()
    return [
        (prompt + response, [False] * len(prompt) + [True] * len(response))
        for prompt, response in zip(
            encode(prompts, add_special_tokens=False)["input_ids"],
            encode(responses, add_special_tokens=False)["input_ids"],
            strict=True,
        )
    ]


def _end_to_end(rows: list[Row], *, whole: bool = False) -> Batch:
    """A batch of rows; their last tokens, which have nothing to predict, are left out unless they are ``whole``."""
    ids, labels = [], []
    for tokens, learnt in rows:
        kept = len(tokens) if whole else len(tokens) - 1
        following = [token if is_label else IGNORED for token, is_label in zip(tokens[1:], learnt[1:], strict=True)]
        ids.append(torch.tensor(tokens[:kept]))
        labels.append(torch.tensor([*following, IGNORED][:kept]))
    return Batch(torch.cat(ids), torch.cat(labels), [len(part) for part in ids])


@cache
def _tokenizer() -> PreTrainedTokenizerFast:
    return build_tokenizer()


@cache
def _chat(thinking: bool) -> str:
    """The rendered prompt with "@" in place of the user's text."""
    turn = [{"role": "user", "content": "@"}]
    return _tokenizer().apply_chat_template(turn, tokenize=False, add_generation_prompt=True, enable_thinking=thinking)
