"""Appendix A.1.1 as a figure: each of the ten markers by setting, counted both ways, with 95 % intervals."""

import sys

import pandas as pd
from matplotlib.figure import Figure, SubFigure
from selfdistill import tables
from selfdistill.figures import plotting
from selfdistill.markers.counting import MARKERS

COLUMNS = 5


def draw(frame: pd.DataFrame, study: str) -> Figure:
    """One panel per marker, each with its own scale, for each model measured in the summary ``frame``."""
    plotting.use_style()
    settings = plotting.in_order(frame["row"], plotting.SETTINGS)
    figure, blocks = plotting.blocks_by_model(frame, height=1.2 + 0.56 * len(settings))
    for block, of_model in blocks:
        _draw_block(block, of_model, settings)
    plotting.draw_legend(figure, [plotting.legend_entry(look, interval=True) for look in plotting.COUNTINGS.values()])
    plotting.stamp(figure, study, view="guidance")
    return figure


def _draw_block(block: SubFigure, frame: pd.DataFrame, settings: list[str]) -> None:
    axes = block.subplots(len(MARKERS) // COLUMNS, COLUMNS, sharey=True)
    for marker, panel in zip(MARKERS, axes.flat, strict=True):
        metrics = {counting: f"{counting}_{marker}" for counting in plotting.COUNTINGS}
        plotting.draw_settings(panel, frame, settings, metrics)
        plotting.from_zero(panel)
        panel.set_title(marker)
    for panel in axes[-1]:
        panel.set_xlabel("per response")


if __name__ == "__main__":
    job = snakemake  # noqa: F821 (Snakemake puts it in scope)
    sys.stderr = open(job.log[0], "w", encoding="utf-8")  # noqa: SIM115 (until the process ends)
    made_from = plotting.record(study=job.params.study, rule=job.rule, code=job.params.code, inputs=job.input)
    table = tables.read(job.input.table, "summary")
    plotting.save(draw(table, job.params.study), job.output, made_from, table)
