"""Hidden states of responses, without the padding that a batch needs.

On the CPU the sequences of a batch are laid end to end, and each attends to itself alone: a plain Qwen3 by
`qwen3.forward`, which replaces ``model.model.forward`` during the call, other models by their own layers. On a GPU
columns that are padding in every row are left out.

Shapes: B sequences of P prompt tokens (padded left) and T response tokens (padded right), H width.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence
from transformers import AttentionInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from selfdistill.qwen3 import forward as qwen3

END_TO_END = "end_to_end"  # our attention's name in transformers' registry


def response_states(
    model: PreTrainedModel, ids: torch.Tensor, mask: torch.Tensor, kept: int, with_gradient: torch.Tensor | None = None
) -> tuple[torch.Tensor, int]:
    """Last hidden states [B, T', H] that predict the response tokens, and T', the length of the longest response.

    ``ids`` and ``mask`` are [B, P + T], ``kept`` is T, ``with_gradient`` [B] marks the rows that will get a gradient
    (see `qwen3.forward.hidden_states`). The model itself is called, so that wrappers which gather weights see the call;
    it computes logits of one position only.
    """
    inner = getattr(model, "module", model)
    if qwen3.supports(inner) or can_lie_end_to_end(inner):
        return _states_end_to_end(model, ids, mask.bool(), kept, with_gradient)
    ids, mask, left = without_padding(ids, mask, kept)
    states = _last_states(model, input_ids=ids, attention_mask=mask)
    return states[:, -left - 1 : -1], left


def without_padding(ids: torch.Tensor, mask: torch.Tensor, kept: int) -> tuple[torch.Tensor, torch.Tensor, int]:
    """``ids`` and ``mask`` [B, P + T] without columns that are padding in every row, and the response columns left.

    The last ``kept`` columns are the responses; at least one of them stays.
    """
    prompt = ids.size(1) - kept
    seen = mask.any(dim=0)
    first = int(seen[:prompt].float().argmax())
    left = max(1, int(seen[prompt:].sum()))
    return ids[:, first : prompt + left], mask[:, first : prompt + left], left


def can_lie_end_to_end(model: PreTrainedModel) -> bool:
    """True if ``model`` is on the CPU and its layers mix tokens by full causal attention alone.

    False under gradient checkpointing, whose second forward pass would not use our attention.
    """
    config = model.config.get_text_config()
    return (
        model.device.type == "cpu"
        and config._attn_implementation == "sdpa"
        and model._supports_attention_backend
        and set(getattr(config, "layer_types", None) or ["full_attention"]) == {"full_attention"}
        and getattr(config, "sliding_window", None) is None
        and not model.is_gradient_checkpointing
    )


def _states_end_to_end(
    model: PreTrainedModel, ids: torch.Tensor, mask: torch.Tensor, kept: int, with_gradient: torch.Tensor | None
) -> tuple[torch.Tensor, int]:
    lengths, responses = mask.sum(dim=1).tolist(), mask[:, -kept:].sum(dim=1).tolist()
    marked = None if with_gradient is None else with_gradient.tolist()
    states = _read_end_to_end(model, ids[mask], lengths, marked)
    # The states of a sequence: of the prompt without its last token, those that predict the response, that of its end.
    cuts = [(length - response - 1, response, 1) for length, response in zip(lengths, responses, strict=True)]
    parts = states.split([size for sizes in cuts for size in sizes])[1::3]
    padded = pad_sequence(parts, batch_first=True)
    left = max(1, padded.size(1))
    return F.pad(padded, (0, 0, 0, left - padded.size(1))), left


def _read_end_to_end(
    model: PreTrainedModel, ids: torch.Tensor, lengths: list[int], with_gradient: list[bool] | None
) -> torch.Tensor:
    """Last hidden states [N, H] of sequences of ``lengths`` whose tokens are ``ids`` [N]."""
    inner = getattr(model, "module", model)
    if qwen3.supports(inner):
        with qwen3.sequences_end_to_end(inner, lengths, with_gradient):
            return _last_states(model, input_ids=ids[None]).squeeze(0)
    positions = torch.cat([torch.arange(length) for length in lengths])
    with _attending_end_to_end(inner):
        inputs = {"input_ids": ids[None], "position_ids": positions[None], "sequence_lengths": lengths}
        return _last_states(model, **inputs).squeeze(0)


def _last_states(model: PreTrainedModel, **inputs: Any) -> torch.Tensor:
    output = model(**inputs, output_hidden_states=[-1], logits_to_keep=1, use_cache=False)
    return output.hidden_states[-1]


@contextmanager
def _attending_end_to_end(model: PreTrainedModel) -> Iterator[None]:
    config = model.config.get_text_config()
    before, config._attn_implementation = config._attn_implementation, END_TO_END
    try:
        yield
    finally:
        config._attn_implementation = before


def _attend_end_to_end(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: None,
    *,
    sequence_lengths: Sequence[int],
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention [1, N, heads, D] within each of the sequences, whose lengths add up to N."""
    each = zip(*(states.split(sequence_lengths, dim=2) for states in (query, key, value)), strict=True)
    parts = [sdpa_attention_forward(module, *of_one, None, is_causal=True, **options)[0] for of_one in each]
    return torch.cat(parts, dim=1), None


# transformers makes no mask for an attention that it does not know.
AttentionInterface.register(END_TO_END, _attend_end_to_end)
