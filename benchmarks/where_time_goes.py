"""Where the time of a finished study goes, rule by rule, beside the least that its arithmetic would take on one core.

    python benchmarks/where_time_goes.py [--root FOLDER] [--json FILE] [--figure FILE.png]

FOLDER is a repository in which the default study ran: its Snakemake benchmark files give processor minutes, read as
`selfdistill plan` reads them (their cpu_time, extended to the job's end, which the benchmark's last look misses; of
jobs of a few seconds the wall clock). A job that was killed and went on has a benchmark of its last part only.

The floor of a rule that samples or trains is its floating-point operations over the float32 matrix rate of one core,
measured here: one thread, square matrices, processor time, the median of the repeats. Operations: 2 per parameter that
multiplies and token in a forward pass, 6 in a training pass, and those of attention over half a response, which is the
mean of what causal tokens see. Tokens are those of the plan (workflow/selfdistill/planning/work.py): of responses, at
the lengths of config/costs.yaml, and of pre-training those that its own records count. Prompts count only where the
plan's passes hold them.
"""

import argparse
import contextlib
import json
import os
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
import torch
from matplotlib.figure import Figure
from selfdistill.config import parse
from selfdistill.figures import plotting
from selfdistill.pages.stamp import stamp_text
from selfdistill.planning import assumptions, dag
from selfdistill.planning.dag import Graph, Job
from selfdistill.planning.measured import measured_seconds
from selfdistill.planning.work import Study, Work, work_of
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig

REPOSITORY = Path(__file__).resolve().parents[1]
MATRIX, REPEATS = 2048, 9
SMALL_ROWS = 2048  # tokens of a micro-batch, for the rate at the model's own width
FORWARD, TRAINING = 2, 6  # operations per multiplying parameter and token


# --- operations -----------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Shape:
    """What a decoder's arithmetic depends on: ``multiplying`` parameters, and layers x heads x head width."""

    multiplying: int
    attention_width: int

    @classmethod
    def of(cls, config: PretrainedConfig) -> "Shape":
        """By a configuration, without weights. The embedding is looked up; the output layer multiplies, tied or not."""
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config)
        linear = (module for module in model.modules() if isinstance(module, torch.nn.Linear))
        heads = config.num_attention_heads
        width = getattr(config, "head_dim", None) or config.hidden_size // heads
        return cls(sum(layer.weight.numel() for layer in linear), config.num_hidden_layers * heads * width)

    def operations(self, tokens: float, context: float, per_parameter: int) -> float:
        """Of ``tokens`` that each attend to ``context`` others on average; ``per_parameter`` is FORWARD or TRAINING.

        Attention multiplies a query with each key, and a weight with each value: twice its width per token seen.
        """
        return per_parameter * tokens * (self.multiplying + 2 * self.attention_width * context)


def operations_of(work: Work, shape: Shape) -> float:
    """Floating-point operations of a job's tokens, at their typical number; a causal token sees half a response."""
    context = work.length.typical / 2
    drawn = shape.operations(work.tokens.typical, context, FORWARD)
    return drawn + shape.operations(work.trained.typical, context, TRAINING)


def pretraining_operations(job: Job, root: Path, shape: Shape) -> float:
    """Of a pre-training job, from the tokens that its table of steps records; the plan knows its seconds only.

    Its documents are as short as responses: attention is left out, which lowers the floor.
    """
    tables = [root / name for name in job.outputs if name.endswith(".parquet")]
    steps = pd.concat([pd.read_parquet(table) for table in tables])
    return shape.operations(steps.loc[steps["metric"] == "tokens", "value"].sum(), 0, TRAINING)


# --- the rate of one core -------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Rate:
    """Operations per second of one core: median, least and most of the repeats."""

    median: float
    least: float
    most: float


def matrix_rate(rows: int, inner: int, columns: int) -> Rate:
    """Of a product [rows, inner] x [inner, columns] in float32, by processor time."""
    torch.set_num_threads(1)
    left, right, product = torch.randn(rows, inner), torch.randn(inner, columns), torch.empty(rows, columns)
    operations = 2 * rows * inner * columns
    # Small products are repeated until the clock's resolution does not matter.
    times = max(1, round(2 * MATRIX**3 / 8 / operations))
    found = []
    for _ in range(REPEATS + 1):
        started = time.process_time()
        for _ in range(times):
            torch.mm(left, right, out=product)
        found.append(times * operations / (time.process_time() - started))
    found = found[1:]  # the first one warms up
    return Rate(statistics.median(found), min(found), max(found))


# --- the study ------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Rule:
    """Processor seconds of a rule's ``jobs`` jobs, and the operations that they need; 0 where it does no such work."""

    rule: str
    jobs: int
    seconds: float
    operations: float


def read_study(root: Path) -> tuple[Graph, Study]:
    """The graph of the workflow in ``root``, and its study with the cost table of this repository."""
    with contextlib.chdir(root):
        graph = dag.read(cores=os.cpu_count())
    config = parse(dict(graph.config))
    return graph, Study(config, assumptions.read(config, REPOSITORY), root)


def processor_seconds(path: Path, threads: int) -> float | None:
    """Of a benchmarked job; None without a benchmark. One too short for a share counts as busy on one thread."""
    seconds = measured_seconds(path, threads)
    return seconds if seconds is None or threads == 1 else seconds * threads


def by_rule(jobs: Iterable[Job], root: Path, operations: Callable[[Job], float]) -> list[Rule]:
    """The rules of the ``jobs`` that have a benchmark file under ``root``, the longest first."""
    found: dict[str, list[tuple[float, float]]] = {}
    for job in jobs:
        seconds = processor_seconds(root / str(job.benchmark), job.threads)
        if seconds is not None:
            found.setdefault(job.rule, []).append((seconds, operations(job)))
    rules = [Rule(rule, len(of), *map(sum, zip(*of, strict=True))) for rule, of in found.items()]
    return sorted(rules, key=lambda rule: -rule.seconds)


def without_small(rules: Iterable[Rule]) -> list[Rule]:
    """Rules without operations as one row at the end: none of them takes long."""
    rules = list(rules)
    other = [rule for rule in rules if not rule.operations]
    joined = Rule(f"{len(other)} other rules", sum(r.jobs for r in other), sum(r.seconds for r in other), 0.0)
    return [rule for rule in rules if rule.operations] + ([joined] if other else [])


def study_rules(root: Path) -> tuple[str, Shape, list[Rule]]:
    """The study's name, its base model's shape, and its rules."""
    graph, study = read_study(root)
    base = next(job for job in graph.jobs if job.rule == "pretrain_model")
    manifest = next(root / name for name in base.outputs if name.endswith("manifest.json"))
    shape = Shape.of(AutoConfig.from_pretrained(manifest.parent))

    def operations(job: Job) -> float:
        if job.rule == "pretrain_model":
            return pretraining_operations(job, root, shape)
        return operations_of(work_of(job.rule, job.wildcards, study), shape)

    return study.config.study, shape, by_rule(graph.jobs, root, operations)


# --- what is shown --------------------------------------------------------------------------------------------------
def table(rules: Iterable[Rule], rate: Rate) -> pd.DataFrame:
    """Minutes, share of the study, floor in minutes and its share of the rule's; NaN where there is no floor."""
    frame = pd.DataFrame([asdict(rule) for rule in rules])
    frame["minutes"] = frame["seconds"] / 60
    frame["share"] = frame["seconds"] / frame["seconds"].sum()
    frame["floor"] = (frame["operations"] / rate.median / 60).where(frame["operations"] > 0)
    frame["of_minutes"] = frame["floor"] / frame["minutes"]
    return frame


def print_table(frame: pd.DataFrame) -> None:
    total = frame[["jobs", "seconds", "minutes", "share", "operations", "floor"]].sum()
    total["of_minutes"] = total["floor"] / frame.loc[frame["floor"].notna(), "minutes"].sum()
    print(f"{'rule':<22}{'jobs':>5}{'min':>8}{'of all':>8}{'TFLOP':>9}{'floor min':>11}{'floor / rule':>14}")
    for name, row in [*zip(frame["rule"], frame.to_dict("records"), strict=True), ("total", total)]:
        line = f"{name:<22}{row['jobs']:>5.0f}{row['minutes']:>8.2f}{row['share']:>8.1%}"
        if row["operations"]:
            line += f"{row['operations'] / 1e12:>9.2f}{row['floor']:>11.2f}{row['of_minutes']:>14.1%}"
        print(line)
    print("floor / rule of the total: over the rules that have a floor")


def draw(frame: pd.DataFrame, study: str, rate: Rate) -> Figure:
    """A bar of processor minutes per rule, and within it the floor."""
    plotting.use_style()
    figure = plotting.new_figure(1.2 + 0.27 * len(frame))
    axes = figure.subplots()
    places = range(len(frame))
    axes.barh(places, frame["minutes"], height=0.62, color="#c9d7e2", linewidth=0, label="measured")
    axes.barh(
        places,
        frame["floor"].fillna(0),
        height=0.3,
        color=plotting.GUIDED,
        linewidth=0,
        label="floor: FLOPs / matrix rate",
    )
    for place, row in zip(places, frame.to_dict("records"), strict=True):
        floor = "" if pd.isna(row["floor"]) else f"; floor {row['of_minutes']:.0%} of it"
        text = f" {row['minutes']:.1f} min, {row['share']:.0%} of all{floor}"
        axes.text(row["minutes"], place, text, va="center", fontsize=7.5)
    axes.set_yticks(places, frame["rule"])
    axes.invert_yaxis()
    axes.set_xlim(0, 1.55 * frame["minutes"].max())
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("processor minutes")
    axes.legend(loc="lower right")
    told = f"Measured: {frame['jobs'].sum()} Snakemake benchmark files; {rate.median / 1e9:.0f} GFLOP/s of one core."
    note = "\n".join(filter(None, [stamp_text(study), told]))
    figure.supxlabel(note, x=0.01, ha="left", fontsize=7, color=plotting.MUTED, style="italic")
    return figure


def report(study: str, shape: Shape, frame: pd.DataFrame, rates: Mapping[str, Rate]) -> dict[str, object]:
    rules = json.loads(frame.to_json(orient="records"))
    measured = {name: asdict(rate) for name, rate in rates.items()}
    return {"study": study, "load": os.getloadavg()[0], "shape": asdict(shape), "rates": measured, "rules": rules}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path())
    parser.add_argument("--json", type=Path)
    parser.add_argument("--figure", type=Path, default=REPOSITORY / "benchmarks/results/where_time_goes.png")
    given = parser.parse_args()
    study, shape, rules = study_rules(given.root.resolve())
    rates = {
        f"{MATRIX} x {MATRIX} x {MATRIX}": matrix_rate(MATRIX, MATRIX, MATRIX),
        f"{SMALL_ROWS} x 128 x 384": matrix_rate(SMALL_ROWS, 128, 384),
        "16 x 128 x 384": matrix_rate(16, 128, 384),
    }
    rate = next(iter(rates.values()))
    frame = table(without_small(rules), rate)
    print(
        f"Study '{study}'; load {os.getloadavg()[0]:.1f}; 1 thread; N = {shape.multiplying:,} parameters that multiply"
    )
    for name, found in rates.items():
        least, median, most = (value / 1e9 for value in (found.least, found.median, found.most))
        print(f"float32 product {name}: {median:.1f} GFLOP/s ({least:.1f}-{most:.1f}, {REPEATS} repeats)")
    print_table(frame)
    described = {"study": study, "rule": "benchmarks/where_time_goes.py", "origin": "measured", "rate": rate.median}
    plotting.save(draw(frame, study, rate), [given.figure], json.dumps(described), frame)
    if given.json:
        text = json.dumps(report(study, shape, frame, rates), indent=2)
        given.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
