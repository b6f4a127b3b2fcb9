"""From tables to the files of a figure: within the workflow (`run`), or from a finished study's results (`redraw`)."""

import runpy
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import yaml

from selfdistill import tables
from selfdistill.code_digest import PACKAGE_ROOT, code_digest
from selfdistill.config import View, parse
from selfdistill.errors import UserError
from selfdistill.figures import plotting, registry
from selfdistill.figures.plotting import Drawn
from selfdistill.files import write_text
from selfdistill.records.lineage import located
from selfdistill.settings import keys, validated
from selfdistill.study import Study

SCRIPTS = PACKAGE_ROOT / "scripts"
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
    """What every script does with its job (`snakemake`): ``draw`` takes tables and settings by their names."""
    sys.stderr = open(job.log[0], "w", encoding="utf-8")  # noqa: SIM115 (until the process ends)
    made_from = plotting.record(study=job.params.study, rule=job.rule, code=job.params.code, inputs=job.input)
    drawn = draw(**_read(dict(job.input.items())), **job.params.settings, study=job.params.study)
    _write(drawn, job.output, made_from)


def _read(files: Mapping[str, Any]) -> dict[str, pd.DataFrame]:
    return {name: _table(found, SCHEMAS[name]) for name, found in files.items()}


def _table(files: str | Iterable[str], schema: str) -> pd.DataFrame:
    if isinstance(files, str):
        return tables.read(files, schema)
    return pd.concat([tables.read(file, schema) for file in files], ignore_index=True)


def _write(drawn: Drawn, paths: Iterable[str | Path], made_from: str) -> None:
    for path in map(Path, paths):
        if path.suffix == ".html" and drawn.page:
            write_text(path, drawn.page(made_from))
        else:
            plotting.save(drawn.figure, [path], made_from, drawn.data)


def redraw(name: str, results: Path, out: Path, settings: Path | None = None) -> None:
    """Draw the figure ``name`` from the tables in ``results`` to ``out``, in the format of its suffix.

    It is drawn as the configuration recorded there says, or the one in the file ``settings``. `UserError` for an
    unknown figure or format, for tables that are not there, and where that configuration does not say what is shown.
    """
    figure = registry.figure_named(name)
    recorded = _recorded(results)
    config = recorded if settings is None else parse(_yaml(settings))
    try:
        inputs = _located(figure.source.files(Study(config)), results)
        chosen = registry.settings_of(figure, config)
    except (AttributeError, KeyError) as error:
        raise UserError(
            f"{settings or results / 'config.yaml'} does not say what {figure.title} ({name}) shows ({error}); "
            "--settings takes another configuration"
        ) from None
    files = [file for found in inputs.values() for file in ([found] if isinstance(found, str) else found)]
    missing = [file for file in files if not Path(file).is_file()]
    if missing:
        raise UserError(
            f"{figure.title} ({name}) cannot be drawn from {results}: {len(missing)} of its {len(files)} tables "
            f"are not there, the first is {missing[0]}; shipped results leave out responses and metrics of training"
        )
    script = SCRIPTS / f"draw_{name}.py"
    draw = runpy.run_path(str(script))["draw"]
    made_from = plotting.record(study=recorded.study, rule=f"draw_{name}", code=code_digest(script), inputs=files)
    _write(draw(**_read(inputs), **chosen, study=recorded.study), [out], made_from)


def _located(files: registry.Files, results: Path) -> registry.Files:
    """A study's files in the folder ``results``, to which they may have been moved."""
    return {
        name: str(located(found, results))
        if isinstance(found, str)
        else [str(located(file, results)) for file in found]
        for name, found in files.items()
    }


def _recorded(results: Path) -> Any:
    """A study's recorded configuration, section by section as it stands: an earlier version may have recorded it.

    Only views are brought up to date: a key of them that is no more is left out, a new one has its default.
    """
    path = results / "config.yaml"
    values = _yaml(path)
    if "study" not in values:
        raise UserError(f"{path}: expected the recorded configuration of a study, with its name under 'study'")
    sections = {name: SimpleNamespace(**part) if isinstance(part, dict) else part for name, part in values.items()}
    config = SimpleNamespace(**sections)
    views = getattr(getattr(config, "figures", None), "views", {})
    for figure, view in views.items():
        kept = {name: value for name, value in view.items() if name in keys(View)}
        views[figure] = validated(View, kept, f"{path}: figures.views.{figure}")
    return config


def _yaml(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise UserError(f"{path}: not a readable YAML file: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: expected a configuration: keys and their values")
    return values
