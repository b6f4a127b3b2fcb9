"""Which folders are the results of one study, and which hold several or are a part of one."""

from collections.abc import Iterator
from pathlib import Path

from selfdistill.errors import UserError
from selfdistill.files import all_below
from selfdistill.records.bundle import BUNDLE
from selfdistill.records.provenance import SIDECAR

# Folders of a study that hold recorded files.
FOLDERS = (
    "alignment", "claims", "curves", "datasets", "evaluations", "figures", "information", "measures", "models",
    "problems", "reading_room", "tables", "traces", "training",
)  # fmt: skip


def check_whole(folder: Path) -> None:
    """`UserError` for a folder that holds studies, naming them, and for one that is a part of a study."""
    if _is_study(folder):
        return
    if below := list(_studies_in(folder)):
        raise UserError(f"{folder}: not a study, but a folder with some in it: {', '.join(map(str, below))}")
    place = folder.absolute()
    for above in place.parents:
        if place.relative_to(above).parts[0] in FOLDERS and _is_study(above):
            raise UserError(f"{folder}: not a study, but a part of one: {above}")


def _is_study(folder: Path) -> bool:
    recorded = (next(all_below(folder / name, SIDECAR), None) for name in FOLDERS)
    return (folder / BUNDLE).is_file() or any(recorded)


def _studies_in(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.is_dir() and not path.name.startswith(".") and not path.is_symlink():
            yield from [path] if _is_study(path) else _studies_in(path)
