"""How SDPO's update scales: time and memory against response length, batch, k, vocabulary and processes, and a fit.

    python benchmarks/scaling.py [--repeats 5] [--json FILE] [--figure FILE.png]

A model of the microcosm's size (4 layers, width 128) with random weights learns from random tokens by the trainer's
own pieces: hidden states of the teacher, which reads a demonstration as long as the response, and of the student; the
divergence with its importance weights; the backward pass; clipping and AdamW. One factor changes at a time; k changes
at the second vocabulary, since the first has no 300 tokens. Each point runs in a fresh process of one thread, or in two
such processes at the same time, as the workflow runs jobs. Seconds are processor time, which other programs disturb
least; memory is the peak of resident memory (VmHWM) above what was resident before the first measured update.

The fit is that of a cost model: seconds = a + b n + c n T + d n V, with n the trained tokens as `selfdistill plan`
counts them: tokens times passes, the teacher's forward pass being a third of one, prompts included. Coefficients are
not negative, and residuals are relative. The error is the relative one of each point predicted from the others.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from pathlib import Path

import numpy as np
import yaml
from matplotlib.figure import Figure
from scipy.optimize import nnls
from selfdistill.figures import plotting
from selfdistill.pages.stamp import stamp_text

REPOSITORY = Path(__file__).resolve().parents[1]
PROMPT = 32  # tokens; a problem of the microcosm has 22, and 33 around a demonstration
FORWARD = 1 / 3  # of a forward and backward pass
ALPHA, CLIP, LEARNING_RATE, MAX_NORM = 0.5, 2.0, 1e-5, 1.0
MIB = 2**20


@dataclass(frozen=True)
class Point:
    """One measurement: response tokens T, sequences, k, vocabulary, and processes that run at the same time."""

    length: int = 128
    batch: int = 16
    k: int = 100
    vocabulary: int = 166
    processes: int = 1

    @property
    def trained(self) -> float:
        """Tokens times passes: the student's prompt and response, and a forward pass over the teacher's longer text."""
        student = PROMPT + self.length
        return self.batch * (student + FORWARD * (student + self.length))


BASE = Point()
SECOND = 4096  # of the vocabularies
FACTORS: dict[str, tuple[Point, ...]] = {
    "length": tuple(replace(BASE, length=length) for length in (64, 128, 256, 512)),
    "batch": tuple(replace(BASE, batch=batch) for batch in (8, 16, 32)),
    "k": tuple(replace(BASE, vocabulary=SECOND, k=k) for k in (10, 100, 300)),
    "vocabulary": tuple(replace(BASE, vocabulary=vocabulary) for vocabulary in (166, SECOND, 32_768)),
    "processes": tuple(replace(BASE, processes=processes) for processes in (1, 2)),
}
TITLES = {
    "length": "response tokens T",
    "batch": "sequences",
    "k": "k (|V| = 4k)",
    "vocabulary": "|V|",
    "processes": "processes at a time",
}


@dataclass(frozen=True)
class Measured:
    """Of one point: processor seconds of each update, seconds of wall clock, and peak extra bytes per process."""

    point: Point
    seconds: tuple[float, ...]
    wall: tuple[float, ...]
    extra: tuple[int, ...]


# --- one point, in processes of its own -----------------------------------------------------------------------------
_together: Barrier


def _set_barrier(barrier: Barrier) -> None:
    global _together
    _together = barrier


def measure(point: Point, repeats: int) -> Measured:
    """``point`` measured in as many fresh processes as it has, which begin together."""
    # A fork has the libraries loaded; this process itself computes nothing with them.
    context = get_context("fork")
    barrier = context.Barrier(point.processes)
    with context.Pool(point.processes, _set_barrier, (barrier,), maxtasksperchild=1) as fresh:
        found = fresh.starmap(updates, [(point, repeats)] * point.processes, chunksize=1)
    seconds, wall, extra = zip(*found, strict=True)
    return Measured(point, sum(seconds, ()), sum(wall, ()), extra)


def updates(point: Point, repeats: int) -> tuple[tuple[float, ...], tuple[float, ...], int]:
    """Processor and wall seconds of ``repeats`` updates, and peak extra bytes, in this process."""
    import torch
    from loss_memory import peak, reset_peak

    torch.set_num_threads(1)
    torch.manual_seed(0)
    student = make_model(point.vocabulary)
    teacher = deepcopy(student).requires_grad_(False).eval()
    optimizer = torch.optim.AdamW(student.parameters(), lr=LEARNING_RATE, fused=True)
    update(replace(point, length=8, batch=2), student, teacher, optimizer)  # warms up, and makes the optimizer's state
    _together.wait(timeout=120)  # seconds; a process that died breaks it
    before = reset_peak("cpu")
    found = [update(point, student, teacher, optimizer) for _ in range(repeats)]
    seconds, wall = zip(*found, strict=True)
    return seconds, wall, peak("cpu") - before


def make_model(vocabulary: int):
    """Random weights in the microcosm's architecture (`benchmarks/sft_step.py`), with another vocabulary."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    config = Qwen3Config(
        vocab_size=vocabulary, hidden_size=128, intermediate_size=384, num_hidden_layers=4, head_dim=32,
        num_attention_heads=4, num_key_value_heads=2, tie_word_embeddings=True,
    )  # fmt: skip
    return Qwen3ForCausalLM(config).train()


def update(point: Point, student, teacher, optimizer) -> tuple[float, float]:
    """Processor and wall seconds of one update on random tokens [B, P + T], the teacher's [B, P + 2 T]."""
    import torch
    from selfdistill.training.losses import distillation_terms, truncated_ratio
    from selfdistill.training.states import response_states

    length, batch = point.length, point.batch
    responses = torch.randint(point.vocabulary, (batch, length))
    prompts = torch.randint(point.vocabulary, (batch, PROMPT))
    demonstrated = torch.randint(point.vocabulary, (batch, PROMPT + length))
    own, taught = torch.cat([prompts, responses], dim=1), torch.cat([demonstrated, responses], dim=1)
    processor, clock = time.process_time(), time.perf_counter()
    with torch.no_grad():
        teacher_states = response_states(teacher, taught, torch.ones_like(taught), length)
    states = response_states(student, own, torch.ones_like(own), length)
    weight, teacher_weight = (model.get_output_embeddings().weight for model in (student, teacher))
    divergence, logps, _ = distillation_terms(
        states,
        teacher_states,
        weight,
        responses.flatten(),
        teacher_weight=teacher_weight,
        k=point.k,
        alpha=ALPHA,
        tail=True,
    )
    weighted = divergence * truncated_ratio(logps, logps, clip=CLIP)
    weighted.mean().backward()
    torch.nn.utils.clip_grad_norm_(student.parameters(), MAX_NORM)
    optimizer.step()
    optimizer.zero_grad()
    return time.process_time() - processor, time.perf_counter() - clock


# --- the fit --------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Fit:
    """Seconds = a + b n + c n T + d n V, and the relative error of each point predicted from the others."""

    coefficients: tuple[float, float, float, float]
    errors: tuple[float, ...]

    def seconds(self, point: Point) -> float:
        return float(terms(point) @ self.coefficients)

    def rate(self, point: Point) -> float:
        """Trained tokens per second."""
        return point.trained / self.seconds(point)

    @property
    def median(self) -> float:
        return statistics.median(map(abs, self.errors))

    @property
    def worst(self) -> float:
        return max(self.errors, key=abs)


def terms(point: Point) -> np.ndarray:
    return np.array([1.0, point.trained, point.trained * point.length, point.trained * point.vocabulary])


def solve(points: Sequence[Point], seconds: Sequence[float]) -> np.ndarray:
    """The four coefficients >= 0 with the least sum of squared relative residuals."""
    rows = np.stack([terms(point) for point in points]) / np.array(seconds)[:, None]
    scale = rows.max(axis=0)  # columns differ by seven orders of magnitude
    return nnls(rows / scale, np.ones(len(rows)))[0] / scale


def fit(points: Sequence[Point], seconds: Sequence[float]) -> Fit:
    """To single processes; with each point also left out once."""
    errors = []
    for left_out, (point, measured) in enumerate(zip(points, seconds, strict=True)):
        kept = [place for place in range(len(points)) if place != left_out]
        others = solve([points[place] for place in kept], [seconds[place] for place in kept])
        errors.append(float(terms(point) @ others) / measured - 1)
    return Fit(tuple(map(float, solve(points, seconds))), tuple(errors))


# --- the plan -------------------------------------------------------------------------------------------------------
def plan_lengths() -> tuple[float, dict[str, float]]:
    """The plan's trained tokens per second and core on-policy, and its lengths of SDPO's responses, by kind of run."""
    costs = yaml.safe_load((REPOSITORY / "config/costs.yaml").read_text(encoding="utf-8"))["microcosm"]
    return costs["rates"]["onpolicy"], {kind: costs["responses"][kind] for kind in ("sdpo", "sdpo_nothink")}


def slowdown(measured: Mapping[Point, Measured]) -> float:
    """How much longer an update takes beside another one: their median processor times."""
    one, two = (statistics.median(measured[point].seconds) for point in FACTORS["processes"])
    return two / one


def compared(found: Fit, slower: float) -> list[dict[str, float | str]]:
    """Trained tokens per second at the default study's lengths, by the fit and by the plan's constant.

    The constant is that of two jobs at a time: it is compared with the fit's rate over how much ``slower`` they are.
    """
    planned, lengths = plan_lengths()
    rows = []
    for kind, length in lengths.items():
        alone = found.rate(replace(BASE, length=length))
        row = {"kind": kind, "length": length, "alone": alone, "two": alone / slower, "plan": planned}
        rows.append(row | {"two / plan": alone / slower / planned})
    return rows


# --- what is shown --------------------------------------------------------------------------------------------------
def line(of: Measured) -> str:
    point, middle = of.point, statistics.median(of.seconds)
    who = f"{point.length:>5}{point.batch:>6}{point.k:>5}{point.vocabulary:>8}{point.processes:>10}"
    values = f"{middle:>10.3f}{min(of.seconds):>8.3f}{max(of.seconds):>8.3f}{statistics.median(of.wall):>8.3f}"
    return f"{who}{values}{max(of.extra) / MIB:>11.0f}"


def measure_all(repeats: int) -> dict[Point, Measured]:
    """Every point once, each printed as it is there."""
    head = f"{'T':>5}{'batch':>6}{'k':>5}{'|V|':>8}{'processes':>10}{'s/update':>10}{'least':>8}{'most':>8}{'clock':>8}"
    print(f"{head}{'extra MiB':>11}", flush=True)
    measured = {}
    for point in dict.fromkeys(point for of in FACTORS.values() for point in of):
        measured[point] = measure(point, repeats)
        print(line(measured[point]), flush=True)
    return measured


def print_fit(found: Fit, slower: float) -> None:
    a, b, c, d = found.coefficients
    print(f"seconds = {a:.2e} + {b:.2e} n + {c:.2e} n T + {d:.2e} n |V|, n = trained tokens")
    print(f"each point from the others: median error {found.median:.0%}, worst {found.worst:+.0%}")
    print(f"two processes at a time: each update takes {slower:.2f} times as long")
    for row in compared(found, slower):
        print(
            f"{row['kind']}, T = {row['length']}: {row['alone']:,.0f} trained tokens/s alone, {row['two']:,.0f} beside "
            f"another, by the fit; {row['plan']:,.0f} by the plan (beside another / plan {row['two / plan']:.2f})"
        )


def short(number: int) -> str:
    """4096 as 4k."""
    return f"{number // 1024}k" if number >= 1024 else str(number)


def draw(measured: Mapping[Point, Measured], found: Fit) -> Figure:
    """Small multiples: a column per factor, seconds above and memory below; the fit as a line."""
    plotting.use_style()
    figure = plotting.new_figure(3.3)
    axes = figure.subplots(2, len(FACTORS), sharey="row")
    for column, (factor, points) in enumerate(FACTORS.items()):
        above, below = axes[:, column]
        places = [getattr(point, factor) for point in points]
        found_here = [measured[point] for point in points]
        middles = np.array([statistics.median(of.seconds) for of in found_here])
        around = [
            middles - [min(of.seconds) for of in found_here],
            [max(of.seconds) for of in found_here] - middles,
        ]
        above.errorbar(places, middles, around, fmt="o", color=plotting.UNGUIDED, markersize=3.5, elinewidth=1.2)
        if factor not in ("k", "processes"):
            above.plot(places, [found.seconds(point) for point in points], color=plotting.MUTED, linewidth=0.8)
        below.plot(places, [max(of.extra) / MIB for of in found_here], "o", color=plotting.GUIDED, markersize=3.5)
        for panel in (above, below):
            panel.set_xscale("log", base=2)
            panel.set_yscale("log", base=2)
            panel.set_xticks(places, [short(place) for place in places], minor=False)
            panel.minorticks_off()
            panel.yaxis.set_major_formatter("{x:g}")
            panel.margins(x=0.15)
        above.set_title(TITLES[factor])
    axes[0, 0].set_ylabel("seconds per update")
    axes[1, 0].set_ylabel("extra MiB")
    base = f"T = {BASE.length}, {BASE.batch} sequences, k = {BASE.k}, |V| = {BASE.vocabulary}, one process"
    note = (
        f"{stamp_text('microcosm')}; random weights.\nMeasured by benchmarks/scaling.py around {base}: "
        "median, least and most; grey: the fit."
    )
    figure.supxlabel(note, x=0.01, ha="left", fontsize=7, color=plotting.MUTED, style="italic")
    return figure


def report(measured: Mapping[Point, Measured], found: Fit, repeats: int) -> dict[str, object]:
    points = [asdict(of) | {"trained": point.trained, "fit": found.seconds(point)} for point, of in measured.items()]
    told = asdict(found) | {"median": found.median, "worst": found.worst}
    return {
        "load": os.getloadavg()[0],
        "repeats": repeats,
        "points": points,
        "fit": told,
        "plan": compared(found, slowdown(measured)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--figure", type=Path, default=REPOSITORY / "benchmarks/results/scaling.png")
    given = parser.parse_args()
    if given.repeats < 3:
        parser.error("--repeats must be 3 or more: a spread of less says nothing")
    # Loaded once, for all forks.
    import loss_memory  # noqa: F401
    import selfdistill.training.trainer  # noqa: F401

    started = time.perf_counter()
    print(f"load {os.getloadavg()[0]:.1f}; 1 thread per process; {given.repeats} repeats", flush=True)
    measured = measure_all(given.repeats)
    single = [point for point in measured if point.processes == 1]
    found = fit(single, [statistics.median(measured[point].seconds) for point in single])
    print_fit(found, slowdown(measured))
    print(f"{time.perf_counter() - started:.0f} s in all; load {os.getloadavg()[0]:.1f}")
    described = {"study": "microcosm", "rule": "benchmarks/scaling.py", "origin": "measured, random weights"}
    plotting.save(draw(measured, found), [given.figure], json.dumps(described), None)
    if given.json:
        text = json.dumps(report(measured, found, given.repeats), indent=2)
        given.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
