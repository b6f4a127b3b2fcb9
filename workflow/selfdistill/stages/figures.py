"""The figures of the workflow."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from selfdistill.parameters import Out, StudyName
from selfdistill.stages.registry import STEP, stage


@stage(STEP)
def draw_figure(
    figure: Annotated[str, "Name of the figure's files, such as fig_3."],
    *,
    curves: Annotated[Path | None, "Table of curves."] = None,
    table: Annotated[Path | None, "Table of numbers."] = None,
    steps: Annotated[Sequence[Path], "Tables of training metrics."] = (),
    base: Annotated[Path | None, "Responses of the base model."] = None,
    trained: Annotated[Path | None, "Responses of a trained model."] = None,
    problems: Annotated[Path | None, "Table of the problems that they answer."] = None,
    settings: Annotated[dict[str, Any], "What the figure asks of the configuration, as JSON."],
    study: StudyName,
    code: Annotated[str, "Digest of its code."],
    out_png: Out,
    out_pdf: Out,
    out_svg: Out,
    out_csv: Annotated[Path, "Where the rows that it shows go."],
    out_txt: Annotated[Path, "Where its caption goes."],
    out_html: Annotated[Path | None, "Where its page goes, if it has one."] = None,
) -> None:
    """Draw a figure from tables, those that its script takes, in all formats."""
    from selfdistill.figures import drawing, plotting

    given = {
        "curves": curves, "table": table, "steps": steps, "base": base, "trained": trained, "problems": problems
    }  # fmt: skip
    shown = {name: files for name, files in given.items() if files}
    inputs = [file for files in shown.values() for file in ([files] if isinstance(files, Path) else files)]
    made_from = plotting.record(study=study, rule=f"draw_{figure}", code=code, inputs=inputs)
    outputs = [path for path in (out_png, out_pdf, out_svg, out_csv, out_txt, out_html) if path is not None]
    drawing.write(figure, drawing.draw(figure, shown, settings, study), outputs, made_from)
