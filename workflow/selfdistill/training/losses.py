"""SDPO's divergence from the self-teacher, importance weights, and the two ways to average over tokens.

Shapes: B sequences, T response tokens, V vocabulary, H width of the hidden states.
"""

import torch
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from selfdistill.errors import UserError, nearest
from selfdistill.training.settings import AGGREGATIONS

# Log-ratios are bounded before they are exponentiated, as TRL and verl do.
LARGEST_LOG_RATIO = 20.0
# The top-k mass may round to 1; the tail bucket needs a mass above 0 (TRL's `add_tail_bucket`).
LARGEST_LOG_MASS = -1e-7


def topk_divergence(
    student_logits: torch.Tensor, teacher_logits: torch.Tensor, *, k: int, alpha: float, tail: bool
) -> torch.Tensor:
    """SDPO's divergence per token [B, T], in nats, from logits [B, T, V]; no gradient reaches the teacher.

    The student's ``k`` likeliest tokens are told apart; with ``tail`` the rest of the vocabulary is one more category,
    without it the k are renormalised (as in verl and in TRL's loss_utils.py). ``alpha`` 0 is KL(teacher || student), 1
    KL(student || teacher), and in between (1 - alpha) KL(student || m) + alpha KL(teacher || m) with the mixture
    m = (1 - alpha) student + alpha teacher: at 0.5 the Jensen-Shannon divergence. A ``k`` above V takes all of V.
    """
    student, teacher = _wide(student_logits), _wide(teacher_logits.detach())
    top, support = student.topk(min(k, student.size(-1)), dim=-1)
    student_logps = top - student.logsumexp(dim=-1, keepdim=True)
    teacher_logps = teacher.gather(-1, support) - teacher.logsumexp(dim=-1, keepdim=True)
    complete = _with_tail if tail else _renormalised
    return _divergence(complete(student_logps), complete(teacher_logps), alpha)


def _wide(logits: torch.Tensor) -> torch.Tensor:
    return logits if logits.dtype == torch.float64 else logits.float()


def _with_tail(logps: torch.Tensor) -> torch.Tensor:
    mass = logps.logsumexp(dim=-1, keepdim=True).clamp(max=LARGEST_LOG_MASS)
    return torch.cat([logps, torch.log(-torch.expm1(mass))], dim=-1)


def _renormalised(logps: torch.Tensor) -> torch.Tensor:
    return logps - logps.logsumexp(dim=-1, keepdim=True)


def _divergence(student: torch.Tensor, teacher: torch.Tensor, alpha: float) -> torch.Tensor:
    """From log-probabilities [..., categories] to [...]."""
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
    chunk_tokens: int = 1024,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Per token [B, T]: `topk_divergence`, the student's log-probability of ``token_ids`` [B, T], and its entropy.

    Takes hidden states [B, T, H] and output weights [V, H] (``teacher_weight`` None: the student's), and forms the
    logits of ``chunk_tokens`` tokens at a time, again in the backward pass, so that no [B, T, V] exists. Only the
    divergence carries a gradient.
    """
    theirs = weight.detach() if teacher_weight is None else teacher_weight.detach()

    def chunk(own: torch.Tensor, taught: torch.Tensor, ids: torch.Tensor) -> tuple[torch.Tensor, ...]:
        logits = F.linear(own, weight, bias) / temperature
        with torch.no_grad():
            teacher_logits = F.linear(taught, theirs, teacher_bias) / temperature
            logps = _wide(logits).log_softmax(dim=-1)
            entropy = -(logps.exp() * logps).sum(dim=-1)
            sampled = logps.gather(-1, ids[:, None]).squeeze(-1)
        return topk_divergence(logits, teacher_logits, k=k, alpha=alpha, tail=tail), sampled, entropy

    columns = student_hidden.flatten(0, 1), teacher_hidden.detach().flatten(0, 1), token_ids.flatten()
    parts = [
        checkpoint(chunk, *pieces, use_reentrant=False)
        for pieces in zip(*(column.split(chunk_tokens) for column in columns), strict=True)
    ]
    divergence, sampled, entropy = (torch.cat(part).view(token_ids.shape) for part in zip(*parts, strict=True))
    return divergence, sampled, entropy


def topk_divergence_from_hidden(
    student_hidden: torch.Tensor, teacher_hidden: torch.Tensor, weight: torch.Tensor, **options
) -> torch.Tensor:
    """`topk_divergence` [B, T] from hidden states and output weight; ``options`` are those of `distillation_terms`."""
    ids = torch.zeros(student_hidden.shape[:2], dtype=torch.long, device=student_hidden.device)
    return distillation_terms(student_hidden, teacher_hidden, weight, ids, **options)[0]


def truncated_ratio(new_logps: torch.Tensor, old_logps: torch.Tensor, *, clip: float) -> torch.Tensor:
    """Importance weights [B, T], new to old probability, at most ``clip``; detached, and 1 where either is unknown."""
    gap = (new_logps - old_logps).detach().nan_to_num(nan=0.0)
    return gap.clamp(-LARGEST_LOG_RATIO, LARGEST_LOG_RATIO).exp().clamp(max=clip)


def aggregate(
    per_token: torch.Tensor, mask: torch.Tensor, *, how: str, normaliser: torch.Tensor | float | None = None
) -> torch.Tensor:
    """A scalar from ``per_token`` [B, T] where ``mask`` [B, T] is 1.

    "authors": mean over the tokens of each sequence, then over sequences, of which those without a token count as 0:
    the effect of their code, whose configuration says token-mean. "token": sum over all tokens, divided by
    ``normaliser`` (None: their number).
    """
    if how == "authors":
        return ((per_token * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)).mean()
    if how == "token":
        return (per_token * mask).sum() / (mask.sum().clamp(min=1) if normaliser is None else normaliser)
    raise UserError(f"unknown aggregation '{how}'{nearest(how, AGGREGATIONS)}; known: {', '.join(AGGREGATIONS)}")
