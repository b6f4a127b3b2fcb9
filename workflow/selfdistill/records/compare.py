"""A fresh run against a reference: equal, or where it lies among repetitions with other base models."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from selfdistill import tables
from selfdistill.config import read_sections
from selfdistill.errors import UserError
from selfdistill.records import arithmetic
from selfdistill.records.reproduction import CONFIDENCE, FEWEST, Judgement, judge, limit
from selfdistill.settings import as_json
from selfdistill.written import read_keys

KEYS = ["artifact", "model", "row", "benchmark", "metric"]
SPREAD = "spread.parquet"  # of a reference: the tables of its repetitions
OWN = ("study", "seed")  # of a configuration: what a repetition has of its own, beside the seeds of its base models


def compare_folders(fresh: Path, reference: Path) -> tuple[str, bool]:
    """A report on every measured value of either results folder, and whether the fresh run reproduces the reference.

    It does when all values are equal, or lie where those of another base model would, as the reference's `SPREAD`
    tells (`reproduction`). A table or row that stands on one side only is never reproduced. `UserError` for a folder
    without tables, or a spread of too few repetitions.
    """
    both = pd.DataFrame({"fresh": measured(fresh), "reference": measured(reference)})
    same = pd.Series(np.isclose(both["fresh"], both["reference"], rtol=1e-12, atol=0), both.index)
    lines = [arithmetic.compared(fresh, reference)]
    if same.all():
        return "\n".join([f"All {len(both)} values are equal.", *lines]), True
    missing = both.isna().any(axis=1)
    lines.append(f"{len(both)} values: {same.sum()} equal, {(~same & ~missing).sum()} not, {missing.sum()} missing.")
    if not (reference / SPREAD).is_file():
        lines += [_line(name, row) for name, row in both[~same].iterrows()]
        lines.append(f"{reference} has no {SPREAD} of repetitions (`make spread`): only exact equality can be judged.")
        return "\n".join(lines), False
    repetitions, undefined = _repetitions(reference, both["reference"])
    if undefined.any():
        lines.append(f"{undefined.sum()} values are undefined in some repetition, and not judged.")
    missing &= ~undefined
    lines += [_line(name, row) for name, row in both[missing].iterrows()]
    told, reproduced = _judged(both[~missing & ~undefined], repetitions[~missing & ~undefined])
    return "\n".join([*lines, *told]), reproduced and not missing.any()


def gather(results: Path, repetitions: Sequence[Path]) -> pd.DataFrame:
    """The tables of all ``repetitions`` of the study in ``results``, one below the other.

    `UserError` for too few, for one of other settings than the study's, or without one of its rows.
    """
    if len(repetitions) + 1 < FEWEST:
        raise UserError(f"{len(repetitions)} repetitions of {results} are too few: at least {FEWEST - 1} are needed")
    settings, rows = _settings(results), _summaries(results).set_index(KEYS).index
    found = []
    for folder in repetitions:
        if (name := _first_difference(settings, _settings(folder))) is not None:
            raise UserError(f"{folder} is no repetition of {results}: '{name}' differs in their config.yaml")
        found.append(_summaries(folder))
        if len(lacking := rows.difference(found[-1].set_index(KEYS).index)):
            raise UserError(f"{folder} is no repetition of {results}: it lacks {_name(lacking[0])}")
    everything = pd.concat(found)
    if everything["study"].nunique() < len(found):
        raise UserError(f"a repetition of {results} is given twice, or two have the same name of the study")
    return everything


def measured(folder: Path) -> pd.Series:
    """All measured values of a results folder by `KEYS`, without those that are undefined."""
    return _values(_summaries(folder))


def _summaries(folder: Path) -> pd.DataFrame:
    paths = sorted((folder / "tables").glob("*.parquet"))
    if not paths:
        raise UserError(f"{folder}/tables holds no table to compare")
    summary = pd.concat([tables.read(path, tables.SUMMARY) for path in paths])
    found = summary[summary["origin"] == "measured"].reset_index(drop=True)
    if len(studies := found["study"].unique()) > 1:
        raise UserError(f"{folder}/tables holds numbers of several studies: {', '.join(sorted(studies))}")
    if (twice := found.duplicated(KEYS)).any():
        name, files = _name(found.loc[twice, KEYS].iloc[0]), ", ".join(path.name for path in paths)
        raise UserError(f"{folder}/tables holds {name} twice; one is a copy: {files}")
    return found


def _values(summary: pd.DataFrame) -> pd.Series:
    return summary.set_index(KEYS)["value"].dropna().sort_index()


def _settings(folder: Path) -> dict[str, object]:
    """The recorded settings that a repetition shares, by dotted names. A newer key than the record has its default."""
    path = folder / "config.yaml"
    if not path.is_file():
        raise UserError(f"{path}: no such file, so nothing says with which settings these tables were made")
    settings = read_keys(path)
    sections, _ = read_sections(settings)
    settings |= {name: as_json(section) for name, section in sections.items()}
    models = settings.get("models")
    if not isinstance(models, dict) or not all(isinstance(entry, dict) for entry in models.values()):
        raise UserError(f"{path}: expected the recorded configuration of a study, with its models under 'models'")
    models = {name: {key: value for key, value in entry.items() if key != "seed"} for name, entry in models.items()}
    shared = {name: value for name, value in settings.items() if name not in OWN} | {"models": models}
    return pd.json_normalize(shared).iloc[0].to_dict()


def _first_difference(first: dict[str, object], second: dict[str, object]) -> str | None:
    return next((name for name in sorted(first.keys() | second.keys()) if first.get(name) != second.get(name)), None)


def _repetitions(reference: Path, values: pd.Series) -> tuple[pd.DataFrame, pd.Series]:
    """The values of all repetitions of a reference, a column each and its own ``values`` the last, in their rows; and
    whether one of them, though it has the row, has no number there."""
    spread = tables.read(reference / SPREAD, tables.SUMMARY)
    if spread["study"].nunique() + 1 < FEWEST:
        raise UserError(
            f"{reference / SPREAD} holds {spread['study'].nunique()} repetitions: at least {FEWEST - 1} are needed"
        )
    listed = spread.set_index(KEYS).index
    if len(lacking := values.dropna().index.difference(listed)):
        raise UserError(
            f"{reference / SPREAD} is of other settings than the tables beside it, since it lacks {_name(lacking[0])}: "
            "run `make spread` once more"
        )
    found = pd.DataFrame({study: _values(rows) for study, rows in spread.groupby("study")}).reindex(values.index)
    found = found.assign(**{"": values})
    return found, found.isna().any(axis=1) & found.index.isin(listed)


def _judged(both: pd.DataFrame, repetitions: pd.DataFrame) -> tuple[list[str], bool]:
    """The lines of values outside, and what they amount to; and whether chance allows it."""
    found = judge(repetitions, both["fresh"])
    told = both.assign(mean=repetitions.mean(axis=1), deviation=found.run.deviations)
    outside = told[told["deviation"].abs() > limit(repetitions.shape[1])]
    return [*(_line(name, row) for name, row in outside.iterrows()), *_verdict(found, len(both))], found.reproduced


def _verdict(found: Judgement, values: int) -> list[str]:
    run, others = found.run, found.left_out
    outside, unexplained = [other.outside for other in others], [other.unexplained for other in others]
    size = np.abs(run.deviations)
    said = "Reproduced: the run lies where one with another base model lies."
    if not found.reproduced:
        said = "NOT reproduced: more differs than another base model explains."
    told = [
        f"{run.outside} of {values} values lie outside the {100 * CONFIDENCE:.0f} % prediction interval of "
        f"{len(others)} runs with other base models; each of these, left out, has {min(outside)} to {max(outside)} "
        f"outside that of the rest; chance allows {found.most_outside:.0f}. Half of the values lie within "
        f"{np.median(size):.1f} standard deviations of the mean, all within {size.max():.1f}."
    ]
    if np.isfinite(run.unexplained):
        told.append(
            f"What no mixture of these runs explains is {run.unexplained:.2f} standard deviations per value; of each "
            f"of these, left out, {min(unexplained):.2f} to {max(unexplained):.2f}; chance allows "
            f"{found.most_unexplained:.2f}."
        )
    return [*told, said]


def _name(keys: Sequence[str]) -> str:
    return " / ".join(str(key) for key in keys if key)


def _line(keys: Sequence[str], row: pd.Series) -> str:
    shown = {side: "missing" if pd.isna(row[side]) else f"{row[side]:.4g}" for side in ("fresh", "reference")}
    line = f"! {_name(keys)}: {shown['fresh']}, reference {shown['reference']}"
    return line if "mean" not in row else f"{line}, mean {row['mean']:.4g}, {row['deviation']:+.1f} standard deviations"
