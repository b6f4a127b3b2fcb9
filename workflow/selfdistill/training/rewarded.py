"""SDPO (Hübotter et al. 2026, arXiv:2601.20802) with GRPO's objective: summed, routed, or SDPO's divergence ascended.

Three cures that others propose for what SDPO costs (docs/beyond.md). What is of GRPO is `Grpo`'s and what is of SDPO
`Sdpo`'s, so that each method is one of the two wherever the other part is off. Teacher, contexts and settings are those
of the two. No constant was chosen by a result.

`Summed`: the weighted mean of both losses, as TRL's `SDPOConfig.distillation_weight` and SDPO's authors form it.
`Routed`: Sample-Routed Policy Optimization (Li et al. 2026, arXiv:2604.02288). Theirs also weights tokens by the
teacher's entropy; here routing is all that is changed (ours).
`Ascended`: Anti-Self-Distillation (Shen et al. 2026, arXiv:2605.11609), equations 2, 6, 7 and algorithm 1. Ours is what
they do not say or have otherwise: `Gate` and `Ascended` name it.
"""

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import pandas as pd
import torch
from torch.nn.functional import softplus
from transformers import PreTrainedModel

from selfdistill.training.grpo import Grpo
from selfdistill.training.losses import token_logps
from selfdistill.training.rollouts import Step
from selfdistill.training.sdpo import Sdpo
from selfdistill.training.settings import OnPolicySettings
from selfdistill.training.states import padded
from selfdistill.training.trainer import OnPolicyTrainer

GATE_FILE = "gate.json"
TAUGHT = ("teacher_ids", "teacher_mask", "completion_ids", "completion_mask", "distilled")  # what a teacher reads


class WithGrpo(Sdpo):
    """SDPO that has GRPO's objective beside it."""

    metrics = (*Sdpo.metrics, *Grpo.metrics)

    @classmethod
    def trl_arguments(cls, settings: OnPolicySettings) -> dict[str, Any]:
        return Grpo.trl_arguments(settings)

    def __init__(self, trainer: OnPolicyTrainer, initial: Path):
        super().__init__(trainer, initial)
        self.grpo = Grpo(trainer, initial)


class Summed(WithGrpo):
    """(1 - w) GRPO's loss + w SDPO's."""

    # w. Even: each loss is a mean over responses, and any other weight would have to be chosen by what comes out.
    DISTILLATION = 0.5

    def loss(self, model: PreTrainedModel, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        rewarded, distilled = self.grpo.loss(model, inputs), super().loss(model, inputs)
        return (1 - self.DISTILLATION) * rewarded + self.DISTILLATION * distilled


class Routed(WithGrpo):
    """GRPO's loss of right rollouts, SDPO's of wrong ones that have a demonstration.

    Both are means over all responses, so that each rollout counts as in its own method. A wrong rollout without
    demonstration has no right peer, and so no advantage: neither loss has lost it.
    """

    # The share of response tokens that learn from the teacher.
    metrics = (*WithGrpo.metrics, "routed_to_teacher")

    def extend(self, batch: dict[str, torch.Tensor], step: Step, rollouts: pd.DataFrame) -> None:
        """Add which rows are ``right`` [B]."""
        super().extend(batch, step, rollouts)
        right = [bool(rollouts["correct"][place]) for place in step.places]
        batch["right"] = torch.tensor(right, device=batch["completion_ids"].device)

    def loss(self, model: PreTrainedModel, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        right, mask = inputs["right"], inputs["completion_mask"].float()
        taught = inputs["distilled"] & ~right
        self.trainer.note_mean("routed_to_teacher", taught.float().unsqueeze(1), mask)
        rewarded = self.grpo.loss(model, inputs | {"advantages": inputs["advantages"] * right.unsqueeze(1)})
        return rewarded + super().loss(model, inputs | {"distilled": taught})


@dataclass
class Gate:
    """A Schmitt trigger on the teacher's entropy: the ascent ends where the teacher has become too sure (their eq. 7).

    Closed in the first `WARMUP` steps, whose median entropy is the usual one; then open until the entropy falls below
    `FALLEN` of the usual, and open again from the usual on. That it is open at first, and that the usual entropy is the
    median of the steps' medians, is ours.
    """

    WARMUP, FALLEN = 5, 0.93  # theirs

    first: list[float] = field(default_factory=list)
    is_open: bool = True

    def passes(self, entropy: float) -> bool:
        """Whether the ascent is on in a step in which the teacher has this ``entropy``, in nats; once per step."""
        if len(self.first) < self.WARMUP:
            self.first.append(entropy)
            return False
        usual = median(self.first)
        if entropy >= usual:
            self.is_open = True
        elif entropy < self.FALLEN * usual:
            self.is_open = False
        return self.is_open


class Ascended(WithGrpo):
    """GRPO whose advantages fall by lambda phi(u_t) at each token: ascent on the divergence from the self-teacher.

    u_t is the log-ratio of the teacher's to the student's probability of the drawn token, both as the step began, and
    phi the derivative of the Jensen-Shannon divergence, so that the gain of a token that the teacher thinks unlikely is
    bounded. Their teacher is the policy itself, shown a solution: here a run whose ``teacher_update_rate`` is 1. A
    rollout without demonstration has the plain advantage; theirs is shown a solution of the data set, and all are told
    whether they are right (ours are not: an arm differs from SDPO's teacher in nothing else).
    """

    # lambda. Theirs is 0.5, of advantages divided by their group's deviation. Ours are not divided, and this is at most
    # a half: in a group that is half right the two terms weigh as theirs do.
    WEIGHT = 0.25
    # teacher_entropy: the median over the step's taught tokens, in nats; gate: 1 where the ascent is on.
    metrics = ("shortened_demonstrations", "empty_demonstrations", *Grpo.metrics, "teacher_entropy", "gate")

    def __init__(self, trainer: OnPolicyTrainer, initial: Path):
        super().__init__(trainer, initial)
        self.gate = Gate()

    def extend(self, batch: dict[str, torch.Tensor], step: Step, rollouts: pd.DataFrame) -> None:
        """Change the ``advantages`` [B, T]."""
        super().extend(batch, step, rollouts)
        logps, entropies = self._read(batch)
        accelerator = self.trainer.accelerator
        everyones = accelerator.gather(accelerator.pad_across_processes(entropies, pad_index=math.nan))
        entropy = everyones.nanmedian().item()
        if math.isnan(entropy):  # no rollout has a demonstration
            return
        is_open = self.gate.passes(entropy)
        self.trainer.note({"teacher_entropy": entropy, "gate": is_open})
        if is_open:
            taught = batch["completion_mask"] * batch["distilled"].unsqueeze(1)
            lost = self.WEIGHT * bounded(logps - batch["old_per_token_logps"]) * taught
            batch["advantages"] = batch["advantages"] - lost * batch["rollout_weights"]

    @torch.no_grad()
    def _read(self, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """The teacher's log-probabilities [B, T] of the responses that have a demonstration, and its entropies [N]."""
        trainer, device = self.trainer, batch["distilled"].device
        logps = torch.zeros_like(batch["old_per_token_logps"])
        entropies = [logps.new_zeros(0)]
        for rows in torch.arange(len(logps), device=device).split(trainer.settings.micro_batch_size):
            part = {name: batch[name][rows] for name in TAUGHT}
            states, weight, bias = self._teach(trainer.model, part)
            seen = part["completion_mask"].bool() & part["distilled"].unsqueeze(1)
            if seen.any():
                drawn = part["completion_ids"][seen]
                with trainer.timed("teacher"), trainer.accelerator.autocast():
                    found, entropy = token_logps(states, weight, drawn, bias=bias, temperature=trainer.temperature)
                logps[rows] = padded(found.to(logps.dtype), seen)
                entropies.append(entropy.to(logps.dtype))
        return logps, torch.cat(entropies)

    def loss(self, model: PreTrainedModel, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        return self.grpo.loss(model, inputs)

    def save(self, folder: Path) -> None:
        super().save(folder)
        if self.trainer.accelerator.is_main_process:
            (folder / GATE_FILE).write_text(json.dumps(asdict(self.gate)))

    def restore(self, folder: Path) -> None:
        super().restore(folder)
        self.gate = Gate(**json.loads((folder / GATE_FILE).read_text()))


def bounded(log_ratio: torch.Tensor) -> torch.Tensor:
    """phi(u) = (softplus(u) - log 2) / 2, at least -log(2) / 2: the derivative of the Jensen-Shannon divergence of
    student and teacher by the student's probability, less its sign; u: teacher's to student's (their eq. 6).
    """
    return (softplus(log_ratio) - math.log(2)) / 2
