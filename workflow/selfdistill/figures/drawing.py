"""What every script of a figure does with its job: tables in, files out."""

import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from selfdistill import tables
from selfdistill.figures import plotting
from selfdistill.figures.plotting import Drawn
from selfdistill.files import write_text

# The schema of a table, by the name under which scripts take it.
SCHEMAS = {
    "curves": "curves",
    "table": "summary",
    "steps": "training_steps",
    "base": "traces",
    "trained": "traces",
    "problems": "problems",
}


def run(job: Any, draw: Callable[..., Drawn]) -> None:
    """Draw what a rule asks for (``job``: `snakemake`); ``draw`` takes tables and settings by their names."""
    sys.stderr = open(job.log[0], "w", encoding="utf-8")  # noqa: SIM115 (until the process ends)
    made_from = plotting.record(study=job.params.study, rule=job.rule, code=job.params.code, inputs=job.input)
    drawn = draw(**read(dict(job.input.items())), **job.params.settings, study=job.params.study)
    write(drawn, job.output, made_from)


def read(files: Mapping[str, str | Iterable[str]]) -> dict[str, pd.DataFrame]:
    """The tables in ``files`` by the same names; several files under one name are one table."""
    return {name: _table(found, SCHEMAS[name]) for name, found in files.items()}


def _table(files: str | Iterable[str], schema: str) -> pd.DataFrame:
    if isinstance(files, str):
        return tables.read(files, schema)
    return pd.concat([tables.read(file, schema) for file in files], ignore_index=True)


def write(drawn: Drawn, paths: Iterable[str | Path], made_from: str) -> None:
    """Write a figure to each of ``paths`` in the format of its suffix (`plotting.save`); .html is its page."""
    for path in map(Path, paths):
        if path.suffix == ".html" and drawn.page:
            write_text(path, drawn.page(made_from))
        else:
            plotting.save(drawn.figure, [path], made_from, drawn.data)
