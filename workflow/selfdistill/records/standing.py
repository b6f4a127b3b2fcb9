"""Which results are no longer what their records say, told in a moment: what the workflow has to make again."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from selfdistill import models
from selfdistill.files import is_as_recorded
from selfdistill.pages import reading_room
from selfdistill.records.bundle import Record, Records
from selfdistill.records.lineage import located

NEVER = -1  # no file is older
ROOM = "reading_room/index.html"


class Expected(NamedTuple):
    """What a file should hold: its SHA-256 (or the first digits of it), and its size where that is recorded."""

    sha256: str
    bytes: int | None = None


def changed_since_recorded(root: Path) -> list[Path]:
    """Files of the results tree ``root`` that are not what the record beside them says, sorted: edited, cut or gone.

    A model's manifest is among them when a file that it lists is, in a user's own folder too, the page of the reading
    room when its data are, the folder of a training run when one of its models is; those may be deleted. A file without
    a record beside it, or with an unreadable one, is left to `verification.verify`, as is what `files.is_as_recorded`
    does not notice.
    """
    records = Records(root, lambda _: None)
    found, along = set(), {}
    for place, sidecar in records.sidecars().items():
        record = records.of(root / place)
        if record is None:
            continue
        expected = Expected(record.sha256, record.bytes)
        if not _stands(root / place, expected, sidecar, root) or not _own_files_stand(root / place, record):
            found.add(root / place)
        for made in record.content.get("models", {}).values():  # the outputs of one job say the same
            along[located(made["path"], root)] = Expected(made["sha256"]), sidecar
    return sorted(
        found | {path.parents[1] for path, told in along.items() if path.is_file() and not _stands(path, *told, root)}
    )


def _stands(path: Path, expected: Expected, sidecar: Path, root: Path) -> bool:
    recorded = sidecar.stat().st_mtime_ns
    if not is_as_recorded(path, *expected, recorded):
        return False
    return all(is_as_recorded(part, *wanted, recorded) for part, wanted in _parts(path, root))


def _own_files_stand(manifest: Path, record: Record) -> bool:
    """Whether the files of a user's own model, as far as they are there, are those that were registered.

    Another one may be of any age: a large file is passed over only if its time is the recorded one.
    """
    modified = record.content.get("modified", {})
    if not modified:
        return True
    content = models.read_manifest(manifest)
    for name, when in modified.items():
        path, entry = Path(content["folder"], name), content["files"][name]
        if path.is_file():
            recorded = when if path.stat().st_mtime_ns == when else NEVER
            if not is_as_recorded(path, entry["sha256"], entry["bytes"], recorded):
                return False
    return True


def _parts(path: Path, root: Path) -> Iterator[tuple[Path, Expected]]:
    """The files that stand or fall with a recorded one: a model's with its manifest, the page's data with the page."""
    if path.name == models.MANIFEST:
        content = models.read_manifest(path)
        if content["kind"] == "files":
            for name, entry in content["files"].items():
                yield path.parent / name, Expected(entry["sha256"], entry["bytes"])
    elif path == root / ROOM:
        index = reading_room.index_of(path)
        yield index, Expected(index.stem)  # names are digests
        for name in reading_room.needed(path):
            yield index.with_name(f"{name}.js"), Expected(name)
