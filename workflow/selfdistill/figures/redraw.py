"""Figures of a finished or shipped study, drawn again from its results without the workflow."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from selfdistill import artifacts
from selfdistill.code_digest import code_digest
from selfdistill.config import Narrow, View, parse
from selfdistill.errors import UserError
from selfdistill.figures import drawing, plotting
from selfdistill.records.lineage import located
from selfdistill.settings import keys, validated
from selfdistill.study import Study
from selfdistill.written import read_keys, read_recorded


def redraw(name: str, results: Path, out: Path, settings: Path | None = None) -> None:
    """Draw the figure ``name`` from the tables in ``results`` to ``out``, in the format of its suffix.

    It is drawn as the configuration recorded there says, or the one in the file ``settings``. `UserError` for an
    unknown figure or format, for tables that are not there, and where that configuration does not say what is shown.
    """
    figure = artifacts.figure_named(name)
    recorded = _recorded(results)
    study = Study(recorded if settings is None else parse(read_keys(settings)))
    try:
        inputs = {table: _located(files, results) for table, files in figure.files(study).items()}
        chosen = artifacts.settings_of(figure, study)
    except (AttributeError, KeyError, TypeError) as error:  # the last one: a view that is null
        raise UserError(
            f"{settings or results / 'config.yaml'} does not say what {figure.title} ({name}) shows ({error}); "
            "--settings takes another configuration"
        ) from None
    if "curves" in inputs and not Path(str(inputs["curves"])).is_file():
        inputs["curves"] = str(located(study.curves, results))  # an earlier version made one table for all figures
    files = [file for found in inputs.values() for file in ([found] if isinstance(found, str) else found)]
    _check_there(figure, files, results)
    code = code_digest(drawing.script_of(name))
    made_from = plotting.record(study=recorded.study, rule=f"draw_{name}", code=code, inputs=files)
    drawing.write(name, drawing.draw(name, inputs, chosen, recorded.study), [out], made_from)


def _check_there(figure: artifacts.Figure, files: list[str], results: Path) -> None:
    missing = [file for file in files if not Path(file).is_file()]
    if missing:
        raise UserError(
            f"{figure.title} ({figure.name}) cannot be drawn from {results}: {len(missing)} of its {len(files)} tables "
            f"are not there, the first is {missing[0]}; shipped results leave out responses and metrics of training"
        )


def _located(files: str | list[str], results: Path) -> str | list[str]:
    """A study's files in the folder ``results``, to which they may have been moved."""
    if isinstance(files, str):
        return str(located(files, results))
    return [str(located(file, results)) for file in files]


def _recorded(results: Path) -> Any:
    """A study's recorded configuration, section by section as it stands: an earlier version may have recorded it.

    Only what figures show is brought up to date: a key that is no more is left out, a new one has its default.
    """
    path = results / "config.yaml"
    values = read_recorded(path)
    figures = values.get("figures", {})
    views = figures.get("views", {}) if isinstance(figures, dict) else figures
    if not isinstance(views, dict) or not all(isinstance(view, dict | None) for view in views.values()):
        raise UserError(f"{path}: expected what each figure shows under 'figures' and its 'views'")
    for figure in [name for name, view in views.items() if view is not None]:
        views[figure] = _today(View, views[figure], f"{path}: figures.views.{figure}")
    if figures.get("narrow") is not None:
        narrow = figures["narrow"]
        figures["narrow"] = _today(
            Narrow, {"problem_set": narrow} if isinstance(narrow, str) else narrow, f"{path}: figures.narrow"
        )
    sections = {name: SimpleNamespace(**part) if isinstance(part, dict) else part for name, part in values.items()}
    return SimpleNamespace(**{"trial": None, "contexts": {}} | sections)


def _today(kind: type, recorded: dict[str, Any], where: str) -> Any:
    return validated(kind, {name: value for name, value in recorded.items() if name in keys(kind)}, where)
