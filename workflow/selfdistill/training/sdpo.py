"""SDPO: on-policy self-distillation (Sections 5 and 6; Hübotter et al. 2026, arXiv:2601.20802).

The model is its own teacher: shown a successful response of a peer (`selfdistill.training.demonstrations`), it predicts
the student's response anew, and the loss is the divergence of the student's next-token distributions from the teacher's
on the likeliest tokens (`selfdistill.training.losses`). The authors' code: run_math_sdpo.sh, ray_trainer.py:600-770
(demonstrations and the teacher's prompts), dp_actor.py:133-148 (the moving teacher).
"""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch
from accelerate.utils import gather_object
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from selfdistill import models
from selfdistill.prompts import shows_solution
from selfdistill.training.demonstrations import TeacherPrompt, choose_demonstrations, teacher_prompt
from selfdistill.training.losses import distillation_terms, truncated_ratio
from selfdistill.training.method import Method
from selfdistill.training.rollouts import Step
from selfdistill.training.sharding import holding, output_layer, own_weights, placed_like, whole
from selfdistill.training.states import padded, response_states
from selfdistill.training.trainer import OnPolicyTrainer, sequences

TEACHER_WEIGHTS = "teacher.safetensors"


class Taught(NamedTuple):
    """The teacher's pass over a micro-batch."""

    states: torch.Tensor  # [N, H], hidden states from which it predicts the responses that have a demonstration
    weight: torch.Tensor  # of its output layer [V, H]
    bias: torch.Tensor | None  # [V]


class Terms(NamedTuple):
    """What a micro-batch's loss is made of, per token [B, T]; only the divergence carries a gradient."""

    divergence: torch.Tensor
    logps: torch.Tensor  # of the student
    entropy: torch.Tensor


class Sdpo(Method):
    """The divergence from the self-teacher, which is fixed (the initial model) or moves (EMA of the policy).

    Under a low-rank adapter no second model is held: the teacher is the policy without its adapter, or with one that
    moves, whose two factors are averages of the policy's. TRL's `PEFTAdapterEMACallback` averages them, too, but from
    zeros: its teacher follows both factors late. Here they begin as the policy's do.
    """

    # divergence: a mean over tokens, in nats; importance_ratio: the mean truncated weight, and the share truncated.
    metrics = (
        "shortened_demonstrations",
        "empty_demonstrations",
        "divergence",
        "importance_ratio",
        "importance_ratio_truncated",
    )
    padded_left = frozenset({"teacher_ids", "teacher_mask"})

    def __init__(self, trainer: OnPolicyTrainer, initial: Path):
        super().__init__(trainer, initial)
        self.run, self.settings = trainer.run, trainer.settings.sdpo
        self.teacher = None if trainer.settings.lora_rank else trainer.frozen(self._load_teacher(initial))
        self._adapter: dict[str, torch.Tensor] = {}  # the moving teacher's, where no second model is held

    def _load_teacher(self, initial: Path) -> PreTrainedModel:
        # A fixed teacher is never added to, so on a GPU it needs no more than the precision that it computes in.
        precise = bool(self.run.teacher_update_rate) or not torch.cuda.is_available()
        return models.load_model(initial, dtype="float32" if precise else "bfloat16")

    @contextmanager
    def as_teacher(self, model: PreTrainedModel) -> Iterator[PreTrainedModel]:
        """The self-teacher of the policy ``model``: a model of its own, or the policy without or with another adapter.

        Within, the policy is not to be trained.
        """
        if self.teacher is not None:
            yield self.teacher
            return
        policy = self.trainer.accelerator.unwrap_model(model)
        with holding(policy, self.adapter) if self.run.teacher_update_rate else policy.disable_adapter():
            yield policy

    @property
    def adapter(self) -> dict[str, torch.Tensor]:
        """The moving teacher's adapter by parameter; at first the policy's, which begins as nothing."""
        if not self._adapter:
            policy = self._policy()
            self._adapter = {name: weight.detach().clone() for name, weight in policy.items() if weight.requires_grad}
        return self._adapter

    def _policy(self) -> dict[str, torch.nn.Parameter]:
        return dict(self.trainer.accelerator.unwrap_model(self.trainer.model).named_parameters())

    # --- demonstrations ---------------------------------------------------------------------------------------------

    def extend(self, batch: dict[str, torch.Tensor], step: Step, rollouts: pd.DataFrame) -> None:
        """Add the teacher's prompts, ``teacher_ids`` and ``teacher_mask`` [B, P'], and which rows have a demonstration,
        ``distilled`` [B]. A row without one keeps its own prompt as the teacher's and is left out of the loss.
        """
        with self.trainer.timed("teacher"):
            chosen = self._choose(step, rollouts)
            rollouts["context_sample"] = pd.Series(chosen, dtype="Int32")
            own = [chosen[place] for place in step.places]
            shown = [
                self._teacher_prompt(text, answer, None if number is None else rollouts["response"][number])
                for text, answer, number in zip(step.user_texts, step.answers, own, strict=True)
            ]
            prompts = [
                list(prompt.token_ids) if prompt else student
                for prompt, student in zip(shown, step.prompt_ids, strict=True)
            ]
            device = self.trainer.accelerator.device
            batch["distilled"] = torch.tensor([prompt is not None for prompt in shown], device=device)
            batch["teacher_ids"], batch["teacher_mask"] = self._padded_left(prompts, device)
            self._note_demonstrations([prompt for prompt in shown if prompt])

    def _choose(self, step: Step, rollouts: pd.DataFrame) -> list[int | None]:
        """For each rollout of the step the one that is its demonstration; none where the context shows no solution."""
        if not self._shows_solution:
            return [None] * len(rollouts)
        return choose_demonstrations(
            rollouts["correct"].astype(float).tolist(),
            rollouts["problem_id"].tolist(),
            context=str(self.run.context),
            group_size=self.trainer.num_generations,
            threshold=self.settings.success_threshold,
            choice=self.settings.demonstration,
            rng=random.Random(f"{self.trainer.seed}:{step.number}"),
        )

    @property
    def _shows_solution(self) -> bool:
        return self.trainer.template is None or shows_solution(self.trainer.template)

    def _teacher_prompt(self, user_text: str, answer: str, demonstration: str | None) -> TeacherPrompt | None:
        """None without the demonstration that the context shows."""
        if demonstration is None and self._shows_solution:
            return None
        return teacher_prompt(
            self.trainer.processing_class,
            user_text,
            demonstration or "",
            without_thinking=self.run.context == "solution_without_thinking",
            opened=self.trainer.opened,
            max_tokens=self.settings.max_teacher_tokens,
            template=self.trainer.template,
            answer=answer,
            **self.trainer.asked,
        )

    def _note_demonstrations(self, shown: list[TeacherPrompt]) -> None:
        everyones = gather_object(shown)
        if everyones:
            self.trainer.note(
                {
                    "shortened_demonstrations": sum(prompt.shortened for prompt in everyones) / len(everyones),
                    "empty_demonstrations": sum(prompt.empty for prompt in everyones) / len(everyones),
                }
            )

    def _padded_left(self, prompts: Sequence[Sequence[int]], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        width = max(map(len, prompts))
        ids = torch.full((len(prompts), width), self.trainer.processing_class.pad_token_id, device=device)
        mask = torch.zeros_like(ids)
        for row, prompt in enumerate(prompts):
            ids[row, width - len(prompt) :] = torch.tensor(prompt, device=device)
            mask[row, width - len(prompt) :] = 1
        return ids, mask

    # --- loss ---------------------------------------------------------------------------------------------------------

    def loss(self, model: PreTrainedModel, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """Top-k divergence to the teacher, times both importance weights, on rollouts with a demonstration."""
        trainer = self.trainer
        taught = self._teach(model, inputs)
        # In the precision of the forward pass: only there do states and (gathered) weights have one dtype.
        with trainer.timed("student"), trainer.accelerator.autocast():
            terms = self._compare(model, inputs, taught)
            ratio = truncated_ratio(terms.logps, inputs["old_per_token_logps"], clip=self.settings.importance_clip)
            weights = ratio * inputs["rollout_weights"]
            mask = inputs["completion_mask"].float()
            distilled = mask * inputs["distilled"].unsqueeze(1)
            loss = trainer.average(self.counted(terms.divergence, inputs) * weights, distilled, inputs)
        trainer.note_mean("entropy", terms.entropy, mask)
        trainer.note_mean("divergence", terms.divergence.detach(), distilled)
        trainer.note_ratio("importance_ratio", ratio, mask, self.settings.importance_clip)
        return loss

    def counted(self, divergence: torch.Tensor, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """What counts of the divergence [B, T] of a micro-batch: all; a method made from this one may count less."""
        return divergence

    @torch.no_grad()
    def _teach(self, model: PreTrainedModel, inputs: dict[str, torch.Tensor]) -> Taught:
        """The teacher's pass, over the rows that have a demonstration."""
        trainer, kept = self.trainer, inputs["completion_ids"].size(1)
        with trainer.timed("teacher"), trainer.accelerator.autocast(), self.as_teacher(model) as teacher:
            ids, visible = sequences(inputs, "teacher")
            rows = inputs["distilled"]
            if not rows.any():  # one must be read: a sharded teacher is gathered by all processes together
                rows = torch.arange(len(rows), device=rows.device) == 0
            states = response_states(teacher, ids[rows], visible[rows], kept)
            return Taught(states if inputs["distilled"].any() else states[:0], *output_layer(teacher))

    def _compare(self, model: PreTrainedModel, inputs: dict[str, torch.Tensor], taught: Taught) -> Terms:
        """The student's pass, and its divergence from the teacher's."""
        responses, seen = inputs["completion_ids"], inputs["completion_mask"].bool()
        ids, visible = sequences(inputs)
        states = response_states(model, ids, visible, responses.size(1), inputs["distilled"])
        weight, bias = output_layer(self.trainer.accelerator.unwrap_model(model))
        distilled = inputs["distilled"].repeat_interleave(seen.sum(dim=1))
        terms = distillation_terms(
            states,
            _among(taught.states, distilled),
            weight,
            responses[seen],
            bias=bias,
            teacher_weight=taught.weight,
            teacher_bias=taught.bias,
            temperature=self.trainer.temperature,
            k=self.run.top_k,
            alpha=self.settings.divergence_alpha,
            tail=self.settings.divergence_tail,
        )
        return Terms(*(padded(column, seen) for column in terms))

    # --- the moving teacher -------------------------------------------------------------------------------------------

    def _moving(self) -> Iterator[tuple[str, torch.Tensor]]:
        """The weights of the moving teacher: of a sharded one this process's share."""
        return own_weights(self.teacher) if self.teacher is not None else iter(self.adapter.items())

    @torch.no_grad()
    def after_step(self) -> None:
        """teacher <- (1 - rate) teacher + rate policy (authors' dp_actor.py:133-148)."""
        if not self.run.teacher_update_rate:
            return
        policy = self._policy()
        for name, weight in self._moving():
            weight.lerp_(policy[name].to(weight.dtype), self.run.teacher_update_rate)

    def save(self, folder: Path) -> None:
        if not self.run.teacher_update_rate:
            return
        main = self.trainer.accelerator.is_main_process
        gathered = ((name, whole(weight)) for name, weight in self._moving())
        # One at a time: a whole teacher would fill a GPU that holds a share of it.
        weights = {name: weight.cpu() if main else weight[:0] for name, weight in gathered}
        if main:
            save_file(weights, folder / TEACHER_WEIGHTS)

    def restore(self, folder: Path) -> None:
        if not self.run.teacher_update_rate:
            return
        saved = load_file(folder / TEACHER_WEIGHTS)
        for name, weight in self._moving():
            weight.copy_(placed_like(saved[name], weight))


def _among(states: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """``states`` of the ``tokens`` [N] that are True, with zeros for the others: [N, H]."""
    if tokens.all():
        return states
    return states.new_zeros(len(tokens), states.size(1)).masked_scatter(tokens[:, None], states)
