"""Seconds per optimizer step of fine-tuning at the microcosm's size, against a plain torch loop.

    python benchmarks/sft_step.py [MICRO_BATCH_SIZE ...]

Random weights, 320 made-up responses of about 100 tokens, 20 steps of 32 sequences; processor time of this process.
"""

import random
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
import torch
from selfdistill import models
from selfdistill.microcosm.tokenizer import build_tokenizer
from selfdistill.training.checkpoints import save_model
from selfdistill.training.sft import IGNORED, SftSettings, tokenise, train_sft, training_order
from torch.nn.functional import cross_entropy
from transformers import Qwen3Config, Qwen3ForCausalLM


def make_model(folder: Path) -> Path:
    tokenizer = build_tokenizer()
    config = Qwen3Config(
        vocab_size=len(tokenizer), hidden_size=128, intermediate_size=384, num_hidden_layers=4, head_dim=32,
        num_attention_heads=4, num_key_value_heads=2, tie_word_embeddings=True,
    )  # fmt: skip
    save_model(Qwen3ForCausalLM(config), tokenizer, folder)
    return folder / models.MANIFEST


def make_examples(count: int) -> pd.DataFrame:
    draw = random.Random(0)
    lengths = [min(400, round(draw.lognormvariate(4.1, 0.6))) for _ in range(count)]
    turns = [" ".join(str(draw.randrange(60)) for _ in range(length)) for length in lengths]
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
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, fused=True)
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


def main() -> None:
    examples = make_examples(320)
    for size in map(int, sys.argv[1:] or ["2", "4", "8", "16"]):
        settings = SftSettings(3e-4, micro_batch_size=size)
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            manifest = make_model(folder / "model")
            start = time.process_time()
            train_sft(
                examples, manifest=manifest, out_dir=folder / "out", work_dir=folder / "work", run="benchmark",
                settings=settings, enable_thinking=None, seed=0,
            )  # fmt: skip
            ours, start = time.process_time() - start, time.process_time()
            plain_loop(examples, manifest, settings)
            plain = time.process_time() - start
        print(f"micro-batch {size:2}: {ours / 20:.2f} s/step, plain loop {plain / 20:.2f} s/step", flush=True)


if __name__ == "__main__":
    main()
