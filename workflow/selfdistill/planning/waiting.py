"""What a reader waits for: the tables and figures that a study's files hold, and the claims that its responses decide.

A claim's files are found by the selection that the ledger itself makes (`claims.effects.compared`).
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from selfdistill.analysis import alignment as aligned
from selfdistill.artifacts import FIGURES, SECTIONS, TABLES, of_section, target_of
from selfdistill.claims.effects import compared
from selfdistill.claims.statements import read_claims
from selfdistill.claims.units import LABELS, SELECTION, moments, windows
from selfdistill.config import Released
from selfdistill.errors import UserError
from selfdistill.planning.dag import Graph, Job
from selfdistill.planning.work import Study
from selfdistill.study import BASE, SFT_SETS
from selfdistill.training.methods import ALIGNED
from selfdistill.training.settings import TRAINED, Run

CLAIMS = Path("config/claims.yaml")
REGISTERED = {"tables": TABLES, "figures": FIGURES}  # by folder
# Artifacts that are neither table nor figure, by the stem of their files or by their folder.
NAMES = {
    "config": "Recorded configuration",
    "claims": "Claims ledger",
    "reading_room": "Reading room",
    "first_words": "First look at a base model's responses",
    "base": "Losses of pre-training",
    "trial": "What the trial has proved",
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


def sections(graph: Graph) -> dict[str, set[int]]:
    """The same of each section of the paper, by the name of its target: its figures and tables."""
    made = artifacts(graph)
    found = {}
    for section in SECTIONS:
        titles = [each.title for part in of_section(section) for each in part]
        found[target_of(section)] = set().union(*(made.get(title, set()) for title in titles))
    return {name: jobs for name, jobs in found.items() if jobs}


def needed(graph: Graph, wanted: Iterable[int]) -> set[int]:
    """The jobs ``wanted`` and all that they need."""
    found = set(wanted)
    for job in reversed(graph.jobs):
        if job.id in found:
            found |= job.needs
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
    cells = pd.DataFrame([{**LABELS, **labels, "file": path} for path, labels in _labelled(study)])
    cells = cells.drop_duplicates(ignore_index=True)  # runs share their base models
    # Tests choose among these rows a thousand times: each time pandas copies its texts one by one, objects together.
    cells = cells.astype(dict.fromkeys(cells.select_dtypes("str"), object))
    roles = study.config.claims.roles
    found: dict[str, set[int]] = {}
    for claim in read_claims(study.root / CLAIMS):
        files = compared(claim, roles.get(claim.role or ""), cells) if claim.tests else []
        found[claim.id] = {maker[file].id for file in files if file in maker}
    return found


def _labelled(study: Study) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every file of responses that the ledger reads, with the labels that `claims.units` gives its responses."""
    yield from _guidance(study)
    yield from _fine_tuned(study)
    for run in study.runs.values():
        yield from _on_policy(run, study)


def _of_model(model: str, study: Study) -> dict[str, Any]:
    return {**study.labels[model], "base": study.base_of(model)}


def _guidance(study: Study) -> Iterator[tuple[str, dict[str, Any]]]:
    for model in study.config.selection.models:
        common = _of_model(model, study)
        for setting in study.tested_settings:
            yield study.traces(model, setting), {**common, "of": "guidance", "setting": setting}
            if setting in study.informed_settings:
                yield study.information(model, setting), {**common, "of": "information", "setting": setting}
        if study.config.guidance.alignment:
            parts = [
                {"method": method, "context": context, "outcome": outcome, "place": place}
                for method, context in ALIGNED
                for outcome, place in aligned.parts()
            ]
            for benchmark in (TRAINED, *study.config.evaluation.benchmarks):
                for labels in ({"method": BASE}, *parts):
                    yield study.alignment(model), {**common, **labels, "of": "alignment", "benchmark": benchmark}
        yield study.traces(model, SELECTION), {**common, "of": "solutions", "setting": "solution"}


def _fine_tuned(study: Study) -> Iterator[tuple[str, dict[str, Any]]]:
    for model in study.config.sft.models:
        common = _of_model(model, study)
        for data in SFT_SETS:
            yield study.dataset(model, data), {**common, "of": "sets", "data": data}
        for name in (BASE, *study.worded, *study.sft_runs):
            tuned = study.sft_runs.get(name)
            run = {"data": name, "learning_rate": np.nan} if tuned is None else vars(tuned)
            for benchmark in study.config.evaluation.benchmarks:
                labels = {**common, **run, "of": "sft", "benchmark": benchmark}
                yield study.evaluation(model, name, benchmark), labels


def _on_policy(run: Run, study: Study) -> Iterator[tuple[str, dict[str, Any]]]:
    common, settings = _of_model(run.model, study), study.config.onpolicy
    size = study.problem_count(run.problem_set).typical if run.problems is None else run.problems
    draws = run.steps * run.batch_size
    seen = min(size, draws)
    labels = {
        **common,
        "seed": run.seed,
        "problem_set": run.problem_set,
        "learning_rate": run.learning_rate,
        "method": run.method,
        "context": run.context or "none",
        "top_k": run.top_k or 0,
        "teacher_update_rate": run.teacher_update_rate or 0.0,
        "whole": run.problems is None,
        "seen": float(seen),
        "exposures": draws / seen,
    }
    steps = pd.Series(range(1, run.steps + 1))
    for when, progress, chosen in windows(steps, run.steps, settings.window):
        if chosen.any() and not isinstance(run, Released):
            rollouts = {**labels, "of": "training", "when": when, "progress": progress}
            yield study.rollouts(run.model, run.id), rollouts
    checkpoints = sorted(study.evaluated_steps(run))
    times = [moment for step in checkpoints for moment in moments(step, checkpoints)]
    along = study.along_training(run.model, run.id)
    for benchmark in study.benchmarks_of(run):
        for when, progress in times:
            yield along, {**labels, "of": "evaluation", "when": when, "progress": progress, "benchmark": benchmark}
        base = study.evaluation(run.model, BASE, benchmark)
        yield base, {**common, "of": "evaluation", "method": "base", "benchmark": benchmark}
