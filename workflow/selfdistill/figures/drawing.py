"""What every figure has in common: its script is loaded, its tables are read, its files are written."""

import logging
import runpy
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from selfdistill import tables
from selfdistill.figures import captions, plotting
from selfdistill.figures.plotting import Drawn
from selfdistill.files import write_text

Files = Mapping[str, str | Path | Iterable[str | Path]]
# The kind of a table, by the name under which scripts take it.
KINDS = {
    "curves": tables.CURVES,
    "table": tables.SUMMARY,
    "steps": tables.TRAINING_STEPS,
    "base": tables.TRACES,
    "trained": tables.TRACES,
    "problems": tables.PROBLEMS,
}


def script_of(figure: str) -> Path:
    """The script whose function ``draw`` draws a figure."""
    return captions.SCRIPTS / f"draw_{figure}.py"


def draw(figure: str, files: Files, settings: Mapping[str, Any], study: str) -> Drawn:
    """What the figure's script draws from the tables in ``files``, which it takes by the same names."""
    logging.getLogger("fontTools").setLevel(logging.WARNING)  # it tells of every table of a font
    function = runpy.run_path(str(script_of(figure)))["draw"]
    shown = {name: _table(found, KINDS[name]) for name, found in files.items()}
    return function(**shown, **settings, study=study)


def _table(files: str | Path | Iterable[str | Path], kind: tables.Kind) -> pd.DataFrame:
    """The table of one file; several files are one table."""
    if isinstance(files, str | Path):
        return tables.read(files, kind)
    return pd.concat([tables.read(file, kind) for file in files], ignore_index=True)


def write(figure: str, drawn: Drawn, paths: Iterable[Path], made_from: str) -> None:
    """Write a figure to each of ``paths`` in the format of its suffix (`plotting.save`); .html is its page.

    A path in .txt gets its caption.
    """
    for path in paths:
        if path.suffix == ".html" and drawn.page:
            write_text(path, drawn.page(made_from))
        elif path.suffix == ".txt":
            write_text(path, captions.text(figure))
        else:
            plotting.save(drawn.figure, [path], made_from, drawn.data)
