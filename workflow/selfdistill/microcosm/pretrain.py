"""Pre-training of the microcosm's model from scratch: first its facts, then documents of the reasoner.

Deterministic on CPU: the same seed and settings give the same weight bytes, with one or two processes, and
after any number of interruptions.
"""

import hashlib
import io
import logging
import math
import os
import tempfile
import time
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from torch import nn
from tqdm import tqdm
from transformers import Qwen3Config, Qwen3ForCausalLM

from selfdistill.environment import made_with
from selfdistill.files import atomic_path, sha256_text
from selfdistill.microcosm import world
from selfdistill.microcosm.batches import Batch, check_batch, document_batch, fact_batch
from selfdistill.microcosm.gradients import Alone, Pair, workers_for
from selfdistill.microcosm.muon import Muon
from selfdistill.microcosm.presets import PretrainingSettings
from selfdistill.microcosm.tokenizer import build_tokenizer

PHASES = ("facts", "checks", "documents")
DIGEST_BYTES = 32  # of SHA-256; they stand before what torch saved, which has no checksum that torch compares


def pretrain(
    out_dir: str | Path,
    work_dir: str | Path,
    *,
    seed: int,
    settings: PretrainingSettings,
    workers: int = 2,
    run: str = "base",
) -> pd.DataFrame:
    """Train a base model and save it, with its tokenizer, as the directory ``out_dir`` (Hugging Face layout).

    ``work_dir`` holds the checkpoint of an unfinished run, which the same call continues. ``workers`` (1 or 2)
    processes work side by side; the result does not depend on their number. Returns the metrics of every step
    (training_steps schema, without the model's name): "facts_loss", "checks_loss" or "documents_loss" (nats per
    label), "tokens" and "learning_rate" (share of the peak).
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        training = _Training(Path(work_dir) / "checkpoint.pt", seed, settings)
        make_batch = partial(_make_batch, settings, seed)
        with workers_for(training.model, training.optimizers, make_batch, workers) as both:
            training.run(both)
        _save_model(training.model, Path(out_dir))
        training.checkpoint.unlink(missing_ok=True)
        return _long_frame(training.metrics, run)
    finally:
        torch.set_num_threads(threads)


def _make_batch(settings: PretrainingSettings, seed: int, phase: str, step: int, part: int) -> Batch:
    if phase == "facts":
        return fact_batch(seed, step, part, settings.mix, settings.fact_tokens // 2)
    if phase == "checks":
        return check_batch(seed, step, part, settings.mix, settings.tokens // 2)
    return document_batch(seed, step, part, settings.mix, settings.tokens // 2)


class _Training:
    """Model, optimizers and metrics; all of its state is in the checkpoint."""

    def __init__(self, checkpoint: Path, seed: int, settings: PretrainingSettings):
        self.checkpoint, self.settings = checkpoint, settings
        self.model = _build_model(settings, seed)
        self.optimizers = _build_optimizers(self.model, settings)
        self.phase, self.step = "facts", 0  # the next step, counted within its phase
        self.fact_loss = math.log(world.TABLE_VALUES)  # moving average
        self.metrics: list[dict[str, float]] = []
        self.identity = sha256_text(f"{seed} {settings} {made_with(f'{__name__}:pretrain')}")
        self._resume()

    def run(self, workers: Alone | Pair) -> None:
        """Train to the end, with a checkpoint at times."""
        saved = time.monotonic()
        self.model.train()
        with tqdm(desc="pre-training", unit=" tokens", unit_scale=True, mininterval=2) as bar:
            while not self._finished():
                self._advance(workers)
                bar.set_postfix_str(f"{self.phase} {self.step}/{self._phase_steps()}", refresh=False)
                bar.update(self.metrics[-1]["tokens"])
                if time.monotonic() - saved > self.settings.checkpoint_seconds:
                    self._save()
                    saved = time.monotonic()

    def _phase_steps(self) -> int:
        """The number of steps of the present phase, at most."""
        settings = self.settings
        return {"facts": settings.fact_limit, "checks": settings.check_steps, "documents": settings.steps}[self.phase]

    def _finished(self) -> bool:
        return self.phase == PHASES[-1] and self.step == self.settings.steps

    def _advance(self, workers: Alone | Pair) -> None:
        sums = workers.gradient(self.phase, self.step, self.settings.clip)
        factor = self._rate_factor()
        workers.step(factor)
        loss = sums.loss / sums.labels
        self.metrics.append({f"{self.phase}_loss": loss, "tokens": sums.tokens, "learning_rate": factor})
        self.step += 1
        if self.phase == "facts":
            self.fact_loss = 0.9 * self.fact_loss + 0.1 * loss
        known = self.phase == "facts" and self.fact_loss < self.settings.fact_loss
        if not self._finished() and (known or self.step == self._phase_steps()):
            self.phase, self.step = PHASES[PHASES.index(self.phase) + 1], 0

    def _rate_factor(self) -> float:
        """The learning rate as a share of its peak: warm-up on the facts, constant, then linear decay."""
        settings = self.settings
        if self.phase != "documents":
            return min(1.0, (self.step + 1) / settings.warmup) if self.phase == "facts" else 1.0
        done = self.step / settings.steps
        decay = max(0.0, (done - settings.constant) / (1 - settings.constant))
        return 1 - (1 - settings.final) * decay

    def _save(self) -> None:
        state = {
            "identity": self.identity,
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "progress": (self.phase, self.step, self.fact_loss),
            "metrics": self.metrics,
        }
        saved = io.BytesIO()
        torch.save(state, saved)
        with atomic_path(self.checkpoint) as temporary:
            temporary.write_bytes(_digest(saved.getvalue()) + saved.getvalue())

    def _resume(self) -> None:
        """Continue from the checkpoint if it is whole and belongs to the same seed, settings and code."""
        if not self.checkpoint.exists():
            return
        content = self.checkpoint.read_bytes()
        digest, saved = content[:DIGEST_BYTES], content[DIGEST_BYTES:]
        if digest != _digest(saved):
            logging.warning("%s is damaged: pre-training begins afresh", self.checkpoint)
            return
        state = torch.load(io.BytesIO(saved), weights_only=True)
        if state["identity"] != self.identity:
            return
        self.model.load_state_dict(state["model"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.phase, self.step, self.fact_loss = state["progress"]
        self.metrics = state["metrics"]


def _digest(saved: bytes) -> bytes:
    return hashlib.sha256(saved).digest()


def _build_model(settings: PretrainingSettings, seed: int) -> Qwen3ForCausalLM:
    tokenizer = build_tokenizer()
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=settings.hidden,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        num_key_value_heads=settings.heads // 2,
        head_dim=32,
        intermediate_size=settings.intermediate,
        rope_theta=1e4,  # pyrefly: ignore[unexpected-keyword]
        tie_word_embeddings=True,
        initializer_range=0.05,
        max_position_embeddings=2048,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
        dtype="float32",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Qwen3ForCausalLM(config)


def _build_optimizers(model: nn.Module, settings: PretrainingSettings) -> list[torch.optim.Optimizer]:
    """AdamW for the embedding and the norms; two Muons, for two processes, for the matrices inside the blocks."""
    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
    others = [p for name, p in model.named_parameters() if p.ndim != 2 or "embed" in name]
    adamw = torch.optim.AdamW(others, lr=settings.adamw_rate, betas=(0.9, 0.98), weight_decay=0.0, fused=True)
    muons = [
        Muon(some, lr=settings.muon_rate, momentum=0.95, weight_decay=0.01) for some in (matrices[::2], matrices[1::2])
    ]
    optimizers = [adamw, *muons]
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
    return optimizers


def _save_model(model: Qwen3ForCausalLM, out_dir: Path) -> None:
    """Write tokenizer and model; every file appears whole, and nothing else in ``out_dir`` is touched."""
    out_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out_dir, prefix=".saving-") as temporary:
        build_tokenizer().save_pretrained(temporary)
        model.save_pretrained(temporary)
        for file in sorted(Path(temporary).iterdir()):
            os.replace(file, out_dir / file.name)


def _long_frame(metrics: list[dict[str, float]], run: str) -> pd.DataFrame:
    """One row per step and metric; steps count from 1 over all phases."""
    rows = [(run, step, name, float(value)) for step, row in enumerate(metrics, 1) for name, value in row.items()]
    return pd.DataFrame(rows, columns=["run", "step", "metric", "value"]).astype({"step": "int32"})
