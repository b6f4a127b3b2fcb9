"""What this machine computes, in a few seconds: a digest for each kind of arithmetic that a study does.

Every part but pre-training starts from numbers that no arithmetic has touched, so that a part that differs tells where.
"""

import json
import platform
import random
import tempfile
from collections.abc import Callable, Iterable
from fractions import Fraction
from importlib import metadata
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from selfdistill import models, tables
from selfdistill.analysis.estimates import estimate, ratio_values, spread_of
from selfdistill.analysis.summaries import sampling_interval
from selfdistill.code_digest import PACKAGE_ROOT
from selfdistill.environment import PORTABLE, processor
from selfdistill.errors import UserError
from selfdistill.figures import plotting
from selfdistill.files import sha256_file, sha256_text, write_text
from selfdistill.generation.drafts import Drafts
from selfdistill.generation.qwen3_engine import Qwen3Engine, sample_rows
from selfdistill.generation.requests import Row, Sampling
from selfdistill.grading.grader import grade_many
from selfdistill.microcosm.presets import PRESETS
from selfdistill.microcosm.pretrain import pretrain
from selfdistill.microcosm.tokenizer import build_tokenizer
from selfdistill.microcosm.vocabulary import VOCABULARY
from selfdistill.records import machine
from selfdistill.training.checkpoints import save_model
from selfdistill.training.losses import aggregate, distillation_terms, token_logps, truncated_ratio
from selfdistill.training.settings import SftRun, SftSettings
from selfdistill.training.sft import train_sft
from selfdistill.training.states import response_states
from selfdistill.training.updates import SKIPPED

SHIPPED = PACKAGE_ROOT.parent / "config" / "fingerprint.json"
DIGITS = 16  # of a SHA-256 that are kept
PACKAGES = ("torch", "numpy", "scipy", "numba", "transformers", "trl", "pyarrow", "matplotlib")
PROMPTS, ROLLOUTS, PROMPT_TOKENS, RESPONSE_TOKENS = 12, 4, 20, 48

# Answers and golds: some that rules decide, some that algebra does.
ANSWERS = (("1/2", "0.5"), ("2\\sqrt{3}", "\\sqrt{12}"), ("x^2-1", "(x-1)(x+1)"), ("3.14", "\\pi"), ("7", "8"),
           ("\\frac{1}{3}", "0.333"), ("e^{2}", "e^2"), ("\\sin(\\pi/6)", "1/2"))  # fmt: skip


def parts(workers: int) -> dict[str, str]:
    """Digest by part; ``workers`` processes must not change any."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        manifest = _made_model(folder / "model")
        computed: dict[str, Callable[[], Iterable[object]]] = {
            "pre-training": lambda: _pretraining(folder / "pretraining", workers),
            "drawing": lambda: _drawing(manifest),
            "fine-tuning": lambda: _fine_tuning(manifest, folder / "sft"),
            "on-policy": lambda: _on_policy(manifest),
            "grading": lambda: [grade_many(ANSWERS, workers)],
            "statistics": _statistics,
            "tables": lambda: _table(folder / "table.parquet"),
            "figures": lambda: _figure(folder),
        }
        found = {part: _digest(compute()) for part, compute in computed.items()}
    return found | {"all": sha256_text(json.dumps(found))[:DIGITS]}


def _digest(values: Iterable[object]) -> str:
    """Digest of arrays, files and values that have an exact text."""
    return sha256_text(json.dumps([_exact(value) for value in values]))[:DIGITS]


def _exact(value: object) -> object:
    if isinstance(value, Path):
        return sha256_file(value)
    if isinstance(value, list):
        return [_exact(part) for part in value]
    if isinstance(value, torch.Tensor):
        value = value.detach().numpy()
    return value.tobytes().hex() if isinstance(value, np.ndarray) else value


# --- inputs -----------------------------------------------------------------------------------------------------------


def _made_model(folder: Path) -> Path:
    """A model of the microcosm's width whose weights are Python's random numbers, which are the same everywhere."""
    tokenizer = build_tokenizer()
    config = Qwen3Config(
        vocab_size=len(VOCABULARY), hidden_size=128, intermediate_size=384, num_hidden_layers=2, head_dim=32,
        num_attention_heads=4, num_key_value_heads=2, tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    model, rng = Qwen3ForCausalLM(config), random.Random(0)
    with torch.no_grad():
        for weight in model.parameters():
            numbers = torch.tensor([rng.randrange(-128, 128) / 1024 for _ in range(weight.numel())])
            weight.copy_(numbers.view_as(weight) + (weight.ndim == 1))
    save_model(model, tokenizer, folder)
    return folder / models.MANIFEST


def _tokens(rows: int, columns: int, seed: int) -> torch.Tensor:
    rng = random.Random(seed)
    return torch.tensor([[rng.randrange(4, len(VOCABULARY)) for _ in range(columns)] for _ in range(rows)])


# --- parts ------------------------------------------------------------------------------------------------------------


def _pretraining(folder: Path, workers: int) -> list[object]:
    """A few steps of each phase: weights, and the losses."""
    steps = pretrain(folder / "model", folder / "work", seed=0, settings=PRESETS["tiny"], workers=workers)
    return [folder / "model" / "model.safetensors", steps["value"].to_numpy()]


def _drawing(manifest: Path) -> list[object]:
    """Responses with the log-probabilities of their tokens, which show a last digit that no token does."""
    engine, prompts = Qwen3Engine(manifest), _tokens(PROMPTS, PROMPT_TOKENS, 1).tolist()
    # Prompts of different lengths, each drawn several times.
    rows = [Row(tuple(ids[place:]), 10 * place + k) for place, ids in enumerate(prompts) for k in range(ROLLOUTS)]
    sampling = Sampling(max_tokens=RESPONSE_TOKENS)
    found = sample_rows(engine.weights, rows, sampling, engine.end_ids, Drafts(), logps=True)
    return [[completion.token_ids, completion.logps] for completion in found]


def _fine_tuning(manifest: Path, folder: Path) -> list[object]:
    """Two steps of the trainer: weights, losses and norms of gradients."""
    words = [models.load_tokenizer(manifest).decode(ids) for ids in _tokens(16, 60, 2).tolist()]
    examples = pd.DataFrame(
        {
            "prompt": [[{"role": "user", "content": text[:80]}] for text in words],
            "completion": [[{"role": "assistant", "content": text}] for text in words],
            "problem_id": [f"{number:016x}" for number in range(len(words))],
            "sample": 0,
            "finish_reason": "stop",
        }
    )
    steps = train_sft(
        examples, manifest=manifest, out_dir=folder / "out", work_dir=folder / "work", model_name="made",
        run=SftRun("made", 3e-4), settings=SftSettings(epochs=1, batch_size=8, warmup_steps=1),
        enable_thinking=None, seed=0,
    )  # fmt: skip
    computed = steps[steps["metric"] != SKIPPED]  # that is counted
    return [folder / "out" / "model.safetensors", computed["value"].to_numpy()]


def _on_policy(manifest: Path) -> list[object]:
    """An update each of SDPO's and GRPO's losses from fixed responses: losses, and the weights after them."""
    student, teacher = (models.load_model(manifest, dtype="float32") for _ in range(2))
    optimizer = torch.optim.AdamW(student.parameters(), lr=3e-4, fused=True)
    responses = _tokens(8, RESPONSE_TOKENS, 3)
    own, taught = (torch.cat([_tokens(8, columns, 4), responses], dim=1) for columns in (16, 40))
    mask, found = torch.ones_like(responses), []
    for method in ("sdpo", "grpo"):
        states = response_states(student, own, torch.ones_like(own), RESPONSE_TOKENS)
        weight = student.get_output_embeddings().weight
        if method == "sdpo":
            with torch.no_grad():
                theirs = response_states(teacher, taught, torch.ones_like(taught), RESPONSE_TOKENS)
            divergence, logps, _ = distillation_terms(
                states, theirs, weight, responses.flatten(), teacher_weight=teacher.get_output_embeddings().weight,
                k=100, alpha=0.5, tail=True,
            )  # fmt: skip
            per_token = divergence * truncated_ratio(logps, logps - 0.125, clip=2.0)
        else:
            logps, _ = token_logps(states, weight, responses.flatten())
            advantages = torch.tensor([1.0, -1.0] * 4).repeat_interleave(RESPONSE_TOKENS)
            per_token = -advantages * (logps - logps.detach() + 0.125).exp()
        loss = aggregate(per_token.view(mask.shape), mask, how="authors")
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        found += [loss, norm, logps]
    return [*found, *student.parameters()]


def _statistics() -> list[object]:
    """Intervals of every kind, and numpy's own functions."""
    rng = random.Random(5)
    values = np.array([[float(Fraction(rng.randrange(17), 16)) for _ in range(8)] for _ in range(60)])
    first, second, third, *_ = (pd.Series(column) for column in values.T)
    shared = estimate({"a": first, "b": second, "c": third}, confidence=0.95)
    parted = estimate({"a": first, "b": first[:40] + second[:40], "c": first + third}, confidence=0.95)
    alone = estimate({"a": ratio_values(first, second)}, confidence=0.95)
    spread = spread_of([shared, parted, estimate({"a": second, "b": first, "c": first}, confidence=0.95)])
    moderated = estimate({"a": first, "b": second, "c": third}, confidence=0.95, spread=spread)
    return [
        [[found.low, found.high, found.df, found.p_above()] for found in (shared, parted, alone, moderated)],
        sampling_interval([values], 0.95),
        [function(values + 1 / 16) for function in (np.log2, np.log1p, np.expm1)],
        (values / 7).T @ (values / 3),
    ]


def _table(path: Path) -> list[object]:
    """A table of numbers and words as a file."""
    rng = random.Random(6)
    labels = {"model": "made", "run": [f"run-{number % 7}" for number in range(5_000)], "metric": "loss"}
    numbers = [rng.randrange(10_000) / 1024 for _ in range(5_000)]
    tables.write(
        pd.DataFrame(labels | {"step": np.arange(5_000, dtype=np.int32), "value": numbers}), path, tables.TRAINING_STEPS
    )
    return [path]


def _figure(folder: Path) -> list[object]:
    """Points, intervals, a legend and words, in two formats."""
    plotting.use_style()
    figure = plotting.new_figure(2.0)
    axes, rng = figure.subplots(), random.Random(7)
    places = np.array([rng.randrange(1000) / 997 for _ in range(30)])
    shown = pd.DataFrame({"value": places, "low": places - 0.1, "high": places + 0.1, "models": 1, "by_model": "{}"})
    plotting.draw_points(axes, np.arange(30.0), shown, plotting.DATASETS["guided"], along="y")
    plotting.draw_legend(figure, [plotting.legend_entry(plotting.DATASETS["guided"], interval=True)])
    axes.plot(np.arange(200) / 7, np.sin(np.arange(200) / 7))
    files = [folder / "figure.png", folder / "figure.svg"]
    plotting.save(figure, files, "{}", shown)
    return files


# --- the report -------------------------------------------------------------------------------------------------------


def write(found: dict[str, str], path: Path) -> None:
    """Make these digests the ones that are shipped."""
    write_text(path, json.dumps(found, indent=2) + "\n")


def shipped(path: Path = SHIPPED) -> dict[str, str]:
    """The digests that were written last; `UserError` for a file that holds none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not readable: {error}") from None


def report(found: dict[str, str], wanted: dict[str, str]) -> list[str]:
    """What the digests are, what they were made with, and what to expect of results; the last line is the verdict."""
    differing = [part for part, digest in found.items() if digest != wanted.get(part)]
    lines = [
        f"{part:14}{digest}  {'other than' if part in differing else 'as'} shipped" for part, digest in found.items()
    ]
    facts = machine.facts()
    using = "; ".join(f"{library} {told}" for library, told in facts["in_use"].items())
    lines += [f"processor: {facts['processor']} ({facts['instruction_sets']})", f"in use: {using}", _versions()]
    return [*lines, verdict(differing)]


def _versions() -> str:
    found = {"Python": platform.python_version(), "glibc": platform.libc_ver()[1]}
    found |= {package: metadata.version(package) for package in PACKAGES}
    return "versions: " + ", ".join(f"{name} {version}" for name, version in found.items())


def verdict(differing: list[str]) -> str:
    """What to expect of this machine's results beside the shipped ones."""
    if not differing:
        return "This machine computes as the one that made the shipped digests: equal inputs give equal bytes."
    if not processor().flags >= PORTABLE:
        return "A processor without AVX2 and FMA: expect results close to the shipped references, not equal to them."
    return (
        f"Computes otherwise than the machine of the shipped digests ({', '.join(differing)}): expect results close to "
        "the shipped references, not equal to them (docs/equal_bytes.md)."
    )
