"""One trainer for all methods: TRL's GRPOTrainer, with the loss of a `selfdistill.training.method.Method`.

Rollouts, grading, updates, schedule and records are the same code for every method. Everything of TRL that is private
and overridden stands in this module and in `selfdistill.training.updates`; `OVERRIDDEN` lists it with the parameters
relied on, for a test to compare.

Shapes: B sequences of a micro-batch, P prompt tokens (padded left), T response tokens (padded right), H width.
"""

import time
import warnings
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from accelerate.utils import gather_object
from torch.distributed.fsdp import MixedPrecisionPolicy
from transformers import PreTrainedModel, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from trl import GRPOTrainer
from trl.models import prepare_fsdp
from trl.models.utils import disable_gradient_checkpointing

from selfdistill.errors import UserError
from selfdistill.files import sha256_text
from selfdistill.generation.requests import LARGEST_SEED, Completion, Row, Sampling, sample_seed
from selfdistill.generation.transformers_engine import ModelSampler
from selfdistill.prompts import render
from selfdistill.training.checkpoints import export_model
from selfdistill.training.losses import aggregate, token_logps, truncated_ratio
from selfdistill.training.method import Method
from selfdistill.training.packing import fewest_parts, parted
from selfdistill.training.rollouts import RolloutRecord, Step, group_statistics
from selfdistill.training.settings import OnPolicySettings, Run
from selfdistill.training.sharding import output_layer
from selfdistill.training.states import can_lie_end_to_end, computing_again, padded, response_states
from selfdistill.training.updates import SkippingTrainer

OVERRIDDEN = {
    "_send_telemetry": [],
    "_prepare_inputs": ["generation_batch"],
    "_generate_and_score_completions": ["inputs"],
    "_get_per_token_logps_and_entropies": ["model", "input_ids", "attention_mask", "logits_to_keep", "batch_size"],
    "_compute_loss": ["model", "inputs"],
    "_save_checkpoint": ["model", "trial"],
    "_load_from_checkpoint": ["resume_from_checkpoint", "model"],
    "_clip_grad_norm": ["model"],
}
# Names in transformers' configurations for changes to the logits after the output layer; the losses ignore these.
CHANGED_LOGITS = (
    "final_logit_softcapping", "logit_scale", "logits_scaling", "output_multiplier", "lm_head_multiplier",
)  # fmt: skip
# Seconds of a step; "rescoring" is the policy's log-probabilities of what another engine or precision has sampled,
# "teacher" whatever a method does with a second model.
PHASES = ("generation", "grading", "rescoring", "teacher", "student", "backward", "optimizer")


Batch = dict[str, torch.Tensor]  # as in `selfdistill.training.method.Method`


class OnPolicyTrainer(SkippingTrainer, GRPOTrainer):
    """Trains ``model`` by ``method`` on a data set with the columns prompt, problem_id, problem and answer.

    ``initial``: manifest of the model that training starts from, for a method that holds a second one. ``record``
    keeps every rollout. ``template``: of the teacher's context, where it is one's own. ``system``: the system turn of
    all prompts. ``options`` are TRL's.
    """

    def __init__(
        self,
        *,
        method: type[Method],
        initial: Path,
        run: Run,
        settings: OnPolicySettings,
        sampling: Sampling,
        enable_thinking: bool | None,
        opened: bool,
        record: RolloutRecord,
        template: str | None = None,
        system: str = "",
        **options: Any,
    ):
        self.run, self.settings, self.sampling, self.seed = run, settings, sampling, run.seed
        self.asked = {"enable_thinking": enable_thinking, "system": system}  # options of `prompts.render`
        self.opened = opened
        self.record, self.template = record, template
        self.seconds: dict[str, float] = defaultdict(float)
        self.totals: dict[str, tuple[float, float]] = {}  # of a step's metrics over tokens: sum, number of tokens
        self._sampled: Step | None = None
        self._updates: deque[list[Batch]] = deque()  # of the step in hand, those that are still to be made
        self._with_gradient: torch.Tensor | None = None  # while TRL's loss is formed: which rows [B] have a gradient
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="You are using 'rollout_func'")  # TRL: the seam may change
            super().__init__(reward_funcs=self._grade, rollout_func=self._roll_out, **options)
        _require_plain_logits(self.model)
        if settings.micro_batch_tokens:
            _require_end_to_end(self.model)
        self.sampler = None
        if not self.use_vllm:
            self.sampler = self._own_sampler()
        if self.is_fsdp_enabled and self.args.bf16:
            self._add_up_in_float32()
        self.method = method(self, initial)

    def _own_sampler(self) -> ModelSampler:
        if self.is_fsdp_enabled:
            raise UserError("a sharded model cannot sample its own responses: choose the engine vllm, or ddp.yaml")
        return ModelSampler(self.accelerator.unwrap_model(self.model), self.processing_class)

    def _add_up_in_float32(self) -> None:
        """Gradients of several processes are summed in float32, as the authors' are (their fsdp_workers.py:493-497);
        accelerate would sum them in bfloat16.
        """
        half = torch.bfloat16
        policy = MixedPrecisionPolicy(param_dtype=half, reduce_dtype=torch.float32, output_dtype=half)
        self.accelerator.state.fsdp_plugin.mixed_precision_policy = policy

    def frozen(self, model: PreTrainedModel) -> PreTrainedModel:
        """``model`` for inference alone, where the policy lies: sharded like it, or whole on the device."""
        model = model.requires_grad_(False).eval()
        if self.is_fsdp_enabled:
            return prepare_fsdp(model, self.accelerator)
        return model.to(self.accelerator.device)

    # Stop TRL from sending or writing anything on its own.
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
        """Adds the seconds inside to a phase of the step, one of `PHASES`."""
        self._wait()
        started = time.perf_counter()
        try:
            yield
        finally:
            self._wait()
            self.seconds[phase] += time.perf_counter() - started

    @property
    def samples_from_policy(self) -> bool:
        """Whether rollouts come from exactly the policy that the loss scores: own sampler, float32, unfiltered."""
        return not self.use_vllm and not self.args.bf16 and self.sampling.top_p == 1 and self.sampling.top_k == 0

    @property
    def trainer_step(self) -> int:
        """Trainer steps done; each makes ``updates_per_step`` optimizer updates."""
        return self.state.global_step // self.settings.updates_per_step

    def training_step(self, model: PreTrainedModel, inputs: list[dict[str, Any]], *_: object) -> torch.Tensor:
        """The loss of one update, after the passes of its micro-batches: TRL's step for each of them."""
        before, started = sum(self.seconds.values()), time.perf_counter()
        model.train()
        update = self._next_update(inputs)
        rows, loss = sum(map(_rows, update)), torch.zeros((), device=self.accelerator.device)
        with computing_again(self.accelerator.unwrap_model(model)):
            for micro_batch in update:
                # Divisor of a micro-batch's mean over responses. Sums over tokens are divided by the update's already.
                share = rows / _rows(micro_batch) if self.settings.aggregation == "authors" else 1
                self.current_gradient_accumulation_steps = share
                with self._added_up(model, last=micro_batch is update[-1]):
                    loss += super().training_step(model, micro_batch, None)
        elsewhere = sum(self.seconds.values()) - before
        self.seconds["backward"] += time.perf_counter() - started - elsewhere
        return loss

    def _added_up(self, model: PreTrainedModel, *, last: bool) -> AbstractContextManager[None]:
        """Gradients are summed over processes once per update; those of a sharded model every time: it keeps shares."""
        return nullcontext() if last or self.is_fsdp_enabled else self.accelerator.no_sync(model)

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        logs |= {f"seconds/{phase}": self.seconds[phase] for phase in PHASES}
        logs |= {name: total / count for name, (total, count) in self.totals.items() if count}
        for name in self.totals:  # TRL's own would be a mean over micro-batches, whatever their size
            self._metrics["train"].pop(name, None)
        self.seconds.clear()
        self.totals.clear()
        super().log(logs, *args, **kwargs)

    # --- rollouts ---------------------------------------------------------------------------------------------------

    @property
    def step_in_hand(self) -> Step:
        """The rollouts sampled last. Raises RuntimeError where TRL asks for them before they are sampled."""
        if self._sampled is None:
            raise RuntimeError("no rollouts have been sampled for this step: has TRL changed the order of its calls?")
        return self._sampled

    def _roll_out(self, prompts: Sequence[list[dict[str, str]]], trainer: GRPOTrainer) -> dict[str, list]:
        """One response per prompt, sampled with a seed of its own, so that a resumed run samples the same."""
        with self.timed("generation"):
            number, places = self.trainer_step + 1, self._places(len(prompts))
            texts = [prompt[0]["content"] for prompt in prompts]
            rendered = [self.student_prompt(text) for text in texts]
            hashes = [sha256_text(self.processing_class.decode(ids)) for ids in rendered]
            seeds = [
                sample_seed(self.seed, f"rollout-{number}", sha256, place)
                for sha256, place in zip(hashes, places, strict=True)
            ]
            completions = self._sample([Row(tuple(ids), seed) for ids, seed in zip(rendered, seeds, strict=True)])
        self._sampled = Step(number, places, texts, rendered, hashes, seeds, completions)
        return {
            "prompt_ids": rendered,
            "completion_ids": [[*completion.token_ids, *completion.end_ids] for completion in completions],
            "logprobs": [completion.logps for completion in completions],
        }

    def _sample(self, rows: Sequence[Row]) -> list[Completion]:
        """A completion with its log-probabilities for every row."""
        if not self.use_vllm:
            # In training mode a model that recomputes its activations has no key-value cache.
            policy = self.accelerator.unwrap_model(self.model)
            plain = disable_gradient_checkpointing(policy, self.args.gradient_checkpointing_kwargs)
            with plain, self.accelerator.autocast():
                return self.sampler.sample(rows, self.sampling, logps=True)
        # TRL has given vLLM the policy's weights by now. vLLM draws in this process, by numpy's generator or torch's:
        # seeded here, a step's rollouts depend on its seeds alone, not on what was drawn before.
        torch.manual_seed(rows[0].seed % LARGEST_SEED)
        np.random.seed(rows[0].seed % 2**32)
        prompts = [list(row.token_ids) for row in rows]
        _, found, logps, _ = self.vllm_generation.generate(prompts, images=None, num_generations=self.num_generations)
        return [
            self._completion(ids, [logp[0] for logp in of_tokens]) for ids, of_tokens in zip(found, logps, strict=True)
        ]

    def _completion(self, ids: list[int], logps: list[float]) -> Completion:
        """Split what an engine sampled into response and end token."""
        if ids and ids[-1] in self.eos_token_ids:
            return Completion(ids[:-1], "stop", logps, (ids[-1],))
        return Completion(ids, "length", logps)

    def student_prompt(self, user_text: str) -> list[int]:
        """Token ids of the prompt that the policy answers."""
        return render(self.processing_class, user_text, **self.asked)

    def _places(self, count: int) -> range:
        """Places of this process's rollouts among those of the step."""
        first = self.accelerator.process_index * count
        return range(first, first + count)

    def _grade(
        self, problem_id: Sequence[str], problem: Sequence[str], answer: Sequence[str], **_: object
    ) -> list[float]:
        """Rewards 0 or 1 by the grader of all evaluations; the rollouts become rows of the traces table."""
        with self.timed("grading"):
            step = self.step_in_hand
            responses = [completion.token_ids for completion in step.completions]
            generated = pd.DataFrame(
                {
                    "problem_id": problem_id,
                    "context_sample": pd.array([None] * len(responses), dtype="Int32"),
                    "sample": step.places,
                    # As in the table: small ones alone would be signed, and joined with others' lose digits.
                    "seed": np.array(step.seeds, dtype=np.uint64),
                    "prompt_sha256": step.prompt_sha256,
                    "response": [self.processing_class.decode(ids, skip_special_tokens=True) for ids in responses],
                    "response_tokens": [len(ids) for ids in responses],
                    "finish_reason": [completion.finish_reason for completion in step.completions],
                }
            )
            asked = pd.DataFrame({"problem_id": problem_id, "problem": problem, "answer": answer})
            distinct = asked.drop_duplicates("problem_id")
            step.answers = list(answer)
            step.table = self.record.annotate(generated, distinct, step=step.number, opened=self.opened)
        return step.rollouts["correct"].astype(float).tolist()

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """TRL's batch, with the rollout correction in its advantages and what the method adds to it."""
        self._sampled = None
        batch = super()._generate_and_score_completions(inputs)
        step = self.step_in_hand
        self._correct_for_engine(batch)
        rollouts = pd.concat(gather_object([step.rollouts]), ignore_index=True)
        self.note(group_statistics(rollouts["correct"].tolist(), group_size=self.num_generations))
        self.method.extend(batch, step, rollouts)
        if self.accelerator.is_main_process:
            self.record.save(rollouts, step.number)
        self.note(self.record.summary(rollouts))
        return batch

    def _correct_for_engine(self, batch: dict[str, torch.Tensor]) -> None:
        """Token-level truncated rollout correction: weights [B, T] for the probability gap between engine and trainer.

        A weight multiplies both branches of GRPO's clipped objective, so it can stand in the advantages.
        """
        mask = batch["completion_mask"]
        if "old_per_token_logps" not in batch:  # TRL leaves them out when there is one update per step
            batch["old_per_token_logps"] = self._rescored(batch)
        engine_logps = batch.pop("sampling_per_token_logps")
        weights = truncated_ratio(batch["old_per_token_logps"], engine_logps, clip=self.settings.rollout_correction)
        batch["rollout_weights"] = weights
        batch["advantages"] = batch["advantages"].unsqueeze(1) * weights
        self.note_ratio("rollout_ratio", weights, mask, self.settings.rollout_correction)

    def _rescored(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """Log-probabilities [B, T] of the rollouts under the policy that is about to be updated."""
        ids, visible = sequences(batch)
        with torch.no_grad():
            return self._get_per_token_logps_and_entropies(self.model, ids, visible, batch["completion_ids"].size(1))[0]

    def _prepare_inputs(self, generation_batch: Batch) -> Batch:
        """A micro-batch is ready."""
        return generation_batch

    def _next_update(self, inputs: list[dict[str, Any]]) -> list[Batch]:
        """Micro-batches; a new step's rollouts are sampled when those of the last one are used up.

        An update is made of the same sequences whatever the processes are, and has as many micro-batches in each.
        """
        if not self._updates:
            self._updates.extend(self._split(self._generate_and_score_completions(inputs)))
        return self._updates.popleft()

    def _split(self, batch: Batch) -> Iterator[list[Batch]]:
        """This process's micro-batches of every update, longest responses first."""
        batch = self._everyones(batch)
        lengths, tokens = batch["completion_mask"].sum(dim=1), self._tokens_read(batch)
        shuffler = torch.Generator().manual_seed(sample_seed(self.seed, "updates", "", self.trainer_step + 1) % 2**63)
        shuffled = torch.randperm(len(lengths), generator=shuffler).to(lengths.device)
        for update in shuffled.chunk(self.settings.updates_per_step):
            order = update[lengths[update].argsort(descending=True, stable=True)]
            share = order[self.accelerator.process_index :: self.accelerator.num_processes]  # of equal lengths
            yield [
                {name: value[rows] if value.ndim else value for name, value in batch.items()}
                for rows in self._parts(share, tokens)
            ]

    def _tokens_read(self, batch: Batch) -> torch.Tensor:
        """Tokens [B] of a row in the longest of its passes: a second model may read a longer prompt."""
        masks = [name for name in self._padded_left if name.endswith("_mask")]
        prompts = torch.stack([batch[name].sum(dim=1) for name in masks])
        return prompts.amax(dim=0) + batch["completion_mask"].sum(dim=1)

    def _parts(self, rows: torch.Tensor, tokens: torch.Tensor) -> Sequence[torch.Tensor]:
        """``rows`` of a batch, longest first, in the parts that a model reads at a time; as many in every process.

        ``tokens`` [B] of all rows.
        """
        limit = self.settings.micro_batch_tokens
        if not limit:
            return rows.split(self.settings.micro_batch_size)
        sizes = tokens[rows].tolist()
        number = torch.tensor(fewest_parts(sizes, limit), device=rows.device)
        return [rows[part] for part in parted(sizes, int(self.accelerator.gather(number).max()))]

    @property
    def _padded_left(self) -> frozenset[str]:
        """The columns of a batch that are padded on the left: prompts."""
        return self.method.padded_left | {"prompt_ids", "prompt_mask"}

    def _everyones(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The batch of all processes, in the order of the step's rollouts, padded to common widths."""
        if self.accelerator.num_processes == 1:
            return batch
        whole = {}
        for name, value in batch.items():
            if value.ndim > 1:
                filling = self.processing_class.pad_token_id if name.endswith("_ids") else 0
                value = self.accelerator.pad_across_processes(
                    value, dim=1, pad_index=filling, pad_first=name in self._padded_left
                )
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
        """The same numbers [B, T] as TRL's, of as many rows at a time as a micro-batch has.

        Scored again without gradient are the rollouts just sampled, whose log-probabilities the sampler may know.
        """
        if not torch.is_grad_enabled() and self.samples_from_policy:
            known = [torch.tensor(completion.logps) for completion in self.step_in_hand.completions]
            columns = torch.nn.utils.rnn.pad_sequence(known, batch_first=True)
            columns = torch.nn.functional.pad(columns, (0, logits_to_keep - columns.size(1)))
            return columns.to(input_ids.device), None, None
        return *self._score(model, input_ids, attention_mask, logits_to_keep), None

    def _score(
        self, model: PreTrainedModel, ids: torch.Tensor, mask: torch.Tensor, kept: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-probabilities [B, T] of the last ``kept`` tokens (T) of ``ids`` [B, P + T], and entropies [B, T].

        With a gradient all rows are one micro-batch; without one there may be more than can be read together.
        """
        training = torch.is_grad_enabled()
        responses, seen = ids[:, -kept:], mask[:, -kept:].bool()
        order = seen.sum(dim=1).argsort(descending=True, stable=True)
        parts = [order] if training else self._parts(order, mask.sum(dim=1))
        found = []
        with self.timed("student" if training else "rescoring"), self.accelerator.autocast():
            for rows in parts:
                needed = None if self._with_gradient is None else self._with_gradient[rows]
                states = response_states(model, ids[rows], mask[rows], kept, needed)
                weight, bias = output_layer(self.accelerator.unwrap_model(model))
                own, spoken = seen[rows], responses[rows][seen[rows]]
                columns = token_logps(states, weight, spoken, bias=bias, temperature=self.temperature)
                found.append([padded(column, own) for column in columns])
        back = torch.cat(list(parts)).argsort()
        logps, entropies = (torch.cat(part)[back] for part in zip(*found, strict=True))
        if training:
            self.note_mean("entropy", entropies, seen.float())
        return logps, entropies

    def _compute_loss(self, model: PreTrainedModel, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        return self.method.loss(model, inputs)

    # What methods compute their losses from.
    def response_logps(
        self, model: PreTrainedModel, inputs: dict[str, torch.Tensor], *, with_gradient: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Log-probabilities [B, T] of a micro-batch's responses; the entropy is noted.

        ``with_gradient`` [B]: which rows will get a gradient (None: all); the others cost less.
        """
        ids, visible = sequences(inputs)
        with self._marking(with_gradient):
            return self._score(model, ids, visible, inputs["completion_ids"].size(1))[0]

    def clipped_objective(
        self, model: PreTrainedModel, inputs: dict[str, torch.Tensor], *, with_gradient: torch.Tensor | None = None
    ) -> torch.Tensor:
        """TRL's own loss of a micro-batch, a scalar; ``with_gradient`` as in `response_logps`."""
        with self._marking(with_gradient):
            return super()._compute_loss(model, inputs)

    @contextmanager
    def _marking(self, with_gradient: torch.Tensor | None) -> Iterator[None]:
        """Inside, the rows of a micro-batch that will get a gradient are known to be these."""
        self._with_gradient = with_gradient
        try:
            yield
        finally:
            self._with_gradient = None

    def average(self, per_token: torch.Tensor, mask: torch.Tensor, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """The part of a micro-batch ``inputs`` in the mean of ``per_token`` [B, T] over an update, as
        ``settings.aggregation`` says; ``mask`` [B, T] is 1 where a token counts.
        """
        how = self.settings.aggregation
        loss = aggregate(per_token, mask, how=how, normaliser=self._tokens(inputs))
        # The trainer adds up micro-batches; a mean over responses has to become one over the whole update.
        return loss / self.current_gradient_accumulation_steps if how == "authors" else loss

    def _tokens(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """Response tokens per update and process: the normaliser of the token mean (as in TRL's "dapo")."""
        per_process = inputs["num_items_in_batch"].clamp(min=1.0) / self.accelerator.num_processes
        return per_process / self.settings.updates_per_step

    # --- what is reported ---------------------------------------------------------------------------------------------

    def note(self, values: dict[str, float]) -> None:
        """Metrics of the step, by name."""
        for name, value in values.items():
            self._metrics["train"][name].append(float(value))

    def note_mean(self, name: str, values: torch.Tensor, mask: torch.Tensor) -> None:
        """Adds ``values`` [B, T] to a mean over the step's masked tokens, those of all processes."""
        sums = torch.stack([(values * mask).sum(), mask.sum()])
        total, count = self.accelerator.reduce(sums, reduction="sum").tolist()
        before = self.totals.get(name, (0.0, 0.0))
        self.totals[name] = before[0] + total, before[1] + count

    def note_ratio(self, name: str, ratio: torch.Tensor, mask: torch.Tensor, clip: float) -> None:
        """Mean of truncated ratios, and the share that was truncated."""
        mask = mask.float()
        self.note_mean(name, ratio, mask)
        self.note_mean(f"{name}_truncated", (ratio >= clip).float(), mask)

    # --- checkpoints --------------------------------------------------------------------------------------------------

    def _save_checkpoint(self, model: PreTrainedModel, trial: object) -> None:
        """What the method holds is saved before the file that marks a checkpoint as complete."""
        folder = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
        if self.accelerator.is_main_process:
            folder.mkdir(parents=True, exist_ok=True)
        self.method.save(folder)
        super()._save_checkpoint(model, trial)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: PreTrainedModel | None = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        self.method.restore(Path(resume_from_checkpoint))


class StepCallback(TrainerCallback):
    """After each trainer step: the method's turn, and the model saved where it is to be evaluated.

    ``exports``: folder of the saved models; ``base``: as in `export_model`.
    """

    def __init__(self, trainer: OnPolicyTrainer, exports: Path, *, base: Path | None = None):
        self.trainer, self.exports, self.base = trainer, exports, base

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
        trainer.method.after_step()
        if trainer.trainer_step in trainer.settings.checkpoint_steps:
            export_model(trainer, self.exports / f"step-{trainer.trainer_step}", base=self.base)


def sequences(batch: dict[str, torch.Tensor], prompt: str = "prompt") -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and mask [B, P + T] of a batch's prompts and responses; ``prompt`` names the columns of the prompts."""
    ids = torch.cat([batch[f"{prompt}_ids"], batch["completion_ids"]], dim=1)
    return ids, torch.cat([batch[f"{prompt}_mask"], batch["completion_mask"]], dim=1)


def _rows(batch: Batch) -> int:
    return len(batch["completion_ids"])


def _require_plain_logits(model: PreTrainedModel) -> None:
    config = model.config.get_text_config()
    changed = {name: getattr(config, name, None) for name in CHANGED_LOGITS}
    changed = [f"{name} {value}" for name, value in changed.items() if value not in (None, 1)]
    if changed:
        raise UserError(
            f"the model changes the logits of its output layer ({', '.join(changed)}): it cannot be trained"
        )


def _require_end_to_end(model: PreTrainedModel) -> None:
    if not can_lie_end_to_end(model):
        raise UserError(
            f"micro_batch_tokens: sequences of a {type(model).__name__} cannot be laid end to end, as its layers do "
            "not mix tokens by torch's causal attention alone; use micro_batch_size"
        )
