"""Where a file comes from, and whether a results tree is what its records say.

Every table has a provenance file beside it, every figure a record in its metadata; both name their inputs with
SHA-256. A tree may have been moved, or hold records without their data (as the reference results do): a recorded place
is looked up by what follows ``results/{study}/``.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from selfdistill import tables
from selfdistill.errors import UserError
from selfdistill.provenance import sha256_file, sidecar_path
from selfdistill.verdicts import NOT_TESTABLE, holm, overall_verdict

SIDECAR = ".provenance.json"
FIGURES = (".png", ".svg", ".pdf")
PLACE = re.compile(r"^results/[^/]+/(.*)$")
ORIGINS = ("source", "repo", "revision", "file", "split", "seed", "preset", "model_name", "run")
SHOWN = 12  # hexadecimal digits of a digest


@dataclass(frozen=True)
class Record:
    """What a file's record says: the stage or script, the inputs (place, SHA-256), parameters, and its own SHA-256."""

    maker: str
    inputs: dict[str, str]
    parameters: dict[str, Any]
    sha256: str | None
    when: str


def trace(path: Path) -> list[str]:
    """The chain from ``path`` down to raw data and seeds, one line per file, deeper files indented."""
    if read_record(path) is None:
        raise UserError(
            f"{path}: no record of where it comes from (expected {sidecar_path(path).name}, or a figure's metadata)"
        )
    return list(_chain(path.resolve(), root_of(path), None, 0, set()))


def verify(root: Path) -> list[str]:
    """What is wrong with the results tree ``root``, one sentence each; nothing is computed anew.

    Checked are: every recorded file's SHA-256, and that of its inputs; schemas of tables, complete samples in traces;
    a record for every table and figure; and that the ledger's verdicts follow from its numbers.
    """
    if not root.is_dir() or not any(root.rglob(f"*{SIDECAR}")):
        raise UserError(f"{root}: no results tree (expected a folder with tables and their {SIDECAR} files)")
    found = [problem for path in sorted(root.rglob("*")) if path.is_file() for problem in _problems(path, root)]
    ledger = root / "claims" / "ledger.parquet"
    return [*found, *(_ledger_problems(ledger) if ledger.is_file() else [])]


def counts(root: Path) -> dict[str, int]:
    """How many tables, figures and records a tree holds."""
    kinds = Counter("records" if p.name.endswith(SIDECAR) else p.suffix[1:] for p in root.rglob("*") if p.is_file())
    return {
        "tables": kinds["parquet"],
        "figures": sum(kinds[kind[1:]] for kind in FIGURES),
        "records": kinds["records"],
    }


def root_of(path: Path) -> Path:
    """The results tree that a file belongs to: the nearest folder above it that holds tables or figures."""
    for folder in path.resolve().parents:
        if (folder / "tables").is_dir() or (folder / "figures").is_dir():
            return folder
    return path.resolve().parent


def read_record(path: Path) -> Record | None:
    """The record of a file, which itself may be gone; None where there is none. `UserError` for a broken one."""
    if sidecar_path(path).is_file():
        return _from_sidecar(sidecar_path(path))
    if path.suffix == ".csv":  # the rows of a figure
        path = path.with_suffix(".png")
    if path.suffix in FIGURES and path.is_file():
        return _from_metadata(path)
    return None


def _from_sidecar(sidecar: Path) -> Record:
    try:
        content = json.loads(sidecar.read_text(encoding="utf-8"))
        return Record(
            maker=content["command"][1],
            inputs={entry["path"]: entry["sha256"] for entry in content["inputs"].values()},
            parameters=content["parameters"],
            sha256=content["sha256"],
            when=f"{content['finished']}, {content['seconds']:g} s, git {(content['git'] or 'unknown')[:SHOWN]}",
        )
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        raise UserError(f"{sidecar}: not a provenance record") from None


def _from_metadata(path: Path) -> Record | None:
    """A figure's record, from the PNG's Description, the SVG's dc:description or the PDF's Subject."""
    text = _description(path)
    try:
        content = json.loads(text) if text else None
        if content is None:
            return None
        return Record(
            content["rule"], content["inputs"], {"study": content["study"], "code": content["code"]}, None, ""
        )
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{path}: its metadata hold no record of where it comes from") from None


def _description(path: Path) -> str | None:
    if path.suffix == ".png":
        from PIL import Image

        with Image.open(path) as image:
            return image.info.get("Description")
    if path.suffix == ".svg":
        found = re.search(r"<dc:description>(.*?)</dc:description>", path.read_text(encoding="utf-8"), re.DOTALL)
        return unescape(found[1]) if found else None
    found_bytes = re.search(rb"/Subject \((.*?)\)\n", path.read_bytes(), re.DOTALL)
    return re.sub(rb"\\([()\\])", rb"\1", found_bytes[1]).decode("ascii") if found_bytes else None


def _chain(path: Path, root: Path, wanted: str | None, depth: int, seen: set[Path]) -> Iterator[str]:
    indent = "  " * depth
    if path in seen:
        yield f"{indent}{_name(path, root)}: see above"
        return
    seen.add(path)
    record = read_record(path)
    yield f"{indent}{_name(path, root)} {_state(path, wanted or (record.sha256 if record else None))}"
    if record is None:
        return
    told = ", ".join(f"{name} {record.parameters[name]}" for name in ORIGINS if record.parameters.get(name) is not None)
    code = f", code {record.parameters['code']}" if "code" in record.parameters else ""
    made = "; ".join(filter(None, [f"by {record.maker}{code}", told, record.when]))
    yield f"{indent}  {made}"
    for place, sha256 in record.inputs.items():
        yield from _chain(_here(place, root), root, sha256, depth + 1, seen)


def _name(path: Path, root: Path) -> str:
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)


def _here(place: str, root: Path) -> Path:
    """Where a recorded input is now."""
    within = PLACE.match(place)
    return root / within[1] if within else Path(place)


def _state(path: Path, wanted: str | None) -> str:
    if not path.is_file():
        return f"{(wanted or '')[:SHOWN]} (not here)".strip()
    found = sha256_file(path)
    if wanted is None or found == wanted:
        return found[:SHOWN]
    return f"{found[:SHOWN]} CHANGED since, was {wanted[:SHOWN]}"


def _problems(path: Path, root: Path) -> Iterator[str]:
    name = _name(path, root)
    if path.name.endswith(SIDECAR):
        subject = path.with_name(path.name.removesuffix(SIDECAR))
        record = _from_sidecar(path)
        if subject.is_file() and record.sha256 != sha256_file(subject):
            yield f"{_name(subject, root)}: differs from its record"
        yield from _changed_inputs(_name(subject, root), record, root)
    elif path.suffix in FIGURES:
        figure = _from_metadata(path)
        if figure is None:
            yield f"{name}: a figure without a record"
        else:
            yield from _changed_inputs(name, figure, root)
    elif path.suffix == ".parquet":
        if not sidecar_path(path).is_file():
            yield f"{name}: a table without a record"
        yield from _table_problems(path, name)


def _changed_inputs(name: str, record: Record, root: Path) -> Iterator[str]:
    for place, sha256 in record.inputs.items():
        here = _here(place, root)
        if here.is_file() and sha256_file(here) != sha256:
            yield f"{name}: made from another version of {_name(here, root)}"


def _table_problems(path: Path, name: str) -> Iterator[str]:
    try:
        columns = pq.ParquetFile(path).schema_arrow
    except (pa.ArrowException, OSError) as error:
        yield f"{name}: not a readable table ({str(error).splitlines()[0]})"
        return
    known = next((kind for kind, schema in tables.SCHEMAS.items() if columns.equals(schema)), None)
    if known is None:
        yield f"{name}: its columns are those of no known table"
    elif known == "traces":
        keys = pq.read_table(path, columns=["model", "run", "setting", "step", "problem_id", "sample"]).to_pandas()
        if not len(keys):
            yield f"{name}: holds no response"
        elif keys.duplicated().any():
            yield f"{name}: some samples stand twice"


def _ledger_problems(path: Path) -> Iterator[str]:
    """Whether verdicts follow from the numbers beside them."""
    ledger = tables.read(path, "ledger")
    tested = ledger["p"].notna()
    if tested.any() and not np.allclose(holm(ledger.loc[tested, "p"].to_numpy()), ledger.loc[tested, "p_adjusted"]):
        yield "claims/ledger.parquet: adjusted p-values do not follow from the p-values"
    for (claim, variant), rows in ledger.groupby(["id", "variant"], sort=False):
        verdicts = rows["test_verdict"].fillna(NOT_TESTABLE).tolist()
        if set(rows["verdict"]) != {overall_verdict(verdicts)}:
            yield f"claims/ledger.parquet: the verdict of '{claim}' {variant}does not follow from its tests"
