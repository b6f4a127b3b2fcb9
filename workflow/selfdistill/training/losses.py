"""SDPO's divergence from the self-teacher, importance weights, and the two ways to average over tokens.

Shapes: B sequences, T response tokens, V vocabulary, H width of the hidden states.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from selfdistill.errors import one_of
from selfdistill.qwen3.products import add_product, product
from selfdistill.training.settings import AGGREGATIONS

# Log-ratios are bounded before they are exponentiated, as TRL and verl do.
LARGEST_LOG_RATIO = 20.0
# The top-k mass may round to 1; the tail bucket needs a mass above 0 (TRL's `add_tail_bucket`).
LARGEST_LOG_MASS = -1e-7
# Logits exist of this many tokens at a time, by device: with a vocabulary of 151,936, 512 take as long on a CPU and 64
# longer. With a small one, of as many tokens as make `CHUNK_LOGITS`, so that the calls themselves cost little.
CHUNK_TOKENS = {"cpu": 128, "gpu": 512}
CHUNK_LOGITS = 1 << 20
# Entries of the vocabulary whose logits exist at a time in the backward pass, of so many more tokens: each product is
# added to the gradient of the weight, which is read and written anew. On a GPU all: in half precision a product is
# rounded before it is added to those of other parts.
PART_ENTRIES = {"cpu": 1 << 15, "gpu": 1 << 62}
# Logits per piece of a chunk, by device: on a CPU as many as stay in a core's cache from one operation to the next, on
# a GPU enough to take longer than the launch of the next kernel.
PIECE_LOGITS = {"cpu": 1 << 19, "gpu": 1 << 25}
# Rows per matrix product that is added to a gradient of a wider dtype.
PRODUCT_ROWS = 4096


def topk_divergence(
    student_logits: torch.Tensor, teacher_logits: torch.Tensor, *, k: int, alpha: float, tail: bool
) -> torch.Tensor:
    """SDPO's divergence per token [B, T], in nats, from logits [B, T, V]; no gradient reaches the teacher.

    The categories are the student's ``k`` likeliest tokens. With ``tail`` the rest of the vocabulary is one more,
    without it the k are renormalised (as in verl and in TRL's loss_utils.py). ``alpha`` 0 is KL(teacher || student), 1
    KL(student || teacher), and in between (1 - alpha) KL(student || m) + alpha KL(teacher || m) with the mixture
    m = (1 - alpha) student + alpha teacher: at 0.5 the Jensen-Shannon divergence. A ``k`` above V takes all of V.

    This is the definition; `distillation_terms` computes the same from hidden states, with less memory.
    """
    student, teacher = _wide(student_logits), _wide(teacher_logits.detach())
    top, support = student.topk(min(k, student.size(-1)), dim=-1)
    student_logps = top - student.logsumexp(dim=-1, keepdim=True)
    teacher_logps = teacher.gather(-1, support) - teacher.logsumexp(dim=-1, keepdim=True)
    return _divergence_of_top(student_logps, teacher_logps, alpha=alpha, tail=tail)


def _wide(logits: torch.Tensor) -> torch.Tensor:
    return logits.to(_wide_dtype(logits.dtype))


def _wide_dtype(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def _divergence_of_top(student: torch.Tensor, teacher: torch.Tensor, *, alpha: float, tail: bool) -> torch.Tensor:
    """Divergence over the student's likeliest tokens: log-probabilities [..., k] to [...]."""
    complete = _with_tail if tail else _renormalised
    return _divergence(complete(student), complete(teacher), alpha)


def _with_tail(logps: torch.Tensor) -> torch.Tensor:
    mass = logps.logsumexp(dim=-1, keepdim=True).clamp(max=LARGEST_LOG_MASS)
    return torch.cat([logps, torch.log(-torch.expm1(mass))], dim=-1)


def _renormalised(logps: torch.Tensor) -> torch.Tensor:
    return logps - logps.logsumexp(dim=-1, keepdim=True)


def _divergence(student: torch.Tensor, teacher: torch.Tensor, alpha: float) -> torch.Tensor:
    """Divergence over all categories: log-probabilities [..., categories] to [...]."""
    if alpha == 0:
        return _kl(teacher, student)
    if alpha == 1:
        return _kl(student, teacher)
    weights = torch.tensor([1 - alpha, alpha], dtype=student.dtype, device=student.device).log()
    mixture = torch.logaddexp(student + weights[0], teacher + weights[1])
    return (1 - alpha) * _kl(student, mixture) + alpha * _kl(teacher, mixture)


def _kl(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    return (first.exp() * (first - second)).sum(dim=-1)


def distillation_terms(
    student_hidden: torch.Tensor,
    teacher_hidden: torch.Tensor,
    weight: torch.Tensor,
    token_ids: torch.Tensor,
    *,
    teacher_weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    teacher_bias: torch.Tensor | None = None,
    temperature: float = 1.0,
    k: int,
    alpha: float,
    tail: bool,
    chunk_tokens: int | None = None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Per token [...]: `topk_divergence`, the student's log-probability of ``token_ids`` [...], and its entropy.

    Takes hidden states [..., H] and output weights [V, H] (``teacher_weight`` None: the student's). Logits exist of
    ``chunk_tokens`` tokens at a time (None: as many as suit V), and for the backward pass k numbers per token are kept.
    Only the divergence carries a gradient.
    """
    chunk_tokens = chunk_tokens or _chunk_tokens(weight)
    own = student_hidden.flatten(0, -2), weight, bias, token_ids.reshape(-1, 1)
    logps, chosen, entropy = _ChunkedLogps.apply(*own, temperature, k, chunk_tokens)
    theirs = teacher_hidden.flatten(0, -2), weight if teacher_weight is None else teacher_weight, teacher_bias
    teacher_logps = _logps_of(chosen[:, 1:], *theirs, temperature, chunk_tokens)
    divergence = _divergence_of_top(logps[:, 1:], teacher_logps, alpha=alpha, tail=tail)
    return tuple(column.view(token_ids.shape) for column in (divergence, logps[:, 0].detach(), entropy))


def token_logps(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    token_ids: torch.Tensor,
    *,
    bias: torch.Tensor | None = None,
    temperature: float = 1.0,
    chunk_tokens: int | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Per token [...]: the log-probability of ``token_ids`` [...], and the entropy, which carries no gradient.

    Takes hidden states [..., H] and the output layer's weight [V, H] and bias [V]. Logits exist of ``chunk_tokens``
    tokens at a time (None: as many as suit V).
    """
    chunk_tokens = chunk_tokens or _chunk_tokens(weight)
    columns = hidden.flatten(0, -2), weight, bias, token_ids.reshape(-1, 1)
    logps, _, entropy = _ChunkedLogps.apply(*columns, temperature, 0, chunk_tokens)
    return logps.view(token_ids.shape), entropy.view(token_ids.shape)


def _chunk_tokens(weight: torch.Tensor) -> int:
    return max(CHUNK_TOKENS[_kind(weight.device)], CHUNK_LOGITS // len(weight))


def _kind(device: torch.device) -> str:
    """The key of tables of sizes."""
    return "cpu" if device.type == "cpu" else "gpu"


class _ChunkedLogps(torch.autograd.Function):
    """Log-probabilities of given and of the k likeliest tokens, from the logits of ``chunk_tokens`` tokens at a time.

    As d logps_i / d logits_j = [i = j] - p_j, the backward pass needs only the normaliser of every token: it recomputes
    logits of a part of the vocabulary and turns them into their own gradient in place. The gradients from all parts and
    chunks are added in single precision, whatever the precision of the forward pass.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        token_ids: torch.Tensor,
        temperature: float,
        k: int,
        chunk_tokens: int,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """From hidden [N, H], weight [V, H], bias [V] and token_ids [N, 1] to log-probabilities [N, 1 + k], the tokens
        [N, 1 + k] that they are of, and entropies [N].
        """
        ctx.temperature, ctx.chunk_tokens, ctx.dtype = temperature, chunk_tokens, _forward_dtype(weight)
        layer, dtype = _cast(ctx.dtype, weight, bias), _wide_dtype(ctx.dtype)
        logps = weight.new_empty(len(hidden), 1 + min(k, len(weight)), dtype=dtype)
        normaliser = weight.new_empty(len(hidden), 1, dtype=dtype)
        chosen, entropy = torch.empty_like(logps, dtype=torch.long), torch.empty_like(normaliser[:, 0])
        powers = _piece_buffer(layer[0], min(len(hidden), chunk_tokens))
        for start, _, *chunk in _chunks(hidden, *layer, chunk_tokens):
            for rows, _, piece in _pieces(start, *chunk):
                found = _piece_logps(_tempered(piece, temperature), powers[: len(piece)], token_ids[rows], k)
                for whole, part in zip((logps, chosen, entropy, normaliser), found, strict=True):
                    whole[rows] = part
        ctx.save_for_backward(hidden, weight, bias, chosen, normaliser)
        ctx.mark_non_differentiable(chosen, entropy)
        return logps, chosen, entropy

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor, *_: None) -> tuple[torch.Tensor | None, ...]:
        hidden, weight, bias, chosen, normaliser = ctx.saved_tensors
        layer = _cast(ctx.dtype, weight, bias)
        size = min(len(weight), PART_ENTRIES[_kind(weight.device)])
        tokens = ctx.chunk_tokens * len(weight) // size
        for_hidden, for_weight, for_bias = ctx.needs_input_grad[:3]
        of_hidden = _total(hidden, ctx.dtype, summands=len(weight) / size) if for_hidden else None
        of_weight = _total(weight, ctx.dtype, summands=len(hidden) / tokens) if for_weight else None
        of_bias = torch.zeros_like(bias, dtype=_wide_dtype(ctx.dtype)) if for_bias else None
        room = layer[0].new_empty(min(tokens, len(hidden)) * size)
        for first, *part in _parts(*layer, size):
            for start, states, logits, buffer in _chunks(hidden, *part, tokens, room):
                for rows, piece, wide in _pieces(start, logits, buffer):
                    of_logps = gradient[rows] / ctx.temperature
                    _to_gradient(_tempered(wide, ctx.temperature), normaliser[rows], chosen[rows] - first, of_logps)
                    if wide is not piece:
                        piece.copy_(wide)
                if for_hidden:
                    _add_product(of_hidden[start : start + len(states)], logits, part[0])
                if for_weight:
                    _add_product(of_weight[first : first + size], logits.T, states)
                if for_bias:
                    of_bias[first : first + size] += logits.sum(dim=0, dtype=of_bias.dtype)
        found = zip((of_hidden, of_weight, of_bias), (hidden, weight, bias), strict=True)
        return *(None if value is None else value.to(like.dtype) for value, like in found), None, None, None, None


def _total(like: torch.Tensor, dtype: torch.dtype, *, summands: float) -> torch.Tensor:
    """Zeros to which products in ``dtype`` are added: wide, except where one is all, and is rounded in any case."""
    return torch.zeros_like(like, dtype=like.dtype if summands <= 1 else _wide_dtype(dtype))


def _parts(
    weight: torch.Tensor, bias: torch.Tensor | None, size: int
) -> Iterator[tuple[int, torch.Tensor, torch.Tensor | None]]:
    """The output layer in parts of ``size`` entries of the vocabulary: number of the first, weight and bias."""
    for first in range(0, len(weight), size):
        yield first, weight[first : first + size], None if bias is None else bias[first : first + size]


def _forward_dtype(weight: torch.Tensor) -> torch.dtype:
    """The dtype of matrix products with ``weight``; the backward pass uses it too, where autocast has no effect."""
    kind = weight.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weight.dtype


def _cast(dtype: torch.dtype, *tensors: torch.Tensor | None) -> list[torch.Tensor | None]:
    return [None if tensor is None else tensor.to(dtype) for tensor in tensors]


def _chunks(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    size: int,
    room: torch.Tensor | None = None,
) -> Iterator[tuple[int, torch.Tensor, torch.Tensor, torch.Tensor | None]]:
    """Chunks of ``size`` tokens: number of the first token, states [n, H] and logits [n, V] in ``weight``'s dtype, and,
    unless this is wide already, a buffer for a piece of the logits in a wider one.

    All chunks use the same memory for logits, that of ``room`` or their own: new memory would have to be mapped page by
    page.
    """
    rows = min(size, len(hidden))
    memory = weight.new_empty(rows * len(weight)) if room is None else room[: rows * len(weight)]
    all_logits = memory.view(rows, len(weight))
    buffer = None if weight.dtype == _wide_dtype(weight.dtype) else _piece_buffer(weight, len(all_logits))
    for number, states in enumerate(hidden.split(size)):
        states, logits = states.to(weight.dtype), all_logits[: len(states)]
        if bias is None:
            product(states, weight.T, logits)
        else:
            torch.addmm(bias, states, weight.T, out=logits)
        yield number * size, states, logits, buffer


def _pieces(
    start: int, logits: torch.Tensor, buffer: torch.Tensor | None
) -> Iterator[tuple[slice, torch.Tensor, torch.Tensor]]:
    """Pieces of a chunk's logits [n, V]: the slice of all tokens, the rows, and the rows in single precision or better.

    The last are copied to ``buffer``; if this is None, the logits are wide already.
    """
    for piece in logits.split(_piece_tokens(logits.size(-1), logits.device)):
        rows = slice(start, start + len(piece))
        yield rows, piece, piece if buffer is None else buffer[: len(piece)].copy_(piece)
        start = rows.stop


def _piece_buffer(weight: torch.Tensor, tokens: int) -> torch.Tensor:
    """A buffer for one piece of the logits of ``tokens`` tokens at a time.

    With new memory for each piece, the small results between the pieces would fragment it.
    """
    rows = min(tokens, _piece_tokens(len(weight), weight.device))
    return weight.new_empty(rows, len(weight), dtype=_wide_dtype(weight.dtype))


def _piece_tokens(vocabulary: int, device: torch.device) -> int:
    return max(1, PIECE_LOGITS[_kind(device)] // vocabulary)


def _tempered(logits: torch.Tensor, temperature: float) -> torch.Tensor:
    return logits if temperature == 1 else logits.div_(temperature)


def _piece_logps(
    logits: torch.Tensor, powers: torch.Tensor, token_ids: torch.Tensor, k: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """The results of `_ChunkedLogps` and normalisers [N, 1], from logits [N, V]; overwrites these and ``powers``."""
    chosen = token_ids
    if k:  # in any order: with k near V, sorting would take most of the time
        likeliest = logits.topk(min(k, logits.size(-1)), dim=-1, sorted=False).indices
        chosen = torch.cat([token_ids, likeliest], dim=-1)
    largest = logits.amax(dim=-1, keepdim=True)
    torch.exp(logits.sub_(largest), out=powers)
    total = powers.sum(dim=-1, keepdim=True)
    logps = logits.gather(-1, chosen) - total.log()
    entropy = total.log() - powers.mul_(logits).sum(dim=-1, keepdim=True) / total
    return logps, chosen, entropy.squeeze(-1), largest + total.log()


def _to_gradient(logits: torch.Tensor, normaliser: torch.Tensor, chosen: torch.Tensor, of_logps: torch.Tensor) -> None:
    """Overwrite logits [N, V] with their gradient, from that of the log-probabilities [N, c] of tokens [N, c].

    Tokens below 0 and from V on lie in other parts of the vocabulary.
    """
    logits.sub_(normaliser).exp_().mul_(-of_logps.sum(dim=-1, keepdim=True))
    within = chosen.clamp(0, logits.size(-1) - 1)
    logits.scatter_add_(-1, within, of_logps.masked_fill(within != chosen, 0.0))


@torch.no_grad()
def _logps_of(
    chosen: torch.Tensor,
    hidden: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    temperature: float,
    chunk_tokens: int,
) -> torch.Tensor:
    """Log-probabilities [N, k] of the tokens ``chosen`` [N, k]."""
    layer = _cast(_forward_dtype(weight), weight, bias)
    logps = torch.empty_like(chosen, dtype=_wide_dtype(layer[0].dtype))
    for start, _, *chunk in _chunks(hidden, *layer, chunk_tokens):
        for rows, _, piece in _pieces(start, *chunk):
            logps[rows] = _piece_logps_of(_tempered(piece, temperature), chosen[rows])
    return logps


def _piece_logps_of(logits: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """Log-probabilities from logits [N, V], which are overwritten.

    By the arithmetic of `_piece_logps`: the divergence of equal logits must be exactly 0.
    """
    logits.sub_(logits.amax(dim=-1, keepdim=True))
    logps = logits.gather(-1, chosen)
    return logps - logits.exp_().sum(dim=-1, keepdim=True).log()


def _add_product(total: torch.Tensor, first: torch.Tensor, second: torch.Tensor) -> None:
    """``total`` += ``first`` @ ``second``, some rows at a time where the product has another dtype."""
    if total.dtype == first.dtype:
        add_product(total, first, second)
        return
    for part, rows in zip(total.split(PRODUCT_ROWS), first.split(PRODUCT_ROWS), strict=True):
        part += rows @ second


def truncated_ratio(new_logps: torch.Tensor, old_logps: torch.Tensor, *, clip: float) -> torch.Tensor:
    """Importance weights [B, T], new to old probability, at most ``clip``; no gradient, and 1 where either is NaN."""
    gap = (new_logps - old_logps).detach().nan_to_num(nan=0.0)
    return gap.clamp(-LARGEST_LOG_RATIO, LARGEST_LOG_RATIO).exp().clamp(max=clip)


def aggregate(
    per_token: torch.Tensor, mask: torch.Tensor, *, how: str, normaliser: torch.Tensor | float | None = None
) -> torch.Tensor:
    """A scalar from ``per_token`` [B, T] where ``mask`` [B, T] is 1.

    "authors": mean over the tokens of each sequence, then over sequences; one without a token counts as 0. Their code
    does this, although their configuration says token-mean. "token": sum over all tokens, divided by
    ``normaliser`` (None: their number).
    """
    if one_of("aggregation", how, AGGREGATIONS) == "authors":
        return ((per_token * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)).mean()
    return (per_token * mask).sum() / (mask.sum().clamp(min=1) if normaliser is None else normaliser)
