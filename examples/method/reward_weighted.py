"""Reward-weighted fine-tuning on one's own responses: maximum likelihood of those that are correct.

With rewards of 0 and 1 this is one round of RAFT per step (Dong et al. 2023, arXiv:2304.06767), and REINFORCE without a
baseline (Williams 1992): correct responses become likelier, wrong ones are left alone. A control for GRPO and SDPO,
which learn from wrong responses too.
"""

import pandas as pd
import torch
from selfdistill.training.method import Method
from selfdistill.training.rollouts import Step
from transformers import PreTrainedModel


class RewardWeighted(Method):
    """-reward x log p(response), per token."""

    metrics = ("log_likelihood",)  # of a correct response's tokens, in nats

    def extend(self, batch: dict[str, torch.Tensor], step: Step, rollouts: pd.DataFrame) -> None:
        batch["rewards"] = torch.tensor(
            step.rollouts["correct"].tolist(), device=batch["completion_ids"].device
        ).float()

    def loss(self, model: PreTrainedModel, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        logps = self.trainer.response_logps(model, inputs, with_gradient=inputs["rewards"] > 0)
        correct = inputs["completion_mask"] * inputs["rewards"].unsqueeze(1)
        self.trainer.note_mean("log_likelihood", logps.detach(), correct)
        return self.trainer.average(-logps * inputs["rollout_weights"], correct, inputs)
