"""Settings of the trainers, and training runs as rows. Imports no trainer, so that the command line stays quick."""

import math
from collections.abc import Iterable
from dataclasses import replace
from importlib.util import find_spec
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator
from pydantic_core import core_schema

from selfdistill.errors import UserError
from selfdistill.settings import Among, Count, Distinct, Seed, Tokens, key, settings
from selfdistill.training.methods import METHODS, SELF_TAUGHT

MethodName = Annotated[str, Among(METHODS)]
# Those that need no template: `selfdistill.training.demonstrations` says what they show.
CONTEXTS = ("solution", "solution_without_thinking", "wrong_solution", "unrelated_solution")


class Context(str):
    """The name of a context. A type of its own, as the word null is none on the command line."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> core_schema.CoreSchema:
        return core_schema.str_schema(pattern=r"^[a-z][a-z0-9_]*$", max_length=32)


Rate = Annotated[float, Field(gt=0, le=1)]
AGGREGATIONS = ("authors", "token")
RELEASED = "-released"  # ends the name of a run that was trained elsewhere
TRAINED = "trained"  # among benchmarks along training: the problems that the run itself trains on
# Draws of a small training set start this far apart: the largest |D| but the whole set (Section 6.2), so that the sets
# of one draw are nested, as the authors' files are, and those of different draws disjoint.
DRAW_STRIDE = 512
VLLM_MEMORY = 45  # percent


def rate_digits(rate: float) -> str:
    """A learning rate with all of its digits, as few as tell it from every other: 0.0001, 1.23456789e-05, 1."""
    return repr(float(rate)).removesuffix(".0")


@settings
class SftSettings:
    """Supervised fine-tuning (Section 4). None of its hyperparameters is published."""

    epochs: Count = key(2, doc="Passes over the data set.", paper="not published")
    batch_size: Count = key(
        32,
        doc="Sequences per optimizer step, over all devices; the loss is the mean over their response tokens.",
        paper="not published",
    )
    micro_batch_size: Count = key(4, doc="Sequences per forward pass; a divisor of the batch, for memory and speed.")
    warmup_steps: int = key(
        5, doc="Steps of linear warm-up from 5 % of the rate.", paper="not published", ge=0, le=1_000_000
    )
    schedule: Literal["linear", "cosine"] = key("linear", doc="Decay to 5 % of the rate.", paper="not published")
    weight_decay: float = key(0.0, doc="AdamW weight decay.", paper="not published", ge=0, le=100)
    adam_beta1: float = key(0.9, doc="AdamW beta 1.", paper="not published", ge=0, lt=1)
    adam_beta2: float = key(0.999, doc="AdamW beta 2.", paper="not published", ge=0, lt=1)
    max_grad_norm: float = key(1.0, doc="Gradient clipping norm.", paper="not published", gt=0, le=1_000_000)
    max_tokens: Tokens = key(
        600, doc="Longest prompt and response together, in tokens; the rest is cut off.", paper="not published"
    )
    lora_rank: int = key(
        0, doc="Above 0: train low-rank adapters of this rank.", paper="not published", ge=0, le=65_536
    )

    @model_validator(mode="after")
    def _sizes_divide(self) -> "SftSettings":
        self.accumulation(1)
        return self

    def accumulation(self, processes: int) -> int:
        """Micro-batches per step on each of ``processes``; `UserError` with the nearest sizes if none fits."""
        share = _share("batch_size", self.batch_size, processes)
        _check_divides("micro_batch_size", self.micro_batch_size, f"{share} sequences per step and process", share)
        return share // self.micro_batch_size


@settings
class SftRun:
    """One fine-tuning run of a model."""

    data: str = key(doc="Data set: `unguided` (D_ug), `guided` (D_sg) or `unguided_unfiltered`.")
    learning_rate: Rate = key(doc="Peak of the schedule.", paper="not published")

    @property
    def id(self) -> str:
        """A name for files, unique within a model."""
        return f"sft-{self.data}-lr{rate_digits(self.learning_rate)}"


@settings
class Run:
    """One on-policy run (Sections 5 and 6, Appendix E). What a method does not have is null."""

    model: str = key(doc="Name of the model that is trained.")
    method: MethodName = key(doc=f"One of {', '.join(f'`{name}`' for name in METHODS)}.", paper="both (Section 5)")
    learning_rate: Rate = key(doc="Constant after warm-up.", paper="GRPO 1e-6, SDPO 1e-5 (authors' run_math_*.sh:42)")
    context: Context | None = key(
        "solution",
        doc="SDPO's c: the peer's whole response (`solution`), what follows its thinking "
        "(`solution_without_thinking`), a failed peer's (`wrong_solution`) or a right one to another problem "
        "(`unrelated_solution`) in its place, or a template of `contexts`.",
        paper="both (Section 5)",
    )
    teacher_update_rate: Annotated[float, Field(ge=0, le=1)] | None = key(
        0.0,
        doc="Share of the policy that enters SDPO's teacher per step (EMA); 0 keeps it fixed.",
        paper="0; 0.05 (5.4)",
    )
    top_k: Count | None = key(
        100, doc="The student's likeliest tokens that SDPO's divergence tells apart.", paper="100 (run_math_sdpo.sh)"
    )
    problem_set: str = key("train", doc="Problem set to train on.", paper="DAPO-Math-17k; Chemistry")
    problems: Count | None = key(
        None,
        doc="Size of D: train on so many problems of the set; null takes all.",
        paper="1, 8, 64, 128, 512, all (6.2)",
    )
    draw: int = key(
        0,
        doc="Which of the disjoint parts of the set, of that size, D is; `seed`: the one with the number of the base "
        "model's seed.",
        paper="one",
        ge=0,
        le=1_000_000,
    )
    seed: Seed = key(0, doc="Seed of rollouts and order of problems.", paper="one run each")
    batch_size: Count | None = key(
        None, doc="Prompts per step, where other than `onpolicy.batch_size`.", paper="64 for small D"
    )
    steps: Count | None = key(
        None,
        doc="Trainer steps, where other than `onpolicy.steps`; the run is evaluated at the `checkpoint_steps` up to "
        "there.",
        paper="100 (user.yaml)",
    )
    copies: Count | None = key(
        None, doc="Copies of the whole set, where other than `onpolicy.copies`.", paper="Chemistry: 1"
    )

    @model_validator(mode="after")
    def _has_what_its_method_needs(self) -> "Run":
        if self.method in SELF_TAUGHT:
            for name in ("context", "teacher_update_rate", "top_k"):
                if getattr(self, name) is None:
                    raise ValueError(f"a run of {self.method} needs '{name}'")
        return self

    def plain(self) -> "Run":
        """The same run without what does not apply to it: a part of the whole set or copies of it, GRPO's teacher."""
        changes: dict[str, object] = {"draw": 0} if self.problems is None else {"copies": 1}
        if self.method not in SELF_TAUGHT:
            changes |= {"context": None, "teacher_update_rate": None, "top_k": None}
        return replace(self, **changes)

    @property
    def id(self) -> str:
        """A short name, unique within a model: what differs from the simplest run of its method, and the rate."""
        parts = [
            self.method,
            _context_in_id(self.context),
            f"ema{rate_digits(self.teacher_update_rate)}" if self.teacher_update_rate else "",
            self.problem_set,
            "" if self.problems is None else f"n{self.problems}",
            "" if self.problems is None else f"draw{self.draw}",
            f"lr{rate_digits(self.learning_rate)}",
            f"k{self.top_k}" if self.method in SELF_TAUGHT else "",
            f"seed{self.seed}",
        ]
        return "-".join(part for part in parts if part)


def _context_in_id(context: str | None) -> str:
    return {None: "", "solution": "", "solution_without_thinking": "nothink"}.get(context, str(context))


# Keys of a run that stand in place of a setting that all share, and that its name does not show.
OWN = ("batch_size", "steps", "copies")


@settings
class GrpoSettings:
    """GRPO's clipping of the probability ratio."""

    clip_low: float = key(0.2, doc="Ratio clipped below 1 minus this.", paper="0.2 (user.yaml:24-26)", gt=0, le=1)
    clip_high: float = key(0.28, doc="Ratio clipped above 1 plus this.", paper="0.28 (same)", gt=0, le=1_000_000)
    dual_clip: float = key(3.0, doc="Upper bound of the unclipped ratio.", paper="3 (actor.yaml)", gt=1, le=1_000_000)


@settings
class SdpoSettings:
    """SDPO's divergence from the self-teacher, and how its demonstrations are chosen."""

    divergence_alpha: float = key(
        0.5,
        doc="0 KL(teacher, student), 1 KL(student, teacher), between: Jensen-Shannon.",
        paper="0.5 (run_math_sdpo.sh:45-47)",
        ge=0,
        le=1,
    )
    divergence_tail: bool = key(True, doc="The mass outside the top-k is a category of its own.", paper="true")
    importance_clip: float = key(
        2.0,
        doc="Truncation of the weight of a token, new policy / old.",
        paper="2.0 (sdpo.yaml:30-32)",
        gt=0,
        le=1_000_000,
    )
    success_threshold: float = key(
        0.5, doc="Reward from which a response may demonstrate.", paper="0.5 (ray_trainer.py:664-682)", ge=0, le=1
    )
    demonstration: Literal["random", "first"] = key(
        "random", doc="Which successful peer of the group demonstrates.", paper="first (ray_trainer.py:664-682)"
    )
    max_teacher_tokens: Tokens = key(
        22_528,
        doc="Longest teacher prompt, in tokens; a longer demonstration is cut.",
        paper="22,528 (actor.yaml:108)",
        ge=16,
    )


@settings
class OnPolicySettings:
    """What all on-policy runs of a study share; what one method alone has is its own section."""

    checkpoint_steps: Distinct[Count] = key(
        doc="Trainer steps after which the model is evaluated.", paper="every 10 (user.yaml:64-67)"
    )
    steps: Count = key(100, doc="Trainer steps.", paper="100 (user.yaml)")
    batch_size: Count = key(256, doc="Prompts per step.", paper="256 (run_math_*.sh:39-41)")
    copies: Count = key(
        1,
        doc="How often each problem of a whole set stands in what is shuffled. 1: passes over the set; above it, "
        "a problem may be drawn again before all have been.",
        paper="about 103 (rows of DAPO-Math-17k)",
    )
    rollouts: int = key(8, doc="Responses per prompt: a group.", paper="8", gt=1, le=10_000)
    updates_per_step: Count = key(2, doc="Optimizer updates per step.", paper="2 (mini-batch 128)")
    micro_batch_size: Count = key(1, doc="Sequences per forward pass and device, for memory and speed.")
    micro_batch_tokens: int = key(
        0,
        doc="Above 0: instead of so many sequences, as many as have so many tokens; a longer one is read alone.",
        ge=0,
        le=10_000_000,
    )
    vllm_memory: int = key(
        VLLM_MEMORY,
        doc="Percent of a GPU's memory that vLLM takes beside the model that is trained, for memory and speed.",
        ge=1,
        le=95,
    )
    warmup_steps: int = key(
        10, doc="Trainer steps of linear warm-up; constant afterwards.", paper="10", ge=0, le=1_000_000
    )
    weight_decay: float = key(0.01, doc="AdamW weight decay.", paper="0.01 (optim/fsdp.yaml)", ge=0, le=100)
    adam_beta1: float = key(0.9, doc="AdamW beta 1.", paper="0.9", ge=0, lt=1)
    adam_beta2: float = key(0.999, doc="AdamW beta 2.", paper="0.999", ge=0, lt=1)
    max_grad_norm: float = key(1.0, doc="Gradient clipping norm.", paper="1.0", gt=0, le=1_000_000)
    rollout_correction: float = key(
        2.0,
        doc="Truncation of the weight of a token, trainer / engine.",
        paper="2.0 (sdpo.yaml:30-32)",
        gt=0,
        le=1_000_000,
    )
    aggregation: Annotated[str, Among(AGGREGATIONS)] = key(
        "authors",
        doc="Mean over tokens within each response, then over responses; or over all tokens of a step.",
        paper="token by its configuration, authors by its effect (docs/deviations.md, 6)",
    )
    lora_rank: int = key(
        0,
        doc="Above 0: train low-rank adapters of this rank. SDPO's teacher is then the model without them, or with "
        "averages of theirs (`teacher_update_rate`).",
        paper="0",
        ge=0,
        le=65_536,
    )
    grpo: GrpoSettings = key(factory=GrpoSettings, doc="GRPO alone.")
    sdpo: SdpoSettings = key(factory=SdpoSettings, doc="SDPO alone.")

    @model_validator(mode="after")
    def _steps_and_sizes_fit(self) -> "OnPolicySettings":
        longest = self._longest()
        faults = [
            f"checkpoint_steps: {step} is not between 1 and steps ({longest})"
            for step in self.checkpoint_steps
            if step > longest
        ][:1]
        try:
            self.share(1)
        except UserError as error:
            faults.append(str(error))
        if faults:
            raise ValueError("; ".join(faults))
        return self

    def _longest(self) -> int:
        """The most steps of any run that the settings are for."""
        return self.steps

    def share(self, processes: int) -> int:
        """Sequences per update on each of ``processes``; `UserError` with the nearest sizes if none fits."""
        sequences = self.batch_size * self.rollouts
        updates = self.updates_per_step
        _check_divides("updates_per_step", updates, f"batch_size x rollouts ({sequences})", sequences)
        share = _share("batch_size x rollouts / updates_per_step", sequences // updates, processes)
        if not self.micro_batch_tokens:
            of = f"{share} sequences per update and process"
            _check_divides("micro_batch_size", self.micro_batch_size, of, share)
        return share


def draw_part(size: int, *, subset: int, draw: int) -> slice:
    """Where D lies in a set of ``size`` problems: ``subset`` of them in file order; `UserError` if it is too small."""
    first = draw * DRAW_STRIDE
    if (subset > DRAW_STRIDE and subset != size) or first + subset > size:
        raise UserError(
            f"draw {draw} of {subset} problems needs at least {first + subset} problems, {DRAW_STRIDE} apart at most; "
            f"the set has {size}"
        )
    return slice(first, first + subset)


def check_mirrors(mirrors: Iterable[str]) -> None:
    """`UserError` for the first service for step metrics that is not installed here."""
    for mirror in mirrors:
        if find_spec(mirror) is None:
            raise UserError(f"onpolicy.mirrors: '{mirror}' is not installed here (pip install {mirror})")


def _share(what: str, total: int, processes: int) -> int:
    """``total`` / ``processes``; `UserError` with the numbers of processes that divide it."""
    share, rest = divmod(total, processes)
    if rest:
        near = _nearest_divisors(total, processes)
        raise UserError(
            f"{what} ({total}) does not divide among {processes} processes; nearest numbers of processes: {near}"
        )
    return share


def _check_divides(what: str, size: int, of: str, total: int) -> None:
    if size < 1 or total % size:
        raise UserError(f"{what} {size} does not divide {of}; nearest {what}: {_nearest_divisors(total, size)}")


def _nearest_divisors(total: int, wanted: int) -> str:
    """The one or two divisors of ``total`` that are nearest to ``wanted``, for a sentence."""
    small = [n for n in range(1, math.isqrt(total) + 1) if total % n == 0]
    near = sorted({*small, *(total // n for n in small)}, key=lambda n: abs(n - wanted))[:2]
    return " or ".join(map(str, sorted(near)))
