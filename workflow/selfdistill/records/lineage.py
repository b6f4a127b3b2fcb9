"""Where a file comes from: its record, and the chain of records down to raw data and seeds.

Every table has a provenance file beside it, every figure a record in its metadata; both name their inputs with
SHA-256. A tree may have been moved, or hold records without their data (as the reference results do): a recorded place
is looked up by what follows ``results/{study}/``.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any

from selfdistill.errors import UserError
from selfdistill.files import sha256_file
from selfdistill.records.provenance import sidecar_path

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


def root_of(path: Path) -> Path:
    """The results tree that a file belongs to: the nearest folder above it that holds tables or figures."""
    for folder in path.resolve().parents:
        if (folder / "tables").is_dir() or (folder / "figures").is_dir():
            return folder
    return path.resolve().parent


def read_record(path: Path) -> Record | None:
    """The record of a file, which itself may be gone; None where there is none. `UserError` for a broken one."""
    if sidecar_path(path).is_file():
        return from_sidecar(sidecar_path(path))
    if path.suffix == ".csv":  # the rows of a figure
        path = path.with_suffix(".png")
    if path.suffix in FIGURES and path.is_file():
        return from_metadata(path)
    return None


def from_sidecar(sidecar: Path) -> Record:
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


def from_metadata(path: Path) -> Record | None:
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
        yield f"{indent}{place_in(path, root)}: see above"
        return
    seen.add(path)
    record = read_record(path)
    yield f"{indent}{place_in(path, root)} {_state(path, wanted or (record.sha256 if record else None))}"
    if record is None:
        return
    told = ", ".join(f"{name} {record.parameters[name]}" for name in ORIGINS if record.parameters.get(name) is not None)
    code = f", code {record.parameters['code']}" if "code" in record.parameters else ""
    made = "; ".join(filter(None, [f"by {record.maker}{code}", told, record.when]))
    yield f"{indent}  {made}"
    for place, sha256 in record.inputs.items():
        yield from _chain(located(place, root), root, sha256, depth + 1, seen)


def place_in(path: Path, root: Path) -> str:
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)


def located(place: str, root: Path) -> Path:
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
