"""Supervised fine-tuning on sampled responses (Section 4), with TRL's SFTTrainer.

The paper publishes no hyperparameters for it; every setting here is ours.

Examples are tokenised here, as prompt plus response plus end of turn, with the loss on the tokens after the prompt.
Message lists would be wrong: DeepSeek's chat template drops the thinking from assistant turns and opens `<think>` in
the prompt, so the rendered turns differ from the tokens that the model sampled.
"""

import json
import logging
import random
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PrinterCallback
from trl import SFTConfig, SFTTrainer

from selfdistill import models, processes, prompts
from selfdistill.environment import made_with
from selfdistill.errors import UserError
from selfdistill.files import sha256_text
from selfdistill.qwen3 import forward as qwen3
from selfdistill.training.adapters import load_model, low_rank
from selfdistill.training.checkpoints import KEPT, export_model, run_to_end
from selfdistill.training.metrics import ProgressCallback, step_table
from selfdistill.training.settings import SftRun, SftSettings
from selfdistill.training.updates import SKIPPED, SkippingTrainer

IGNORED = -100  # the label of a token that carries no loss
FINAL_RATE_SHARE = 0.05  # of the learning rate, where warm-up begins and the schedule ends
# As TRL names them. Accuracy and entropy are those of the next-token distribution on response tokens, averaged
# over micro-batches.
METRICS = ("loss", "learning_rate", "grad_norm", SKIPPED, "mean_token_accuracy", "entropy")


def train_sft(
    examples: pd.DataFrame,
    *,
    manifest: Path,
    out_dir: Path,
    work_dir: Path,
    model_name: str,
    run: SftRun,
    settings: SftSettings,
    enable_thinking: bool | None,
    system: str = "",
    seed: int,
    checkpoint_seconds: float = 5.0,
) -> pd.DataFrame:
    """Fine-tune the model at ``manifest`` on ``examples`` and save it, with its manifest, in ``out_dir``.

    ``examples`` has the `sft_examples` schema; returns rows of the `training_steps` schema. The name of the checkpoints
    in ``work_dir`` depends on everything that determines the result: a killed run continues, to the same bytes on CPU,
    and a changed one starts afresh. Ends the process with status 75 on SIGTERM and SIGUSR1 (see
    `checkpoints.run_to_end`).
    """
    tokenizer = models.load_tokenizer(manifest)
    asked = {"enable_thinking": enable_thinking, "system": system}
    rows = tokenise(examples, tokenizer, max_tokens=settings.max_tokens, **asked)
    identity = [
        models.fingerprint(manifest),
        made_with(f"{__name__}:train_sft", without={"vllm"}),
        processes.shared_by(),
        seed,
        vars(run),
        vars(settings),
        rows,
    ]
    checkpoints = work_dir / sha256_text(json.dumps(identity))[:16]
    order = training_order([len(row["input_ids"]) for row in rows], settings, seed)
    trainer = _Trainer(
        model=load_model(manifest, settings.lora_rank),
        peft_config=low_rank(settings.lora_rank),
        args=_trainer_arguments(settings, run.learning_rate, sequences=len(order), directory=checkpoints, seed=seed),
        train_dataset=Dataset.from_list(rows).select(order),
        processing_class=tokenizer,
        callbacks=[ProgressCallback(run.id)],
    )
    trainer.remove_callback(PrinterCallback)
    # Deterministic mode would fill every new buffer with NaN, and TRL's loss takes buffers 32,768 tokens wide.
    torch.utils.deterministic.fill_uninitialized_memory = False
    run_to_end(trainer, seconds=checkpoint_seconds)
    export_model(trainer, out_dir, base=manifest if settings.lora_rank else None)
    return step_table(trainer.state.log_history, METRICS, model=model_name, run=run.id)


def tokenise(
    examples: pd.DataFrame, tokenizer: PreTrainedTokenizerBase, *, max_tokens: int, **asked: Any
) -> list[dict[str, list[int]]]:
    """``input_ids`` and ``labels`` of each example: prompt, response, end of turn; loss after the prompt.

    The prompt is rendered as for sampling, with the options ``asked`` of `prompts.render`. A response that was cut at a
    token limit, there or here, gets no end of turn: the model must not learn to stop in mid-thought.
    """
    if examples.empty:
        raise UserError("there are no examples to train on")
    rows = [_tokenise_one(example, tokenizer, asked) for example in examples.to_dict("records")]
    too_long = sum(len(row["input_ids"]) > max_tokens for row in rows)
    if too_long:
        logging.warning("%d of %d examples were cut at max_tokens %d", too_long, len(rows), max_tokens)
    rows = [{name: tokens[:max_tokens] for name, tokens in row.items()} for row in rows]
    for row, problem_id in zip(rows, examples["problem_id"], strict=True):
        if all(label == IGNORED for label in row["labels"]):
            raise UserError(f"no response token of problem {problem_id} lies within max_tokens {max_tokens}; raise it")
    return rows


def _tokenise_one(
    example: dict[str, Any], tokenizer: PreTrainedTokenizerBase, asked: dict[str, Any]
) -> dict[str, list[int]]:
    turns = [*example["prompt"], *example["completion"]]
    if [turn["role"] for turn in turns] != ["user", "assistant"]:
        raise UserError(
            f"the example of problem {example['problem_id']}, sample {example['sample']}, has turns "
            f"{[turn['role'] for turn in turns]}; expected a user's and an assistant's"
        )
    prompt = prompts.render(tokenizer, turns[0]["content"], **asked)
    response = tokenizer(turns[1]["content"], add_special_tokens=False)["input_ids"]
    ending = [] if example["finish_reason"] == "length" else [tokenizer.eos_token_id]
    return {
        "input_ids": prompt + response + ending,
        "labels": [IGNORED] * len(prompt) + response + ending,
    }


def training_order(lengths: Sequence[int], settings: SftSettings, seed: int) -> list[int]:
    """Indices of the examples in the order of training: shuffled epochs, one after the other.

    Within each batch the longest come first, so that sequences of similar length share a micro-batch. The gradient is
    the same, and a third of the time goes that padding would cost.
    """
    shuffler = random.Random(seed)
    stream = [index for _ in range(settings.epochs) for index in shuffler.sample(range(len(lengths)), len(lengths))]
    batches = [stream[start : start + settings.batch_size] for start in range(0, len(stream), settings.batch_size)]
    return [index for batch in batches for index in sorted(batch, key=lambda index: -lengths[index])]


def _trainer_arguments(
    settings: SftSettings, learning_rate: float, *, sequences: int, directory: Path, seed: int
) -> SFTConfig:
    steps = -(-sequences // settings.batch_size)
    cpu = not torch.cuda.is_available()
    return SFTConfig(
        output_dir=str(directory),
        learning_rate=learning_rate,
        num_train_epochs=1,  # `training_order` holds all epochs
        train_sampling_strategy="sequential",
        per_device_train_batch_size=settings.micro_batch_size,
        gradient_accumulation_steps=settings.accumulation(processes.count()),
        warmup_steps=settings.warmup_steps,
        # transformers' one schedule that decays linearly to a floor; here without its stable phase
        lr_scheduler_type="warmup_stable_decay",
        lr_scheduler_kwargs={
            "num_decay_steps": max(0, steps - settings.warmup_steps),
            "decay_type": settings.schedule,
            "min_lr_ratio": FINAL_RATE_SHARE,
        },
        weight_decay=settings.weight_decay,
        adam_beta1=settings.adam_beta1,
        adam_beta2=settings.adam_beta2,
        max_grad_norm=settings.max_grad_norm,
        max_length=None,  # already cut, in `tokenise`
        seed=seed,
        use_cpu=cpu,
        bf16=not cpu,  # with float32 master weights, as the authors train (their fsdp_workers.py:325-329)
        full_determinism=cpu,  # on a GPU it would forbid some of the fast kernels
        use_cache=True,  # saved in the config; training itself never caches
        activation_checkpointing=not cpu,
        activation_checkpointing_kwargs={"use_reentrant": False},
        save_strategy="no",  # `CheckpointCallback` decides
        save_total_limit=KEPT,
        logging_steps=1,
        logging_nan_inf_filter=False,
        include_num_input_tokens_seen="non_padding",  # TRL's own count starts again when a run is resumed
        report_to=[],
        disable_tqdm=True,  # `ProgressCallback` takes its place
    )


class _Trainer(SkippingTrainer, SFTTrainer):
    """TRL's trainer without its uses of the network: the usage ping, and a model card per checkpoint.

    On the CPU a plain Qwen3 computes no padding.
    """

    def _send_telemetry(self) -> None:
        pass

    def create_model_card(self, *args: object, **kwargs: object) -> None:
        pass

    def compute_loss(self, model: PreTrainedModel, *args: Any, **kwargs: Any) -> Any:
        """TRL's loss, with `qwen3.forward` in place of the model's layers if it supports them."""
        inner = self.accelerator.unwrap_model(model)
        with qwen3.without_padding(inner) if qwen3.supports(inner) else nullcontext():
            return super().compute_loss(model, *args, **kwargs)
