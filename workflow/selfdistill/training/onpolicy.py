"""On-policy training by GRPO or SDPO (Sections 5 and 6): from a problem set to models, rollouts and step metrics."""

import json
import os
import shutil
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import torch
from datasets import Dataset
from transformers import PrinterCallback

from selfdistill import contexts, models, processes
from selfdistill.code_digest import code_digest
from selfdistill.errors import UserError
from selfdistill.generation.requests import Sampling
from selfdistill.prompts import user_prompt
from selfdistill.provenance import sha256_text
from selfdistill.training.checkpoints import run_to_end
from selfdistill.training.metrics import ProgressCallback, on_policy_tables
from selfdistill.training.prompt_stream import prompt_stream, training_set
from selfdistill.training.rollouts import RolloutRecord
from selfdistill.training.settings import Arm, OnPolicySettings
from selfdistill.training.trainer import OnPolicyTrainer, StepCallback, trainer_arguments


def train_onpolicy(
    problems: pd.DataFrame,
    *,
    manifest: Path,
    study: str,
    model_name: str,
    run: str,
    arm: Arm,
    settings: OnPolicySettings,
    sampling: Sampling,
    instruction: str,
    enable_thinking: bool | None,
    seed: int,
    out_dir: Path,
    work_dir: Path,
    mirrors: list[str],
    checkpoint_seconds: float = 30.0,
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Train the model at ``manifest``; models of `checkpoint_steps` are left in ``out_dir``/step-N.

    ``problems`` has the `problems` schema. Returned: step metrics (`training_steps` schema), seconds by phase (the same
    schema; the one table that differs between machines) and every rollout (`traces` schema). A killed run continues
    from its last checkpoint below ``work_dir``, on CPU to the same bytes. Ends the process with status 75 on SIGTERM
    and SIGUSR1 (see `checkpoints.run_to_end`).
    """
    for mirror in mirrors:
        if find_spec(mirror) is None:
            raise UserError(f"onpolicy.mirrors: '{mirror}' is not installed here (pip install {mirror})")
    tokenizer = models.load_tokenizer(manifest)
    examples = _examples(training_set(problems, subset=arm.subset, draw=arm.draw), instruction)
    order = prompt_stream(len(examples), batch_size=settings.batch_size, steps=settings.steps, seed=seed)
    identity = [
        models.fingerprint(manifest),
        code_digest(f"{__name__}:train_onpolicy"),
        [seed, run, model_name, enable_thinking],
        [vars(part) for part in (arm, settings, sampling)],
        [examples[number] for number in order],
    ]
    folder = work_dir / sha256_text(json.dumps(identity))[:16]
    record = RolloutRecord(folder / "rollouts", study, model_name, run)
    steps = StepCallback(folder / "models")
    trainer = OnPolicyTrainer(
        arm=arm,
        settings=settings,
        sampling=sampling,
        seed=seed,
        enable_thinking=enable_thinking,
        opened=contexts.opens_thinking(tokenizer, enable_thinking=enable_thinking),
        teacher=models.load_model(manifest) if arm.method == "sdpo" else None,
        record=record,
        model=models.load_model(manifest),
        args=trainer_arguments(
            arm,
            settings,
            sampling,
            directory=folder / "checkpoints",
            seed=seed,
            processes=processes.count(),
            mirrors=mirrors,
        ),
        train_dataset=Dataset.from_list([examples[number] for number in order]),
        processing_class=tokenizer,
        callbacks=[ProgressCallback(run), steps],
    )
    steps.trainer = trainer
    trainer.remove_callback(PrinterCallback)
    # Deterministic mode would fill every new buffer with NaN.
    torch.utils.deterministic.fill_uninitialized_memory = False
    run_to_end(trainer, seconds=checkpoint_seconds, every=settings.updates_per_step)
    if processes.is_main():
        _publish(folder / "models", out_dir)
    metrics, seconds = on_policy_tables(trainer.state.log_history, settings.updates_per_step, model=model_name, run=run)
    rollouts = record.all(settings.steps)
    trainer.accelerator.wait_for_everyone()  # the caller deletes what has just been read
    return metrics, seconds, rollouts


def _examples(problems: pd.DataFrame, instruction: str) -> list[dict[str, object]]:
    """Rows of TRL's data set: the prompt as a user turn, and what the grader needs."""
    return [
        {
            "prompt": [{"role": "user", "content": user_prompt(problem, instruction)}],
            "problem_id": problem_id,
            "answer": answer,
        }
        for problem_id, problem, answer in problems[["problem_id", "problem", "answer"]].itertuples(index=False)
    ]


def _publish(source: Path, out_dir: Path) -> None:
    """The saved models as hard links, so that a kill before all tables are written loses none of them."""
    shutil.rmtree(out_dir, ignore_errors=True)
    shutil.copytree(source, out_dir, copy_function=_link)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy2(source, target)
