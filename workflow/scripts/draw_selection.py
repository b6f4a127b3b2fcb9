"""How hard the problems are: the number of correct responses per problem, with the selected band shaded."""

import sys

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from selfdistill import tables
from selfdistill.figures import plotting

IN_BAND, OUTSIDE, BAND = plotting.UNGUIDED, "#b8b8b8", "#dbeaf5"


def draw(frame: pd.DataFrame, study: str, low: float, high: float) -> Figure:
    """One histogram per model of the summary ``frame`` (row: number correct; metric: problems).

    ``low`` and ``high`` are the solve rates kept, both inclusive.
    """
    plotting.use_style()
    counts = frame[frame["metric"] == "problems"]
    figure, blocks = plotting.blocks_by_model(counts, height=2.6)
    for block, of_model in blocks:
        _draw_histogram(block.subplots(), of_model.assign(right=of_model["row"].astype(int)), low, high)
    plotting.stamp(figure, study, view="guidance")
    return figure


def _draw_histogram(axes: Axes, counts: pd.DataFrame, low: float, high: float) -> None:
    rollouts = counts["right"].max()
    kept = counts["right"].between(low * rollouts, high * rollouts)
    axes.axvspan(low * rollouts - 0.5, high * rollouts + 0.5, color=BAND, zorder=0)
    sns.barplot(
        counts.assign(kept=kept),
        x="right",
        y="value",
        hue="kept",
        palette={True: IN_BAND, False: OUTSIDE},
        native_scale=True,
        dodge=False,
        legend=False,
        width=0.8,
        saturation=1,
        ax=axes,
    )
    for bars in axes.containers:
        axes.bar_label(bars, fmt="%d", padding=1.5, fontsize=7.5)
    inside, total = counts.loc[kept, "value"].sum(), counts["value"].sum()
    axes.set_title(f"{inside:.0f} of {total:.0f} problems with a solve rate from {low:g} to {high:g}", loc="left")
    axes.set(xlabel=f"correct responses of {rollouts} rollouts", ylabel="problems", xticks=counts["right"])
    axes.margins(y=0.12)
    axes.grid(axis="x", visible=False)


if __name__ == "__main__":
    job = snakemake  # noqa: F821 (Snakemake puts it in scope)
    sys.stderr = open(job.log[0], "w", encoding="utf-8")  # noqa: SIM115 (until the process ends)
    histogram = tables.read(job.input.table, "summary")
    figure = draw(histogram, job.params.study, low=job.params.low, high=job.params.high)
    made_from = plotting.record(study=job.params.study, rule=job.rule, code=job.params.code, inputs=job.input)
    plotting.save(figure, job.output, made_from, histogram)
