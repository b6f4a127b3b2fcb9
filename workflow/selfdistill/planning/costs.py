"""What each job costs: expected seconds from the cost table, scaled by what finished jobs took.

The scale of a rule is measured / expected over its finished jobs: its median, and as a range its 10th and 90th
percentile; with fewer than five jobs their extremes, widened by half. Three sources, in this order: finished jobs of
this study; those of another study with the same kind of models; the table itself, with its stated spread. What jobs of
the study's trial took is nearly all their start: it replaces the table's.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from selfdistill.config import parse as parse_config
from selfdistill.planning.assumptions import read
from selfdistill.planning.dag import Graph, Job
from selfdistill.planning.measured import Finished, finished, other_studies, starts
from selfdistill.planning.ranges import Range, exactly
from selfdistill.planning.work import Study, Work, expected_seconds, gpus_of, work_of

HERE, ELSEWHERE = "measured here", "measured elsewhere"
FEW = 5  # finished jobs; below, percentiles say little
WIDER = 1.5


@dataclass(frozen=True)
class Scale:
    """Measured over expected seconds of a rule's jobs, and where they were measured."""

    factor: Range
    source: str


@dataclass(frozen=True)
class Cost:
    """The cost of one job: wall-clock seconds on an idle machine, and the GPUs that it holds."""

    seconds: Range
    gpus: int
    work: Work
    source: str


def costs(graph: Graph, study: Study) -> dict[int, Cost]:
    """The cost of every job of ``graph``, by its id."""
    scales = {rule: _scale(jobs, ELSEWHERE) for rule, jobs in _by_rule(other_studies(graph, study))}
    scales |= {rule: _scale(jobs, HERE) for rule, jobs in _by_rule(finished(graph, study))}
    table = Scale(study.assumed.spread, study.assumed.origin)
    tried = starts(study)
    return {
        job.id: _cost(job, study, scales.get(job.rule, table), None if job.rule in scales else tried.get(job.rule))
        for job in graph.jobs
    }


def _cost(job: Job, study: Study, scale: Scale, start: Range | None) -> Cost:
    work = work_of(job.rule, job.wildcards, study)
    gpus = gpus_of(job, study)
    seconds = expected_seconds(job.rule, work, study, gpus or job.threads, start) * scale.factor
    return Cost(seconds, gpus, work, scale.source + ("" if start is None else ", starts by a trial"))


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
    return Scale(Range(*map(float, bounds)), source)


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
    """Prediction errors by rule: each job from the rule's other jobs, a lone one from the cost table."""
    return {rule: _error(found) for rule, found in _by_rule(jobs)}


def _error(jobs: list[Finished]) -> Error:
    others = [[other for other in jobs if other is not job] for job in jobs]
    scales = [_scale(rest, HERE).factor if rest else exactly(1.0) for rest in others]
    predicted = [scale * job.expected for scale, job in zip(scales, jobs, strict=True)]
    absolute = [abs(p.typical / job.measured - 1) for p, job in zip(predicted, jobs, strict=True)]
    inside = sum(p.low <= job.measured <= p.high for p, job in zip(predicted, jobs, strict=True))
    median = float(np.median(absolute))
    return Error(len(jobs), median, max(absolute), inside, _scale(jobs, HERE).factor.typical, len(jobs) > 1)


def study_of(graph: Graph) -> Study:
    """The study that a graph is of, with the table's part for its models."""
    config = parse_config(dict(graph.config))
    return Study(config, read(config))
