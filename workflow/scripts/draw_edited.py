r"""**Beyond the paper: fine-tuning on edited responses.** A lane per data set: D_ug with one thing or several taken out
of its responses, or D_sg with one thing put in (docs/beyond.md). A column per benchmark; from the top down accuracy
(avg@k), its difference to the base model, markers E per response and verified answers V after fine-tuning. The black
line and grey band are the base model and its interval. E counts the ten markers as substrings; V is the share of
accepted answers that a response shows to hold.

Where several learning rates were run, the highest is drawn.

*What the authors did differently.* The paper edits no responses: it compares D_ug with D_sg, which differ in all of
these things at once.
"""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure
from selfdistill.analysis.words import benchmark_label
from selfdistill.figures import plotting
from selfdistill.figures.plotting import GUIDED, INK, UNGUIDED, Drawn, Look
from selfdistill.training.edited_sets import MATCHED, NAMES, source_of
from selfdistill.training.sft_sets import GUIDED as OF_GUIDED

METRICS = {
    "avg": "accuracy (%)",
    "avg_difference_to_base": "difference to base (points)",
    "E_substring": "markers E per response",
    "V": "verified V (share of accepted)",
}
LANE = 0.17  # inches
LOOKS = {
    "unguided": Look(r"made from $D_{\mathrm{ug}}$", UNGUIDED, "o"),
    "guided": Look(r"made from $D_{\mathrm{sg}}$", GUIDED, "s"),
}


def draw(table: pd.DataFrame, runs: plotting.Runs, benchmarks: Sequence[str], study: str) -> Drawn:
    """One block per family of base models; a row of panels per metric, a lane in each for every data set."""
    plotting.use_style()
    shown = _shown(table, runs)
    lanes = [name for name in NAMES if name in set(shown["dataset"])]
    figure, blocks = plotting.blocks_by_model(shown, height=len(METRICS) * (0.75 + LANE * len(lanes)))
    plotting.letter_panels([panel for block, rows in blocks for panel in _draw_block(block, rows, lanes, benchmarks)])
    entries = [plotting.legend_entry(look, interval=True) for look in LOOKS.values()]
    plotting.draw_legend(figure, entries)
    plotting.stamp(figure, study, f"Bars: {plotting.interval_text(shown)}.", view="sft")
    return Drawn(figure, shown.drop(columns=["dataset", "rate"]))


def _shown(table: pd.DataFrame, runs: plotting.Runs) -> pd.DataFrame:
    """The base model's rows, and each data set's at the highest rate; with columns dataset and rate."""
    found = table["row"].map(lambda row: runs.get(row, (row, 0.0)))
    frame = table.assign(dataset=found.str[0], rate=found.str[1].astype(float))
    highest = frame["rate"] == frame.groupby("dataset")["rate"].transform("max")
    return frame[highest & frame["metric"].isin(METRICS)]


def _draw_block(block: SubFigure, frame: pd.DataFrame, lanes: list[str], benchmarks: Sequence[str]) -> list[Axes]:
    """The panels of one family."""
    there = [name for name in benchmarks if name in set(frame["benchmark"])]
    axes = block.subplots(len(METRICS), len(there), sharex="row", sharey=True, squeeze=False)
    for row, (metric, label) in zip(axes, METRICS.items(), strict=True):
        for panel, benchmark in zip(row, there, strict=True):
            rows = frame[(frame["metric"] == metric) & (frame["benchmark"] == benchmark)]
            _draw_base(panel, rows[rows["dataset"] == "base"], metric)
            for place, name in enumerate(lanes):
                look = LOOKS["guided" if source_of(name) == OF_GUIDED else "unguided"]
                plotting.draw_points(panel, place, rows[rows["dataset"] == name], look)
            panel.set(title=benchmark_label(benchmark), xlabel=label)
            panel.set_yticks(range(len(lanes)), map(_label, lanes))
            panel.set_ylim(len(lanes) - 0.5, -0.5)
    return list(axes.flat)


def _draw_base(panel: Axes, base: pd.DataFrame, metric: str) -> None:
    if metric.endswith("_difference_to_base"):
        panel.axvline(0, color=INK, linewidth=0.9)
    for _, row in base.iterrows():
        panel.axvline(row["value"], color=INK, linewidth=0.9)
        panel.axvspan(row["low"], row["high"], color=INK, alpha=0.1, linewidth=0)


def _label(name: str) -> str:
    return name.replace(MATCHED, ", matched").replace("_", " ")
