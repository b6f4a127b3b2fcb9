"""Checkpoints that survive a kill, and an orderly stop when the machine is taken away; shared by all trainers.

When transformers has written a checkpoint, `DIGESTS` is added, which lists the SHA-256 of all its files: one without
it was cut short, one with a file that differs is damaged, and both are passed over. Checkpoints live below ``work/``,
never among declared outputs, which Snakemake deletes when their job fails.
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
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR
from transformers.utils import CONFIG_NAME

from selfdistill import models, processes
from selfdistill.files import sha256_file, write_text

# sysexits.h: "temporary failure; the user is invited to retry". The same command, started again, continues.
EXIT_PREEMPTED = os.EX_TEMPFAIL
# Signals that clusters send before they kill a job: at its time limit, at preemption, on request (scancel, --signal).
STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
KEPT = 2
DIGESTS = "digests.json"
# Saving may take this share of the time at most: a large model is saved less often than it could be.
SAVING_SHARE = 0.05


def run_to_end(trainer: Trainer, *, seconds: float, every: int = 1, recorded: int | None = None) -> None:
    """Train from the newest whole checkpoint in ``trainer.args.output_dir``, or from the start, to the end.

    ``recorded``: the optimizer steps whose records outside of checkpoints are whole, where a run keeps such; a later
    checkpoint could not be continued from. Only the main process needs to know.

    Saves a checkpoint about every ``seconds``, after a multiple of ``every`` optimizer steps: in between, on-policy
    training holds rollouts that no checkpoint keeps. On SIGTERM or SIGUSR1 the step in hand is finished and saved,
    then the process ends with `EXIT_PREEMPTED` (75).
    """
    with trainer.accelerator.main_process_first():  # which deletes what the others must not find
        folder = Path(trainer.args.output_dir)
        checkpoint = newest_whole(folder, recorded) if processes.is_main() else next(_newest_first(folder), None)
    callback = CheckpointCallback(seconds, every)
    trainer.add_callback(callback)
    with callback.listening(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of transformers, about its own calls, at every step
        trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    step, last = trainer.state.global_step, trainer.state.max_steps
    if step < last:
        logging.warning("stopped at step %d of %d; the same command, started again, continues", step, last)
        raise SystemExit(EXIT_PREEMPTED)


def newest_whole(directory: Path, recorded: int | None = None) -> Path | None:
    """The newest whole checkpoint in ``directory`` of a step up to ``recorded``; all others there are deleted.

    One sentence in the log says which were passed over, and why.
    """
    found, passed = None, []
    for checkpoint in _newest_first(directory):
        wrong = None if found else _damage(checkpoint, recorded)
        if wrong:
            passed.append(f"{checkpoint}: {wrong}")
        if found or wrong:
            shutil.rmtree(checkpoint)
        else:
            found = checkpoint
    if passed:
        logging.warning("%s; training goes on from %s", "; ".join(passed), found.name if found else "the start")
    return found


def _newest_first(directory: Path) -> Iterator[Path]:
    return iter(sorted(directory.glob("checkpoint-*"), key=_step, reverse=True))


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])


def write_digests(checkpoint: Path) -> None:
    """Complete a checkpoint whose other files are all in place."""
    files = sorted(path for path in checkpoint.rglob("*") if path.is_file())
    digests = {str(path.relative_to(checkpoint)): sha256_file(path) for path in files}
    write_text(checkpoint / DIGESTS, json.dumps(digests, indent=2) + "\n")


def _damage(checkpoint: Path, recorded: int | None) -> str | None:
    """Why nothing can go on from a checkpoint."""
    if recorded is not None and _step(checkpoint) > recorded:
        return f"what the run has recorded is whole up to step {recorded} only"
    try:
        digests = json.loads((checkpoint / DIGESTS).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return "it was not saved to its end"
    except ValueError:
        return f"{DIGESTS} is damaged"
    for name, sha256 in digests.items():
        if not (checkpoint / name).is_file():
            return f"{name} is missing"
        if sha256_file(checkpoint / name) != sha256:
            return f"{name} is damaged"
    return None


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
        processes.wait_for_all()  # each writes a file of its own
        if processes.is_main():
            write_digests(Path(args.output_dir) / f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}")
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
