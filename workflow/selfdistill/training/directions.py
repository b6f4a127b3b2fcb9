"""Gradients as directions: whether a step along that of a loss makes right responses likelier (ours).

Success J is the model's share of right responses. Its gradient g is estimated from graded responses of its own, n to a
problem: the mean over problems of sum_i (r_i - mean r) grad log p(y_i) / (n - 1), which is unbiased (Williams 1992, the
other responses of a problem being the baseline). A step of length one along the gradient of a loss changes J by
-<grad loss, g> / |grad loss|, to first order. A loss is a sum over tokens, so this is one as well: that of a token is
the derivative of its loss in the direction g. The responses behind g should be others than those of the loss, so that
chance in one is not met again in the other.

Losses are those of a first step, where policy, teacher and sampler are one model (`selfdistill.training.grpo`,
`selfdistill.training.sdpo`); all distributions are those of temperature 1 over the whole vocabulary.

Shapes: B responses of T tokens at most, behind prompts of P tokens; vocabulary V.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, TypeVar

import pandas as pd
import torch
from torch.autograd import forward_ad
from torch.func import functional_call
from tqdm import tqdm
from transformers import PreTrainedModel

from selfdistill.errors import UserError
from selfdistill.training.losses import topk_divergence
from selfdistill.training.settings import SdpoSettings

Tokens = tuple[int, ...]
Name = TypeVar("Name")
Direction = dict[str, torch.Tensor]  # in the space of a model's parameters, by their names
TOKENS = 2**13  # of sequences that are read side by side, with what they are padded by: their logits exist at once
POINTS = 100.0


@dataclass(frozen=True)
class Responses:
    """Responses of a model to its own prompts.

    ``rows``: model, problem_id, sample and correct, one row each, the rows of a problem together; ``prompts`` and
    ``tokens`` in their order.
    """

    rows: pd.DataFrame
    prompts: Sequence[Tokens]
    tokens: Sequence[Tokens]

    @cached_property
    def advantages(self) -> pd.Series:
        """Reward less the mean of its problem (GRPO's, not divided by its deviation)."""
        rewards = self.rows["correct"].astype(float)
        return rewards - rewards.groupby(self.rows["problem_id"]).transform("mean")


@dataclass(frozen=True)
class Distilled:
    """SDPO's loss on responses: by response the teacher's prompt, None where nothing is learnt."""

    teacher_prompts: Sequence[Tokens | None]
    settings: SdpoSettings
    top_k: int


Loss = Distilled | None  # None: GRPO's


def success_gradient(model: PreTrainedModel, responses: Responses, name: str = "") -> Direction:
    """The estimate of the gradient of success."""
    samples = responses.rows.groupby("problem_id")["sample"].transform("size")
    if samples.min() < 2:
        raise UserError(f"the gradient of success on '{name}' needs two responses to each problem; found one")
    advantages = responses.advantages
    if not advantages.any():
        raise UserError(f"the gradient of success on '{name}' is unknown: no problem has right and wrong responses")
    weights = torch.tensor((advantages / (samples - 1) / responses.rows["problem_id"].nunique()).to_list())
    told = [number for number, weight in enumerate(weights.tolist()) if weight]
    parameters = dict(model.named_parameters())
    found = {key: torch.zeros_like(own) for key, own in parameters.items()}
    for part in _parts(responses, told, f"success, {name}"):
        batch = _batch(responses.prompts, responses.tokens, part)
        logps = _drawn(_logits(model, batch), batch) * batch.seen
        for key, own in _gradient((logps.sum(dim=1) * weights[part]).sum(), parameters):
            found[key] += own
    return found


def gains(
    model: PreTrainedModel, responses: Responses, losses: Mapping[Name, Loss], towards: Mapping[str, Direction]
) -> dict[Name, tuple[dict[str, list[list[float]]], float]]:
    """By loss: what a unit step does to each success, by token of each response, in points; the gradient's length.

    The mean over problems of the sums over their tokens is the change of success. A loss without a gradient is left
    out: where no response has a teacher, or all of each problem are right or wrong.
    """
    found = {name: {target: [[0.0] * len(own) for own in responses.tokens] for target in towards} for name in losses}
    parameters = dict(model.named_parameters())
    gradients = {name: {key: torch.zeros_like(own) for key, own in parameters.items()} for name in losses}
    problems = responses.rows["problem_id"].nunique()
    for part in _parts(responses, range(len(responses.tokens)), "gradients"):
        batch = _batch(responses.prompts, responses.tokens, part)
        logits = _logits(model, batch)
        moved = {target: _derivative(model, parameters, direction, batch) for target, direction in towards.items()}
        for name, loss in losses.items():
            of_logits = _by_logits(model, responses, loss, part, logits)
            for key, own in _gradient(logits, parameters, of_logits / problems):
                gradients[name][key] += own
            for target, derivative in moved.items():
                falls = (of_logits * derivative).sum(dim=-1)
                for row, number in enumerate(part):
                    found[name][target][number] = (-POINTS * falls[row][batch.seen[row]]).tolist()
    lengths = {name: _length(gradient) for name, gradient in gradients.items()}
    return {name: (_divided(own, lengths[name]), lengths[name]) for name, own in found.items() if lengths[name]}


def _length(direction: Direction) -> float:
    return float(torch.stack([own.double().square().sum() for own in direction.values()]).sum().sqrt())


def _divided(by_target: Mapping[str, list[list[float]]], length: float) -> dict[str, list[list[float]]]:
    return {
        target: [[gain / length for gain in tokens] for tokens in by_response]
        for target, by_response in by_target.items()
    }


def _parts(responses: Responses, chosen: Sequence[int], what: str) -> Iterator[list[int]]:
    """Numbers of responses that are read together, of like lengths: the longest first."""
    lengths = {number: len(responses.prompts[number]) + len(responses.tokens[number]) for number in chosen}
    left = sorted(chosen, key=lambda number: -lengths[number])
    with tqdm(total=len(chosen), desc=what, unit=" responses", mininterval=2.0) as bar:
        while left:
            size = max(1, TOKENS // lengths[left[0]])
            yield left[:size]
            bar.update(min(size, len(left)))
            left = left[size:]


class _Batch(NamedTuple):
    """Sequences of N tokens at most, padded at their ends, where causal attention needs no mask."""

    ids: torch.Tensor  # [B, N]
    places: torch.Tensor  # [B, T], those that predict the tokens of the response
    drawn: torch.Tensor  # [B, T], these tokens
    seen: torch.Tensor  # [B, T], where the response has one


def _batch(
    prompts: Mapping[int, Tokens] | Sequence[Tokens], responses: Sequence[Tokens], part: Sequence[int]
) -> _Batch:
    longest = max(len(responses[number]) for number in part)
    ids = torch.zeros(len(part), max(len(prompts[number]) for number in part) + longest, dtype=torch.long)
    places, drawn, seen = (torch.zeros(len(part), longest, dtype=torch.long) for _ in range(3))
    for row, number in enumerate(part):
        before, length = len(prompts[number]), len(responses[number])
        ids[row, : before + length] = torch.tensor([*prompts[number], *responses[number]])
        places[row, :length] = torch.arange(before - 1, before - 1 + length)
        drawn[row, :length] = torch.tensor(responses[number])
        seen[row, :length] = 1
    return _Batch(ids, places, drawn, seen.bool())


def _logits(model: Callable[..., Any], batch: _Batch) -> torch.Tensor:
    """[B, T, V], which predict the responses."""
    rows = torch.arange(len(batch.ids))[:, None]
    return model(input_ids=batch.ids, use_cache=False).logits[rows, batch.places]


def _drawn(logits: torch.Tensor, batch: _Batch) -> torch.Tensor:
    """The log-probability [B, T] of each token that was drawn."""
    return logits.log_softmax(dim=-1).gather(-1, batch.drawn[:, :, None]).squeeze(-1)


def _derivative(
    model: PreTrainedModel, parameters: Mapping[str, torch.nn.Parameter], direction: Direction, batch: _Batch
) -> torch.Tensor:
    """The derivative [B, T, V] of the logits, as the parameters go in a ``direction``."""
    with torch.no_grad(), forward_ad.dual_level():
        moving = {name: forward_ad.make_dual(own.detach(), direction[name]) for name, own in parameters.items()}
        logits = _logits(lambda **asked: functional_call(model, moving, kwargs=asked), batch)
        return forward_ad.unpack_dual(logits).tangent.clone()


def _by_logits(
    model: PreTrainedModel, responses: Responses, loss: Loss, part: Sequence[int], logits: torch.Tensor
) -> torch.Tensor:
    """The derivative [B, T, V] of a loss by the logits: each response's mean over its tokens, summed.

    0 at the responses from which nothing is learnt.
    """
    found = torch.zeros_like(logits)
    rows = [row for row, number in enumerate(part) if loss is None or loss.teacher_prompts[number] is not None]
    if rows:
        learnt = [part[row] for row in rows]
        batch = _batch(responses.prompts, responses.tokens, learnt)
        longest = batch.seen.size(1)
        leaf = logits[rows, :longest].detach().requires_grad_()
        weights = batch.seen / batch.seen.sum(dim=1, keepdim=True)
        of_all = (_per_token(model, responses, loss, learnt, batch, leaf) * weights).sum()
        (found[rows, :longest],) = torch.autograd.grad(of_all, leaf)
    return found


def _per_token(
    model: PreTrainedModel, responses: Responses, loss: Loss, part: Sequence[int], batch: _Batch, logits: torch.Tensor
) -> torch.Tensor:
    """The loss of each token [B, T] from the policy's ``logits`` [B, T, V]."""
    if loss is None:
        advantages = torch.tensor(responses.advantages.iloc[list(part)].to_list())[:, None]
        return -advantages * _drawn(logits, batch)
    prompts = {number: loss.teacher_prompts[number] or () for number in part}
    with torch.no_grad():
        taught = _logits(model, _batch(prompts, responses.tokens, part))
    of_sdpo = {"k": loss.top_k, "alpha": loss.settings.divergence_alpha, "tail": loss.settings.divergence_tail}
    return topk_divergence(logits, taught, **of_sdpo)


def _gradient(
    of: torch.Tensor, parameters: Mapping[str, torch.nn.Parameter], times: torch.Tensor | None = None
) -> Iterator[tuple[str, torch.Tensor]]:
    found = torch.autograd.grad(of, list(parameters.values()), times, retain_graph=times is not None)
    return zip(parameters, found, strict=True)
