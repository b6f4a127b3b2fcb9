"""What each job costs: expected seconds from the cost table, scaled by what finished jobs took.

The scale of a rule is measured / expected over its finished jobs: its median, and as a range its 10th and 90th
percentile; with fewer than five jobs their extremes, widened by half. Three sources, in this order: finished jobs of
this study; those of another study with the same kind of models; the table itself, with its stated spread.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from selfdistill.config import parse as parse_config
from selfdistill.errors import UserError
from selfdistill.planning.assumptions import kind_of, read
from selfdistill.planning.causes import may_change_work
from selfdistill.planning.dag import Graph, Job
from selfdistill.planning.ranges import Range, exactly
from selfdistill.planning.work import Study, Wildcards, Work, work_of

HERE, ELSEWHERE = "measured here", "measured elsewhere"
FEW = 5  # finished jobs; below, percentiles say little
WIDER = 1.5
SUFFIX = ".benchmark.tsv"
# When Snakemake's benchmark looks at a job's processes (seconds): twice a second at first, then every half minute.
SHORT, UNTIL, LONG = 0.5, 15.5, 30.0


@dataclass(frozen=True)
class Scale:
    """Measured over expected seconds of a rule's jobs, where they were measured, and of how many jobs."""

    factor: Range
    source: str
    jobs: int = 0


@dataclass(frozen=True)
class Cost:
    """Of one job: seconds of wall clock on an idle machine, and the GPUs that it holds meanwhile."""

    seconds: Range
    gpus: int
    work: Work
    source: str

    @property
    def gpu_hours(self) -> Range:
        return self.seconds * (self.gpus / 3600)


@dataclass(frozen=True)
class Finished:
    """A finished job's expected seconds, by the table alone, and those measured."""

    rule: str
    expected: float
    measured: float


def costs(graph: Graph, study: Study) -> dict[int, Cost]:
    """The cost of every job of ``graph``, by its id."""
    scales = {rule: _scale(jobs, ELSEWHERE) for rule, jobs in _by_rule(other_studies(graph, study))}
    scales |= {rule: _scale(jobs, HERE) for rule, jobs in _by_rule(finished(graph, study))}
    table = Scale(study.assumed.spread, study.assumed.origin)
    return {job.id: _cost(job, study, scales.get(job.rule, table)) for job in graph.jobs}


def _cost(job: Job, study: Study, scale: Scale) -> Cost:
    work = work_of(job.rule, job.wildcards, study)
    gpus = gpus_of(job, study)
    return Cost(expected_seconds(job.rule, work, study, gpus or job.threads) * scale.factor, gpus, work, scale.source)


def gpus_of(job: Job, study: Study) -> int:
    """GPUs that a job holds: as its profile says, else as the table does for jobs that sample or train."""
    work = work_of(job.rule, job.wildcards, study)
    needed = study.assumed.gpus if work.tokens.high + work.trained.high else 0
    return int(job.resources.get("gpu", needed))


def expected_seconds(rule: str, work: Work, study: Study, devices: int) -> Range:
    """Wall clock of a job by the table alone, its tokens divided among ``devices`` (cores or GPUs)."""
    rates = study.assumed
    busy = work.drawn / rates.rate("draw") + work.rolled_out / rates.rate("rollout")
    busy += work.sft / rates.rate("sft") + work.onpolicy / rates.rate("onpolicy")
    return rates.seconds(rule) * work.share + busy * (work.size / devices)


# --- measured jobs ------------------------------------------------------------------------------------------------


def finished(graph: Graph, study: Study) -> list[Finished]:
    """Jobs of this study whose benchmark file is of the configuration as it is.

    One whose outputs are gone, or where parameters of the job, or of one that it needs, changed in a way that may
    change the work, may have been another.
    """
    other: set[int] = set()
    for job in graph.jobs:
        if job.needs & other or may_change_work(job):
            other.add(job.id)
    jobs = [
        job for job in graph.jobs if job.id not in other and any((study.root / name).exists() for name in job.outputs)
    ]
    pairs = [(job, Path(job.benchmark)) for job in jobs if job.benchmark]
    found = [_finished(job.rule, job.wildcards, path, study, gpus_of(job, study) or job.threads) for job, path in pairs]
    return [job for job in found if job is not None]


def other_studies(graph: Graph, study: Study) -> list[Finished]:
    """Finished jobs of other studies in this folder with the same kind of models, by their recorded configurations."""
    jobs = {job.rule: job for job in graph.jobs}
    found = []
    for recorded in sorted(study.root.glob("results/*/config.yaml")):
        if recorded.parent.name == study.config.study:
            continue
        other = _recorded_study(recorded, study)
        if other is None:
            continue
        logs = study.root / "logs" / other.config.study
        for path in sorted(logs.rglob(f"*{SUFFIX}")):
            rule, *values = str(path.relative_to(logs)).removesuffix(SUFFIX).split("/")
            if rule in jobs and len(values) == len(jobs[rule].wildcards):
                wildcards = dict(zip(jobs[rule].wildcards, values, strict=True))
                devices = gpus_of(jobs[rule], study) or jobs[rule].threads
                found.append(_finished(rule, wildcards, path, other, devices))
    return [job for job in found if job is not None]


def _recorded_study(recorded: Path, study: Study) -> Study | None:
    """A study by the configuration beside its results; None for one of other models, or that is not readable now."""
    try:
        config = parse_config(yaml.safe_load(recorded.read_text(encoding="utf-8")))
    except (UserError, yaml.YAMLError, TypeError):
        return None
    return Study(config, study.assumed, study.root) if kind_of(config) == study.assumed.kind else None


def _finished(rule: str, wildcards: Wildcards, path: Path, study: Study, devices: int) -> Finished | None:
    seconds = measured_seconds(study.root / path, threads=None if study.config.engine == "vllm" else devices)
    if seconds is None:
        return None
    try:
        work = work_of(rule, wildcards, study)
    except KeyError:  # a run or problem set of an earlier configuration
        return None
    return Finished(rule, expected_seconds(rule, work, study, devices).typical, seconds)


def measured_seconds(path: Path, threads: int | None) -> float | None:
    """Seconds that a benchmarked job takes on an idle machine; None where the file is missing or cut off.

    With ``threads`` (a job on the CPU), the wall clock times the share of its threads that it was given: a job beside
    others waits for processors, which is not its cost. The benchmark knows processor time only up to its last look, so
    the share is of the time until then. Jobs of a few looks, and jobs on GPUs (None), count by the wall clock.
    """
    try:
        row = pd.read_csv(path, sep="\t").iloc[-1]
        seconds, processor = (float(pd.to_numeric(row[name], errors="coerce")) for name in ("s", "cpu_time"))
    except (OSError, ValueError, KeyError, IndexError):
        return None
    if not seconds > 0:
        return None
    looked = SHORT * math.floor(seconds / SHORT)
    if seconds >= UNTIL:
        looked = UNTIL + LONG * math.floor((seconds - UNTIL) / LONG)
    if threads is None or looked < 10 * SHORT or not processor > 0:
        return seconds
    return seconds * min(1.0, processor / (looked * threads))


def _by_rule(jobs: Iterable[Finished]) -> Iterable[tuple[str, list[Finished]]]:
    rules: dict[str, list[Finished]] = {}
    for job in jobs:
        rules.setdefault(job.rule, []).append(job)
    return rules.items()


def _scale(jobs: Sequence[Finished], source: str) -> Scale:
    ratios = np.array([job.measured / job.expected for job in jobs])
    if len(ratios) < FEW:
        bounds = ratios.min() / WIDER, np.median(ratios), ratios.max() * WIDER
    else:
        bounds = tuple(np.quantile(ratios, [0.1, 0.5, 0.9]))
    return Scale(Range(*map(float, bounds)), source, len(ratios))


# --- what the range is worth --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Error:
    """How far the model was from finished jobs of a rule: absolute relative errors, and how many lay in its range."""

    jobs: int
    median: float
    worst: float
    inside: int
    scale: float  # the rule's median of measured over expected
    left_out: bool  # each job was predicted from the others; else from the table


def errors(jobs: Iterable[Finished]) -> Mapping[str, Error]:
    """By rule, each job predicted from the rule's others; a lone one from the table as it stands."""
    return {rule: _error(found) for rule, found in _by_rule(jobs)}


def _error(jobs: list[Finished]) -> Error:
    others = [[other for other in jobs if other is not job] for job in jobs]
    scales = [_scale(rest, HERE).factor if rest else exactly(1.0) for rest in others]
    predicted = [scale * job.expected for scale, job in zip(scales, jobs, strict=True)]
    absolute = [abs(p.typical / job.measured - 1) for p, job in zip(predicted, jobs, strict=True)]
    inside = sum(p.low <= job.measured <= p.high for p, job in zip(predicted, jobs, strict=True))
    median = float(np.median(absolute))
    return Error(len(jobs), median, max(absolute), inside, _scale(jobs, HERE).factor.typical, len(jobs) > 1)


def study_of(graph: Graph, root: Path = Path()) -> Study:
    """The study that a graph is of, with the table's part for its models."""
    config = parse_config(dict(graph.config))
    return Study(config, read(config, root), root)
