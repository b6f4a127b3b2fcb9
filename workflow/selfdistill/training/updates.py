"""Optimizer updates that are left out because their gradient is not finite, as verl leaves them out."""

import logging
import math
from typing import Any

import torch
from transformers import Trainer

from selfdistill import processes

SKIPPED = "skipped_updates"  # a metric: how many since the last entry of the log


class SkippingTrainer(Trainer):
    """A trainer whose updates change neither weights nor optimizer where their gradient is not finite.

    Training goes on with the next one, and the schedule moves on. Each is told in the log, and counted.
    """

    _skipped = 0

    def _clip_grad_norm(self, model: torch.nn.Module) -> torch.Tensor:
        """The norm before clipping: that of the whole gradient, so the same in every process."""
        norm = super()._clip_grad_norm(model)
        if not math.isfinite(norm.item()):
            self._skipped += 1
            self._tell()
            model.zero_grad(set_to_none=True)  # an optimizer passes over a weight without gradient, its decay too
        return norm

    def _tell(self) -> None:
        if processes.is_main():
            so_far = self._skipped + sum(entry.get(SKIPPED, 0) for entry in self.state.log_history)
            update = self.state.global_step + 1
            logging.warning("update %d is skipped: its gradient is not finite (%d skipped so far)", update, so_far)

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        logs[SKIPPED], self._skipped = self._skipped, 0
        super().log(logs, *args, **kwargs)
        if self.is_in_train:  # transformers subtracts the sum of losses from itself: not a number, it would stay so
            self._tr_loss.zero_()
