"""What finished jobs took, by Snakemake's benchmark files, beside what the cost table expects of them."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import pandas as pd

from selfdistill.config import parse as parse_config
from selfdistill.errors import UserError
from selfdistill.planning.assumptions import kind_of
from selfdistill.planning.causes import may_change_work
from selfdistill.planning.dag import Graph, Job
from selfdistill.planning.ranges import Range
from selfdistill.planning.work import Study, Wildcards, expected_seconds, gpus_of, work_of
from selfdistill.records.attempts import BENCHMARK as SUFFIX
from selfdistill.records.attempts import is_whole
from selfdistill.trial import SUFFIX as TRIAL
from selfdistill.written import read_recorded

# When Snakemake's benchmark looks at a job's processes (seconds): twice a second at first, then every half minute.
SHORT, UNTIL, LONG = 0.5, 15.5, 30.0


@dataclass(frozen=True)
class Finished:
    """A finished job's expected seconds, by the table alone, and those measured."""

    rule: str
    expected: float
    measured: float


def finished(graph: Graph, study: Study) -> list[Finished]:
    """Jobs of this study with a benchmark file and outputs, by the configuration that they ran with.

    That is the recorded one, where it is another than today's. Else a job whose parameters, or those of one that it
    needs, changed in a way that may change the work, may have been another, and does not count.
    """
    past = _recorded_study(study.root / f"results/{study.config.study}/config.yaml", study)
    if past is None or past.config == study.config:
        past, jobs = study, _unchanged(graph)
    else:
        jobs = list(graph.jobs)
    ran = [job for job in jobs if job.benchmark and any((study.root / name).exists() for name in job.outputs)]
    found = [
        _finished(job.rule, job.wildcards, Path(str(job.benchmark)), past, gpus_of(job, study) or job.threads)
        for job in ran
    ]
    return [job for job in found if job is not None]


def _unchanged(graph: Graph) -> list[Job]:
    other: set[int] = set()
    for job in graph.jobs:
        if job.needs & other or may_change_work(job):
            other.add(job.id)
    return [job for job in graph.jobs if job.id not in other]


def other_studies(graph: Graph, study: Study) -> list[Finished]:
    """Finished jobs of other studies in this folder with the same kind of models, by their recorded configurations."""
    jobs = {job.rule: job for job in graph.jobs}
    found = []
    for recorded in sorted(study.root.glob("results/*/config.yaml")):
        if recorded.parent.name == study.config.study:
            continue
        other = _recorded_study(recorded, study)
        if other is None or other.config.trial is not None:
            continue
        for rule, values, path in _benchmarked(study.root / "logs" / other.config.study):
            if rule in jobs and len(values) == len(jobs[rule].wildcards):
                wildcards = dict(zip(jobs[rule].wildcards, values, strict=True))
                devices = gpus_of(jobs[rule], study) or jobs[rule].threads
                found.append(_finished(rule, wildcards, path, other, devices))
    return [job for job in found if job is not None]


def starts(study: Study) -> dict[str, Range]:
    """Seconds of a job beside its tokens, by rule, as the trial of this study has measured them."""
    found: dict[str, list[float]] = {}
    for rule, _, path in _benchmarked(study.root / "logs" / (study.config.study + TRIAL)):
        seconds = measured_seconds(path, threads=None)
        if seconds is not None:
            found.setdefault(rule, []).append(seconds)
    return {rule: Range(min(times), median(times), max(times)) for rule, times in found.items()}


def _benchmarked(logs: Path) -> Iterator[tuple[str, list[str], Path]]:
    """Rule, wildcards and file of every benchmark file of a study."""
    for path in sorted(logs.rglob(f"*{SUFFIX}")):
        rule, *values = str(path.relative_to(logs)).removesuffix(SUFFIX).split("/")
        yield rule, values, path


def _recorded_study(recorded: Path, study: Study) -> Study | None:
    """A study by the configuration beside its results; None for one of other models, or that is not readable now."""
    try:
        config = parse_config(read_recorded(recorded))
    except (OSError, UserError, TypeError):
        return None
    return (
        Study(config, study.assumed, study.root) if kind_of(config, study.assumed.small) == study.assumed.kind else None
    )


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
    """Seconds that a benchmarked job takes on an idle machine.

    None where the file is missing or cut off, or says only what a job took that went on from an earlier attempt.

    With ``threads`` (a job on the CPU), the wall clock times the share of its threads that it was given: a job beside
    others waits for processors, which is not its cost. The benchmark knows processor time only up to its last look, so
    the share is of the time until then. Jobs of a few looks, and jobs on GPUs (None), count by the wall clock.
    """
    try:
        row = pd.read_csv(path, sep="\t").iloc[-1]
        seconds, processor = (float(pd.to_numeric(row[name], errors="coerce")) for name in ("s", "cpu_time"))
    except (OSError, ValueError, KeyError, IndexError):
        return None
    if not seconds > 0 or not is_whole(path):
        return None
    looked = SHORT * math.floor(seconds / SHORT)
    if seconds >= UNTIL:
        looked = UNTIL + LONG * math.floor((seconds - UNTIL) / LONG)
    if threads is None or looked < 10 * SHORT or not processor > 0:
        return seconds
    return seconds * min(1.0, processor / (looked * threads))
