"""Hyperparameters of the trainers. Imports no trainer, so that the command line stays quick."""

from dataclasses import dataclass

from selfdistill.errors import UserError, nearest

SCHEDULES = ("linear", "cosine")
METHODS = ("grpo", "sdpo")
CONTEXTS = ("solution", "solution_without_thinking")
DEMONSTRATIONS = ("random", "first")
AGGREGATIONS = ("authors", "token")


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
        _check_known("schedule", self.schedule, SCHEDULES)
        self.accumulation(1)

    def accumulation(self, processes: int) -> int:
        """Micro-batches per step on each of ``processes``; `UserError` with the nearest sizes if none fits."""
        share = _share("batch_size", self.batch_size, processes)
        _check_divides("micro_batch_size", self.micro_batch_size, f"{share} sequences per step and process", share)
        return share // self.micro_batch_size


@dataclass(frozen=True)
class Arm:
    """What distinguishes one on-policy run from another (Sections 5 and 6, Appendix E).

    method: "grpo" or "sdpo".
    context: SDPO's c: "solution" (the peer's whole response) or "solution_without_thinking"; "none" for GRPO.
    teacher_update_rate: share of the policy that enters SDPO's teacher at every step (EMA); 0 keeps it fixed.
    learning_rate: constant after warm-up.
    distillation_top_k: the student's likeliest tokens that the divergence distinguishes.
    subset: number of problems |D|; None trains on the whole set.
    draw: which of the disjoint sets of that size.
    """

    method: str
    learning_rate: float
    context: str = "none"
    teacher_update_rate: float = 0.0
    distillation_top_k: int = 100
    subset: int | None = None
    draw: int = 0

    def __post_init__(self) -> None:
        _check_known("method", self.method, METHODS)
        _check_known("context", self.context, CONTEXTS if self.method == "sdpo" else ("none",))
        if not 0 <= self.teacher_update_rate <= 1:
            raise UserError(f"teacher_update_rate is {self.teacher_update_rate}; it must lie between 0 and 1")


@dataclass(frozen=True)
class OnPolicySettings:
    """What all on-policy runs of a study share. Defaults are the paper's.

    steps: trainer steps; each draws batch_size prompts with `rollouts` responses (authors' user.yaml: 100 used).
    batch_size, rollouts, updates_per_step: 256 prompts x 8 in two optimizer updates (run_math_*.sh:39-41).
    micro_batch_size: sequences per forward pass and device; a matter of memory and speed.
    warmup_steps: trainer steps of linear warm-up, 10; constant afterwards.
    weight_decay, adam_beta1, adam_beta2, max_grad_norm: optim/fsdp.yaml.
    clip_low, clip_high, dual_clip: GRPO's clipping of the probability ratio (user.yaml:24-26, actor.yaml).
    rollout_correction: truncation of the ratio of the trainer's to the engine's token probability (sdpo.yaml:30-32).
    divergence_alpha: 0 KL(teacher || student), 1 KL(student || teacher), 0.5 JSD (run_math_sdpo.sh:45-47).
    divergence_tail: whether the mass outside the top-k is a category of its own.
    importance_clip: truncation of SDPO's per-token ratio of the policy to the one that drew (same place).
    success_threshold: a response with at least this reward may serve as demonstration (ray_trainer.py:664-682).
    demonstration: "random" successful peer, or the "first" of the group (the authors').
    aggregation: "authors" (mean over each response's tokens, then over responses) or "token" (over all tokens).
    max_teacher_tokens: longest prompt of the teacher; a longer demonstration is cut (actor.yaml:108: 22,528).
    lora_rank: above 0, low-rank adapters of this rank are trained in place of all weights (not in the paper).
    checkpoint_steps: trainer steps after which the model is saved for evaluation.
    """

    checkpoint_steps: list[int]
    steps: int = 100
    batch_size: int = 256
    rollouts: int = 8
    updates_per_step: int = 2
    micro_batch_size: int = 1
    warmup_steps: int = 10
    weight_decay: float = 0.01
    adam_beta1: float = 0.9
    adam_beta2: float = 0.999
    max_grad_norm: float = 1.0
    clip_low: float = 0.2
    clip_high: float = 0.28
    dual_clip: float = 3.0
    rollout_correction: float = 2.0
    divergence_alpha: float = 0.5
    divergence_tail: bool = True
    importance_clip: float = 2.0
    success_threshold: float = 0.5
    demonstration: str = "random"
    aggregation: str = "authors"
    max_teacher_tokens: int = 22_528
    lora_rank: int = 0

    def __post_init__(self) -> None:
        _check_known("demonstration", self.demonstration, DEMONSTRATIONS)
        _check_known("aggregation", self.aggregation, AGGREGATIONS)
        if self.rollouts < 2:
            raise UserError(f"rollouts is {self.rollouts}; a group needs 2 or more")
        if not self.checkpoint_steps:
            raise UserError("checkpoint_steps is empty; name at least one step after which the model is evaluated")
        late = [step for step in self.checkpoint_steps if not 1 <= step <= self.steps]
        if late:
            raise UserError(f"checkpoint_steps: {late[0]} is not between 1 and steps ({self.steps})")
        self.accumulation(1)

    def accumulation(self, processes: int) -> int:
        """Micro-batches per update on each of ``processes``; `UserError` with the nearest sizes if none fits."""
        sequences = self.batch_size * self.rollouts
        updates = self.updates_per_step
        share = _share(f"batch_size x rollouts per each of {updates} updates", sequences, processes, times=updates)
        _check_divides("micro_batch_size", self.micro_batch_size, f"{share} sequences per update and process", share)
        return share // self.micro_batch_size


def _check_known(what: str, found: str, known: tuple[str, ...]) -> None:
    if found not in known:
        raise UserError(f"unknown {what} '{found}'{nearest(found, known)}; known: {', '.join(known)}")


def _share(what: str, total: int, processes: int, *, times: int = 1) -> int:
    """``total`` / (``times`` x ``processes``); `UserError` with the numbers of processes that divide it."""
    share, rest = divmod(total, times * processes)
    if rest:
        fitting = [n for n in range(1, total + 1) if total % (times * n) == 0]
        near = " or ".join(map(str, sorted(sorted(fitting, key=lambda n: abs(n - processes))[:2])))
        instead = f"; nearest numbers of processes: {near}" if near else f"; it is no multiple of {times}"
        raise UserError(f"{what} ({total}) does not divide among {processes} processes{instead}")
    return share


def _check_divides(what: str, size: int, of: str, total: int) -> None:
    if size < 1 or total % size:
        divisors = [n for n in range(1, total + 1) if total % n == 0]
        near = sorted(sorted(divisors, key=lambda n: abs(n - size))[:2])
        raise UserError(f"{what} {size} does not divide {of}; nearest {what}: {' or '.join(map(str, near))}")
