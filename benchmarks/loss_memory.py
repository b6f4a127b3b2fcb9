"""Peak extra memory and seconds of the losses, forward and backward, against TRL's and the authors' formula.

    python benchmarks/loss_memory.py [--cases 256:151936:100:1024 ...] [--losses sdpo grpo] [--limit 4096]
                                     [--precisions autocast float32 bfloat16] [--repeats 3] [--json FILE]

The memory towards the paper's T = 20,480, which needs 12 GiB for TRL's loss at T = 4,096:

    python benchmarks/loss_memory.py --precisions float32 --repeats 1 \\
        --cases 1024:151936:100:128 2048:151936:100:128 4096:151936:100:128 20480:151936:100:128

A case is T:V:k:H: from hidden states [T, H] and the output layer's weight [V, H] to the gradients of both, SDPO with
the student's k likeliest tokens and a tail, GRPO with the log-probability of the sampled token and the entropy. The
gradient of the weight, which all must make, is in every number. Precisions: float32; autocast, as training on GPUs does
(weights in float32, products in bfloat16, logits handed to stock losses in float32, as accelerate does); and bfloat16
for weights too, where stock losses are lightest, but TRL's adds up probabilities in bfloat16 and finds another value.

Every measurement is made in a fresh process of one thread, after a call with 8 tokens that warms up. Extra memory is,
on a CPU, the peak of the process's resident memory (VmHWM of /proc/self/status, reset before) minus what was resident
before, and on a GPU torch.cuda.max_memory_allocated minus what was allocated. Seconds are processor time on a CPU,
which other programs disturb least, and a clock's on a GPU. Ratios are to the first baseline, repeat by repeat: median,
least and most. Above --limit tokens (4,096 on a CPU) only losses that never form all logits are measured: ours and
TRL's fused one. Where a loss was not measured at the paper's T but at two others, each of at least a chunk, the line
a + b T through the medians of the memory gives that of the paper's T, printed as extrapolated. Last stand the ratios of
our memory to that of every other loss, at each T. On a GPU the paper's T itself is the default.
"""

import argparse
import json
import math
import os
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"

import torch
from selfdistill.training.losses import distillation_terms, token_logps, truncated_ratio
from torch.nn import functional as F
from trl.experimental.sdpo.loss_utils import (
    add_tail_bucket,
    apply_importance_sampling_clipping,
    compute_divergence,
    compute_topk_self_distillation_loss,
)
from trl.kernels.chunked_logprob import TOKEN_CHUNK_SIZE, ChunkedLogProbFunction
from trl.trainer.utils import selective_log_softmax, selective_log_softmax_and_entropy

PAPER_TOKENS = 20_480
OURS = "ours"
CPU_LIMIT = 4096  # tokens, of losses that form all logits
CHUNKS = {"TRL fused": TOKEN_CHUNK_SIZE, OURS: 1024}  # most tokens at a time; where all logits are formed, any
SPARING = (OURS, "TRL fused")  # losses that never form all logits
ALPHA, CLIP = 0.5, 2.0
CPU_CASES = ["256:151936:100:1024", "512:151936:100:1024", "1024:151936:100:1024", "6400:102:100:128"]
CUDA_CASES = [f"{PAPER_TOKENS}:151936:100:1024", f"{PAPER_TOKENS}:151936:100:4096"]
WEIGHTS = {"float32": torch.float32, "autocast": torch.float32, "bfloat16": torch.bfloat16}  # dtype by precision
# Largest relative difference between the losses of two implementations, where logits have one dtype in all.
AGREEMENT = {"float32": 1e-4, "autocast": 1e-2}


@dataclass(frozen=True)
class Case:
    tokens: int
    vocabulary: int
    k: int
    hidden: int

    @classmethod
    def parse(cls, text: str) -> "Case":
        return cls(*map(int, text.split(":")))


@dataclass(frozen=True)
class Inputs:
    """Hidden states of student and teacher [1, T, H], weight [V, H], tokens and their old log-probabilities [1, T]."""

    student: torch.Tensor
    teacher: torch.Tensor
    weight: torch.Tensor
    ids: torch.Tensor
    old: torch.Tensor
    k: int

    @classmethod
    def random(cls, case: Case, dtype: torch.dtype, device: str) -> "Inputs":
        torch.manual_seed(0)
        student, noise = (torch.randn(1, case.tokens, case.hidden, device=device) for _ in range(2))
        weight = torch.randn(case.vocabulary, case.hidden, device=device).to(dtype) / case.hidden**0.5
        ids = torch.randint(case.vocabulary, (1, case.tokens), device=device)
        old = torch.full((1, case.tokens), -math.log(case.vocabulary), device=device)
        teacher = (student + noise / 2).to(dtype)
        return cls(student.to(dtype).requires_grad_(), teacher, weight.requires_grad_(), ids, old, case.k)


# --- what is measured: each returns a scalar loss -------------------------------------------------------------------
def sdpo_ours(inputs: Inputs) -> torch.Tensor:
    divergence, logps, _ = distillation_terms(
        inputs.student, inputs.teacher, inputs.weight, inputs.ids, k=inputs.k, alpha=ALPHA, tail=True
    )
    return (divergence * truncated_ratio(logps, inputs.old, clip=CLIP)).mean()


def both_logits(inputs: Inputs) -> tuple[torch.Tensor, torch.Tensor]:
    """Of student and teacher [1, T, V], divided by the temperature, as SDPOTrainer and the authors form them."""
    with torch.no_grad():
        teacher = logits_of(inputs.teacher, inputs.weight) / 1.0
    return logits_of(inputs.student, inputs.weight) / 1.0, teacher


def logits_of(states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Under autocast converted to the float32 of the weight."""
    return F.linear(states, weight).to(weight.dtype)


def sdpo_trl(inputs: Inputs) -> torch.Tensor:
    """TRL 1.16.0: `SDPOTrainer._compute_self_distillation_loss` with topk_logits and a clipped importance weight."""
    student, teacher = both_logits(inputs)
    divergence = compute_topk_self_distillation_loss(
        student, teacher, distillation_topk=inputs.k, distillation_alpha=ALPHA, distillation_add_tail=True
    )
    logps = selective_log_softmax(student, inputs.ids)
    return apply_importance_sampling_clipping(divergence, logps, inputs.old, CLIP).mean()


def sdpo_authors(inputs: Inputs) -> torch.Tensor:
    """BASELINE, not used anywhere else: the authors' formula on full log-softmaxes of both models, in float32."""
    student, teacher = (logits.float().log_softmax(dim=-1) for logits in both_logits(inputs))
    top, support = student.topk(inputs.k, dim=-1)
    taught = add_tail_bucket(teacher.gather(-1, support))
    divergence = compute_divergence(add_tail_bucket(top), taught, ALPHA)
    logps = student.gather(-1, inputs.ids[..., None]).squeeze(-1)
    return apply_importance_sampling_clipping(divergence, logps, inputs.old, CLIP).mean()


def grpo_ours(inputs: Inputs) -> torch.Tensor:
    logps, _ = token_logps(inputs.student, inputs.weight, inputs.ids)
    return clipped(logps, inputs)


def grpo_trl(inputs: Inputs) -> torch.Tensor:
    """TRL 1.16.0's log-probabilities and entropy from logits."""
    logits = logits_of(inputs.student, inputs.weight)
    logps, _ = selective_log_softmax_and_entropy(logits, inputs.ids, entropy_requires_grad=False)
    return clipped(logps, inputs)


def grpo_fused(inputs: Inputs) -> torch.Tensor:
    """The head that TRL 1.16.0's GRPOTrainer puts on its model, on response tokens alone."""
    tile = 32_768
    states, ids = inputs.student.flatten(0, 1), inputs.ids.flatten()
    logps = ChunkedLogProbFunction.apply(states, inputs.weight, None, ids, 1.0, tile, None, 1.0, ("entropy",))[0]
    return clipped(logps, inputs)


def clipped(logps: torch.Tensor, inputs: Inputs) -> torch.Tensor:
    """GRPO's objective with advantages 1: the ratio, at most 1 + 0.28, and its gradient."""
    return -(logps - inputs.old).exp().clamp(max=1.28).mean()


LOSSES: dict[str, dict[str, Callable[[Inputs], torch.Tensor]]] = {
    "sdpo": {"TRL stock": sdpo_trl, "authors": sdpo_authors, OURS: sdpo_ours},
    "grpo": {"TRL logits": grpo_trl, "TRL fused": grpo_fused, OURS: grpo_ours},
}


# --- one measurement, in a process of its own -----------------------------------------------------------------------
def measure(loss: str, name: str, case: Case, precision: str) -> dict[str, float]:
    """Peak extra bytes, seconds, and the value of the loss."""
    torch.set_num_threads(1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    step = partial(gradients, LOSSES[loss][name], half=torch.autocast(device, torch.bfloat16, precision == "autocast"))
    step(Inputs.random(replace(case, tokens=8), WEIGHTS[precision], device))
    inputs = Inputs.random(case, WEIGHTS[precision], device)
    clock = time.perf_counter if device == "cuda" else time.process_time
    before, started = reset_peak(device), clock()
    value = step(inputs)
    return {"seconds": clock() - started, "bytes": peak(device) - before, "loss": value}


def gradients(compute: Callable[[Inputs], torch.Tensor], inputs: Inputs, *, half: torch.autocast) -> float:
    """The loss, after its gradients were made."""
    with half:
        loss = compute(inputs)
    torch.autograd.grad(loss, (inputs.student, inputs.weight))
    if loss.is_cuda:
        torch.cuda.synchronize()
    return loss.item()


def reset_peak(device: str) -> int:
    """Bytes now in use, above which the peak is counted."""
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    Path("/proc/self/clear_refs").write_text("5")
    return resident("VmRSS")


def peak(device: str) -> int:
    return torch.cuda.max_memory_allocated() if device == "cuda" else resident("VmHWM")


def resident(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(field))


# --- tables ---------------------------------------------------------------------------------------------------------
Key = tuple[str, Case, str]  # loss, case, precision
Measured = dict[Key, dict[str, list[dict[str, float]]]]  # of every implementation, one per repeat


def measure_all(
    cases: Iterable[Case], precisions: Iterable[str], losses: Iterable[str], *, repeats: int, limit: float
) -> Measured:
    measured: Measured = {}
    # A fork has the libraries loaded; CUDA does not survive one.
    with get_context("spawn" if torch.cuda.is_available() else "fork").Pool(1, maxtasksperchild=1) as fresh:
        for case in cases:
            for precision in precisions:
                for loss in losses:
                    found = measured[loss, case, precision] = defaultdict(list)
                    names = [name for name in LOSSES[loss] if name in SPARING or case.tokens <= limit]
                    for name in repeats * names:
                        found[name].append(fresh.apply(measure, (loss, name, case, precision)))
                    if precision in AGREEMENT:
                        agree(found, AGREEMENT[precision])
                    for row in rows(loss, case, precision, found):
                        print(line(row), flush=True)
    return measured


def agree(found: Mapping[str, list[dict[str, float]]], within: float) -> None:
    values = {name: repeats[0]["loss"] for name, repeats in found.items()}
    if max(values.values()) - min(values.values()) > within * abs(values[OURS]):
        raise SystemExit(f"the implementations do not compute the same: {values}")


def rows(loss: str, case: Case, precision: str, found: Mapping[str, list[dict[str, float]]]) -> list[dict[str, object]]:
    """One per implementation; without ratios where the first baseline was not measured."""
    base = found.get(next(iter(LOSSES[loss])))
    kept = []
    for name, repeats in found.items():
        row = {"loss": loss, "T": case.tokens, "V": case.vocabulary, "k": case.k, "H": case.hidden}
        row |= {"precision": precision, "name": name, "value": repeats[0]["loss"]}
        for quantity in ("bytes", "seconds"):
            row[quantity] = spread(repeat[quantity] for repeat in repeats)
            if base:
                row[f"{quantity} ratio"] = spread(
                    repeat[quantity] / other[quantity] for repeat, other in zip(repeats, base, strict=True)
                )
        kept.append(row)
    return kept


def spread(values: Iterable[float]) -> list[float]:
    """Median, least, most."""
    values = list(values)
    return [statistics.median(values), min(values), max(values)]


HEADER = (
    f"{'loss':<5}{'T':>6}{'V':>8}{'k':>4}{'H':>6} {'precision':<10}{'by':<11}{'value':>9}{'extra MiB':>10}{'ratio':>21}"
    f"{'seconds':>9}{'ratio':>18}"
)


def line(row: Mapping[str, object]) -> str:
    memory, seconds = (
        form.format(*row[f"{quantity} ratio"]) if f"{quantity} ratio" in row else "-"
        for quantity, form in (("bytes", "{:.3f} ({:.3f}-{:.3f})"), ("seconds", "{:.2f} ({:.2f}-{:.2f})"))
    )
    return (
        f"{row['loss']:<5}{row['T']:>6}{row['V']:>8}{row['k']:>4}{row['H']:>6} {row['precision']:<10}{row['name']:<11}"
        f"{row['value']:>9.5f}{row['bytes'][0] / 2**20:>10.0f}{memory:>21}{row['seconds'][0]:>9.3f}{seconds:>18}"
    )


def at_papers_tokens(measured: Measured) -> list[dict[str, object]]:
    """Memory at the paper's T, as measured or from a line through the medians of all T that share everything else."""
    points: dict[tuple, dict[int, float]] = defaultdict(dict)
    for (loss, case, precision), found in measured.items():
        for name, repeats in found.items():
            if case.tokens >= CHUNKS.get(name, 512):
                shared = loss, name, precision, case.vocabulary, case.k, case.hidden
                points[shared][case.tokens] = statistics.median(repeat["bytes"] for repeat in repeats)
    shown = []
    for shared, medians in points.items():
        row = dict(zip(("loss", "name", "precision", "V", "k", "H"), shared, strict=True))
        if PAPER_TOKENS in medians:
            shown.append(row | {"bytes": medians[PAPER_TOKENS]})
        elif len(medians) > 1:
            fit = statistics.linear_regression(*zip(*medians.items(), strict=True))
            fitted = {"a": fit.intercept, "b": fit.slope, "from T": sorted(medians)}
            shown.append(row | fitted | {"bytes": fit.intercept + fit.slope * PAPER_TOKENS})
    return with_ratios(shown)


def ratios(measured: Measured, papers: Iterable[Mapping[str, object]]) -> Iterator[str]:
    """A line per loss, precision and T: the project's memory over each other's, and whether it was measured."""
    found: dict[tuple, dict[str, tuple[float, str]]] = defaultdict(dict)
    for (loss, case, precision), of_case in measured.items():
        for name, repeats in of_case.items():
            bytes_ = statistics.median(repeat["bytes"] for repeat in repeats)
            found[loss, precision, case.vocabulary, case.hidden, case.tokens][name] = bytes_, ""
    for row in papers:
        place = tuple(row[key] for key in ("loss", "precision", "V", "H"))
        found[*place, PAPER_TOKENS][row["name"]] = row["bytes"], " (EXTRAPOLATED)" if "a" in row else ""
    for (loss, precision, vocabulary, hidden, tokens), by_name in found.items():
        own, how = by_name.get(OURS, (0.0, ""))
        others = [f"{own / other:.4f} of {name}{mark}" for name, (other, mark) in by_name.items() if name != OURS]
        if own and others:
            case = f"{loss} {precision}, T {tokens:,}, V {vocabulary:,}, H {hidden:,}"
            yield f"{case}: {own / 2**20:.0f} MiB{how}, {', '.join(others)}"


def with_ratios(shown: list[dict[str, object]]) -> list[dict[str, object]]:
    """The same rows with the ratio of their bytes to those of the first baseline, where it has a row."""

    def shared(row: Mapping[str, object]) -> tuple[object, ...]:
        return tuple(row[key] for key in ("loss", "precision", "V", "k", "H"))

    bases = {shared(row): row["bytes"] for row in shown if row["name"] == next(iter(LOSSES[row["loss"]]))}
    return [row | ({"ratio": row["bytes"] / bases[shared(row)]} if shared(row) in bases else {}) for row in shown]


def papers_line(row: Mapping[str, object]) -> str:
    kind, how = "measured", ""
    if "a" in row:
        ends = f"{row['from T'][0]:,} to {row['from T'][-1]:,}"
        kind = "EXTRAPOLATED"
        how = f" = {row['a'] / 2**20:.0f} MiB + {row['b'] / 2**10:.0f} KiB T, from T {ends}"
    case = f"{row['loss']} {row['precision']} {row['name']}, T {PAPER_TOKENS:,}, V {row['V']:,}, H {row['H']:,}"
    ratio = f", ratio {row['ratio']:.4f}" if "ratio" in row else ""
    return f"{kind:<13}{case}: {row['bytes'] / 2**30:.2f} GiB{how}{ratio}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cuda = torch.cuda.is_available()
    cases = [Case.parse(text) for text in (CUDA_CASES if cuda else CPU_CASES)]
    parser.add_argument("--cases", nargs="+", type=Case.parse, default=cases)
    parser.add_argument("--precisions", nargs="+", choices=WEIGHTS, default=["autocast", "float32"])
    parser.add_argument("--losses", nargs="+", choices=LOSSES, default=list(LOSSES))
    limit = math.inf if cuda else CPU_LIMIT
    parser.add_argument("--limit", type=float, default=limit, help="most tokens of losses other than the project's")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    print(f"{'CUDA' if cuda else 'CPU, 1 thread'}; load {os.getloadavg()[0]:.1f}; {given.repeats} repeats")
    print(HEADER)
    measured = measure_all(given.cases, given.precisions, given.losses, repeats=given.repeats, limit=given.limit)
    papers = at_papers_tokens(measured)
    for row in papers:
        print(papers_line(row))
    print(*ratios(measured, papers), sep="\n")
    if given.json:
        shown = [row for key, found in measured.items() for row in rows(*key, found)]
        text = json.dumps({"device": "cuda" if cuda else "cpu", "measured": shown, "at paper's T": papers}, indent=2)
        given.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
