"""Where a file comes from: its record, and the chain of records down to raw data and seeds.

Every table has a record (see `bundle`), every figure one in its metadata; both name their inputs with SHA-256. A tree
may have been moved, or hold records without their data (as the reference results do): a recorded place is looked up by
what follows ``results/{study}/``.
"""

import json
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from html import unescape
from pathlib import Path

from selfdistill.errors import UserError, nearest
from selfdistill.files import is_unchanged, sha256_file
from selfdistill.records.bundle import BUNDLE, SHOWN, Record, Records, place_in
from selfdistill.records.provenance import sidecar_path

FIGURES = (".png", ".svg", ".pdf")
ALONG_TRAINING = re.compile(r"(.*)/models/([^/]+/[^/]+)/(step-\d+)/manifest\.json")
PLACE = re.compile(r"^results/[^/]+/(.*)$")
ORIGINS = ("source", "repo", "revision", "file", "split", "seed", "preset", "model_name", "run")


def trace(path: Path) -> list[str]:
    """The chain from ``path`` down to raw data and seeds, one line per file, deeper files indented.

    `UserError` where ``path`` has no record, or where one on the way or a line of the tree's bundle is damaged.
    """
    # As it was given, or where links lead: folders of a tree may be links, and links may lead into one.
    place = max((Path(os.path.abspath(path)), path.resolve()), key=_known)
    root = root_of(place)
    records = Records(root)
    if read_record(place, records) is None:
        if path.is_dir():
            raise UserError(f"{path}: a folder, where a table or figure in it is expected")
        if not path.exists():
            raise UserError(f"{path}: no such file, and no record of one{nearest(path.name, _beside(place, records))}")
        raise UserError(
            f"{path}: no record of where it comes from (expected {sidecar_path(path).name}, a line of {BUNDLE}, "
            "or a figure's metadata)"
        )
    return list(_chain(place, root, records, None, 0, set()))


def _beside(path: Path, records: Records) -> set[str]:
    """The names of the files in a file's folder, and of those that a record there is of."""
    recorded = {Path(place).name for place in records.places() if (root_of(path) / place).parent == path.parent}
    return recorded | {each.name for each in path.parent.glob("*") if each.is_file()}


def _known(path: Path) -> int:
    """How many of the files that a file was made from are in its tree; -1 where it has no record."""
    root = root_of(path)
    record = read_record(path, Records(root))
    return -1 if record is None else sum(located(place, root).is_file() for place in record.inputs)


def root_of(path: Path) -> Path:
    """The results tree that a file belongs to: the nearest folder above it with tables, figures or a bundle."""
    for folder in path.parents:
        if (folder / "tables").is_dir() or (folder / "figures").is_dir() or (folder / BUNDLE).is_file():
            return folder
    return path.parent


def read_record(path: Path, records: Records) -> Record | None:
    """The record of a file, which itself may be gone, or None.

    That of its figure for the CSV of a figure's rows; of its training for a model along training.
    """
    record = records.of(path)
    if record is not None:
        return record
    if along := ALONG_TRAINING.fullmatch(str(path)):
        return _of_training(*along.groups(), records)
    if path.suffix == ".csv":  # the rows of a figure
        path = path.with_suffix(".png")
    return from_metadata(path) if path.suffix in FIGURES and path.is_file() else None


def _of_training(root: str, run: str, step: str, records: Records) -> Record | None:
    """That of the metrics that a run left with its models, which may be deleted after use."""
    record = records.of(Path(root, "training", f"{run}.parquet"))
    made = {} if record is None else record.content.get("models", {}).get(step, {})
    return record and replace(record, sha256=made.get("sha256"))


def from_metadata(path: Path) -> Record | None:
    """A figure's record, from the PNG's Description, the SVG's dc:description or the PDF's Subject."""
    try:
        text = _description(path)
        content = json.loads(text) if text else None
        if content is None:
            return None
        parameters = {"study": content["study"], "code": content["code"]}
        return Record(content["rule"], content["inputs"], parameters, None, "", content)
    except (OSError, SyntaxError, ValueError, KeyError, TypeError):  # SyntaxError: Pillow, of a broken PNG
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


def _chain(path: Path, root: Path, records: Records, wanted: str | None, depth: int, seen: set[Path]) -> Iterator[str]:
    indent = "  " * depth
    if path in seen:
        yield f"{indent}{place_in(path, root)}: see above"
        return
    seen.add(path)
    record = read_record(path, records)
    if record is not None and wanted in (None, record.whole):
        wanted = record.sha256
    yield f"{indent}{place_in(path, root)} {_state(path, wanted)}"
    if record is None:
        return
    told = ", ".join(f"{name} {value}" for name in ORIGINS if (value := record.parameter(name)) is not None)
    code = f", code {record.parameters['code']}" if "code" in record.parameters else ""
    made = "; ".join(filter(None, [f"by {record.maker}{code}", told, record.when]))
    yield f"{indent}  {made}"
    for place, sha256 in record.inputs.items():
        yield from _chain(located(place, root), root, records, sha256, depth + 1, seen)


def located(place: str, root: Path) -> Path:
    """Where a recorded input is now."""
    within = PLACE.match(place)
    return root / within[1] if within else Path(place)


def _state(path: Path, wanted: str | None) -> str:
    if not path.is_file():
        return f"{(wanted or '')[:SHOWN]} (not here)".strip()
    found = sha256_file(path)
    if wanted in (None, found) or is_unchanged(path, wanted):
        return found[:SHOWN]
    return f"{found[:SHOWN]} CHANGED since, was {wanted[:SHOWN]}"
