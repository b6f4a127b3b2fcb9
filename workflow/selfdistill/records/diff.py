"""What differs between two results trees: configuration, responses with paired intervals, verdicts of the ledger."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from selfdistill import tables
from selfdistill.analysis.estimates import estimate
from selfdistill.analysis.responses import RUN_COLUMNS, per_problem
from selfdistill.analysis.summaries import TOTALS, V, divided
from selfdistill.errors import UserError
from selfdistill.records.studies import check_whole
from selfdistill.written import read_keys

CONFIG = "config.yaml"
COMPARED = (CONFIG, "evaluations", "traces", "claims")
CONFIDENCE = 0.95
METRICS = {"score": 3, "L": 1, "E_substring": 2, V: 3}  # digits shown
# Tables of responses that are comparable problem by problem; rollouts answer to what was drawn before them.
RESPONSES = ("evaluations/*/*/*.parquet", "traces/*/*.parquet")


def diff(first: Path, second: Path) -> list[str]:
    """Lines on every difference; ``first`` and ``second`` are folders such as ``results/microcosm``.

    Responses to the same problems are compared by the mean over problems of the difference, second minus first, with
    its 95 % interval over problems; a line that ends with * has an interval without 0.
    """
    for tree in (first, second):
        if not tree.is_dir():
            raise UserError(f"{tree}: {'a file, no results tree' if tree.exists() else 'no such results tree'}")
        check_whole(tree)
        if not any((tree / name).exists() for name in COMPARED):
            raise UserError(f"{tree}: no results tree (expected one of {', '.join(COMPARED)} in it)")
    parts = {
        "configuration": list(_config_lines(_config(first), _config(second))),
        "responses (second minus first)": list(_response_lines(first, second)),
        "verdicts": list(_verdict_lines(first, second)),
    }
    return [line for title, lines in parts.items() for line in (f"{title}:", *(lines or ["  no difference"]))]


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested keys joined by dots."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) and value else {prefix + name: value}
    return found


def _config(tree: Path) -> dict[str, Any]:
    path = tree / CONFIG
    return flat(read_keys(path)) if path.exists() else {}


def _config_lines(first: dict[str, Any], second: dict[str, Any]) -> Iterator[str]:
    for name in sorted(first.keys() | second.keys()):
        old, new = first.get(name, "absent"), second.get(name, "absent")
        if old != new:
            yield f"  {name}: {old} -> {new}"


def _response_lines(first: Path, second: Path) -> Iterator[str]:
    here, there = ({str(p.relative_to(t)): p for kind in RESPONSES for p in t.glob(kind)} for t in (first, second))
    for name in sorted(here.keys() - there.keys()):
        yield f"  {name}: only in the first"
    for name in sorted(there.keys() - here.keys()):
        yield f"  {name}: only in the second"
    for name in sorted(here.keys() & there.keys()):
        if here[name].read_bytes() != there[name].read_bytes():
            yield from _paired_lines(name, here[name], there[name])


def _paired_lines(name: str, first: Path, second: Path) -> Iterator[str]:
    """One line per setting or step: the change of each metric over the problems that both tables hold."""
    old, new = (tables.read(path, tables.TRACES, RUN_COLUMNS) for path in (first, second))
    for (setting, step), part in old.groupby(["setting", "step"], dropna=False):
        same_step = new["step"].isna() if step is None or step != step else new["step"] == step
        other = new[(new["setting"] == setting) & same_step.fillna(False)]
        before, after = per_problem(part), per_problem(other)
        shared = before.index.intersection(after.index)
        label = f"  {name} {setting}" + ("" if step is None or step != step else f" step {step}")
        if len(shared) < 2:
            yield f"{label}: {len(shared)} problems in both, nothing to compare"
            continue
        changes, clear = [], False
        for metric, digits in METRICS.items():
            old_values, new_values = (_values(frame.loc[shared], metric) for frame in (before, after))
            if old_values is None or new_values is None:
                continue
            values = new_values - old_values
            found = estimate({"": values}, confidence=CONFIDENCE)
            clear |= found.low > 0 or found.high < 0
            changes.append(f"{metric} {found.value:+.{digits}f} [{found.low:.{digits}f}, {found.high:.{digits}f}]")
        yield f"{label} ({len(shared)} problems): {', '.join(changes)}{' *' if clear else ''}"


def _values(means: pd.DataFrame, metric: str) -> pd.Series | None:
    """A metric by problem; None for a ratio to nothing, as of V without accepted answers."""
    if metric not in TOTALS:
        return means[metric]
    top, bottom, factor = TOTALS[metric]
    found = divided({"": means[top]}, {"": means[bottom]}, factor)
    return found and found[""]


def _verdict_lines(first: Path, second: Path) -> Iterator[str]:
    verdicts = [_verdicts(tree) for tree in (first, second)]
    for key in sorted(verdicts[0].keys() | verdicts[1].keys()):
        old, new = (found.get(key, "absent") for found in verdicts)
        if old != new:
            yield f"  {' '.join(filter(None, key))}: {old} -> {new}"


def _verdicts(tree: Path) -> dict[tuple[str, str], str]:
    path = tree / "claims" / "ledger.parquet"
    if not path.is_file():
        return {}
    ledger = tables.read(path, tables.LEDGER).drop_duplicates(["id", "variant"])
    return {(row.id, row.variant): row.verdict for row in ledger.itertuples()}
