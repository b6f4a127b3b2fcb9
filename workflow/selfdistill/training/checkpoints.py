"""Checkpoints that survive a kill, and an orderly stop when the machine is taken away; shared by all trainers.

transformers writes a checkpoint as model, optimizer, schedule, random states and, last, `trainer_state.json`:
one whose state cannot be read was cut short and is passed over. Checkpoints live below ``work/``, never among
declared outputs, which Snakemake deletes when their job fails.
"""

import json
import logging
import os
import shutil
import signal
import time
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import torch
from peft import PeftModel, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.trainer import TRAINER_STATE_NAME
from transformers.utils import CONFIG_NAME

from selfdistill import models, processes

# sysexits.h: "temporary failure; the user is invited to retry". The same command, started again, continues.
EXIT_PREEMPTED = os.EX_TEMPFAIL
# What clusters send before they kill a job: at its time limit, at preemption, and on request (scancel, --signal).
STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
KEPT = 2
# Saving may take this share of the time at most: a large model is saved less often than it could be.
SAVING_SHARE = 0.05


def run_to_end(trainer: Trainer, *, seconds: float, every: int = 1) -> None:
    """Train from the newest complete checkpoint in ``trainer.args.output_dir``, or from the start, to the end.

    Saves a checkpoint about every ``seconds``, after a multiple of ``every`` optimizer steps: in between, on-policy
    training holds rollouts that no checkpoint keeps. On SIGTERM or SIGUSR1 the step in hand is finished and saved,
    then the process ends with `EXIT_PREEMPTED` (75).
    """
    with trainer.accelerator.main_process_first():  # which deletes what the others must not find
        checkpoint = newest_complete(Path(trainer.args.output_dir))
    callback = CheckpointCallback(seconds, every)
    trainer.add_callback(callback)
    with callback.listening(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of transformers, about its own calls, at every step
        trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    step, last = trainer.state.global_step, trainer.state.max_steps
    if step < last:
        logging.warning("stopped at step %d of %d; the same command, started again, continues", step, last)
        raise SystemExit(EXIT_PREEMPTED)


def newest_complete(directory: Path) -> Path | None:
    """The newest complete checkpoint in ``directory``; all others there are deleted."""
    found = None
    for checkpoint in sorted(directory.glob("checkpoint-*"), key=_step, reverse=True):
        if found is None and _is_complete(checkpoint):
            found = checkpoint
        else:
            shutil.rmtree(checkpoint)
    return found


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])


def _is_complete(checkpoint: Path) -> bool:
    try:
        json.loads((checkpoint / TRAINER_STATE_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return True


class CheckpointCallback(TrainerCallback):
    """Asks for a checkpoint about every ``seconds``, and for a last one when a stop signal has arrived."""

    def __init__(self, seconds: float, every: int = 1):
        self._seconds = self._interval = seconds
        self._every = every
        self.stop_requested = False
        self._saved_at = self._step_ended_at = time.monotonic()

    @contextmanager
    def listening(self) -> Iterator[None]:
        """While in this context, stop signals are noted instead of ending the process."""
        former = {number: signal.signal(number, self._note) for number in STOP_SIGNALS}
        try:
            yield
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.stop_requested = True

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        if state.global_step % self._every:
            return
        self._step_ended_at = time.monotonic()
        due = self._step_ended_at - self._saved_at >= self._interval and state.global_step < state.max_steps
        stop, due = processes.any_of(self.stop_requested, due)  # a signal may have reached some processes only
        control.should_training_stop |= stop
        control.should_save |= stop or due

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object) -> None:
        self._saved_at = time.monotonic()
        self._interval = max(self._seconds, (self._saved_at - self._step_ended_at) / SAVING_SHARE)


def export_model(trainer: Trainer, out_dir: Path, *, base: Path | None = None) -> None:
    """Save a trainer's model. Every process has to call it, since a sharded model is gathered from all.

    ``base``: the manifest of the model below a low-rank adapter, which is merged into it. What was trained in bfloat16
    over float32 master weights is saved in bfloat16.
    """
    weights = trainer.accelerator.get_state_dict(trainer.model)
    if trainer.accelerator.is_main_process:
        model = trainer.accelerator.unwrap_model(trainer.model)
        if base is not None:
            model = _merged(model, weights, base)
            weights = model.state_dict()
        dtype = torch.bfloat16 if trainer.args.bf16 else None
        save_model(model, trainer.processing_class, out_dir, weights=weights, dtype=dtype)
    trainer.accelerator.wait_for_everyone()


def _merged(adapted: PeftModel, weights: dict[str, torch.Tensor], base: Path) -> PreTrainedModel:
    """A copy of the base model with the adapter merged in; undoing a merge would leave rounding errors in training."""
    model = get_peft_model(models.load_model(base), adapted.peft_config["default"])
    set_peft_model_state_dict(model, get_peft_model_state_dict(adapted, state_dict=weights))
    return model.merge_and_unload()


def save_model(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    out_dir: Path,
    *,
    weights: dict[str, torch.Tensor] | None = None,
    dtype: torch.dtype | None = None,
) -> None:
    """Save a model so that ``out_dir`` holds a manifest only when everything that it lists is in place.

    ``weights``: its state, where the model itself holds only a share; ``dtype``: saved in this precision.
    """
    if weights is not None:
        tied = getattr(model, "all_tied_weights_keys", {}) if model.config.tie_word_embeddings else {}
        weights = {name: weight.to(dtype or weight.dtype) for name, weight in weights.items() if name not in tied}
    out_dir.mkdir(parents=True, exist_ok=True)
    temporary = out_dir / f".{os.getpid()}.{uuid.uuid4().hex[:8]}.tmp"
    try:
        model.save_pretrained(temporary, state_dict=weights)
        tokenizer.save_pretrained(temporary)
        if dtype is not None:  # transformers writes the precision of the model in memory
            config = json.loads((temporary / CONFIG_NAME).read_text(encoding="utf-8"))
            config["dtype"] = str(dtype).removeprefix("torch.")
            (temporary / CONFIG_NAME).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        (out_dir / models.MANIFEST).unlink(missing_ok=True)
        for file in sorted(temporary.iterdir()):
            os.replace(file, out_dir / file.name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    models.save_manifest(out_dir)


def discard(work_dir: Path) -> None:
    """Delete the checkpoints of a run whose outputs have all been written."""
    shutil.rmtree(work_dir, ignore_errors=True)
