"""GRPO: group relative policy optimisation (Section 5; Shao et al. 2024, DeepSeekMath, arXiv:2402.03300).

The objective is TRL's: the ratio of new to old token probability, clipped on both sides (DAPO's wider upper bound, Yu
et al. 2025, arXiv:2503.14476) and, for responses with a negative advantage, once more at ``dual_clip`` (Ye et al. 2020,
arXiv:1912.09729). Authors' settings: user.yaml:24-26, actor.yaml. There is no KL term.
"""

from typing import Any

import torch
from transformers import PreTrainedModel

from selfdistill.training.method import Method
from selfdistill.training.settings import OnPolicySettings


class Grpo(Method):
    """TRL's clipped objective of the advantages."""

    # TRL's, means over micro-batches: shares of tokens whose ratio was clipped from below and from above.
    metrics = ("clip_ratio/low_mean", "clip_ratio/high_mean")

    @classmethod
    def trl_arguments(cls, settings: OnPolicySettings) -> dict[str, Any]:
        own = settings.grpo
        return {"epsilon": own.clip_low, "epsilon_high": own.clip_high, "delta": own.dual_clip}

    def loss(self, model: PreTrainedModel, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        # Without a KL term the objective of a row without advantage is 0.
        return self.trainer.clipped_objective(model, inputs, with_gradient=inputs["advantages"].any(dim=1))
