"""The records of a results tree: sidecars while a study runs, one file for all of them once it is shipped.

Parallel jobs cannot share a file, so each writes a sidecar beside its output. `bundle` moves those of a finished tree
into ``provenance.jsonl`` at its root: one line of JSON per recorded file, with the file's place in the tree as
``path``, whether it was left out of the tree when that was shared (``left_out``) and all that the sidecar held.
`Records` reads both; a sidecar is newer than the line of the same file, and wins. Records of earlier versions have
neither a size, nor a digest of themselves, nor ``left_out``.
"""

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from selfdistill.errors import UserError
from selfdistill.files import all_below, write_text
from selfdistill.records.provenance import SEAL, SIDECAR, seal, sidecar_path

BUNDLE = "provenance.jsonl"
SHOWN = 12  # hexadecimal digits of a digest
# Required keys of a record, with their types.
KEYS = {
    "sha256": str,
    "command": list,
    "inputs": dict,
    "parameters": dict,
    "finished": str,
    "seconds": (int, float),
    "git": (str, type(None)),
}


@dataclass(frozen=True)
class Record:
    """What a file's record says: the stage or script, the inputs (place, SHA-256), parameters, and its own SHA-256.

    ``content`` is all of it, as it was written. ``left_out``: the file may be absent, since the tree was shared without
    it.
    """

    maker: str
    inputs: dict[str, str]
    parameters: dict[str, Any]
    sha256: str | None
    when: str
    content: dict[str, Any]
    left_out: bool = False

    @property
    def bytes(self) -> int | None:
        """The file's size; None in records of earlier versions."""
        return self.content.get("bytes")

    @property
    def whole(self) -> str | None:
        """The SHA-256 that the file had before its text was left out (`measures.unpack`); None of a whole one."""
        return self.content.get("whole")

    def parameter(self, name: str) -> Any:
        """The parameter ``name``, also where it is a setting ("settings.steps"); None where there is none."""
        if name in self.parameters:
            return self.parameters[name]
        settings = (value for key, value in self.parameters.items() if key.endswith(f".{name}"))
        return next((value for value in settings if value is not None), None)


def _refuse(sentence: str) -> None:
    raise UserError(sentence)


class Records:
    """The records of the results tree ``root``, wherever they stand.

    ``damaged`` is given one sentence, with file and line, on each record that cannot be read; such a record is left
    out. Without it the first one is a `UserError`.
    """

    def __init__(self, root: Path, damaged: Callable[[str], None] = _refuse) -> None:
        self._root = root
        self._damaged = damaged
        self._bundled = self._read_bundle()

    def of(self, path: Path) -> Record | None:
        """The record of a file, which itself may be gone; None where there is none, or a damaged one."""
        sidecar = sidecar_path(path)
        return self._read_sidecar(sidecar) if sidecar.is_file() else self._bundled.get(place_in(path, self._root))

    def all(self) -> dict[str, Record]:
        """Every record by its file's place in the tree, sorted by place."""
        found = self._bundled | {place: self._read_sidecar(path) for place, path in sorted(self.sidecars().items())}
        return {place: record for place, record in sorted(found.items()) if record is not None}

    def places(self) -> set[str]:
        """The places in the tree of all files with a record."""
        return self.sidecars().keys() | self._bundled.keys()

    def sidecars(self) -> dict[str, Path]:
        """The tree's sidecars by the places of their files."""
        return {place_in(path, self._root).removesuffix(SIDECAR): path for path in all_below(self._root, SIDECAR)}

    def _read_sidecar(self, sidecar: Path) -> Record | None:
        try:
            return _record(_parsed(sidecar.read_bytes(), indent=2))
        except (OSError, ValueError) as error:
            self._damaged(f"{sidecar}: {error}")
            return None

    def _read_bundle(self) -> dict[str, Record]:
        file = self._root / BUNDLE
        found: dict[str, Record] = {}
        try:
            lines = file.read_bytes().splitlines() if file.exists() else []
        except OSError as error:
            self._damaged(f"{file}: {error}")
            return {}
        if file.exists() and not lines:
            self._damaged(f"{file}: holds no record")
        for number, line in enumerate(lines, start=1):
            try:
                content = _parsed(line)
                place = _place(content.pop("path", None))
                if place in found:
                    raise ValueError(f"a second record of '{place}'")
                found[place] = _record(content, left_out=content.pop("left_out", True))
            except ValueError as error:
                self._damaged(f"{file}, line {number}: {error}")
        return found


def bundle(root: Path) -> int:
    """Move the records of the tree ``root`` into its `BUNDLE`; returns how many it holds.

    Sidecars are removed when the file is written. `UserError` for a damaged record, or where there is none: then
    nothing is changed.
    """
    tree = Records(root)
    beside, records = tree.sidecars(), tree.all()
    if not records:
        raise UserError(f"{root}: no records (expected a folder with {SIDECAR} files, or with {BUNDLE})")
    absent = {
        place
        for place, record in records.items()
        if (place in beside or record.left_out) and not (root / place).is_file()
    }
    write_text(root / BUNDLE, lines(records, absent))
    for sidecar in beside.values():
        sidecar.unlink()
    return len(records)


def lines(records: Mapping[str, Record], absent: Collection[str]) -> str:
    """What a `BUNDLE` says of ``records``; ``absent``: the places of files that are not shared with them."""
    return "".join(json.dumps(_line(place, record, place in absent)) + "\n" for place, record in records.items())


def _line(place: str, record: Record, left_out: bool) -> dict[str, Any]:
    """A record of an earlier version stays as it is."""
    return {"path": place, **({"left_out": left_out} if SEAL in record.content else {}), **record.content}


def place_in(path: Path, root: Path) -> str:
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)


def _parsed(text: bytes, indent: int | None = None) -> dict[str, Any]:
    """Parse a record that `json.dumps` wrote with this ``indent``; ValueError if it was changed."""
    try:
        content = json.loads(text)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise ValueError("not a provenance record (no JSON object)")
    if SEAL in content and json.dumps(content, indent=indent) != text.decode().strip():
        raise ValueError("a provenance record that was changed")
    return content


def _record(content: dict[str, Any], *, left_out: bool = False) -> Record:
    """`ValueError` that says what is missing, of another type, or changed."""
    wrong = [name for name, kind in KEYS.items() if name not in content or not isinstance(content[name], kind)]
    if wrong:
        raise ValueError(f"not a provenance record (no valid {', '.join(wrong)})")
    try:
        maker = content["command"][1]
        inputs = {entry["path"]: entry["sha256"] for entry in content["inputs"].values()}
        if not all(isinstance(word, str) for word in (maker, *inputs, *inputs.values())):
            raise TypeError
    except IndexError:
        raise ValueError("not a provenance record (a command without a stage)") from None
    except (KeyError, TypeError):
        raise ValueError("not a provenance record (no valid path and sha256 of every input)") from None
    if content.get(SEAL) != (seal(content) if "bytes" in content or SEAL in content else None):
        raise ValueError("a provenance record that was changed")
    when = f"{content['finished']}, {content['seconds']:g} s, git {(content['git'] or 'unknown')[:SHOWN]}"
    return Record(maker, inputs, content["parameters"], content["sha256"], when, content, left_out)


def _place(path: object) -> str:
    """A line's ``path``, which must be one inside the tree."""
    if not isinstance(path, str):
        raise ValueError("not a line of a bundle (no valid path)")
    place = PurePosixPath(path)
    if not place.parts or place.is_absolute() or ".." in place.parts:
        raise ValueError(f"the path '{path}' lies outside of the tree")
    return str(place)
