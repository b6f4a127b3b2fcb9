"""**Selection of problems (Section 3): how hard they are for the model.** Problems by the number of correct responses
among the rollouts drawn for each, over all problems that were tried. Shaded: the solve rates that are kept
(in the paper 0.125 to 0.5, that is 1 to 4 of 8, both ends included). From these, in file order, the first are taken
until the wanted number is reached (100 in the paper), so that more problems can lie in the band than are used.

There are no intervals: these are counts of the problems tried, not estimates; of several base models, their mean.

*What the authors did differently.* The rule is theirs. They store only the correct responses and report the score of
these same rollouts as that of the unguided setting; here every rollout is kept, and the selected problems are drawn
again before anything is measured on them (see Table 1).
"""

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from selfdistill.figures import plotting
from selfdistill.figures.plotting import Drawn

IN_BAND, OUTSIDE, BAND = plotting.UNGUIDED, "#b8b8b8", "#dbeaf5"


def draw(table: pd.DataFrame, study: str, low: float, high: float, target: int) -> Drawn:
    """One histogram per family of the summary ``table`` (row: number correct; metric: problems).

    ``low`` and ``high`` are the solve rates kept, both inclusive; of these problems the first ``target`` are used.
    """
    plotting.use_style()
    counts = table[table["metric"] == "problems"]
    figure, blocks = plotting.blocks_by_model(counts, height=2.6)
    for block, of_model in blocks:
        _draw_histogram(block.subplots(), of_model.assign(right=of_model["row"].astype(int)), low, high, target)
    plotting.stamp(figure, study, view="guidance")
    return Drawn(figure, table)


def _draw_histogram(axes: Axes, counts: pd.DataFrame, low: float, high: float, target: int) -> None:
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
        axes.bar_label(bars, fmt="%.0f", padding=1.5, fontsize=7.5)
    inside, total = counts.loc[kept, "value"].sum(), counts["value"].sum()
    found = f"{inside:.0f} of {total:.0f} problems have a solve rate from {low:g} to {high:g}"
    axes.set_title(f"{found}; the first {min(target, inside):.0f} of them are used", loc="left")
    axes.set(xlabel=f"correct responses of {rollouts} rollouts", ylabel="problems", xticks=counts["right"])
    axes.margins(y=0.12)
    axes.grid(axis="x", visible=False)
