"""The claims ledger: every empirical statement of the paper, tested on a study's responses, with a verdict.

`config/claims.yaml` says what is claimed and how it is tested; roles say which of a study's models a statement is
about. A test compares means over responses; problems are resampled, together wherever two means share them, and runs
where there are several. A statement holds when all its tests do.
`verdicts` says what follows from the effects.
"""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from selfdistill.analysis.intervals import Array, Bootstrap
from selfdistill.claims.statements import Cell, Claim, Role, Test, _cells, _in_words, _listed, role_of
from selfdistill.claims.verdicts import (
    CONFLICT,
    INCONCLUSIVE,
    NOT_TESTABLE,
    Effect,
    holm,
    overall_verdict,
    p_value,
    verdict_of,
    would_decide,
)
from selfdistill.errors import UserError
from selfdistill.tables import LEDGER

FEW = 128  # |D| that Section 6.2 calls small: "when |D| <= 128"


def ledger(
    claims: Sequence[Claim], units: pd.DataFrame, roles: Mapping[str, Role | None], *, bootstrap: Bootstrap
) -> pd.DataFrame:
    """One row per test of each claim, in the `ledger` schema; ``units`` are those of `claims.units`.

    A claim about SDPO is tested once for each of its role's rates, as a variant with a verdict of its own.
    `UserError` when a claim names an unknown role.
    """
    rows: list[dict[str, Any]] = []
    for place, claim in enumerate(claims):
        labels = {"place": place} | claim.model_dump(include={"id", "section", "statement", "published"})
        if claim.conflict:
            rows.append({**labels, "variant": "", "test": claim.conflict, "test_verdict": CONFLICT})
            continue
        role = role_of(claim, roles)
        found = [
            [{**labels, "variant": variant, **row} for row in _results(claim, role, units, rate, bootstrap)]
            for variant, rate in ([("", None)] if role is None else _variants(claim, role, units))
        ]
        testable = [tests for tests in found if any("effect" in row for row in tests)]
        rows += itertools.chain(*(testable or [[{**row, "variant": ""} for row in found[0]]]))
    return _judged(rows, bootstrap)


def compared(claim: Claim, role: Role | None, units: pd.DataFrame) -> list[pd.DataFrame]:
    """What a claim's tests compare: one frame per mean, the tested metric as ``value``; none where not testable."""
    if role is None:
        return []
    variants = [rate for _, rate in _variants(claim, role, units)]
    instances = [_instances(test, role, units, rate) for test in claim.tests for rate in variants]
    return [cell for found in instances for instance in found if instance is not None for cell in instance.cells]


def _results(
    claim: Claim, role: Role | None, units: pd.DataFrame, rate: float | None, bootstrap: Bootstrap
) -> Iterator[dict[str, Any]]:
    """One row per test, and per benchmark or number of problems where a test is about each."""
    for test in claim.tests:
        for instance in [None] if role is None else _instances(test, role, units, rate):
            yield _result(test, instance, bootstrap)


# --- which responses ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Instance:
    """A test on one benchmark or number of problems: the cells' values and their weights in the effect."""

    benchmark: str
    problems: str
    cells: list[pd.DataFrame]
    weights: list[float]


def _variants(claim: Claim, role: Role, units: pd.DataFrame) -> list[tuple[str, float | None]]:
    """The rates at which a claim is tested: fine-tuning's, or SDPO's; one without name where neither plays a part."""
    cells = [cell for test in claim.tests for cell in _cells(test)]
    if any(cell.data not in (None, "base") for cell in cells):
        sft = units[(units["of"] == "sft") & (units["family"] == role.family)]
        rates = sorted(sft["learning_rate"].dropna().unique())
    elif any(cell.method == "sdpo" for cell in cells):
        rates = list(role.rates["sdpo"])
    else:
        return [("", None)]
    return [(f"lr {rate:g}", float(rate)) for rate in rates] or [("", None)]


def _instances(test: Test, role: Role, units: pd.DataFrame, rate: float | None) -> Iterator[_Instance | None]:
    """The test once per benchmark or number of problems that ``each`` asks for; None where the study lacks runs."""
    own = units[(units["of"] == test.of) & (units["family"] == role.family) & (units["thinking"] == role.thinking)]
    if test.of in ("training", "evaluation"):
        own = own[own["problem_set"].isin([role.problem_set, ""])]
    asked = own if test.of == "sft" else own[own["method"] != "base"]
    benchmarks = sorted(asked["benchmark"].unique()) if test.each == "benchmark" else [""]
    if test.each == "hardest":
        benchmarks = [role.hardest]
    sizes: list[float] = [math.inf]
    if test.each in ("few", "many"):
        sizes = sorted(size for size in own["size"].dropna().unique() if (size <= FEW) == (test.each == "few"))
    for benchmark, size in itertools.product(benchmarks, sizes) if benchmarks and sizes else []:
        there = own[own["benchmark"] == benchmark] if benchmark else own
        yield _instance(test, role, there, rate, benchmark, size)
    if not benchmarks or not sizes:
        yield None


def _instance(
    test: Test, role: Role, own: pd.DataFrame, rate: float | None, benchmark: str, size: float
) -> _Instance | None:
    if test.rising is not None:
        sizes = sorted(own.loc[_matches(own, test.rising, test, role, rate), "size"].unique())
        if len(sizes) < 3:
            return None
        cells = [_values(own, test.rising, test, role, rate, each) for each in sizes]
        # The largest size is the whole set, whose number of problems is that of the problem set.
        logs = np.log2([own["whole_size"].max() if math.isinf(each) else each for each in sizes])
        centred = logs - logs.mean()
        return _Instance(benchmark, "", cells, list(centred / (centred**2).sum()))
    groups = [test.same[:1], test.same[1:]] if test.same else [[test.more], _listed(test.less)]
    cells = [_values(own, cell, test, role, rate, size) for group in groups for cell in group if cell is not None]
    if any(cell.empty for cell in cells):
        return None
    weights = [sign / len(group) for sign, group in zip((1.0, -1.0), groups, strict=True) for _ in group]
    problems = "" if test.each not in ("few", "many") else "all" if math.isinf(size) else f"{size:g}"
    return _Instance(benchmark, problems, cells, weights)


def _matches(own: pd.DataFrame, cell: Cell, test: Test, role: Role, rate: float | None) -> pd.Series:
    """Rows of ``own`` that a cell means, of whatever number of problems."""
    if test.of == "guidance":
        return own["setting"] == cell.setting
    if test.of == "sft":
        return (own["data"] == cell.data) & ((cell.data == "base") | (own["learning_rate"] == rate))
    if cell.method == "base":
        return own["method"] == "base"
    rates = [rate] if cell.method == "sdpo" else list(role.rates["grpo"])
    wanted = (own["method"] == cell.method) & own["learning_rate"].isin(rates)
    if test.of == "training":
        wanted &= own["when"] == (cell.when or test.when)
    if cell.method == "sdpo":
        moving = own["teacher_update_rate"] > 0
        wanted &= (
            (own["context"] == cell.context) & (moving == (cell.teacher == "moving")) & (own["top_k"] == role.top_k)
        )
    return wanted


def _values(own: pd.DataFrame, cell: Cell, test: Test, role: Role, rate: float | None, size: float) -> pd.DataFrame:
    """Columns replicate, problem_id, rollouts, value of a cell."""
    wanted = _matches(own, cell, test, role, rate)
    if test.of in ("training", "evaluation") and cell.method != "base":
        wanted &= own["size"] == size
    found = own[wanted]
    if found.duplicated(["replicate", "benchmark", "problem_id"]).any():
        raise UserError(f"claims: several runs of one model fit {cell.model_dump(exclude_none=True)}")
    return found[["replicate", "problem_id", "rollouts"]].assign(value=found[test.metric])


# --- effects ------------------------------------------------------------------------------------------------------


def _result(test: Test, instance: _Instance | None, bootstrap: Bootstrap) -> dict[str, Any]:
    row: dict[str, Any] = {"test": _in_words(test), "of": test.of, "metric": test.metric, "within": test.within}
    effect = None if instance is None else _effect(instance, bootstrap)
    if instance is not None:
        row |= {"benchmark": instance.benchmark, "sizes": instance.problems}
    if effect is None:
        return row
    low, high = bootstrap.percentiles(effect.resamples[:, None])
    counts = {"runs": effect.runs, "problems": effect.problems}
    return {**row, "value": effect.value, "low": low[0], "high": high[0], **counts, "effect": effect}


def _effect(instance: _Instance, bootstrap: Bootstrap) -> Effect | None:
    """The weighted sum of the cells' means, over the replicates (models, seeds) that all cells have."""
    replicates = sorted(set.intersection(*(set(cell["replicate"]) for cell in instance.cells)))
    if not replicates:
        return None
    tables = [[_of(cell, replicate) for replicate in replicates] for cell in instance.cells]
    paired = all(
        table["problem_id"].equals(first["problem_id"])
        for cell in tables
        for table, first in zip(cell, tables[0], strict=True)
    )
    weights = np.array(instance.weights)
    if paired:
        runs = [np.column_stack([cell[r]["value"] for cell in tables]) @ weights for r in range(len(replicates))]
        estimates = _resampled([run[:, None] for run in runs], tables[0], bootstrap)[:, 0]
    else:
        # Each with random numbers of its own, as other problems are no less other for having the same row number.
        parts = [
            _resampled(
                [table[["value"]].to_numpy() for table in cell], cell, replace(bootstrap, seed=bootstrap.seed + n)
            )
            for n, cell in enumerate(tables)
        ]
        estimates = np.column_stack(parts) @ weights
    means = np.array([np.mean([np.average(t["value"], weights=t["rollouts"]) for t in cell]) for cell in tables])
    value = float(means @ weights)
    problems = min(sum(len(table) for table in cell) // len(cell) for cell in tables)
    return Effect(value, _inflated(estimates, value, len(replicates)), len(replicates), problems)


def _of(cell: pd.DataFrame, replicate: str) -> pd.DataFrame:
    return cell[cell["replicate"] == replicate].sort_values("problem_id").reset_index(drop=True)


def _resampled(runs: list[Array], tables: list[pd.DataFrame], bootstrap: Bootstrap) -> Array:
    """Resampled means [resamples, 1] over runs and problems: crossed where all runs share their problems."""
    shared = all(table["problem_id"].equals(tables[0]["problem_id"]) for table in tables)
    if shared and len(runs) > 1:
        return bootstrap.crossed(np.stack(runs))
    return bootstrap.nested(runs, [table["rollouts"].to_numpy(dtype=float) for table in tables])


def _inflated(estimates: Array, value: float, runs: int) -> Array:
    """Resampling R runs leaves their variance too small by (R - 1) / R; with few runs that would decide verdicts."""
    return estimates if runs == 1 else value + (estimates - value) * math.sqrt(runs / (runs - 1))


def _judged(rows: list[dict[str, Any]], bootstrap: Bootstrap) -> pd.DataFrame:
    """The `ledger` table: with p-values, verdicts of the tests and of the claims, and what would decide."""
    tested = [row for row in rows if row.get("effect") is not None]
    p = np.array([p_value(row["effect"].resamples, row["within"]) for row in tested])
    for row, plain, adjusted in zip(tested, p, holm(p), strict=True):
        row |= {"p": plain, "p_adjusted": adjusted, "confidence": bootstrap.confidence}
        row["test_verdict"] = verdict_of(row["value"], row["within"], adjusted <= 1 - bootstrap.confidence)
        if row["test_verdict"] == INCONCLUSIVE:
            row["would_decide"] = would_decide(row["effect"], row["within"], bootstrap, len(tested))
    frame = pd.DataFrame(rows).reindex(columns=LEDGER.names)
    frame["test_verdict"] = frame["test_verdict"].fillna(NOT_TESTABLE)
    together = frame.groupby(["id", "variant"], sort=False)["test_verdict"]
    frame["verdict"] = together.transform(lambda verdicts: overall_verdict(list(verdicts)))
    return frame
