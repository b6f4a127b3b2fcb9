"""A fresh run against a reference run, value by value, with intervals."""

from pathlib import Path

import numpy as np
import pandas as pd

from selfdistill import tables
from selfdistill.errors import UserError

KEYS = ["artifact", "model", "row", "benchmark", "metric"]
VALUES = ["value", "low", "high"]
LEGEND = "! differs: intervals apart, or on one side only; ~ agrees, but lies outside the reference interval"


def compare_folders(fresh: Path, reference: Path) -> tuple[str, bool]:
    """A report on every table of either results folder, and whether all measured values agree.

    Values agree when their intervals overlap; values without an interval agree when they are equal. A table or row
    that stands on one side only is a disagreement.
    """
    names = _tables(fresh) | _tables(reference)
    rows = pd.concat([match(_measured(fresh, name), _measured(reference, name)) for name in sorted(names)])
    differing = rows[~rows["agrees"]]
    lines = [_line(row) for row in rows.to_dict("records")]
    lines.append(f"{len(rows)} values compared, {len(rows) - len(differing)} agree, {len(differing)} differ")
    return "\n".join([LEGEND, *lines]), differing.empty


def match(fresh: pd.DataFrame, reference: pd.DataFrame) -> pd.DataFrame:
    """Measured values of both summaries side by side, with ``difference``, ``agrees`` and ``inside``.

    ``inside``: the fresh value lies in the reference interval, or equals the reference.
    """
    both = fresh.merge(reference, on=KEYS, how="outer", suffixes=("_fresh", "_reference"), sort=True)
    overlap = (both["low_fresh"] <= both["high_reference"]) & (both["low_reference"] <= both["high_fresh"])
    value, low, high = (both[name] for name in ("value_fresh", "low_reference", "high_reference"))
    equal = np.isclose(value, both["value_reference"], rtol=1e-12, atol=0)
    inside = equal | ((low <= value) & (value <= high))
    return both.assign(difference=value - both["value_reference"], agrees=overlap | equal, inside=inside)


def _tables(folder: Path) -> set[str]:
    names = {path.name for path in (folder / "tables").glob("*.parquet")}
    if not names:
        raise UserError(f"{folder}/tables holds no table to compare")
    return names


def _measured(folder: Path, name: str) -> pd.DataFrame:
    path = folder / "tables" / name
    if not path.is_file():
        return pd.DataFrame({key: pd.Series(dtype=str) for key in KEYS} | dict.fromkeys(VALUES, pd.Series(dtype=float)))
    summary = tables.read(path, "summary")
    return summary.loc[summary["origin"] == "measured", [*KEYS, *VALUES]]


def _line(row: dict) -> str:
    name = " / ".join(str(row[key]) for key in KEYS if row[key])
    mark = "!" if not row["agrees"] else " " if row["inside"] else "~"
    difference = "" if pd.isna(row["difference"]) else f", difference {row['difference']:+.3g}"
    return f"{mark} {name}: {_shown(row, 'fresh')}, reference {_shown(row, 'reference')}{difference}"


def _shown(row: dict, side: str) -> str:
    value, low, high = (row[f"{name}_{side}"] for name in VALUES)
    if pd.isna(value):
        return "missing"
    return f"{value:.4g}" if pd.isna(low) else f"{value:.4g} [{low:.4g}, {high:.4g}]"
