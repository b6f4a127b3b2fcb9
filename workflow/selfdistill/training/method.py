"""What a training method is: the base class of each.

`selfdistill.training.trainer` does for all methods alike what they share: rollouts, rewards, advantages, the rollout
correction, micro-batches, updates and records.

Shapes: B sequences, P prompt tokens (padded left), T response tokens (padded right).
"""

from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
import torch
from transformers import PreTrainedModel

from selfdistill.training.rollouts import Step
from selfdistill.training.settings import OnPolicySettings


class Method:
    """What distinguishes one way of training from another. Only `loss` has to be written.

    A batch is a dict of tensors whose first dimension is the sequence, as TRL makes it: ``prompt_ids`` and
    ``prompt_mask`` [B, P], ``completion_ids`` and ``completion_mask`` [B, T], ``old_per_token_logps`` [B, T] (of the
    policy that began the step), ``rollout_weights`` [B, T] (trainer to engine probability, truncated) and
    ``advantages`` [B, T] (reward minus the group's mean, times the rollout weights).

    ``metrics``: names of those that only this method notes (`OnPolicyTrainer.note`) and that results keep.
    ``padded_left``: the columns of a batch that `extend` adds and that are padded on the left; a column whose name
    ends in ``_ids`` is padded with the padding token, any other with 0.
    """

    metrics: ClassVar[tuple[str, ...]] = ()
    padded_left: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    def trl_arguments(cls, settings: OnPolicySettings) -> dict[str, Any]:
        """The fields of TRL's `GRPOConfig` that are this method's own."""
        return {}

    def __init__(self, trainer: Any, initial: Path):
        """``trainer``: the `OnPolicyTrainer`, which holds the policy, placed on its device; ``initial``: manifest of
        the model that training starts from, for a method that holds a second one.
        """
        self.trainer = trainer

    def extend(self, batch: dict[str, torch.Tensor], step: Step, rollouts: pd.DataFrame) -> None:
        """Add to a new step's batch, the sequences of this process, what the loss reads.

        ``step``: the same sequences as they were sampled. ``rollouts``: those of all processes, graded, as rows of the
        `traces` schema, of which ``step.places`` are this process's; here the method may set ``context_sample``, the
        number of the rollout that was shown to a teacher.
        """

    def loss(self, model: PreTrainedModel, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """The scalar loss of a micro-batch ``inputs``; the trainer adds up those of an update."""
        raise NotImplementedError

    def after_step(self) -> None:
        """Called after the last update of each trainer step, before the policy is saved for evaluation."""

    def save(self, folder: Path) -> None:
        """Write to a checkpoint's folder what `restore` needs. All processes call it; the main one writes."""

    def restore(self, folder: Path) -> None:
        """Read from a checkpoint's folder what `save` has written there."""
