"""Snakemake's report, made whole: with the reading room that its pages and pictures link to."""

import shutil
import zipfile
from pathlib import Path

from selfdistill.errors import UserError
from selfdistill.files import atomic_path
from selfdistill.records.standing import ROOM

BESIDE = "data/raw"  # where Snakemake puts a folder for each file of a report


def add_room(report: Path, results: Path) -> int:
    """Add the reading room of the study in ``results`` to its report (zip); returns the number of files added.

    A report that has it already stays as it is. `UserError` where the study has no reading room, or the file is no
    report.
    """
    room = (results / ROOM).parent
    if not (results / ROOM).is_file():
        raise UserError(f"{results}: no reading room ({ROOM}); it is made with the rest of a study")
    if not zipfile.is_zipfile(report):
        raise UserError(f"{report}: no zip; `snakemake --report {report.with_suffix('.zip')}` makes one")
    with atomic_path(report) as temporary:
        shutil.copyfile(report, temporary)
        with zipfile.ZipFile(temporary, "a", zipfile.ZIP_DEFLATED) as packed:
            held = set(packed.namelist())
            pages = [name for name in held if name.endswith("/report.html")]
            if len(pages) != 1:
                raise UserError(f"{report}: no report of Snakemake's (no report.html in it)")
            place = Path(pages[0]).parent / BESIDE / room.name
            files = {str(place / file.relative_to(room)): file for file in _files(room)}
            new = files.keys() - held
            for name in sorted(new):
                packed.write(files[name], name)
    return len(new)


def _files(room: Path) -> list[Path]:
    return [room / Path(ROOM).name, *sorted((room / "data").glob("*.js"))]
