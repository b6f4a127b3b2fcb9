"""One trainer for GRPO and SDPO: TRL's GRPOTrainer, whose loss SDPO replaces and nothing else.

Rollouts, grading, updates, schedule and records are the same code for both methods. Everything of TRL that is private
and overridden stands in this module; `OVERRIDDEN` lists it with the parameters relied on, for a test to compare.

Shapes: B sequences of a micro-batch, P prompt tokens (padded left), T response tokens (padded right), H width.
"""

import random
import time
import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from accelerate.utils import gather_object
from safetensors.torch import load_file, save_file
from torch.distributed.fsdp import MixedPrecisionPolicy
from transformers import PreTrainedModel, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from trl import GRPOTrainer
from trl.models import prepare_fsdp
from trl.models.utils import disable_gradient_checkpointing

from selfdistill.errors import UserError
from selfdistill.files import sha256_text
from selfdistill.generation.requests import Completion, Row, Sampling, sample_seed
from selfdistill.generation.transformers_engine import ModelSampler
from selfdistill.prompts import render
from selfdistill.training.checkpoints import export_model
from selfdistill.training.demonstrations import choose_demonstrations, group_statistics, teacher_prompt
from selfdistill.training.losses import aggregate, distillation_terms, token_logps, truncated_ratio
from selfdistill.training.rollouts import RolloutRecord
from selfdistill.training.settings import OnPolicySettings, Run
from selfdistill.training.sharding import _output_layer, _own_weights, _placed_like, _whole
from selfdistill.training.states import response_states

OVERRIDDEN = {
    "_send_telemetry": [],
    "_prepare_inputs": ["generation_batch"],
    "_generate_and_score_completions": ["inputs"],
    "_get_per_token_logps_and_entropies": ["model", "input_ids", "attention_mask", "logits_to_keep", "batch_size"],
    "_compute_loss": ["model", "inputs"],
    "_save_checkpoint": ["model", "trial"],
    "_load_from_checkpoint": ["resume_from_checkpoint", "model"],
}
TEACHER_WEIGHTS = "teacher.safetensors"
# What configurations of transformers call a change of the logits behind the output layer, which the losses leave out.
CHANGED_LOGITS = (
    "final_logit_softcapping", "logit_scale", "logits_scaling", "output_multiplier", "lm_head_multiplier",
)  # fmt: skip
# Seconds of a step; "rescoring" is the policy's log-probabilities of what another engine or precision has drawn.
PHASES = ("generation", "grading", "rescoring", "teacher", "student", "backward", "optimizer")


class OnPolicyTrainer(GRPOTrainer):
    """Trains ``model`` by ``run.method`` on a data set with the columns prompt, problem_id and answer.

    ``teacher``: SDPO's self-teacher, a second copy of the model; None for GRPO, and where the model has an adapter,
    without which it is its own teacher. ``record`` keeps every rollout.
    """

    def __init__(
        self,
        *,
        run: Run,
        settings: OnPolicySettings,
        sampling: Sampling,
        enable_thinking: bool | None,
        opened: bool,
        teacher: PreTrainedModel | None,
        record: RolloutRecord,
        **options: Any,
    ):
        self.run, self.settings, self.sampling, self.seed = run, settings, sampling, run.seed
        self.enable_thinking, self.opened = enable_thinking, opened
        self.teacher: PreTrainedModel | None = None
        self.record = record
        self.seconds: dict[str, float] = defaultdict(float)
        self._graded: torch.Tensor | None = None  # while GRPO's loss is formed: which rows [B] have a gradient
        self.totals: dict[str, tuple[float, float]] = {}  # of a step's metrics over tokens: sum, number of tokens
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="You are using 'rollout_func'")  # TRL: the seam may change
            super().__init__(reward_funcs=self._grade, rollout_func=self._roll_out, **options)
        _require_plain_logits(self.model)
        self.sampler = None
        if not self.use_vllm:
            self.sampler = self._own_sampler()
        if self.is_fsdp_enabled and self.args.bf16:
            self._add_up_in_float32()
        if teacher is not None:
            self.teacher = self._placed(teacher.requires_grad_(False).eval())

    def _own_sampler(self) -> ModelSampler:
        if self.is_fsdp_enabled:
            raise UserError("a sharded model cannot draw its own responses: choose the engine vllm, or ddp.yaml")
        return ModelSampler(self.accelerator.unwrap_model(self.model), self.processing_class)

    def _add_up_in_float32(self) -> None:
        """Gradients of several processes are summed in float32, as the authors' are (their fsdp_workers.py:493-497);
        accelerate would sum them in bfloat16.
        """
        half = torch.bfloat16
        policy = MixedPrecisionPolicy(param_dtype=half, reduce_dtype=torch.float32, output_dtype=half)
        self.accelerator.state.fsdp_plugin.mixed_precision_policy = policy

    def _placed(self, teacher: PreTrainedModel) -> PreTrainedModel:
        """The teacher where the policy lies: sharded like it, or whole on the device."""
        if self.is_fsdp_enabled:
            return prepare_fsdp(teacher, self.accelerator)
        return teacher.to(self.accelerator.device)

    # What TRL would send or write on its own.
    def _send_telemetry(self) -> None:
        pass

    def create_model_card(self, *args: object, **kwargs: object) -> None:
        pass

    def _wait(self) -> None:
        """A GPU works on after the call that gave it work has returned."""
        if self.accelerator.device.type == "cuda":
            torch.cuda.synchronize()

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        """Adds the seconds inside to a phase of the step."""
        self._wait()
        started = time.perf_counter()
        try:
            yield
        finally:
            self._wait()
            self.seconds[phase] += time.perf_counter() - started

    @property
    def draws_from_policy(self) -> bool:
        """Whether rollouts come from the very distribution that the loss scores: own sampler, float32, unfiltered."""
        return not self.use_vllm and not self.args.bf16 and self.sampling.top_p == 1 and self.sampling.top_k == 0

    @property
    def trainer_step(self) -> int:
        """Trainer steps done; each makes ``updates_per_step`` optimizer updates."""
        return self.state.global_step // self.settings.updates_per_step

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        before, started = sum(self.seconds.values()), time.perf_counter()
        loss = super().training_step(*args, **kwargs)
        elsewhere = sum(self.seconds.values()) - before
        self.seconds["backward"] += time.perf_counter() - started - elsewhere
        return loss

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        logs |= {f"seconds/{phase}": self.seconds[phase] for phase in PHASES}
        logs |= {name: total / count for name, (total, count) in self.totals.items() if count}
        for name in self.totals:  # TRL's own would be a mean over micro-batches, whatever their size
            self._metrics["train"].pop(name, None)
        self.seconds.clear()
        self.totals.clear()
        super().log(logs, *args, **kwargs)

    # --- rollouts ---------------------------------------------------------------------------------------------------

    def _roll_out(self, prompts: Sequence[list[dict[str, str]]], trainer: GRPOTrainer) -> dict[str, list]:
        """One response per prompt, drawn with a seed of its own, so that a resumed run draws the same."""
        with self.timed("generation"):
            rendered = [self._student_prompt(prompt) for prompt in prompts]
            stream = f"rollout-{self.trainer_step + 1}"
            rows = [
                Row(tuple(ids), sample_seed(self.seed, stream, self._prompt_sha256(ids), number))
                for number, ids in zip(self._numbers(len(prompts)), rendered, strict=True)
            ]
            self._seeds = [row.seed for row in rows]
            completions = self._draw(rows)
        self._drawn_logps = [completion.logps for completion in completions]
        return {
            "prompt_ids": rendered,
            "completion_ids": [[*completion.token_ids, *completion.end_ids] for completion in completions],
            "logprobs": self._drawn_logps,
        }

    def _draw(self, rows: Sequence[Row]) -> list[Completion]:
        """A completion with its log-probabilities for every row."""
        if not self.use_vllm:
            # In training mode a model that recomputes its activations has no key-value cache.
            policy = self.accelerator.unwrap_model(self.model)
            plain = disable_gradient_checkpointing(policy, self.args.gradient_checkpointing_kwargs)
            with plain, self.accelerator.autocast():
                return self.sampler.sample(rows, self.sampling, logps=True)
        # TRL has given vLLM the policy's weights by now. Of the seeds vLLM knows nothing.
        prompts = [list(row.token_ids) for row in rows]
        _, drawn, logps, _ = self.vllm_generation.generate(prompts, images=None, num_generations=self.num_generations)
        ends = set(self.eos_token_ids)
        return [
            Completion(ids[:-1], "stop", [logp[0] for logp in of_tokens], (ids[-1],))
            if ids and ids[-1] in ends
            else Completion(ids, "length", [logp[0] for logp in of_tokens])
            for ids, of_tokens in zip(drawn, logps, strict=True)
        ]

    def _student_prompt(self, prompt: list[dict[str, str]]) -> list[int]:
        return render(self.processing_class, prompt[0]["content"], enable_thinking=self.enable_thinking)

    def _prompt_sha256(self, ids: Sequence[int]) -> str:
        return sha256_text(self.processing_class.decode(ids))

    def _numbers(self, count: int) -> range:
        """Places of this process's rollouts among those of the step."""
        first = self.accelerator.process_index * count
        return range(first, first + count)

    def _grade(
        self,
        prompts: Sequence[list[dict[str, str]]],
        completions: Sequence[object],
        completion_ids: Sequence[Sequence[int]],
        problem_id: Sequence[str],
        answer: Sequence[str],
        **_: object,
    ) -> list[float]:
        """Rewards 0 or 1 by the grader of all evaluations; the rollouts become rows of the traces table."""
        with self.timed("grading"):
            ends = set(self.eos_token_ids)
            spoken = [ids[:-1] if ids and ids[-1] in ends else ids for ids in completion_ids]
            generated = pd.DataFrame(
                {
                    "problem_id": problem_id,
                    "context_sample": pd.array([None] * len(spoken), dtype="Int32"),
                    "sample": self._numbers(len(spoken)),
                    "seed": self._seeds,
                    "prompt_sha256": [self._prompt_sha256(self._student_prompt(prompt)) for prompt in prompts],
                    "response": [self.processing_class.decode(ids, skip_special_tokens=True) for ids in spoken],
                    "response_tokens": [len(ids) for ids in spoken],
                    "finish_reason": [
                        "length" if len(ids) == len(text) else "stop"
                        for ids, text in zip(completion_ids, spoken, strict=True)
                    ],
                }
            )
            asked = pd.DataFrame({"problem_id": problem_id, "answer": answer}).drop_duplicates("problem_id")
            self._rollouts = self.record.annotate(generated, asked, step=self.trainer_step + 1, opened=self.opened)
        return self._rollouts["correct"].astype(float).tolist()

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """TRL's batch, with the rollout correction in its advantages and, for SDPO, the teacher's prompts."""
        batch = super()._generate_and_score_completions(inputs)
        self._correct_for_engine(batch)
        everyone = pd.concat(gather_object([self._rollouts]), ignore_index=True)
        rewards = everyone["correct"].astype(float).tolist()
        threshold = self.settings.sdpo.success_threshold
        self._note(group_statistics(rewards, group_size=self.num_generations, threshold=threshold))
        if self.run.method == "sdpo":
            with self.timed("teacher"):
                everyone["context_sample"] = self._demonstrate(batch, inputs, everyone["response"].tolist(), rewards)
        if self.accelerator.is_main_process:
            self.record.save(everyone, self.trainer_step + 1)
        self._note(self.record.summary(everyone))
        return batch

    def _correct_for_engine(self, batch: dict[str, torch.Tensor]) -> None:
        """Token-level truncated rollout correction: weights [B, T] for the probability gap between engine and trainer.

        A weight multiplies both branches of GRPO's clipped objective, so it can stand in the advantages.
        """
        mask = batch["completion_mask"]
        if "old_per_token_logps" not in batch:  # TRL leaves them out when there is one update per step
            batch["old_per_token_logps"] = self._rescored(batch)
        drawn = batch.pop("sampling_per_token_logps")
        weights = truncated_ratio(batch["old_per_token_logps"], drawn, clip=self.settings.rollout_correction)
        batch["rollout_weights"] = weights
        batch["advantages"] = batch["advantages"].unsqueeze(1) * weights
        self._note_ratio("rollout_ratio", weights, mask, self.settings.rollout_correction)

    def _rescored(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """Log-probabilities [B, T] of the rollouts under the policy that is about to be updated."""
        ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
        visible = torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)
        kept, size = batch["completion_ids"].size(1), self.args.per_device_train_batch_size
        with torch.no_grad():
            return self._get_per_token_logps_and_entropies(self.model, ids, visible, kept, batch_size=size)[0]

    def _demonstrate(
        self, batch: dict[str, torch.Tensor], inputs: list[dict[str, Any]], responses: list[str], rewards: list[float]
    ) -> pd.Series:
        """Add the teacher's prompts to ``batch``; which rollout serves each one of the step as demonstration.

        A rollout without demonstration keeps its own prompt as the teacher's and is left out of the loss.
        """
        chosen = choose_demonstrations(
            rewards,
            group_size=self.num_generations,
            threshold=self.settings.sdpo.success_threshold,
            choice=self.settings.sdpo.demonstration,
            rng=random.Random(f"{self.seed}:{self.trainer_step + 1}"),
        )
        prompts, given = [], []
        for number, example in zip(self._numbers(len(inputs)), inputs, strict=True):
            if chosen[number] is None:
                prompts.append(self._student_prompt(example["prompt"]))
                continue
            taught = teacher_prompt(
                self.processing_class,
                example["prompt"][0]["content"],
                responses[chosen[number]],
                without_thinking=self.run.context == "solution_without_thinking",
                opened=self.opened,
                max_tokens=self.settings.sdpo.max_teacher_tokens,
                enable_thinking=self.enable_thinking,
            )
            prompts.append(list(taught.token_ids))
            given.append(taught)
        device = self.accelerator.device
        own = [chosen[number] is not None for number in self._numbers(len(inputs))]
        batch["distilled"] = torch.tensor(own, device=device)
        batch["teacher_ids"], batch["teacher_mask"] = self._padded_left(prompts, device)
        everyones = gather_object(given)
        if everyones:
            self._note({"shortened_demonstrations": sum(prompt.shortened for prompt in everyones) / len(everyones)})
            self._note({"empty_demonstrations": sum(prompt.empty for prompt in everyones) / len(everyones)})
        return pd.Series(chosen, dtype="Int32")

    def _padded_left(self, prompts: Sequence[Sequence[int]], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        width = max(map(len, prompts))
        ids = torch.full((len(prompts), width), self.processing_class.pad_token_id, device=device)
        mask = torch.zeros_like(ids)
        for row, prompt in enumerate(prompts):
            ids[row, width - len(prompt) :] = torch.tensor(prompt, device=device)
            mask[row, width - len(prompt) :] = 1
        return ids, mask

    def _prepare_inputs(self, generation_batch: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """The next micro-batch; a new step's rollouts are drawn when those of the last one are used up.

        As TRL does it, but the sequences of an update are sorted by length before they are cut into micro-batches,
        which leaves the gradient as it is and saves most of the padding.
        """
        position = self._step % self.args.steps_per_generation
        if position == 0 or self._buffered_inputs is None:
            batch = self._generate_and_score_completions(generation_batch)
            self._buffered_inputs = list(self._micro_batches(batch))
        return self._buffered_inputs[position]

    def _micro_batches(self, batch: dict[str, torch.Tensor]) -> Iterator[dict[str, torch.Tensor]]:
        """Of every update this process's share. An update is made of the same sequences whatever the processes are."""
        batch = self._everyones(batch)
        lengths = batch["completion_mask"].sum(dim=1)
        shuffler = torch.Generator().manual_seed(sample_seed(self.seed, "updates", "", self.trainer_step + 1) % 2**63)
        shuffled = torch.randperm(len(lengths), generator=shuffler).to(lengths.device)
        for update in shuffled.chunk(self.settings.updates_per_step):
            order = update[lengths[update].argsort(descending=True, stable=True)]
            share = order[self.accelerator.process_index :: self.accelerator.num_processes]  # of equal lengths
            for rows in share.split(self.args.per_device_train_batch_size):
                yield {name: value[rows] if value.ndim else value for name, value in batch.items()}

    def _everyones(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The batch of all processes, in the order of the step's rollouts, padded to common widths."""
        if self.accelerator.num_processes == 1:
            return batch
        left = {"prompt_ids", "prompt_mask", "teacher_ids", "teacher_mask"}
        filled = {"prompt_ids", "teacher_ids", "completion_ids"}
        whole = {}
        for name, value in batch.items():
            if value.ndim > 1:
                filling = self.processing_class.pad_token_id if name in filled else 0
                value = self.accelerator.pad_across_processes(value, dim=1, pad_index=filling, pad_first=name in left)
            whole[name] = self.accelerator.gather(value) if value.ndim else value
        return whole

    # --- losses -----------------------------------------------------------------------------------------------------

    def _get_per_token_logps_and_entropies(  # type: ignore[override]
        self,
        model: PreTrainedModel,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        **_: object,
    ) -> tuple[torch.Tensor, torch.Tensor | None, None]:
        """The same numbers [B, T] as TRL's, with the sequences grouped by length and without their common padding.

        Scored again without gradient are the rollouts just drawn, whose log-probabilities the sampler may know.
        """
        training = torch.is_grad_enabled()
        if not training and self.draws_from_policy:
            drawn = [torch.tensor(logps) for logps in self._drawn_logps]
            padded = torch.nn.utils.rnn.pad_sequence(drawn, batch_first=True)
            return _widened(padded, logits_to_keep).to(input_ids.device), None, None
        order = attention_mask[:, -logits_to_keep:].sum(dim=1).argsort(descending=True, stable=True)
        responses, seen = input_ids[:, -logits_to_keep:], attention_mask[:, -logits_to_keep:]
        parts = []
        with self.timed("student" if training else "rescoring"), self.accelerator.autocast():
            for rows in order.split(batch_size or len(order)):
                graded = None if self._graded is None else self._graded[rows]
                states, kept = response_states(model, input_ids[rows], attention_mask[rows], logits_to_keep, graded)
                weight, bias = _output_layer(self.accelerator.unwrap_model(model))
                logps, entropy = token_logps(
                    states, weight, responses[rows, :kept], bias=bias, temperature=self.temperature
                )
                parts.append((_widened(logps, logits_to_keep), _widened(entropy, logits_to_keep)))
                if training:
                    self._note_mean("entropy", entropy, seen[rows, :kept].float())
        back = order.argsort()
        logps, entropies = (torch.cat(part)[back] for part in zip(*parts, strict=True))
        return logps, entropies, None

    def _compute_loss(self, model: PreTrainedModel, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """GRPO's clipped objective, or SDPO's divergence from the self-teacher; a scalar."""
        if self.run.method == "sdpo":
            return self._divergence(model, inputs)
        self._graded = inputs["advantages"].any(dim=1)  # there is no KL term: elsewhere the objective is 0
        try:
            return super()._compute_loss(model, inputs)
        finally:
            self._graded = None

    def _divergence(self, model: PreTrainedModel, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """SDPO: top-k divergence to the teacher, times both importance weights, on rollouts with a demonstration."""
        responses, mask = inputs["completion_ids"], inputs["completion_mask"]
        with self.timed("teacher"), torch.no_grad(), self.accelerator.autocast(), self._as_teacher(model) as teacher:
            ids = torch.cat([inputs["teacher_ids"], responses], dim=1)
            visible = torch.cat([inputs["teacher_mask"], mask], dim=1)
            rows = inputs["distilled"].nonzero().flatten()
            if not len(rows):  # one must be: a sharded teacher is gathered by all processes together
                rows = slice(1)
            taught, _ = response_states(teacher, ids[rows], visible[rows], responses.size(1))
            teacher_weight, teacher_bias = _output_layer(teacher)
        # In the precision of the forward pass: only there do states and (gathered) weights have one dtype.
        with self.timed("student"), self.accelerator.autocast():
            ids = torch.cat([inputs["prompt_ids"], responses], dim=1)
            visible = torch.cat([inputs["prompt_mask"], mask], dim=1)
            states, kept = response_states(model, ids, visible, responses.size(1), inputs["distilled"])
            mask = mask[:, :kept].float()
            taught = _among(taught, rows, states.shape)
            weight, bias = _output_layer(self.accelerator.unwrap_model(model))
            divergence, logps, entropy = distillation_terms(
                states,
                taught,
                weight,
                responses[:, :kept],
                bias=bias,
                teacher_weight=teacher_weight,
                teacher_bias=teacher_bias,
                temperature=self.temperature,
                k=self.run.top_k,
                alpha=self.settings.sdpo.divergence_alpha,
                tail=self.settings.sdpo.divergence_tail,
            )
            old = inputs["old_per_token_logps"][:, :kept]
            ratio = truncated_ratio(logps, old, clip=self.settings.sdpo.importance_clip)
            weights = ratio * inputs["rollout_weights"][:, :kept]
            distilled = mask * inputs["distilled"].unsqueeze(1)
            how, tokens = self.settings.aggregation, self._tokens(inputs)
            loss = aggregate(divergence * weights, distilled, how=how, normaliser=tokens)
        self._note_mean("entropy", entropy, mask)
        self._note_mean("divergence", divergence.detach(), distilled)
        self._note_ratio("importance_ratio", ratio, mask, self.settings.sdpo.importance_clip)
        # The trainer adds up micro-batches; a mean over responses has to become one over the whole update.
        return loss / self.current_gradient_accumulation_steps if how == "authors" else loss

    @contextmanager
    def _as_teacher(self, model: PreTrainedModel) -> Iterator[PreTrainedModel]:
        """The self-teacher: a model of its own, or the policy with its adapter switched off."""
        if self.teacher is not None:
            yield self.teacher
            return
        policy = self.accelerator.unwrap_model(model)
        with policy.disable_adapter():
            yield policy

    def _tokens(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """Response tokens per update and process: the normaliser of the token mean (as in TRL's "dapo")."""
        per_process = inputs["num_items_in_batch"].clamp(min=1.0) / self.accelerator.num_processes
        return per_process / self.settings.updates_per_step

    # --- what is reported ---------------------------------------------------------------------------------------------

    def _note(self, values: dict[str, float]) -> None:
        for name, value in values.items():
            self._metrics["train"][name].append(float(value))

    def _note_mean(self, name: str, values: torch.Tensor, mask: torch.Tensor) -> None:
        """Adds ``values`` [B, T] to a mean over the step's masked tokens, those of all processes."""
        sums = torch.stack([(values * mask).sum(), mask.sum()])
        total, count = self.accelerator.reduce(sums, reduction="sum").tolist()
        before = self.totals.get(name, (0.0, 0.0))
        self.totals[name] = before[0] + total, before[1] + count

    def _note_ratio(self, name: str, ratio: torch.Tensor, mask: torch.Tensor, clip: float) -> None:
        """Mean of truncated ratios, and the share that was truncated."""
        mask = mask[:, : ratio.size(1)].float()
        self._note_mean(name, ratio, mask)
        self._note_mean(f"{name}_truncated", (ratio >= clip).float(), mask)

    # --- teacher ------------------------------------------------------------------------------------------------------

    def _save_checkpoint(self, model: PreTrainedModel, trial: object) -> None:
        """A moving teacher is saved before the file that marks a checkpoint as complete."""
        if self.run.teacher_update_rate:
            main = self.accelerator.is_main_process
            gathered = ((name, _whole(weight)) for name, weight in _own_weights(self.teacher))
            # One at a time: a whole teacher would fill a GPU that holds a share of it.
            weights = {name: weight.cpu() if main else weight[:0] for name, weight in gathered}
            if main:
                folder = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
                folder.mkdir(parents=True, exist_ok=True)
                save_file(weights, folder / TEACHER_WEIGHTS)
        super()._save_checkpoint(model, trial)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: PreTrainedModel | None = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        if self.run.teacher_update_rate:
            saved = load_file(Path(resume_from_checkpoint) / TEACHER_WEIGHTS)
            for name, weight in _own_weights(self.teacher):
                weight.copy_(_placed_like(saved[name], weight))

    @torch.no_grad()
    def move_teacher(self) -> None:
        """teacher <- (1 - rate) teacher + rate policy, once per trainer step (authors' dp_actor.py:133-148)."""
        policy = dict(self.accelerator.unwrap_model(self.model).named_parameters())
        for name, weight in _own_weights(self.teacher):
            weight.lerp_(policy[name].to(weight.dtype), self.run.teacher_update_rate)


class StepCallback(TrainerCallback):
    """After each trainer step: the teacher's update, and the model saved where it is to be evaluated."""

    def __init__(self, exports: Path, *, base: Path | None = None):
        self.exports, self.base = exports, base
        self.trainer: OnPolicyTrainer | None = None

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        self._started = time.perf_counter()

    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        self.trainer.seconds["optimizer"] += time.perf_counter() - self._started

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        trainer = self.trainer
        if state.global_step % trainer.settings.updates_per_step:
            return
        if trainer.run.teacher_update_rate:
            trainer.move_teacher()
        if trainer.trainer_step in trainer.settings.checkpoint_steps:
            export_model(trainer, self.exports / f"step-{trainer.trainer_step}", base=self.base)


def _widened(values: torch.Tensor, width: int) -> torch.Tensor:
    return torch.nn.functional.pad(values, (0, width - values.size(1)))


def _among(states: torch.Tensor, rows: torch.Tensor | slice, shape: torch.Size) -> torch.Tensor:
    """``states`` of some rows of a batch, with zeros for the others."""
    if states.shape == shape:
        return states
    whole = states.new_zeros(shape)
    whole[rows, : states.size(1)] = states
    return whole


def _require_plain_logits(model: PreTrainedModel) -> None:
    config = model.config.get_text_config()
    changed = {name: getattr(config, name, None) for name in CHANGED_LOGITS}
    changed = [f"{name} {value}" for name, value in changed.items() if value not in (None, 1)]
    if changed:
        raise UserError(
            f"the model changes the logits of its output layer ({', '.join(changed)}): it cannot be trained"
        )
