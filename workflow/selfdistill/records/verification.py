"""Whether a results tree is what its records say, in seconds and without computing anything anew."""

import hashlib
import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from selfdistill import tables
from selfdistill.claims.verdicts import NOT_TESTABLE, holm, overall_verdict
from selfdistill.errors import UserError
from selfdistill.files import sha256_file
from selfdistill.pages import reading_room
from selfdistill.records.bundle import BUNDLE, Record, Records, place_in
from selfdistill.records.lineage import FIGURES, from_metadata, located
from selfdistill.records.provenance import SIDECAR

RESPONSE = ["model", "run", "setting", "step", "problem_id", "sample"]  # what identifies one
# Stages that draw the same number of responses to every problem, and the parameter that says how many.
DRAWN_PER_PROBLEM = {
    "sample-guidance": "samples",
    "evaluate-model": "samples",
    "evaluate-checkpoints": "samples",
    "select-borderline": "rollouts",
}


def verify(root: Path) -> list[str]:
    """What is wrong with the results tree ``root``, one sentence each; nothing is computed anew.

    Checked are: every recorded file's SHA-256, and that of its inputs; schemas of tables; the number of responses in
    traces; a record for every table and figure; the reading room's data; and that the ledger's verdicts follow from its
    numbers.
    """
    found: list[str] = []
    records = Records(root, found.append).all()
    if not records and not found:
        raise UserError(f"{root}: no results tree (expected a folder with tables, and {SIDECAR} files or {BUNDLE})")
    files = {place_in(path, root) for path in root.rglob("*") if path.is_file()}
    for place in sorted(files | records.keys()):
        found += _problems(root / place, records.get(place), root)
    ledger, room = root / "claims" / "ledger.parquet", root / "reading_room" / "index.html"
    found += _ledger_problems(ledger) if ledger.is_file() else []
    return found + list(_room_problems(room) if room.is_file() else [])


def counts(root: Path) -> dict[str, int]:
    """How many tables, figures and records a tree holds."""
    kinds = Counter(path.suffix for path in root.rglob("*") if path.is_file())
    return {
        "tables": kinds[".parquet"],
        "figures": sum(kinds[kind] for kind in FIGURES),
        "records": len(Records(root, lambda _: None).places()),
    }


def _problems(path: Path, record: Record | None, root: Path) -> Iterator[str]:
    name = place_in(path, root)
    if record is not None:
        if path.is_file() and record.sha256 != sha256_file(path):
            yield f"{name}: differs from its record"
        yield from _changed_inputs(name, record, root)
    if path.suffix in FIGURES and path.is_file():
        yield from _figure_problems(path, root)
    elif path.suffix == ".parquet" and path.is_file():
        if record is None:
            yield f"{name}: a table without a record"
        yield from _table_problems(path, record, root)


def _changed_inputs(name: str, record: Record, root: Path) -> Iterator[str]:
    for place, sha256 in record.inputs.items():
        here = located(place, root)
        if here.is_file() and sha256_file(here) != sha256:
            yield f"{name}: made from another version of {place_in(here, root)}"


def _figure_problems(path: Path, root: Path) -> Iterator[str]:
    name = place_in(path, root)
    try:
        record = from_metadata(path)
    except UserError as error:
        yield str(error)
        return
    yield from [f"{name}: a figure without a record"] if record is None else _changed_inputs(name, record, root)


def _table_problems(path: Path, record: Record | None, root: Path) -> Iterator[str]:
    name = place_in(path, root)
    try:
        columns = pq.ParquetFile(path).schema_arrow
    except (pa.ArrowException, OSError) as error:
        yield f"{name}: not a readable table ({str(error).splitlines()[0]})"
        return
    known = next((kind for kind, schema in tables.SCHEMAS.items() if columns.equals(schema)), None)
    if known is None:
        yield f"{name}: its columns are those of no known table"
    elif known == "traces":
        keys = pq.read_table(path, columns=RESPONSE).to_pandas()
        if keys.duplicated().any():
            yield f"{name}: some samples stand twice"
        if not len(keys):
            yield f"{name}: holds no response"
        elif record is not None:
            yield from _number_problems(keys, record, name, root)


def _number_problems(keys: pd.DataFrame, record: Record, name: str, root: Path) -> Iterator[str]:
    """Whether a traces table holds as many responses as its stage was told to draw."""
    if record.maker == "train-onpolicy":
        wanted = math.prod(record.parameter(what) for what in ("steps", "batch_size", "rollouts"))
        if len(keys) != wanted:
            yield f"{name}: holds {len(keys)} responses, expected {wanted}"
        return
    each = record.parameter(DRAWN_PER_PROBLEM.get(record.maker, ""))
    if each is None:
        return
    samples = keys.groupby([c for c in RESPONSE if c != "sample"], dropna=False)["sample"].agg(["size", "max"])
    if ((samples["size"] != each) | (samples["max"] != each - 1)).any():
        yield f"{name}: not every problem has {each} responses"
    if record.maker == "evaluate-model":
        (problems,) = [path for path in (located(p, root) for p in record.inputs) if path.parent.name == "problems"]
        if problems.is_file() and len(samples) != pq.ParquetFile(problems).metadata.num_rows:
            yield f"{name}: holds responses to {len(samples)} problems, not to all of {place_in(problems, root)}"


def _room_problems(page: Path) -> Iterator[str]:
    """Whether the page's data, whose names are their digests, are whole."""
    scripts = {path.stem: path for path in (page.parent / "data").glob("*.js")}
    for name, path in sorted(scripts.items()):
        if hashlib.sha256(path.read_bytes()).hexdigest()[: reading_room.DIGEST] != name:
            yield f"reading_room/data/{path.name}: differs from its digest"
            return
    missing = reading_room.needed(page) - set(scripts)
    if missing:
        yield f"reading_room: {len(missing)} of its data files are missing"


def _ledger_problems(path: Path) -> Iterator[str]:
    """Whether verdicts follow from the numbers beside them."""
    try:
        ledger = tables.read(path, "ledger")
    except UserError as error:
        yield str(error)
        return
    tested = ledger["p"].notna()
    if tested.any() and not np.allclose(holm(ledger.loc[tested, "p"].to_numpy()), ledger.loc[tested, "p_adjusted"]):
        yield "claims/ledger.parquet: adjusted p-values do not follow from the p-values"
    for (claim, variant), rows in ledger.groupby(["id", "variant"], sort=False):
        verdicts = rows["test_verdict"].fillna(NOT_TESTABLE).tolist()
        if set(rows["verdict"]) != {overall_verdict(verdicts)}:
            yield f"claims/ledger.parquet: the verdict of '{claim}' {variant}does not follow from its tests"
