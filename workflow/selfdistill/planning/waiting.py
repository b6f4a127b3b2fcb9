"""What a reader waits for: the tables and figures that a study's files hold, and the claims that its responses decide.

A claim's files are found by the selection that the ledger itself makes (`ledger.compared`), on units that hold a file's
place in the list instead of a measured value.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from selfdistill.artifacts import FIGURES, TABLES
from selfdistill.claims.ledger import compared
from selfdistill.claims.statements import read_claims
from selfdistill.claims.units import LABELS, VALUES
from selfdistill.errors import UserError
from selfdistill.planning.dag import Graph, Job
from selfdistill.planning.work import Study
from selfdistill.study import BASE
from selfdistill.training.settings import Run

CLAIMS = Path("config/claims.yaml")
REGISTERED = {"tables": TABLES, "figures": FIGURES}  # by folder
# Artifacts that are neither table nor figure, by the stem of their files or by their folder.
NAMES = {
    "config": "Recorded configuration",
    "claims": "Claims ledger",
    "reading_room": "Reading room",
    "base": "Losses of pre-training",
}


def name_of(path: str) -> str:
    """What a reader calls the artifact in a file of the default rule; `UserError` saying what to add for a new one."""
    stem, folder = Path(path).stem, Path(path).parent.name
    registered = REGISTERED.get(folder, {}).get(stem)
    if registered is not None:
        return registered.title
    known = next((key for key in (stem, folder) if key in NAMES), None)
    if known is None:
        raise UserError(
            f"{path}: no name for this artifact of the default rule; add '{stem}', or '{folder}', to NAMES in "
            "workflow/selfdistill/planning/waiting.py"
        )
    return NAMES[known]


def artifacts(graph: Graph) -> dict[str, set[int]]:
    """The artifacts of the default rule, by name, with the ids of the jobs that make their files."""
    maker = makers(graph)
    found: dict[str, set[int]] = {}
    for path in graph.targets:
        if path in maker:
            found.setdefault(name_of(path), set()).add(maker[path].id)
    return found


def makers(graph: Graph) -> dict[str, Job]:
    """The job that makes each file."""
    return {path: job for job in graph.jobs for path in job.outputs}


def below(graph: Graph) -> dict[int, set[int]]:
    """By job, itself and every job that hangs on it."""
    found: dict[int, set[int]] = {job.id: {job.id} for job in graph.jobs}
    for job in reversed(graph.jobs):
        for need in job.needs:
            found[need] |= found[job.id]
    return found


# --- claims -------------------------------------------------------------------------------------------------------


def claim_jobs(graph: Graph, study: Study) -> dict[str, set[int]]:
    """By claim, the jobs whose responses its tests compare.

    Empty for a statement that is in conflict with another as published, or about a model without counterpart here: its
    verdict needs the ledger only.
    """
    maker = makers(graph)
    files = [path for path, _ in _labelled(study)]
    units = pd.DataFrame([_unit(place, labels) for place, (_, labels) in enumerate(_labelled(study))])
    roles = study.config.claims.roles
    found: dict[str, set[int]] = {}
    for claim in read_claims(study.root / CLAIMS):
        cells = compared(claim, roles.get(claim.role or ""), units) if claim.tests else []
        places = {int(place) for cell in cells for place in cell["value"]}
        found[claim.id] = {maker[files[place]].id for place in places if files[place] in maker}
    return found


def _unit(place: int, labels: Mapping[str, Any]) -> dict[str, Any]:
    return {**LABELS, "problem_id": str(place), **dict.fromkeys(VALUES, place), **labels}


def _labelled(study: Study) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every file of responses that the ledger reads, with the labels that `claims.units` gives its responses."""
    yield from _guidance(study)
    yield from _fine_tuned(study)
    for run in study.runs.values():
        yield from _on_policy(run, study)


def _guidance(study: Study) -> Iterator[tuple[str, dict[str, Any]]]:
    for model in study.config.selection.models:
        for setting in study.tested_settings:
            labels = {"of": "guidance", "setting": setting, "replicate": model, "family": study.labels[model]["family"]}
            yield study.traces(model, setting), labels


def _fine_tuned(study: Study) -> Iterator[tuple[str, dict[str, Any]]]:
    for model in study.config.sft.models:
        common = {"of": "sft", "replicate": model, "family": study.labels[model]["family"]}
        for name in (BASE, *study.sft_runs):
            run = {"data": BASE, "learning_rate": np.nan} if name == BASE else vars(study.sft_runs[name])
            for benchmark in study.config.evaluation.benchmarks:
                yield study.evaluation(model, name, benchmark), {**common, **run, "benchmark": benchmark}


def _on_policy(run: Run, study: Study) -> Iterator[tuple[str, dict[str, Any]]]:
    common = {**study.labels[run.model], "replicate": f"{run.model}/{run.seed}"}
    labels = {
        **common,
        "problem_set": run.problem_set,
        "learning_rate": run.learning_rate,
        "method": run.method,
        "context": run.context or "none",
        "top_k": run.top_k or 0,
        "teacher_update_rate": run.teacher_update_rate or 0.0,
        "size": np.inf if run.problems is None else float(run.problems),
        "whole_size": study.problem_count(run.problem_set).typical,
    }
    for when in ("first", "last", "whole"):
        yield study.rollouts(run.model, run.id), {**labels, "of": "training", "when": when}
    for benchmark in study.benchmarks_of(run):
        along = study.along_training(run.model, run.id)
        yield along, {**labels, "of": "evaluation", "benchmark": benchmark}
        base = study.evaluation(run.model, BASE, benchmark)
        yield base, {**common, "of": "evaluation", "method": "base", "benchmark": benchmark}
