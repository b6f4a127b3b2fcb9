"""Seconds and memory of the passes of one update, by how its sequences share micro-batches.

    python benchmarks/micro_batches.py [--model Qwen2] [--hidden 512] [--layers 4] [--sequences 32] [--mean 400]
                                       [--longest 2048] [--tokens 4096] [--repeats 3] [--json FILE]
    python benchmarks/micro_batches.py --model Qwen3 --hidden 4096 --layers 8 --sequences 64 --mean 4000 \\
        --longest 20480 --tokens 22528        (on a GPU: a few layers of Qwen3-8B)

Forward and backward passes of a GRPO-like loss on random tokens, by a model of the architecture with random weights:
prompts of 64 tokens, responses of exponentially distributed lengths. On a GPU in bfloat16 with gradient checkpointing,
as in training. Ways:

    padded, one at a time    `micro_batch_size: 1`, as a model of another kind of layers is read
    padded, eight            `micro_batch_size: 8`, longest first
    end to end, by tokens    `micro_batch_tokens`: our attention, one sequence after the other
    positions, by tokens     the same micro-batches as transformers reads them: positions that restart, and torch's
                             attention with the mask that transformers makes of them

Each measurement is made in a fresh process of one thread. Seconds are processor time on a CPU. Extra memory is counted
as in loss_memory.py. All ways must find the same loss and norm of the gradient.
"""

import argparse
import json
import statistics
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from unittest.mock import patch

import torch
import transformers
from loss_memory import peak, reset_peak
from selfdistill.training import states
from selfdistill.training.losses import token_logps
from selfdistill.training.packing import fewest_parts, parted
from selfdistill.training.states import computing_again, response_states
from torch.nn.utils.rnn import pad_sequence

PROMPT, VOCABULARY, HEAD = 64, 4096, 64
WAYS = ("padded, one at a time", "padded, eight", "end to end, by tokens", "positions, by tokens")
AGREEMENT = {"cpu": 1e-4, "cuda": 3e-2}  # largest relative difference of loss and norm


@dataclass(frozen=True)
class Update:
    model: str
    hidden: int
    layers: int
    sequences: int
    mean: int  # of the responses' lengths
    longest: int
    tokens: int  # per micro-batch, where it goes by tokens

    def make_model(self) -> transformers.PreTrainedModel:
        torch.manual_seed(0)
        config = getattr(transformers, f"{self.model}Config")(
            hidden_size=self.hidden, num_hidden_layers=self.layers, intermediate_size=3 * self.hidden,
            num_attention_heads=self.hidden // HEAD, num_key_value_heads=max(1, self.hidden // HEAD // 4),
            vocab_size=VOCABULARY, max_position_embeddings=2**16,
        )  # fmt: skip
        return getattr(transformers, f"{self.model}ForCausalLM")(config).train()

    def responses(self) -> list[int]:
        """Lengths, longest first."""
        draw = torch.Generator().manual_seed(0)
        lengths = torch.empty(self.sequences).exponential_(1 / self.mean, generator=draw)
        return sorted(lengths.long().clamp(8, self.longest).tolist(), reverse=True)


def micro_batches(update: Update, way: str) -> list[list[int]]:
    """Numbers of sequences."""
    if way.endswith("by tokens"):
        sizes = [PROMPT + length for length in update.responses()]
        return parted(sizes, fewest_parts(sizes, update.tokens))
    size = 1 if way.endswith("one at a time") else 8
    return [list(range(start, min(start + size, update.sequences))) for start in range(0, update.sequences, size)]


def batches(update: Update, way: str, device: str) -> Iterator[tuple[torch.Tensor, torch.Tensor, int]]:
    """Ids and mask [B, P + T] of each micro-batch, and T; a sequence has the same tokens in every way."""
    draw, lengths = torch.Generator().manual_seed(1), update.responses()
    rows = [torch.randint(VOCABULARY, (PROMPT + length,), generator=draw) for length in lengths]
    for part in micro_batches(update, way):
        ids = pad_sequence([rows[number] for number in part], batch_first=True)
        mask = pad_sequence([torch.ones_like(rows[number]) for number in part], batch_first=True)
        yield ids.to(device), mask.to(device), ids.size(1) - PROMPT


def by_positions(model: transformers.PreTrainedModel, ids: torch.Tensor, lengths: list[int], _: None) -> torch.Tensor:
    """Last hidden states [N, H], as transformers reads sequences that lie end to end."""
    positions = torch.cat([torch.arange(length, device=ids.device) for length in lengths])[None]
    output = model(input_ids=ids[None], position_ids=positions, use_cache=False, output_hidden_states=[-1],
                   logits_to_keep=1)  # fmt: skip
    return output.hidden_states[-1].squeeze(0)


def measure(update: Update, way: str) -> dict[str, float]:
    torch.set_num_threads(1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = update.make_model().to(device)
    if device == "cuda":
        model.gradient_checkpointing_enable({"use_reentrant": False})
    replaced = {"_read_end_to_end": by_positions} if way.startswith("positions") else {}
    if way.startswith("padded"):
        replaced = {"can_lie_end_to_end": lambda model: False}
    with patch.multiple(states, **replaced) if replaced else torch.enable_grad():
        passes(model, list(batches(update, way, device))[-1:], device, 1)  # warms up
        model.zero_grad()
        made = list(batches(update, way, device))
        clock = time.perf_counter if device == "cuda" else time.process_time
        before, started = reset_peak(device), clock()
        loss = passes(model, made, device, sum(update.responses()))
        seconds = clock() - started
    norm = torch.nn.utils.get_total_norm([weight.grad for weight in model.parameters()]).item()
    read = sum(ids.numel() if way.startswith("padded") else int(mask.sum()) for ids, mask, _ in made)
    return {"seconds": seconds, "MiB": (peak(device) - before) / 2**20, "passes": len(made), "tokens": read,
            "loss": loss, "norm": norm}  # fmt: skip


def passes(model: transformers.PreTrainedModel, made: list[tuple], device: str, tokens: int) -> float:
    total = 0.0
    for ids, mask, kept in made:
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            found = response_states(model, ids, mask, kept)
            spoken = ids[:, -kept:][mask[:, -kept:].bool()]
            loss = -token_logps(found, model.lm_head.weight, spoken)[0].sum() / tokens
        with computing_again(model):
            loss.backward()
        total += loss.item()
    return total


def line(row: dict[str, object], first: dict[str, object]) -> str:
    return (
        f"{row['way']:<24}{row['passes']:>7.0f}{row['tokens']:>9.0f}{row['seconds']:>9.2f}"
        f"{row['seconds'] / first['seconds']:>7.2f}{row['MiB']:>11.0f}{row['loss']:>10.5f}{row['norm']:>10.5f}"
    )


def agree(shown: list[dict[str, object]]) -> None:
    within = AGREEMENT["cuda" if torch.cuda.is_available() else "cpu"]
    for name in ("loss", "norm"):
        values = [row[name] for row in shown]
        if max(values) - min(values) > within * abs(values[0]):
            raise SystemExit(f"the ways do not compute the same {name}: {values}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="Qwen2")
    sizes = {"hidden": 512, "layers": 4, "sequences": 32, "mean": 400, "longest": 2048, "tokens": 4096}
    for name, size in sizes.items():
        parser.add_argument(f"--{name}", type=int, default=size)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    update = Update(given.model, *(getattr(given, name) for name in sizes))
    lengths = update.responses()
    print(update)
    print(f"responses of {min(lengths)} to {max(lengths)} tokens, {statistics.mean(lengths):.0f} on average")
    print(f"{'way':<24}{'passes':>7}{'tokens':>9}{'seconds':>9}{'ratio':>7}{'extra MiB':>11}{'loss':>10}{'norm':>10}")
    shown: list[dict[str, object]] = []
    with get_context("spawn").Pool(1, maxtasksperchild=1) as fresh:
        for way in WAYS:
            repeats = [fresh.apply(measure, (update, way)) for _ in range(given.repeats)]
            medians = {name: statistics.median(repeat[name] for repeat in repeats) for name in repeats[0]}
            shown.append({"way": way} | medians)
            print(line(shown[-1], shown[0]), flush=True)
    agree(shown)
    if given.json:
        found = {"update": asdict(update), "measured": shown}
        given.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
