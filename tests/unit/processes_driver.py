"""For a process of `test_processes` or `test_methods`: small training runs that leave their metrics and weights."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from unittest import mock
from zlib import crc32

import torch
from selfdistill import models, processes, tables
from selfdistill.generation import Sampling, traces
from selfdistill.generation.transformers_engine import ModelSampler
from selfdistill.training import checkpoints, onpolicy, sft
from selfdistill.training.settings import OnPolicySettings, Run, SftRun, SftSettings
from selfdistill.training.trainer import OnPolicyTrainer
from tiny import problems_of
from transformers import Trainer

PROBLEMS = problems_of([f"Find {letter} with {letter} = {n} ." for n, letter in enumerate("abcdefgh")])
ARMS = {
    "grpo": Run("m", "grpo", 1e-3),
    "sdpo": Run("m", "sdpo", 1e-3, context="solution"),
    "sdpo-ema": Run("m", "sdpo", 1e-3, context="solution", teacher_update_rate=0.05),
}
SETTINGS = {
    "checkpoint_steps": [3], "steps": 3, "batch_size": 2, "rollouts": 4, "micro_batch_size": 2, "warmup_steps": 1,
    "sdpo": {"max_teacher_tokens": 60},
}  # fmt: skip


def some_answer(response: str, *, opened: bool) -> str | None:
    """In place of the answer, which a random model never gives: right for few responses, so that peers are rare."""
    return "7" if crc32(response.encode()) % 5 == 0 else None


@contextmanager
def drawing_from_base(manifest: Path) -> Iterator[None]:
    """Rollouts from the initial model, whole in every process: a sharded one cannot be drawn from."""
    sampler = ModelSampler(models.load_model(manifest), models.load_tokenizer(manifest))
    own = {"_own_sampler": lambda trainer: sampler, "samples_from_policy": False}
    with mock.patch.multiple(OnPolicyTrainer, **own):
        yield


@contextmanager
def breaking(update: int) -> Iterator[None]:
    """In the last of the processes the loss of this update, numbered from 0, is no number."""
    with ExitStack() as stack:
        for trainer, name in ((OnPolicyTrainer, "_compute_loss"), (sft._Trainer, "compute_loss")):
            stack.enter_context(mock.patch.object(trainer, name, _broken(getattr(trainer, name), update)))
        yield


def _broken(original: Callable[..., torch.Tensor], update: int) -> Callable[..., torch.Tensor]:
    def compute_loss(trainer: Trainer, *arguments: object, **options: object) -> torch.Tensor:
        last = os.environ.get("RANK", "0") == str(processes.count() - 1)
        loss = original(trainer, *arguments, **options)
        return loss * float("nan") if last and trainer.state.global_step == update else loss

    return compute_loss


def main(manifest: Path, runs: list[tuple[str, str, dict[str, object]]]) -> None:
    """Train ``runs``, one after the other: name, folder, and what differs in its settings."""
    torch.set_num_threads(1)
    traces.extract_answer = some_answer
    checkpoints.SAVING_SHARE = float("inf")
    for name, folder, changes in runs:
        with ExitStack() as stack:
            if changes.pop("draws_from_base", False):
                stack.enter_context(drawing_from_base(manifest))
            if (update := changes.pop("breaks", None)) is not None:
                stack.enter_context(breaking(update))
            train(name, manifest, Path(folder), changes)


def train(name: str, manifest: Path, folder: Path, changes: dict[str, object]) -> None:
    shared = {"manifest": manifest, "enable_thinking": None}
    places = {"out_dir": folder / "out", "work_dir": folder / "work", "checkpoint_seconds": 0}
    if name == "sft":
        settings = SftSettings(epochs=2, batch_size=8, micro_batch_size=2, warmup_steps=1, **changes)
        examples = tables.read(folder.parent / "examples.parquet", tables.SFT_EXAMPLES)
        own = {"model_name": "m", "run": SftRun("guided", 1e-2), "seed": 3}
        steps = sft.train_sft(examples, settings=settings, **own, **shared, **places)
    else:
        steps, _, rollouts = onpolicy.train_onpolicy(
            PROBLEMS, study="s", run=replace(ARMS.get(name) or Run("m", name, 1e-3), seed=3).plain(),
            settings=OnPolicySettings(**SETTINGS | changes), sampling=Sampling(1.0, max_tokens=16),
            instruction="so", mirrors=[], **shared, **places,
        )  # fmt: skip
        if processes.is_main():
            tables.write(rollouts, folder / "rollouts.parquet", tables.TRACES)
    if processes.is_main():
        tables.write(steps, folder / "steps.parquet", tables.TRAINING_STEPS)


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
