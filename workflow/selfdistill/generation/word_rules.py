"""Words that are never sampled, and words of which one is sampled wherever the model thinks of them.

Both act on tokens: a word that is written out of smaller tokens escapes, which the counts of markers then show.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from selfdistill.errors import UserError
from selfdistill.generation.requests import Words

Rule = Callable[[torch.Tensor], torch.Tensor]


def word_rule(words: Words, tokenizer: Any) -> Rule | None:
    """What ``words`` makes of logits [B, V] before any filter; None where there are none.

    Logits of `bad` words are minus infinity, as in transformers' ``bad_words_ids``. Where the model gives the `forced`
    ones together a probability of `forced_from` or more, all others are. `UserError` for a word that is no token of the
    model.
    """
    bad = torch.from_numpy(token_ids(words.bad or (), tokenizer))
    forced = torch.from_numpy(token_ids(words.forced or (), tokenizer))
    least = words.forced_from
    if not len(bad) and not len(forced):
        return None

    def rule(logits: torch.Tensor) -> torch.Tensor:
        scores = logits.clone()
        if len(forced):
            sure = logits.softmax(dim=-1)[:, forced].sum(dim=-1) >= least
            kept = torch.full_like(scores, -torch.inf)
            kept[:, forced] = scores[:, forced]
            scores[sure] = kept[sure]
        scores[:, bad] = -torch.inf
        return scores

    return rule


def token_ids(words: Sequence[str], tokenizer: Any) -> np.ndarray:
    """The ids of all tokens that are one of ``words``, whatever their case and the spaces around them, sorted."""
    wanted = {word.lower(): word for word in words}
    found: dict[str, list[int]] = {word: [] for word in wanted}
    for token in range(len(tokenizer)) if wanted else ():
        text = tokenizer.decode([token]).strip().lower()
        if text in found:
            found[text].append(token)
    lacking = [wanted[word] for word, ids in found.items() if not ids]
    if lacking:
        raise UserError(f"no token of the model is the word '{lacking[0]}': it can be neither kept from it nor forced")
    return np.array(sorted(token for ids in found.values() for token in ids), np.int64)
