"""Hidden states of responses, without the padding that a batch needs.

The sequences of a batch are laid end to end, and each attends to itself alone: a plain Qwen3 on the CPU by
`qwen3.forward`, which replaces ``model.model.forward`` during the call, other models by their own layers, in which our
attention calls torch's on one sequence after the other. That needs no mask, so on a GPU torch takes its flash kernels;
transformers' own way, positions that restart, builds a mask of all tokens by all tokens and computes as much. A model
whose layers mix tokens otherwise is given a padded batch.

Shapes: B sequences of P prompt tokens (padded left) and T response tokens (padded right), H width, N tokens in all.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from selfdistill.qwen3 import forward as qwen3

# Our attention's names in transformers' registries: of sequences that lie end to end, for which no mask is made, and
# of a model that reads other batches meanwhile.
END_TO_END, EITHER = "end_to_end", "end_to_end_or_sdpa"
ATTENTIONS = {"full_attention", "sliding_attention"}  # kinds of layers that it knows


def response_states(
    model: PreTrainedModel, ids: torch.Tensor, mask: torch.Tensor, kept: int, with_gradient: torch.Tensor | None = None
) -> torch.Tensor:
    """Last hidden states [N, H] that predict the N response tokens, those of the first sequence first.

    ``ids`` and ``mask`` are [B, P + T], ``kept`` is T, ``with_gradient`` [B] marks the rows that will get a gradient
    (see `qwen3.forward.hidden_states`). The model itself is called, so that wrappers which gather weights see the call;
    it computes logits of one position only.
    """
    inner = getattr(model, "module", model)
    if can_lie_end_to_end(inner):
        return _states_end_to_end(model, ids, mask.bool(), kept, with_gradient)
    ids, mask, left = without_padding(ids, mask, kept)
    positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
    states = _last_states(model, input_ids=ids, attention_mask=mask, position_ids=positions)
    return states[:, -left - 1 : -1][mask[:, -left:].bool()]


def padded(values: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
    """Values [N] of response tokens as [B, T], with zeros where ``seen`` [B, T] is 0."""
    return values.new_zeros(seen.shape).masked_scatter(seen.bool(), values)


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
    """True if the layers of ``model`` mix tokens by causal attention alone, over all tokens or a sliding window."""
    return qwen3.supports(model) or _attends_by_torch(model)


def _attends_by_torch(model: PreTrainedModel) -> bool:
    config = model.config.get_text_config()
    kinds = getattr(config, "layer_types", None)
    windows = sum(getattr(module, "sliding_window", None) is not None for module in model.modules())
    return (
        config._attn_implementation in ("sdpa", END_TO_END, EITHER)
        and model._supports_attention_backend
        and set(kinds or ["full_attention"]) <= ATTENTIONS
        and (kinds is not None or getattr(config, "sliding_window", None) is None)
        and windows == (kinds or []).count("sliding_attention")  # so that each layer tells its attention
    )


@contextmanager
def computing_again(model: PreTrainedModel) -> Iterator[None]:
    """Context for the backward pass under gradient checkpointing: recomputed layers use the same attention as before.

    Outside, with several sequences, torch finds that other tensors were saved, and raises.
    """
    with _attention(model, EITHER) if _attends_by_torch(model) else nullcontext():
        yield


@contextmanager
def _attention(model: PreTrainedModel, name: str) -> Iterator[None]:
    config = model.config.get_text_config()
    before, config._attn_implementation = config._attn_implementation, name
    try:
        yield
    finally:
        config._attn_implementation = before


def _states_end_to_end(
    model: PreTrainedModel, ids: torch.Tensor, mask: torch.Tensor, kept: int, with_gradient: torch.Tensor | None
) -> torch.Tensor:
    lengths = mask.sum(dim=1).tolist()
    marked = None if with_gradient is None else with_gradient.tolist()
    states = _read_end_to_end(model, ids[mask], lengths, marked)
    # The state before each token of a response predicts it.
    predicting = torch.zeros_like(mask)
    predicting[:, -kept - 1 : -1] = mask[:, -kept:]
    return states[predicting[mask]]


def _read_end_to_end(
    model: PreTrainedModel, ids: torch.Tensor, lengths: list[int], with_gradient: list[bool] | None
) -> torch.Tensor:
    """Last hidden states [N, H] of sequences of ``lengths`` whose tokens are ``ids`` [N]."""
    inner = getattr(model, "module", model)
    if qwen3.supports(inner):
        with qwen3.sequences_end_to_end(inner, lengths, with_gradient):
            return _last_states(model, input_ids=ids[None]).squeeze(0)
    positions = torch.cat([torch.arange(length, device=ids.device) for length in lengths])
    with _attention(inner, END_TO_END):
        inputs = {"input_ids": ids[None], "position_ids": positions[None], "sequence_lengths": lengths}
        return _last_states(model, **inputs).squeeze(0)


def _last_states(model: PreTrainedModel, **inputs: Any) -> torch.Tensor:
    output = model(**inputs, output_hidden_states=[-1], logits_to_keep=1, use_cache=False)
    return output.hidden_states[-1]


def _attend_end_to_end(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    sequence_lengths: Sequence[int] | None = None,
    sliding_window: int | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention [1, N, heads, D] within each of the sequences, whose lengths add up to N.

    With a window, a token sees itself and the ``sliding_window`` - 1 tokens before it. Without lengths: torch's
    attention of a batch, with its mask.
    """
    if sequence_lengths is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    each = zip(*(states.split(sequence_lengths, dim=2) for states in (query, key, value)), strict=True)
    parts = [part for of_one in each for part in _attend(module, *of_one, sliding_window, options)]
    return torch.cat(parts, dim=1), None


def _attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    window: int | None,
    options: dict[str, Any],
) -> Iterator[torch.Tensor]:
    """Parts [1, n, heads, D] of one sequence's attention; of one longer than the window, as many tokens at a time."""
    length = query.size(2)
    if window is None or length <= window:
        yield sdpa_attention_forward(module, query, key, value, None, is_causal=True, **options)[0]
        return
    places = torch.arange(length, device=query.device)
    for start in range(0, length, window):
        own, near = slice(start, start + window), slice(max(0, start - window + 1), start + window)
        back = places[own, None] - places[near]
        seen = (back >= 0) & (back < window)
        tensors = query[:, :, own], key[:, :, near], value[:, :, near]
        yield sdpa_attention_forward(module, *tensors, seen[None, None], is_causal=False, **options)[0]


AttentionInterface.register(END_TO_END, _attend_end_to_end)
AttentionInterface.register(EITHER, _attend_end_to_end)
AttentionMaskInterface.register(EITHER, sdpa_mask)
