"""Does training run on this CUDA machine, as well as on a CPU, and what fits? Needs no network.

    python benchmarks/gpu_smoke.py [--model MANIFEST] [--models Qwen3-1.7B Qwen3-8B] [--steps 3] [--json FILE]
    python benchmarks/gpu_smoke.py --device cpu --tiny        (every code path, in half a minute)

Parity: fine-tuning, GRPO and SDPO of the microcosm's model in bfloat16 on the device, through the functions of the
workflow, beside the same steps in float32 on the CPU (`TOLERANCES` says why how much may differ); and SDPO's
memory-saving loss beside the plain one. Shapes: one SDPO step of real models with random weights, by phase: float32
master weights, bfloat16 autocast, gradient checkpointing, one sequence. What does not fit is estimated first, said and
left out, and the response halved until it fits. The first of several steps warms up and is left out of all timings.

Exit status: 0 all is well (also where something does not fit), 1 a check failed, 2 there is no CUDA device.
"""

import argparse
import gc
import json
import math
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch
from zlib import crc32

import pandas as pd
import psutil
import torch
import transformers
import trl
from selfdistill import models
from selfdistill.generation import Sampling, traces
from selfdistill.microcosm import world
from selfdistill.microcosm.documents import thought
from selfdistill.microcosm.presets import PRESETS
from selfdistill.microcosm.pretrain import pretrain
from selfdistill.microcosm.reasoner import Reasoner
from selfdistill.problems import ProblemSet, load_problem_set
from selfdistill.training import arguments, onpolicy, sdpo, sft, trainer
from selfdistill.training.losses import CHUNK_TOKENS, PIECE_LOGITS, distillation_terms, topk_divergence
from selfdistill.training.settings import OnPolicySettings, Run, SftRun, SftSettings
from selfdistill.training.states import response_states
from selfdistill.training.trainer import PHASES
from torch.nn import functional as F
from transformers import PreTrainedModel, Qwen3Config, Qwen3ForCausalLM, TrainerCallback

GIB = 2**30
SHORTEST_RESPONSE = 16
# On a CPU whose torch is held to AVX2, its flash attention refuses bfloat16.
torch.backends.cuda.enable_flash_sdp(torch.cuda.is_available())

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
SETTINGS = OnPolicySettings(checkpoint_steps=[1])  # the paper's: learning goes by them in both parts
LOSS = {"k": 100, "alpha": SETTINGS.sdpo.divergence_alpha, "tail": SETTINGS.sdpo.divergence_tail}

# Quantity -> (largest difference, whether it is relative). Fine-tuning reads the same tokens on both sides. Rollouts
# have the same random numbers, but a rounded logit now and then picks another token and with it another response:
# score, entropy and divergence are means over partly different samples. Sampler and trainer share one precision, so
# their ratio is 1 up to rounding.
TOLERANCES = {
    "sft loss": (0.02, True),
    "sft grad_norm": (0.10, True),
    "grpo score": (0.20, False),
    "grpo entropy": (0.20, True),
    "grpo rollout_ratio": (0.02, False),
    "sdpo score": (0.20, False),
    "sdpo entropy": (0.20, True),
    "sdpo divergence": (0.35, True),
    "sdpo rollout_ratio": (0.02, False),
}
# Largest relative difference of the memory-saving loss to the plain one, in either precision: sums in another order and
# other portions. In float32 the logarithm of a small tail loses digits: gradients of both differ from those in float64
# by 1e-4.
LOSS_TOLERANCES = {"float32": 5e-4, "bfloat16": 3e-2}


@dataclass(frozen=True)
class Shape:
    """What of a Qwen3 model decides about time and memory."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocabulary: int
    tied: bool

    def config(self) -> Qwen3Config:
        return Qwen3Config(
            hidden_size=self.hidden, num_hidden_layers=self.layers, num_attention_heads=self.heads,
            num_key_value_heads=self.kv_heads, head_dim=self.head_dim, intermediate_size=self.intermediate,
            vocab_size=self.vocabulary, tie_word_embeddings=self.tied, max_position_embeddings=2**16,
        )  # fmt: skip

    def parameters(self) -> int:
        with torch.device("meta"):
            return sum(parameter.numel() for parameter in Qwen3ForCausalLM(self.config()).parameters())


SHAPES = {
    "Qwen3-1.7B": Shape(2048, 28, 16, 8, 128, 6144, 151_936, tied=True),
    "Qwen3-8B": Shape(4096, 36, 32, 8, 128, 12_288, 151_936, tied=False),
}
TINY_SHAPES = {
    "Qwen3-1.7B": Shape(64, 2, 4, 2, 16, 192, 512, tied=True),
    "Qwen3-8B": Shape(128, 2, 8, 2, 16, 384, 512, tied=False),
}


@dataclass(frozen=True)
class Lengths:
    """Tokens of one sequence of a step; the teacher's prompt holds the student's and a response as demonstration."""

    prompt: int
    response: int

    @property
    def student(self) -> int:
        return self.prompt + self.response

    @property
    def teacher(self) -> int:
        return min(SETTINGS.sdpo.max_teacher_tokens, self.prompt + self.response) + self.response


# --- the microcosm ------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Microcosm:
    """How much of it is trained. ``stands_in``: an untrained model solves nothing, so answers are made up for it."""

    steps: int
    prompts: int = 8
    rollouts: int = 8
    micro_batch: int = 16
    tokens: int = 300
    stands_in: bool = False

    def on_policy(self) -> OnPolicySettings:
        return OnPolicySettings(
            checkpoint_steps=[self.steps], steps=self.steps, batch_size=self.prompts, rollouts=self.rollouts,
            micro_batch_size=self.micro_batch, warmup_steps=1,
        )  # fmt: skip

    def fine_tuning(self) -> SftSettings:
        size = self.prompts * self.rollouts
        return SftSettings(epochs=1, batch_size=size, micro_batch_size=self.micro_batch, warmup_steps=1)


SFT_RUN = SftRun("guided", 3e-4)
ARMS = {"grpo": Run("model", "grpo", 3e-4), "sdpo": Run("model", "sdpo", 3e-4, context="solution")}
Side = dict[str, dict[str, dict[str, float]]]  # of a method: "metrics" and "seconds", by name


def base_model(folder: Path, preset: str) -> Path:
    """The manifest of a model pre-trained here, on the CPU."""
    pretrain(folder / "model", folder / "work", seed=0, settings=PRESETS[preset], workers=1 if preset == "tiny" else 2)
    models.save_manifest(folder / "model")
    return folder / "model" / models.MANIFEST


def train_microcosm(manifest: Path, size: Microcosm) -> Side:
    """A few steps of every method: means of its metrics, and seconds per step by phase."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        if size.stands_in:
            stack.enter_context(patch.object(traces, "extract_answer", made_up_answer))
        problems = load_problem_set(ProblemSet(source="microcosm", split="narrow_train", size=size.prompts))
        problems = problems.assign(answer="7") if size.stands_in else problems
        found = {"sft": fine_tune(manifest, size, Path(name) / "sft")}
        return found | {method: train_on_policy(manifest, size, method, problems, Path(name)) for method in ARMS}


def made_up_answer(response: str, *, opened: bool) -> str | None:
    """The right answer for about a third of all responses, which their first word decides."""
    return "7" if crc32(response[:4].encode()) % 3 == 0 else None


def fine_tune(manifest: Path, size: Microcosm, folder: Path) -> dict[str, dict[str, float]]:
    settings, clock = size.fine_tuning(), StepClock()
    original = sft.run_to_end

    def run_to_end(trained: transformers.Trainer, **options: object) -> None:
        trained.add_callback(clock)
        original(trained, **options)

    with patch.object(sft, "run_to_end", run_to_end):
        steps = sft.train_sft(
            made_up_examples(size.steps * settings.batch_size), manifest=manifest, out_dir=folder / "out",
            work_dir=folder / "work", model_name="microcosm", run=SFT_RUN, settings=settings, enable_thinking=None,
            seed=0,
        )  # fmt: skip
    kept = [second - first for first, second in zip(clock.ends, clock.ends[1:], strict=False)]
    return {"metrics": means(steps), "seconds": {"step": mean(kept[1:] or kept)}}


class StepClock(TrainerCallback):
    """When each optimizer step was done, counted from the beginning of training."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def _note(self, *args: object, **kwargs: object) -> None:
        wait_for_device()
        self.ends.append(time.perf_counter())

    on_train_begin = on_step_end = _note


def made_up_examples(count: int) -> pd.DataFrame:
    """Responses of the reasoner that the model is pre-trained on, in the schema `sft_examples` as far as it is read."""
    problems = world.problem_split("narrow_train")
    rows = []
    for sample in range(count):
        problem = problems[sample % len(problems)]
        answer = thought(Reasoner(random.Random(sample), problem).run())
        turns = {"prompt": [turn("user", problem.text)], "completion": [turn("assistant", answer)]}
        rows.append(turns | {"problem_id": f"{sample:016x}", "sample": 0, "finish_reason": "stop"})
    return pd.DataFrame(rows)


def turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def train_on_policy(
    manifest: Path, size: Microcosm, method: str, problems: pd.DataFrame, folder: Path
) -> dict[str, dict[str, float]]:
    steps, seconds, _ = onpolicy.train_onpolicy(
        problems, manifest=manifest, study="smoke", run=ARMS[method].plain(),
        settings=size.on_policy(), sampling=Sampling(1.0, max_tokens=size.tokens), instruction="",
        enable_thinking=None, out_dir=folder / method, work_dir=folder / f"{method}-work", mirrors=[],
    )  # fmt: skip
    kept = seconds[seconds["step"] > min(1, size.steps - 1)]
    phases = means(kept.assign(metric=kept["metric"].str.removeprefix("seconds/")))
    return {"metrics": means(steps), "seconds": phases | {"step": sum(phases.values())}}


def means(table: pd.DataFrame) -> dict[str, float]:
    """Of every metric, over steps."""
    return {str(name): float(value) for name, value in table.groupby("metric")["value"].mean().items()}


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


class TorchOfGpu:
    """The torch that a module sees on a machine with a GPU, as far as it decides about settings."""

    cuda = SimpleNamespace(is_available=lambda: True, synchronize=lambda *arguments: None)

    def __getattr__(self, name: str) -> object:
        return getattr(torch, name)


@contextmanager
def as_on_gpu() -> Iterator[None]:
    """The trainers take the settings that they take on a GPU (precision, checkpointing, the teacher's), on a CPU."""

    def on_cpu(kind: type, **given: object) -> object:
        return kind(**given | {"use_cpu": True})

    with ExitStack() as stack:
        for module in (sft, onpolicy, sdpo, trainer, arguments):
            stack.enter_context(patch.object(module, "torch", TorchOfGpu()))
        for module, kind in ((sft, "SFTConfig"), (arguments, "GRPOConfig")):
            stack.enter_context(patch.object(module, kind, partial(on_cpu, getattr(module, kind))))
        yield


@contextmanager
def beside(function: Callable[..., Side], *arguments: object) -> Iterator[Future[Side]]:
    """A future of ``function`` in a process that sees no GPU: the trainers take one wherever there is one."""
    with patch.dict(os.environ, {"CUDA_VISIBLE_DEVICES": ""}):
        pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
        future = pool.submit(function, *arguments)  # starts the process
    try:
        yield future
    finally:
        pool.shutdown(cancel_futures=True)


def microcosm(given: Path | None, size: Microcosm, device: torch.device) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Seconds per step by phase on the device and on the CPU; and their parity."""
    with tempfile.TemporaryDirectory() as folder:
        manifest = given or base_model(Path(folder), "tiny" if size.stands_in else "smoke")
        with beside(train_microcosm, manifest, size) as reference:
            with as_on_gpu() if device.type == "cpu" else ExitStack():
                measured = train_microcosm(manifest, size)
            expected = reference.result()
    rows = [
        {"method": method, "device": where} | side[method]["seconds"]
        for method in measured
        for where, side in ((f"{device.type} bfloat16", measured), ("cpu float32", expected))
    ]
    return pd.DataFrame(rows)[["method", "device", "step", *PHASES]], parity(measured, expected)


def tried_microcosm(
    given: Path | None, size: Microcosm, device: torch.device
) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """The same, and what went wrong: the real shapes are worth trying all the same."""
    try:
        return *microcosm(given, size, device), []
    except Exception as error:
        traceback.print_exc()
        empty = pd.DataFrame({"quantity": [], "ok": pd.Series([], dtype=bool)})
        return pd.DataFrame(), empty, [f"microcosm: {type(error).__name__}: {error}"]


def parity(measured: Side, expected: Side) -> pd.DataFrame:
    """One row per quantity of `TOLERANCES`, and one per loss, which has to be finite only."""
    rows = []
    for quantity, (tolerance, relative) in TOLERANCES.items():
        method, metric = quantity.split()
        ours, theirs = (side[method]["metrics"].get(metric, math.nan) for side in (measured, expected))
        theirs = 1.0 if metric == "rollout_ratio" else theirs
        difference = abs(ours - theirs) / (abs(theirs) or 1.0 if relative else 1.0)
        rows.append(parity_row(quantity, ours, theirs, difference, tolerance))
    for method in ARMS:
        ours, theirs = (side[method]["metrics"]["loss"] for side in (measured, expected))
        rows.append(parity_row(f"{method} loss (finite)", ours, theirs, abs(ours - theirs), math.inf))
    return pd.DataFrame(rows)


def parity_row(quantity: str, ours: float, theirs: float, difference: float, tolerance: float) -> dict[str, object]:
    fine = math.isfinite(ours) and difference <= tolerance
    return {"quantity": quantity, "device": ours, "cpu": theirs, "difference": difference, "tolerance": tolerance,
            "ok": fine}  # fmt: skip


# --- the memory-saving loss -----------------------------------------------------------------------------------------
def loss_parity(device: torch.device) -> pd.DataFrame:
    """`distillation_terms` against `topk_divergence` of all logits: values and gradients, small shapes."""
    rows = []
    for precision, tolerance in LOSS_TOLERANCES.items():
        half = torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")
        with half:
            saving = loss_and_gradients(device, in_chunks)
            plain = loss_and_gradients(device, all_at_once)
        for name in saving:
            difference = (saving[name] - plain[name]).abs().max() / plain[name].abs().max()
            rows.append({"precision": precision, "quantity": name, "max difference": float(difference),
                         "tolerance": tolerance, "ok": bool(difference <= tolerance)})  # fmt: skip
    return pd.DataFrame(rows)


def loss_and_gradients(device: torch.device, divergence: Callable[..., torch.Tensor]) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)  # on the CPU: the same numbers on any device
    states, taught, weight = (
        torch.randn(*shape, generator=generator).to(device) for shape in ((2, 150, 64), (2, 150, 64), (1000, 64))
    )
    states.requires_grad_(), weight.requires_grad_()
    values = divergence(states, taught, weight)
    gradients = torch.autograd.grad(values.sum(), (states, weight))
    return {"divergence": values.detach(), "gradient of states": gradients[0], "gradient of weight": gradients[1]}


def in_chunks(states: torch.Tensor, taught: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    ids = torch.zeros(states.shape[:2], dtype=torch.long, device=states.device)
    return distillation_terms(states, taught, weight, ids, **LOSS, chunk_tokens=64)[0]


def all_at_once(states: torch.Tensor, taught: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return topk_divergence(F.linear(states, weight), F.linear(taught, weight), **LOSS)


# --- one step of real shapes ----------------------------------------------------------------------------------------
class Phases:
    """Seconds and peak bytes of every phase of a step."""

    def __init__(self, device: torch.device):
        self.device = device
        self.phase = "weights"
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.peaks: dict[str, tuple[int, int]] = {}  # allocated, reserved

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        self.phase = phase
        self._reset_peaks()
        wait_for_device()
        started = time.perf_counter()
        yield
        wait_for_device()
        self.seconds[phase].append(time.perf_counter() - started)
        if self.device.type == "cuda":
            found = torch.cuda.max_memory_allocated(self.device), torch.cuda.max_memory_reserved(self.device)
            self.peaks[phase] = tuple(map(max, found, self.peaks.get(phase, (0, 0))))

    def _reset_peaks(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)

    def rows(self, tokens: Mapping[str, int]) -> list[dict[str, object]]:
        """One row per phase and one of all; ``tokens`` that pass through each."""
        kept = {phase: mean(seconds[1:] or seconds) for phase, seconds in self.seconds.items()}
        kept["step"] = sum(kept.values())
        peaks = dict(self.peaks)
        if peaks:
            peaks["step"] = tuple(map(max, *peaks.values()))
        return [
            {
                "phase": phase,
                "seconds": seconds,
                "tokens/s": tokens[phase] / seconds if phase in tokens else math.nan,
                "peak GiB": peaks[phase][0] / GIB if phase in peaks else math.nan,
                "reserved GiB": peaks[phase][1] / GIB if phase in peaks else math.nan,
            }
            for phase, seconds in kept.items()
        ]


def wait_for_device() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def make_model(shape: Shape, device: torch.device, dtype: torch.dtype) -> PreTrainedModel:
    """A model with random weights, made on ``device``."""
    torch.manual_seed(0)
    with torch.device(device):
        return Qwen3ForCausalLM(shape.config()).to(dtype)


def sdpo_steps(
    shape: Shape, lengths: Lengths, *, steps: int, device: torch.device, teacher_dtype: torch.dtype, phases: Phases
) -> list[float]:
    """The losses of ``steps`` SDPO steps on one sequence, as `OnPolicyTrainer` makes them."""
    teacher = make_model(shape, device, teacher_dtype).requires_grad_(False).eval()
    student = make_model(shape, device, torch.float32).train()
    student.gradient_checkpointing_enable({"use_reentrant": False})
    betas = SETTINGS.adam_beta1, SETTINGS.adam_beta2
    optimizer = torch.optim.AdamW(
        student.parameters(), lr=1e-5, betas=betas, weight_decay=SETTINGS.weight_decay, fused=True
    )
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(shape.vocabulary, (1, lengths.teacher), generator=generator).to(device)
    return [sdpo_step(student, teacher, optimizer, ids, lengths, phases) for _ in range(steps)]


def sdpo_step(
    student: PreTrainedModel,
    teacher: PreTrainedModel,
    optimizer: torch.optim.Optimizer,
    ids: torch.Tensor,
    lengths: Lengths,
    phases: Phases,
) -> float:
    half = partial(torch.autocast, phases.device.type, torch.bfloat16)
    own, kept = ids[:, -lengths.student :], lengths.response
    with phases("teacher"), torch.no_grad(), half():
        taught = response_states(teacher, ids, torch.ones_like(ids), kept)
    with phases("student"), half():
        states = response_states(student, own, torch.ones_like(own), kept)
    with phases("loss"), half():
        weights = (model.get_output_embeddings().weight for model in (student, teacher))
        divergence, _, _ = distillation_terms(
            states, taught, next(weights), own[0, -kept:], teacher_weight=next(weights), **LOSS
        )
        loss = divergence.mean()
    with phases("backward"):
        loss.backward()
    with phases("optimizer"):
        torch.nn.utils.clip_grad_norm_(student.parameters(), SETTINGS.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad()
    return loss.item()


def memory_model(shape: Shape, lengths: Lengths, teacher_dtype: torch.dtype) -> dict[str, int]:
    """Bytes by what they are for, and an estimate of the peak.

    Bytes per token of one layer are those that autograd keeps of a Qwen3 layer under autocast and half as much for the
    gradients of its backward pass; per entry of a chunk's logits 2, in bfloat16, and of a piece of them 8 more, logits
    and their powers in float32, or in the backward pass 4, beside the gradient of the output's weight.
    """
    count, size = shape.parameters(), teacher_dtype.itemsize
    queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    output = 4 * shape.vocabulary * shape.hidden  # gradient of the output's weight, the first one to exist
    logits = min(CHUNK_TOKENS["gpu"], lengths.response) * shape.vocabulary
    piece = min(logits, PIECE_LOGITS["gpu"])
    passing = 16 * shape.hidden + 6 * shape.intermediate  # bytes per token of a layer without gradient
    found = {
        "teacher": size * count,
        "master weights": 4 * count,
        "Adam states": 8 * count,
        "gradients": 4 * count,
        "weights in bfloat16": 2 * count,  # autocast keeps its copies until the forward pass ends
        "checkpoints": 4 * shape.layers * lengths.student * shape.hidden,  # the residual stream is float32
        "last states": 4 * 2 * lengths.response * shape.hidden,
        "one layer": lengths.student * (39 * shape.hidden + 15 * (queries + keys) + 12 * shape.intermediate),
        "teacher's layer": lengths.teacher * passing,
        "logits": 2 * logits + output // 2 + max(8 * piece, 4 * piece + output),
    }
    updated = found["teacher"] + found["master weights"] + found["Adam states"]
    stored = found["checkpoints"] + found["last states"]
    moments = (
        updated + found["teacher's layer"],
        updated + stored + found["weights in bfloat16"] + lengths.student * passing,  # end of the forward pass
        updated + stored + found["logits"],
        updated + stored + output + found["one layer"],  # the last layer's backward pass
        updated + found["gradients"] + found["one layer"],  # the first layer's: no checkpoint is left
        updated + found["gradients"] + 2 * output,  # the embedding's
    )
    return found | {"estimated peak": max(moments)}


FIXED = ("teacher", "master weights", "Adam states", "gradients")


def measure_shape(
    name: str, shape: Shape, lengths: Lengths, *, steps: int, device: torch.device, teacher_dtype: torch.dtype,
    limit: int,
) -> tuple[list[dict[str, object]], dict[str, object]]:  # fmt: skip
    """Rows of the table, and the memory model of the longest response that fits, by halving, or of the one wanted."""
    rows: list[dict[str, object]] = []
    wanted, response = memory_model(shape, lengths, teacher_dtype), lengths.response
    while response >= SHORTEST_RESPONSE:
        fitting = Lengths(lengths.prompt, response)
        estimate = memory_model(shape, fitting, teacher_dtype)
        found = too_large(estimate, limit) or run_shape(shape, fitting, steps, device, teacher_dtype)
        label = {"model": name, "response": response}
        if not isinstance(found, str):
            rows += [label | row for row in found]
            measured = found[-1]["peak GiB"]
            return rows, label | in_gib(estimate) | {"measured peak": measured}
        rows.append(label | {"phase": "step", "note": f"does not fit: {found}"})
        if sum(estimate[part] for part in FIXED) > limit:
            rows[-1]["note"] += "; no response length would"
            break
        response //= 2
    return rows, {"model": name, "response": lengths.response} | in_gib(wanted) | {"measured peak": math.nan}


def too_large(estimate: Mapping[str, int], limit: int) -> str:
    """Why it is not tried; empty where it may fit."""
    needed = estimate["estimated peak"]
    if needed <= limit:
        return ""
    fixed = sum(estimate[name] for name in FIXED)
    return (
        f"about {gib(needed)} GiB needed ({needed:,} bytes), {gib(fixed)} of them for {', '.join(FIXED)}; "
        f"{gib(limit)} GiB free: skipped because of memory"
    )


def run_shape(
    shape: Shape, lengths: Lengths, steps: int, device: torch.device, teacher_dtype: torch.dtype
) -> list[dict[str, object]] | str:
    """Rows by phase; or where memory ended."""
    phases = Phases(device)
    try:
        losses = sdpo_steps(shape, lengths, steps=steps, device=device, teacher_dtype=teacher_dtype, phases=phases)
    except torch.OutOfMemoryError as error:
        # The frames that the error holds keep tensors alive.
        traceback.clear_frames(error.__traceback__)
        return f"out of memory ({phases.phase}): {str(error).partition('. GPU')[0]}"
    finally:
        free_memory()
    tokens = {
        "teacher": lengths.teacher, "student": lengths.student, "loss": lengths.response, "backward": lengths.student,
        "step": lengths.response,
    }  # fmt: skip
    return [row | {"loss": losses[-1]} for row in phases.rows(tokens)]


def free_memory() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def in_gib(sizes: Mapping[str, int]) -> dict[str, float]:
    return {name: size / GIB for name, size in sizes.items()}


def gib(size: float) -> str:
    return f"{size / GIB:.3g}"


def memory_limit(device: torch.device, pretended: float | None) -> int:
    """Bytes that may be taken: what is free, or less on request (then nobody gets more on a GPU)."""
    free, total = (psutil.virtual_memory().available, 0) if device.type == "cpu" else torch.cuda.mem_get_info(device)
    if pretended is None:
        return free
    limit = min(free, int(pretended * GIB))
    if device.type == "cuda":
        torch.cuda.set_per_process_memory_fraction(limit / total, device)
    return limit


# --- the report -----------------------------------------------------------------------------------------------------
def machine(device: torch.device) -> dict[str, object]:
    facts: dict[str, object] = {
        "device": platform.processor() or platform.machine(), "driver": None, "memory GiB": None,
        "cuda": torch.version.cuda, "torch": torch.__version__, "transformers": transformers.__version__,
        "trl": trl.__version__, "python": platform.python_version(),
    }  # fmt: skip
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        facts |= {"device": properties.name, "driver": driver(), "memory GiB": round(properties.total_memory / GIB, 1),
                  "capability": f"{properties.major}.{properties.minor}"}  # fmt: skip
    return facts


def driver() -> str | None:
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n")[0]
    except (OSError, subprocess.CalledProcessError):
        return None


def show(title: str, rows: pd.DataFrame) -> None:
    if not rows.empty:
        print(f"\n{title}\n{rows.to_string(index=False, na_rep='-', float_format='{:.4g}'.format)}", flush=True)


def transposed(memory: pd.DataFrame) -> pd.DataFrame:
    """One column per model: there are more parts than models."""
    return memory.set_index("model").T.rename_axis("GiB of", axis=0).rename_axis(None, axis=1).reset_index()


def records(rows: pd.DataFrame) -> list[dict[str, object]]:
    """Rows for JSON, which knows neither NaN nor infinity."""
    return [
        {name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in row.items()}
        for row in rows.to_dict("records")
    ]


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--model", type=Path, help="manifest of a microcosm model (default: pre-trained here)")
    parser.add_argument("--models", nargs="*", choices=list(SHAPES), default=list(SHAPES), help="real shapes to try")
    parser.add_argument("--prompt-tokens", type=int, default=2_048)
    parser.add_argument("--response-tokens", type=int, default=20_480)
    parser.add_argument("--teacher-dtype", choices=list(DTYPES), default="bfloat16", help="a moving teacher is float32")
    parser.add_argument("--steps", type=int, default=3, help="of every method and of every real shape")
    parser.add_argument("--memory-limit", type=float, metavar="GIB", help="as if no more were free")
    parser.add_argument("--tiny", action="store_true", help="tiny models and lengths: does the script itself run?")
    parser.add_argument("--json", type=Path, metavar="FILE")
    given = parser.parse_args(arguments)
    for name in ("steps", "prompt_tokens"):
        if getattr(given, name) < 1:
            parser.error(f"--{name.replace('_', '-')} must be 1 or more")
    if given.response_tokens < SHORTEST_RESPONSE:
        parser.error(f"--response-tokens must be {SHORTEST_RESPONSE} or more")
    return given


def main(arguments: Sequence[str] | None = None) -> int:
    given = parsed(arguments)
    # The trainers take a GPU where they see one, and several at once where they see several.
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0] if given.device == "cuda" else ""
    os.environ["CUDA_VISIBLE_DEVICES"] = visible
    if given.device == "cuda" and not torch.cuda.is_available():
        build = " (it is the CPU build)" if torch.version.cuda is None else ""
        print(
            f"gpu_smoke: torch{build} sees no CUDA device here; --device cpu --tiny tries the script itself",
            file=sys.stderr,
        )
        return 2
    warnings.simplefilter("ignore")
    device = torch.device("cuda", 0) if given.device == "cuda" else torch.device("cpu")
    facts = machine(device)
    print("\n".join(f"{name}: {value}" for name, value in facts.items() if value is not None), flush=True)
    steps = given.steps
    size = Microcosm(steps, 2, 4, 2, tokens=16, stands_in=given.model is None) if given.tiny else Microcosm(steps)
    saving = loss_parity(device)
    show("memory-saving loss against the plain one, largest difference as a share of the largest value", saving)
    seconds, agreement, failed = tried_microcosm(given.model, size, device)
    show("microcosm, seconds per step", seconds)
    show("microcosm, means over steps", agreement)
    timed, memory = real_shapes(given, device)
    show(
        "one SDPO step on one sequence (tokens/s of a step: response tokens)",
        timed[timed["note"].isna()].drop(columns="note"),
    )
    for row in timed[timed["note"].notna()].to_dict("records"):
        print(f"{row['model']}, response of {row['response']:,} tokens: {row['note']}")
    show("memory model, GiB (the estimate is of the largest phase)", transposed(memory))
    failed += failures(saving, agreement, timed)
    report = {
        "machine": facts, "options": vars(given) | {"model": str(given.model or ""), "json": str(given.json or "")},
        "loss": records(saving), "seconds": records(seconds), "parity": records(agreement), "shapes": records(timed),
        "memory": records(memory), "failed": failed,
    }  # fmt: skip
    if given.json:
        given.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(f"\nfailed: {', '.join(failed)}" if failed else "\nall checks passed")
    return 1 if failed else 0


def real_shapes(given: argparse.Namespace, device: torch.device) -> tuple[pd.DataFrame, pd.DataFrame]:
    shapes = TINY_SHAPES if given.tiny else SHAPES
    lengths = Lengths(given.prompt_tokens, given.response_tokens)
    if given.tiny:
        lengths = Lengths(min(32, lengths.prompt), min(128, lengths.response))
    rows, models_of_memory = [], []
    limit = memory_limit(device, given.memory_limit)
    for name in given.models:
        found, memory = measure_shape(
            name, shapes[name], lengths, steps=given.steps, device=device,
            teacher_dtype=DTYPES[given.teacher_dtype], limit=limit,
        )  # fmt: skip
        rows += found
        models_of_memory.append(memory)
    columns = ["model", "response", "phase", "seconds", "tokens/s", "peak GiB", "reserved GiB", "loss", "note"]
    return pd.DataFrame(rows, columns=columns), pd.DataFrame(models_of_memory)


def failures(saving: pd.DataFrame, agreement: pd.DataFrame, timed: pd.DataFrame) -> list[str]:
    """Names of the checks that failed."""
    losses: Iterable[tuple[str, float]] = timed[timed["note"].isna()][["model", "loss"]].itertuples(index=False)
    return [
        *(f"{row['quantity']} of the loss in {row['precision']}" for row in saving[~saving["ok"]].to_dict("records")),
        *agreement.loc[~agreement["ok"], "quantity"],
        *dict.fromkeys(f"loss of {model}" for model, loss in losses if not math.isfinite(loss)),
    ]


if __name__ == "__main__":
    sys.exit(main())
