"""Hyperparameters of the trainers. Imports no trainer, so that the command line stays quick."""

from dataclasses import dataclass

from selfdistill.errors import UserError, nearest

SCHEDULES = ("linear", "cosine")


@dataclass(frozen=True)
class SftSettings:
    """Hyperparameters of supervised fine-tuning; none of them is published.

    learning_rate: peak of the schedule.
    epochs: passes over the examples.
    batch_size: sequences per optimizer step; the loss is the mean over all their response tokens.
    micro_batch_size: sequences per forward pass, a divisor of batch_size; a matter of memory and speed.
    warmup_steps: steps of linear warm-up from 5 % of the rate.
    schedule: "linear" or "cosine" decay to 5 % of the rate.
    weight_decay, adam_beta1, adam_beta2: AdamW's.
    max_grad_norm: the gradient's norm is clipped to this.
    max_tokens: longest prompt and response together; what follows is cut off.
    """

    learning_rate: float
    epochs: int = 2
    batch_size: int = 32
    micro_batch_size: int = 4
    warmup_steps: int = 5
    schedule: str = "linear"
    weight_decay: float = 0.0
    adam_beta1: float = 0.9
    adam_beta2: float = 0.999
    max_grad_norm: float = 1.0
    max_tokens: int = 600

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "micro_batch_size", "max_tokens"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} is {getattr(self, name)}; it must be 1 or more")
        if self.schedule not in SCHEDULES:
            raise UserError(
                f"unknown schedule '{self.schedule}'{nearest(self.schedule, SCHEDULES)}; known: {', '.join(SCHEDULES)}"
            )
        if self.batch_size % self.micro_batch_size:
            divisors = [n for n in range(1, self.batch_size + 1) if self.batch_size % n == 0]
            near = sorted(divisors, key=lambda n: abs(n - self.micro_batch_size))[:2]
            raise UserError(
                f"batch_size {self.batch_size} is not a multiple of micro_batch_size {self.micro_batch_size}; "
                f"nearest micro_batch_size: {' or '.join(map(str, sorted(near)))}"
            )
