"""Table 1 as a figure: length L, markers E and score in the settings of Section 3, with 95 % intervals.

Above, the values as measured. Below, L and E as ratios to unguided, the scale on which a tiny model and the
paper's can be compared; the paper's quoted values stand there, and beside the score, as hollow markers.
"""

import sys

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from selfdistill import tables
from selfdistill.figures import plotting

# Title, unit, and the metric by way of counting ("" where nothing is counted).
PANELS = [
    ("length L", "tokens per response", {"": "L"}),
    ("markers E", "per response", {"substring": "E_substring", "word": "E_word"}),
    (
        "density E / L",
        "per 1,000 tokens",
        {"substring": "E_per_1000_tokens_substring", "word": "E_per_1000_tokens_word"},
    ),
    ("score", "share correct", {"": "score"}),
]


def draw(frame: pd.DataFrame, study: str) -> Figure:
    """Two rows of panels for each model measured in the summary ``frame``."""
    plotting.use_style()
    settings = plotting.in_order(frame["row"], plotting.SETTINGS)
    figure, blocks = plotting.blocks_by_model(frame, height=1.3 + 0.56 * len(settings))
    for block, of_model in blocks:
        _draw_block(block, of_model, settings)
    plotting.stamp(figure, study, view="guidance")
    return figure


def _draw_block(block: SubFigure, frame: pd.DataFrame, settings: list[str]) -> None:
    axes = block.subplots(2, len(PANELS), sharey=True)
    quoted = plotting.relative_to(frame[frame["origin"] == "quoted"], "unguided")
    # Measured ratios stand in the table, with intervals that resample both their sides together.
    ratios = pd.concat([plotting.measured(frame), quoted.assign(metric=quoted["metric"] + "_ratio")])
    for (title, unit, metrics), above, below in zip(PANELS, *axes, strict=True):
        is_score = title == "score"
        plotting.draw_settings(above, frame if is_score else plotting.measured(frame), settings, metrics)
        above.set(title=title, xlabel=unit)
        plotting.from_zero(above, most=1 if is_score else None)
        if is_score:
            _draw_legend(below)
        else:
            of_ratios = {counting: f"{metric}_ratio" for counting, metric in metrics.items()}
            plotting.draw_settings(below, ratios, settings, of_ratios)
            below.axvline(1, color=plotting.MUTED, linewidth=0.8, zorder=0)
            below.set(xlabel="ratio to unguided")
            plotting.from_zero(below)


def _draw_legend(axes: Axes) -> None:
    axes.axis("off")
    entries = [plotting.legend_entry(look, interval=True) for look in plotting.COUNTINGS.values()]
    axes.legend(handles=[*entries, plotting.legend_entry(plotting.QUOTED, quoted=True)], loc="center")


if __name__ == "__main__":
    job = snakemake  # noqa: F821 (Snakemake puts it in scope)
    sys.stderr = open(job.log[0], "w", encoding="utf-8")  # noqa: SIM115 (until the process ends)
    made_from = plotting.record(study=job.params.study, rule=job.rule, code=job.params.code, inputs=job.input)
    table = tables.read(job.input.table, "summary")
    plotting.save(draw(table, job.params.study), job.output, made_from, table)
