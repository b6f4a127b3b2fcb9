"""Seconds per optimizer step of fine-tuning at the microcosm's size, against a plain torch loop.

    python benchmarks/sft_step.py [--micro-batch-sizes 2 4 8 16] [--json FILE]

Random weights, 320 made-up responses of about 100 tokens, 20 steps of 32 sequences; processor time of this process.
The ratio is ours over the loop's: median, least and most of the repeats.
"""

import argparse
import json
import os
import random
import statistics
import tempfile
import time
from pathlib import Path

import pandas as pd
import torch
from selfdistill import models
from selfdistill.microcosm.tokenizer import build_tokenizer
from selfdistill.training.checkpoints import save_model
from selfdistill.training.settings import SftRun, SftSettings
from selfdistill.training.sft import IGNORED, tokenise, train_sft, training_order
from torch.nn.functional import cross_entropy
from transformers import Qwen3Config, Qwen3ForCausalLM

EXAMPLES, STEPS, REPEATS = 320, 20, 3
RUN = SftRun("unguided", 3e-4)


def make_model(folder: Path) -> Path:
    tokenizer = build_tokenizer()
    config = Qwen3Config(
        vocab_size=len(tokenizer), hidden_size=128, intermediate_size=384, num_hidden_layers=4, head_dim=32,
        num_attention_heads=4, num_key_value_heads=2, tie_word_embeddings=True,
    )  # fmt: skip
    save_model(Qwen3ForCausalLM(config), tokenizer, folder)
    return folder / models.MANIFEST


def make_examples(count: int) -> pd.DataFrame:
    rng = random.Random(0)
    lengths = [min(400, round(rng.lognormvariate(4.1, 0.6))) for _ in range(count)]
    turns = [" ".join(str(rng.randrange(60)) for _ in range(length)) for length in lengths]
    return pd.DataFrame(
        {
            "prompt": [[{"role": "user", "content": " ".join(turn.split()[:18])}] for turn in turns],
            "completion": [[{"role": "assistant", "content": turn}] for turn in turns],
            "problem_id": [f"{i:016x}" for i in range(count)],
            "sample": 0,
            "finish_reason": "stop",
        }
    )


def plain_loop(examples: pd.DataFrame, manifest: Path, settings: SftSettings) -> None:
    tokenizer = models.load_tokenizer(manifest)
    rows = tokenise(examples, tokenizer, enable_thinking=None, max_tokens=settings.max_tokens)
    order = training_order([len(row["input_ids"]) for row in rows], settings, seed=0)
    model = models.load_model(manifest)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RUN.learning_rate, fused=True)
    for start in range(0, len(order), settings.batch_size):
        batch = [rows[index] for index in order[start : start + settings.batch_size]]
        loss_tokens = sum(label != IGNORED for row in batch for label in row["labels"])
        for first in range(0, len(batch), settings.micro_batch_size):
            part = batch[first : first + settings.micro_batch_size]
            ids = pad([row["input_ids"] for row in part], tokenizer.pad_token_id)
            labels = pad([row["labels"] for row in part], IGNORED)[:, 1:]
            logits = model(ids, use_cache=False).logits[:, :-1]
            total = cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="sum")
            (total / loss_tokens).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), settings.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad()


def pad(sequences: list[list[int]], value: int) -> torch.Tensor:
    return torch.nn.utils.rnn.pad_sequence([torch.tensor(s) for s in sequences], batch_first=True, padding_value=value)


def measure(size: int) -> tuple[float, float]:
    """Seconds per step of ours and of the plain loop, at a micro-batch size."""
    examples, settings = make_examples(EXAMPLES), SftSettings(micro_batch_size=size)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        manifest = make_model(folder / "model")
        start = time.process_time()
        train_sft(
            examples, manifest=manifest, out_dir=folder / "out", work_dir=folder / "work", model_name="made",
            run=RUN, settings=settings, enable_thinking=None, seed=0,
        )  # fmt: skip
        ours, start = time.process_time() - start, time.process_time()
        plain_loop(examples, manifest, settings)
        return ours / STEPS, (time.process_time() - start) / STEPS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--micro-batch-sizes", type=int, nargs="+", default=[8, 16])
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"load {os.getloadavg()[0]:.1f}; 1 thread")
    print(f"{'micro-batch':<12}{'ours s/step':>12}{'loop s/step':>12}{'ratio':>8}{'least':>8}{'most':>8}")
    report = {}
    for size in arguments.micro_batch_sizes:
        found = [measure(size) for _ in range(REPEATS)]
        ratios = [ours / plain for ours, plain in found]
        ours, plain = (statistics.median(side) for side in zip(*found, strict=True))
        spread = f"{statistics.median(ratios):>8.2f}{min(ratios):>8.2f}{max(ratios):>8.2f}"
        print(f"{size:<12}{ours:>12.3f}{plain:>12.3f}{spread}", flush=True)
        report[size] = [{"ours": ours, "loop": plain} for ours, plain in found]
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
