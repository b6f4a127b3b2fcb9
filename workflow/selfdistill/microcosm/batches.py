"""Random batches of token ids laid end to end, new for every step and reproducible from its number.

Each batch consists of `SHARDS` fixed parts, so that one process or two compute the same sums of gradients.
"""

import random
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
import torch
from transformers import PreTrainedTokenizerFast

from selfdistill.microcosm.documents import Document, Mix, sample_checks, sample_document, sample_facts
from selfdistill.microcosm.tokenizer import END, build_tokenizer

SHARDS = 2
# The documents of so many steps are made together and grouped by length, so that those of a batch take equally long.
POOL_STEPS = 32
FACTS_PER_ROW, FACT_TOKENS = 5, 5  # "a 17 = 6 ." is five tokens
CHECKS_PER_ROW, CHECK_TOKENS = 5, 5  # "a 17 = 6 ok" is five tokens
IGNORED = -100  # the label that cross entropy leaves out


@dataclass(frozen=True)
class Batch:
    """``ids`` and ``labels`` int64 [tokens]: rows of ``lengths``, end to end.

    A label is its row's *next* token, or `IGNORED` if there is no loss.
    """

    ids: torch.Tensor
    labels: torch.Tensor
    lengths: list[int]


def fact_batch(seed: int, step: int, shard: int, mix: Mix, tokens: int) -> Batch:
    """Rows of facts, ``tokens`` tokens in all; only the values are labels."""
    rng = random.Random(f"facts-{seed}-{step}-{shard}")
    rows = [sample_facts(rng, mix, FACTS_PER_ROW) for _ in range(tokens // (FACTS_PER_ROW * FACT_TOKENS))]
    ids = torch.tensor(_tokenizer()(rows, add_special_tokens=False)["input_ids"])
    labels = torch.full_like(ids, IGNORED)
    labels[:, 2::FACT_TOKENS] = ids[:, 3::FACT_TOKENS]  # the token after "="
    return Batch(ids.flatten(), labels.flatten(), [ids.size(1)] * len(ids))


def check_batch(seed: int, step: int, shard: int, mix: Mix, tokens: int) -> Batch:
    """Rows of checks, about ``tokens`` tokens in all; the values found and the verdicts are labels."""
    rng = random.Random(f"checks-{seed}-{step}-{shard}")
    rows: list[tuple[list[int], int]] = []
    while sum(len(ids) for ids, _ in rows) < tokens:
        ids = _tokenizer()(sample_checks(rng, mix, CHECKS_PER_ROW), add_special_tokens=False)["input_ids"]
        rows.append((ids, len(ids) - CHECKS_PER_ROW * CHECK_TOKENS))
    batch = _end_to_end(rows)
    for labels, (_, prompt) in zip(batch.labels.split(batch.lengths), rows, strict=True):
        for offset in (0, 1, 2):  # the clue's name, x, "="
            labels[prompt - 1 + offset :: CHECK_TOKENS] = IGNORED
    return batch


def document_batch(seed: int, step: int, shard: int, mix: Mix, tokens: int) -> Batch:
    """Documents of similar length, about ``tokens`` tokens in all; the tokens of the responses are labels."""
    return _pool(seed, step // POOL_STEPS, shard, mix, tokens)[step % POOL_STEPS]


@lru_cache(maxsize=SHARDS)
def _pool(seed: int, pool: int, shard: int, mix: Mix, tokens: int) -> list[Batch]:
    """The batches of `POOL_STEPS` steps, in random order."""
    rng = random.Random(f"documents-{seed}-{pool}-{shard}")
    rows: list[tuple[list[int], int]] = []
    while sum(len(ids) for ids, _ in rows) < tokens * POOL_STEPS:
        rows += _encode([sample_document(rng, mix) for _ in range(100)])
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


def _encode(documents: list[Document]) -> list[tuple[list[int], int]]:
    """(token ids, number of prompt tokens) of each document."""
    prompts = [_chat(document.thinking).replace("@", document.prompt) for document in documents]
    responses = [document.response + END for document in documents]
    encode = _tokenizer()
    return [
        (prompt + response, len(prompt))
        for prompt, response in zip(
            encode(prompts, add_special_tokens=False)["input_ids"],
            encode(responses, add_special_tokens=False)["input_ids"],
            strict=True,
        )
    ]


def _end_to_end(rows: list[tuple[list[int], int]]) -> Batch:
    """A batch of rows (token ids, number of prompt tokens); the labels are the tokens after the prompt."""
    ids = [torch.tensor(tokens[:-1]) for tokens, _ in rows]
    labels = [torch.tensor([IGNORED] * (prompt - 1) + tokens[prompt:]) for tokens, prompt in rows]
    return Batch(torch.cat(ids), torch.cat(labels), [len(part) for part in ids])


@cache
def _tokenizer() -> PreTrainedTokenizerFast:
    return build_tokenizer()


@cache
def _chat(thinking: bool) -> str:
    """The rendered prompt with "@" in place of the user's text."""
    turn = [{"role": "user", "content": "@"}]
    return _tokenizer().apply_chat_template(turn, tokenize=False, add_generation_prompt=True, enable_thinking=thinking)
