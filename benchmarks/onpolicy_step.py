"""Seconds per on-policy step by phase, against TRL's stock GRPOTrainer and SDPOTrainer on the same model and prompts.

    python benchmarks/onpolicy_step.py [--model MANIFEST] [--problems PARQUET] [--steps 8] [--json FILE]

One process, one thread, one trainer after the other: 8 prompts x 8 rollouts in two updates, up to 400 tokens, settings
of the default study. Stock trainers sample with HF generate. The first step of each warms up and is left out. Seconds
are processor time of this process, which other programs disturb least; "wall" is what a clock showed. Rollouts differ
between implementations, so the ratio (stock / ours) is one of seconds per 1,000 response tokens, and steps per minute
are those of responses as long as ours: median, least and most over the steps, whose prompts are the same.
"""

import argparse
import json
import tempfile
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pandas as pd
import torch
from datasets import Dataset
from selfdistill import models, tables
from selfdistill.generation import Sampling, contexts
from selfdistill.grading.grader import extract_answer, grade_many
from selfdistill.prompts import sdpo_reprompt, user_prompt
from selfdistill.training import methods
from selfdistill.training.arguments import trainer_arguments
from selfdistill.training.prompt_stream import prompt_stream
from selfdistill.training.rollouts import RolloutRecord
from selfdistill.training.settings import OnPolicySettings, Run
from selfdistill.training.trainer import PHASES, OnPolicyTrainer
from transformers import PrinterCallback, Trainer, TrainerCallback
from trl import GRPOConfig, GRPOTrainer
from trl.experimental.sdpo import SDPOConfig, SDPOTrainer

SAMPLING = Sampling(temperature=1.0, max_tokens=400)
ARMS = {"grpo": Run("model", "grpo", 3e-4), "sdpo": Run("model", "sdpo", 3e-4, context="solution")}
Phase = str | Callable[[], str]  # the name of a phase, or what tells it at the time of the call
# What GRPOConfig and SDPOConfig both have; the rest of SDPOConfig keeps its defaults or is set in `sdpo_arguments`.
SHARED = (
    "output_dir", "learning_rate", "lr_scheduler_type", "warmup_steps", "max_steps", "per_device_train_batch_size",
    "gradient_accumulation_steps", "steps_per_generation", "num_generations", "shuffle_dataset",
    "remove_unused_columns", "temperature", "top_p", "top_k", "max_completion_length", "weight_decay", "adam_beta1",
    "adam_beta2", "max_grad_norm", "epsilon", "epsilon_high", "scale_rewards", "seed", "use_cpu", "bf16",
    "gradient_checkpointing", "save_strategy", "logging_steps", "report_to", "disable_tqdm",
)  # fmt: skip


class Clock(TrainerCallback):
    """Processor and wall time of every update's end, and seconds by phase of every update."""

    def __init__(self) -> None:
        self.ends: list[tuple[float, float]] = []
        self.updates: list[dict[str, float]] = []
        self.phases: dict[str, float] = defaultdict(float)
        self._inside = False

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        """Adds the seconds inside to ``phase``; those of a phase within a phase belong to the outer one."""
        outermost, self._inside = not self._inside, True
        started = time.process_time()
        try:
            yield
        finally:
            if outermost:
                self.phases[phase] += time.process_time() - started
                self._inside = False

    def on_train_begin(self, *args: object, **kwargs: object) -> None:
        self.ends.append((time.process_time(), time.perf_counter()))

    def on_pre_optimizer_step(self, *args: object, **kwargs: object) -> None:
        self._started = time.process_time()

    def on_optimizer_step(self, *args: object, **kwargs: object) -> None:
        self.phases["optimizer"] += time.process_time() - self._started

    def on_step_end(self, *args: object, **kwargs: object) -> None:
        self.ends.append((time.process_time(), time.perf_counter()))
        self.updates.append(dict(self.phases))
        self.phases.clear()

    def frame(self, tokens: list[int], updates_per_step: int) -> pd.DataFrame:
        """One row per trainer step: seconds, wall, tokens, and seconds by phase; "other" is what no phase covers."""
        phases = pd.DataFrame(self.updates, columns=list(PHASES)).fillna(0.0)
        frame = phases.groupby(phases.index // updates_per_step).sum()
        ends = pd.DataFrame(self.ends[::updates_per_step], columns=["seconds", "wall"]).diff().iloc[1:]
        frame = ends.reset_index(drop=True).assign(tokens=tokens).join(frame)
        return frame.assign(other=frame["seconds"] - frame[list(PHASES)].sum(axis=1))


def timing(kind: type[Trainer], clock: Clock, phases: Mapping[str, Phase]) -> type[Trainer]:
    """``kind`` with its methods timed; the rest of a training step is the backward pass, as in `OnPolicyTrainer`."""

    def around(name: str, phase: Phase) -> Callable[..., Any]:
        original = getattr(kind, name)

        def method(self: Trainer, *args: Any, **options: Any) -> Any:
            with clock.timed(phase if isinstance(phase, str) else phase()):
                return original(self, *args, **options)

        return method

    def training_step(self: Trainer, *args: Any, **options: Any) -> torch.Tensor:
        before, started = sum(clock.phases.values()), time.process_time()
        loss = kind.training_step(self, *args, **options)
        clock.phases["backward"] += time.process_time() - started - sum(clock.phases.values()) + before
        return loss

    own = {name: around(name, phase) for name, phase in phases.items()}
    silent = dict.fromkeys(("_send_telemetry", "create_model_card"), lambda *args, **options: None)
    return type(f"Timed{kind.__name__}", (kind,), own | silent | {"training_step": training_step})


def forward_phase(without_gradient: str) -> Callable[[], str]:
    """The phase of a forward pass: the student's, or the given one."""
    return lambda: "student" if torch.is_grad_enabled() else without_gradient


STOCK: dict[str, tuple[type[Trainer], dict[str, Phase]]] = {
    "grpo": (
        GRPOTrainer,
        {
            "_generate": "generation",
            "_calculate_rewards": "grading",
            "_get_per_token_logps_and_entropies": forward_phase("rescoring"),
        },
    ),
    "sdpo": (
        SDPOTrainer,
        {
            "_generate": "generation",
            "_calculate_rewards": "grading",
            "_compute_rollout_logps": "rescoring",
            "_forward_logits": forward_phase("teacher"),
            "_compute_self_distillation_loss": "student",
        },
    ),
}


def settings(steps: int) -> OnPolicySettings:
    return OnPolicySettings(
        checkpoint_steps=[steps], steps=steps, batch_size=8, rollouts=8, micro_batch_size=16, warmup_steps=3
    )


def examples(problems: pd.DataFrame, shared: OnPolicySettings) -> Dataset:
    """The prompts of all steps in the order of a run."""
    order = prompt_stream(len(problems), batch_size=shared.batch_size, steps=shared.steps, seed=0)
    rows = problems.iloc[order][["problem_id", "problem", "answer"]]
    return Dataset.from_list(
        [
            {"prompt": [{"role": "user", "content": user_prompt(problem, "")}], "problem_id": name, "answer": answer}
            for name, problem, answer in rows.itertuples(index=False)
        ]
    )


def ours(method: str, manifest: Path, data: Dataset, shared: OnPolicySettings, folder: Path) -> pd.DataFrame:
    """Seconds of each step of `OnPolicyTrainer` (see `Clock.frame`)."""
    clock, tokenizer = Clock(), models.load_tokenizer(manifest)
    record = RolloutRecord(folder / "rollouts", "benchmark", "model", method)
    trainer = OnPolicyTrainer(
        method=methods.load(method), initial=manifest, run=ARMS[method], settings=shared, sampling=SAMPLING,
        enable_thinking=None, opened=contexts.opens_thinking(tokenizer, enable_thinking=None),
        record=record, model=models.load_model(manifest), args=arguments(method, shared, folder),
        train_dataset=data, processing_class=tokenizer, callbacks=[clock],
    )  # fmt: skip
    torch.utils.deterministic.fill_uninitialized_memory = False  # as in `train_onpolicy`
    trainer.seconds = clock.phases
    # Its phases in processor time as well.
    with patch("selfdistill.training.trainer.time", SimpleNamespace(perf_counter=time.process_time)):
        run(trainer)
    tokens = record.all(shared.steps).groupby("step")["response_tokens"].sum()
    return clock.frame(tokens.to_list(), shared.updates_per_step)


def stock(method: str, manifest: Path, data: Dataset, shared: OnPolicySettings, folder: Path) -> pd.DataFrame:
    """The same of TRL's own trainer of the method."""
    torch.use_deterministic_algorithms(False)  # ours leaves it on; TRL's default is off
    clock, tokenizer = Clock(), models.load_tokenizer(manifest)
    kind, phases = STOCK[method]
    tokens: list[int] = []
    args = arguments(method, shared, folder)
    args.full_determinism = False
    # What ours does within an update, TRL's does as steps of gradient accumulation.
    args.per_device_train_batch_size = shared.micro_batch_size
    args.gradient_accumulation_steps = shared.share(1) // shared.micro_batch_size
    args.steps_per_generation *= args.gradient_accumulation_steps
    trainer = timing(kind, clock, phases)(
        model=models.load_model(manifest),
        reward_funcs=graded(tokens, tokenizer.eos_token_id),
        args=args if method == "grpo" else sdpo_arguments(args, shared),
        train_dataset=data,
        processing_class=tokenizer,
        callbacks=[clock],
    )
    run(trainer)
    return clock.frame(tokens, shared.updates_per_step)


def run(trainer: Trainer) -> None:
    trainer.remove_callback(PrinterCallback)
    trainer.train()


def graded(tokens: list[int], end: int) -> Callable[..., list[float]]:
    """A reward function for TRL: our grader; appends the response tokens of every step, end tokens apart."""

    def score(completions: list, completion_ids: list[list[int]], answer: list[str], **_: object) -> list[float]:
        tokens.append(sum(token != end for ids in completion_ids for token in ids))
        found = [extract_answer(completion[0]["content"]) for completion in completions]
        return [float(correct) for correct in grade_many(list(zip(found, answer, strict=True)))]

    return score


def arguments(method: str, shared: OnPolicySettings, folder: Path) -> GRPOConfig:
    return trainer_arguments(ARMS[method], shared, SAMPLING, directory=folder, processes=1, mirrors=[])


def sdpo_arguments(args: GRPOConfig, shared: OnPolicySettings) -> SDPOConfig:
    """TRL's SDPO with the paper's settings as far as it has them (no rollout correction, no random demonstration)."""
    ending = "\n\nCorrectly solve the original question."
    return SDPOConfig(
        **{name: getattr(args, name) for name in SHARED},
        reprompt_template=f"{{prompt}}{{solution}}{{feedback}}{ending}",
        solution_template=sdpo_reprompt("", "{successful_previous_attempt}").removesuffix(ending),
        distillation_mode="topk_logits",
        distillation_topk=ARMS["sdpo"].top_k,
        distillation_alpha=shared.sdpo.divergence_alpha,
        distillation_add_tail=shared.sdpo.divergence_tail,
        distillation_is_clip=shared.sdpo.importance_clip,
        teacher_model_kind="base",
        success_reward_threshold=shared.sdpo.success_threshold,
        max_reprompt_len=shared.sdpo.max_teacher_tokens,
    )


def table(measured: dict[tuple[str, str], pd.DataFrame]) -> pd.DataFrame:
    """A row per method and trainer: medians of steps, and how many times the seconds of ours a token takes."""
    rows = []
    for (method, whose), frame in measured.items():
        kept, base = frame.iloc[1:], measured[method, "ours"].iloc[1:]
        ratio = per_1000(kept) / per_1000(base)
        row = {
            "method": method,
            "trainer": whose,
            "s/step": kept["seconds"].median(),
            "wall": kept["wall"].median(),
            "tokens": kept["tokens"].median(),
            "s/1000": per_1000(kept).median(),
            "steps/min": 60_000 / (per_1000(kept) * base["tokens"]).median(),
            "ratio": ratio.median(),
            "least": ratio.min(),
            "most": ratio.max(),
        }
        rows.append(row | kept[[*PHASES, "other"]].median().to_dict())
    return pd.DataFrame(rows).round(2)


def per_1000(frame: pd.DataFrame) -> pd.Series:
    """Seconds per 1,000 response tokens, step by step."""
    return 1000 * frame["seconds"] / frame["tokens"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    base = Path("results/microcosm")
    parser.add_argument("--model", type=Path, default=base / "models" / "microcosm" / "base" / "manifest.json")
    parser.add_argument("--problems", type=Path, default=base / "problems" / "train.parquet")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    if given.steps < 2:
        parser.error("--steps must be 2 or more: the first is left out")
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    shared = settings(given.steps)
    data = examples(tables.read(given.problems, tables.PROBLEMS), shared)
    measured = {}
    for method in ARMS:
        for whose, measure in (("ours", ours), ("TRL stock", stock)):
            with tempfile.TemporaryDirectory() as folder:
                measured[method, whose] = measure(method, given.model, data, shared, Path(folder))
            print(f"{method}, {whose}: {measured[method, whose]['seconds'].round(2).to_list()} s", flush=True)
    shown = table(measured)
    print(shown.to_string(index=False))
    if given.json:
        steps = [
            {"method": method, "trainer": whose, "steps": frame.round(4).to_dict("records")}
            for (method, whose), frame in measured.items()
        ]
        text = json.dumps({"summary": shown.to_dict("records"), "steps": steps}, indent=2)
        given.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
