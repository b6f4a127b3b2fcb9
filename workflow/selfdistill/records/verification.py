"""Whether a results tree is what its records say, without computing anything anew."""

import math
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from selfdistill import models, tables
from selfdistill.claims.ledger import judged
from selfdistill.errors import UserError
from selfdistill.files import all_below, is_unchanged, sha256_file
from selfdistill.pages import reading_room
from selfdistill.records import measures
from selfdistill.records.bundle import BUNDLE, Record, Records, place_in
from selfdistill.records.lineage import FIGURES, from_metadata, located
from selfdistill.records.provenance import SIDECAR
from selfdistill.records.standing import ROOM
from selfdistill.records.studies import check_whole
from selfdistill.training.settings import TRAINED

RESPONSE = ["model", "run", "setting", "step", "problem_id", "sample"]  # what identifies one
# Stages that draw the same number of responses to every problem (more to the first ones, where that is asked), and the
# parameter that says how many.
DRAWN_PER_PROBLEM = {
    "sample-guidance": "samples",
    "evaluate-model": "samples",
    "evaluate-checkpoints": "samples",
    "select-borderline": "rollouts",
}


# Files of these kinds have a record wherever jobs write them; what else lies in a tree is its owner's.
RECORDED = (".parquet", ".csv", ".txt", ".md", ".tex", ".html", ".yaml", *FIGURES)
WRITTEN_BY_JOBS = (
    "claims", "config.yaml", "curves", "curves.parquet", "datasets", "evaluations", "figures", "problems",
    "reading_room", "tables", "traces", "training",
)  # fmt: skip


def verify(root: Path) -> list[str]:
    """What is wrong with the results tree ``root``, one sentence each; nothing is computed anew.

    Checked are: every recorded file's presence and SHA-256, and those of its inputs; the records themselves; that
    tables, figures and pages have one; a model's files against its manifest; schemas of tables; the number of responses
    in traces; the reading room's data; and that the ledger's verdicts follow from its numbers. Whatever is met, the
    rest is checked all the same. All bytes are read, those of weights too.
    """
    check_whole(root)
    found: list[str] = []
    tree = _Tree(root, found.append)
    if not tree.records and not found and not any(path.suffix == ".parquet" for path in tree.files.values()):
        raise UserError(f"{root}: no results tree (expected a folder with tables, and {SIDECAR} files or {BUNDLE})")
    for place in sorted(tree.files.keys() | tree.records.keys()):
        found += _told(place, _file_problems, tree, place)
    found += _missing_inputs(tree)
    ledger, room = root / "claims" / "ledger.parquet", root / ROOM
    if ledger.is_file():
        found += _told("claims/ledger.parquet", _ledger_problems, ledger)
    if room.is_file():
        found += _told(ROOM, _room_problems, room)
    return list(dict.fromkeys(found))


class _Tree:
    """A results tree: its records and files by their places, and digests, computed once."""

    def __init__(self, root: Path, damaged: Callable[[str], None]) -> None:
        self.root = root
        self.records = Records(root, damaged).all()
        self.files = {place_in(path, root): path for path in all_below(root) if path.is_file()}
        self.digest = cache(sha256_file)


def _told(name: str, check: Callable[..., Iterator[str]], *arguments: object) -> list[str]:
    """The sentences of a check, and one more where it meets what it cannot read."""
    told: list[str] = []
    try:
        told.extend(check(*arguments))
    except UserError as error:
        told.append(str(error))
    except Exception as error:  # of damaged bytes in a decoder of any kind
        told.append(f"{name}: cannot be read ({type(error).__name__}: {str(error).partition(chr(10))[0]})")
    return told


def counts(root: Path) -> dict[str, int]:
    """How many tables, figures and records a tree holds."""
    kinds = Counter(path.suffix for path in all_below(root) if path.is_file())
    return {
        "tables": kinds[".parquet"],
        "figures": sum(kinds[kind] for kind in FIGURES),
        "records": len(Records(root, lambda _: None).places()),
    }


def _file_problems(tree: _Tree, place: str) -> Iterator[str]:
    path, record = tree.root / place, tree.records.get(place)
    if record is not None:
        if place in tree.files:
            yield from [] if tree.digest(path) == record.sha256 else [f"{place}: differs from its record"]
        elif path.exists():
            yield f"{place}: a folder stands in its place"
        elif not record.left_out:
            yield f"{place}: missing, though its record is here"
        if record.content.get("file", path.name) != path.name:
            yield f"{place}: its record is that of '{record.content['file']}'"
        yield from _changed_inputs(place, record, tree)
    if place not in tree.files:
        return
    if record is None:
        yield from _unrecorded(path, place, tree)
    if path.name == models.MANIFEST:
        yield from _model_problems(path, tree)
    elif path.suffix == ".parquet":
        yield from _table_problems(path, record, tree)


def _unrecorded(path: Path, place: str, tree: _Tree) -> Iterator[str]:
    """Complain about a file that should have a record. Figures of earlier versions hold theirs in their metadata."""
    if path.name == models.MANIFEST:
        yield from [] if models.is_along_training(path) else [f"{place}: a manifest without a record"]
    elif path.suffix == ".parquet":
        yield f"{place}: a table without a record"
    elif path.suffix in FIGURES:
        described = from_metadata(path)
        yield from [f"{place}: a figure without a record"] if not described else _changed_inputs(place, described, tree)
        if described and _figure_is_recorded(place, tree):
            yield f"{place}: without a record of its own"
    elif path.suffix in RECORDED and place.partition("/")[0] in WRITTEN_BY_JOBS:
        if not place.startswith("figures/") or _figure_is_recorded(place, tree):
            yield f"{place}: a file without a record"
    elif path.suffix == ".safetensors" and not path.with_name(models.MANIFEST).is_file():
        yield f"{place}: weights without a manifest"


def _figure_is_recorded(place: str, tree: _Tree) -> bool:
    """Whether the files of a figure have records of their own, as they have not in earlier versions."""
    return any(str(Path(place).with_suffix(kind)) in tree.records for kind in (*FIGURES, ".csv"))


def _changed_inputs(name: str, record: Record, tree: _Tree) -> Iterator[str]:
    for place, sha256 in record.inputs.items():
        here = located(place, tree.root)
        if not here.is_file() or tree.digest(here) == sha256 or is_unchanged(here, sha256):
            continue
        other = tree.records.get(place_in(here, tree.root))
        if other is None or other.whole != sha256:
            yield f"{name}: made from another version of {place_in(here, tree.root)}"


def _missing_inputs(tree: _Tree) -> Iterator[str]:
    """Files of the tree that others were made from, and that have gone together with their records."""
    inputs = (located(place, tree.root) for record in tree.records.values() for place in record.inputs)
    readers = Counter(place_in(path, tree.root) for path in inputs if path.is_relative_to(tree.root))
    for place, number in sorted(readers.items()):
        if place not in tree.files and place not in tree.records and not _deleted_after_use(tree.root / place):
            yield f"{place}: missing, with its record; files made from it: {number}"


def _deleted_after_use(manifest: Path) -> bool:
    """Whether a training run's models have gone as a whole, as they may once they are evaluated."""
    return models.is_along_training(manifest) and not manifest.parents[1].exists()


def _model_problems(manifest: Path, tree: _Tree) -> Iterator[str]:
    """Whether the files of a model are those that its manifest lists; a repository of the hub has none here."""
    content = models.read_manifest(manifest)
    folder = manifest.parent / content.get("folder", ".")
    if content["kind"] == "hub" or not folder.is_dir():
        return
    name, folder, root = place_in(manifest, tree.root), folder.resolve(), tree.root.resolve()
    for file, entry in content["files"].items():
        place = place_in(folder / file, root)
        if not (folder / file).is_file():
            yield f"{place}: missing, though {name} lists it"
        elif tree.digest(folder / file) != entry["sha256"]:
            yield f"{place}: differs from what {name} lists"
    for path in models.model_files(folder):
        if path.name not in content["files"]:
            yield f"{place_in(path, root)}: not among the files that {name} lists"


def _table_problems(path: Path, record: Record | None, tree: _Tree) -> Iterator[str]:
    name = place_in(path, tree.root)
    try:
        columns = pq.ParquetFile(path).schema_arrow
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        yield f"{name}: not a readable table ({str(error).splitlines()[0]})"
        return
    known = tables.kind_of(columns)
    if known is None and not measures.is_packed(columns):
        yield f"{name}: its columns are those of no known table"
    elif known == tables.TRACES:
        keys = tables.read(path, tables.TRACES, RESPONSE)
        if keys.duplicated().any():
            yield f"{name}: some samples stand twice"
        if not len(keys):
            yield f"{name}: holds no response"
        elif record is not None:
            yield from _number_problems(keys, record, name, tree)


def _number_problems(keys: pd.DataFrame, record: Record, name: str, tree: _Tree) -> Iterator[str]:
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
    for place, found in samples.groupby(["setting", "step"], dropna=False):
        wanted = _wanted(record, each, str(place[0]), len(found))
        if sorted(found["size"]) != wanted or (found["max"] != found["size"] - 1).any():
            yield f"{name}: not every problem has {' or '.join(map(str, sorted(set(wanted))))} responses"
            break
    if record.maker == "evaluate-model":
        inputs = (located(place, tree.root) for place in record.inputs)
        (problems,) = [path for path in inputs if path.suffix == ".parquet"]
        if len(samples) != (_rows(problems) or len(samples)):
            yield f"{name}: holds responses to {len(samples)} problems, not to all of {place_in(problems, tree.root)}"


def _wanted(record: Record, each: int, setting: str, problems: int) -> list[int]:
    """How many responses each of so many problems should have, in ascending order."""
    own, deep = record.parameter("own_samples"), record.parameter("deep_problems") or 0
    if own and setting == TRAINED:
        return [own] * problems
    many = min(deep, problems)
    return sorted([record.parameter("deep_samples")] * many + [each] * (problems - many))


def _rows(problems: Path) -> int | None:
    """None where the table is not here, or not readable, which its own check tells."""
    try:
        return tables.rows(problems, tables.PROBLEMS)
    except UserError:
        return None


def _room_problems(page: Path) -> Iterator[str]:
    """Whether the page's data, whose names are their digests, are whole."""
    data = reading_room.index_of(page).parent
    here = {path.stem: path for path in sorted(data.glob("*.js"))}
    damaged = {name for name, path in here.items() if not path.is_file() or not sha256_file(path).startswith(name)}
    for name in sorted(damaged):
        yield f"{place_in(here[name], page.parents[1])}: differs from its digest"
    index = reading_room.index_of(page).stem
    needed = {index} if index in damaged else reading_room.needed(page)
    for name in sorted(needed - here.keys()):
        yield f"{place_in(data / name, page.parents[1])}.js: missing, though the page shows it"


def _ledger_problems(path: Path) -> Iterator[str]:
    """Whether verdicts follow from the numbers beside them."""
    ledger = tables.read(path, tables.LEDGER)
    anew = judged(ledger)
    numbers = ["p", "p_adjusted", "p_no_effect"]
    if not np.allclose(ledger[numbers].astype(float), anew[numbers].astype(float), equal_nan=True):
        yield "claims/ledger.parquet: adjusted p-values do not follow from the p-values"
    wrong = ledger[ledger["verdict"] != anew["verdict"]].drop_duplicates(["id", "variant"])
    for _, row in wrong.iterrows():
        name = " ".join(filter(None, [f"'{row['id']}'", row["variant"]]))
        yield f"claims/ledger.parquet: the verdict of {name} does not follow from its tests"
