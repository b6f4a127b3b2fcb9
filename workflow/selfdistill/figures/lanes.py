"""Panels with a lane for each of several models, beside their base model: a row per metric, a column per benchmark."""

from collections.abc import Callable, Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from selfdistill.analysis.words import benchmark_label
from selfdistill.figures import plotting
from selfdistill.figures.plotting import INK, Look

LANE = 0.17  # inches
DIFFERENCES = ("_difference_to_base", "gain")  # ends of metrics that are set against 0
BASE = "base"  # the lane of a base model's rows, which are drawn as a line


def draw_lanes(
    shown: pd.DataFrame,
    lanes: Mapping[str, str],
    look_of: Callable[[str], Look],
    metrics: Mapping[str, str],
    benchmarks: Sequence[str],
) -> Figure:
    """A block per family of base models.

    ``shown``: rows of a summary, with the column lane; ``lanes``: names of lanes with their labels, from the top down;
    ``metrics``: with their labels.
    """
    figure, blocks = plotting.blocks_by_model(shown, height=len(metrics) * (0.75 + LANE * len(lanes)))
    panels = [
        panel for block, rows in blocks for panel in _draw_block(block, rows, lanes, look_of, metrics, benchmarks)
    ]
    plotting.letter_panels(panels)
    return figure


def _draw_block(
    block: SubFigure,
    frame: pd.DataFrame,
    lanes: Mapping[str, str],
    look_of: Callable[[str], Look],
    metrics: Mapping[str, str],
    benchmarks: Sequence[str],
) -> list[Axes]:
    """The panels of one family."""
    there = [name for name in benchmarks if name in set(frame["benchmark"])]
    axes = block.subplots(len(metrics), len(there), sharex="row", sharey=True, squeeze=False)
    for row, (metric, label) in zip(axes, metrics.items(), strict=True):
        for panel, benchmark in zip(row, there, strict=True):
            rows = frame[(frame["metric"] == metric) & (frame["benchmark"] == benchmark)]
            _draw_base(panel, rows[rows["lane"] == BASE], metric)
            for place, name in enumerate(lanes):
                plotting.draw_points(panel, place, rows[rows["lane"] == name], look_of(name))
            panel.set(title=benchmark_label(benchmark), xlabel=label)
            panel.set_yticks(range(len(lanes)), lanes.values())
            panel.set_ylim(len(lanes) - 0.5, -0.5)
    return list(axes.flat)


def _draw_base(panel: Axes, base: pd.DataFrame, metric: str) -> None:
    if metric.endswith(DIFFERENCES):
        panel.axvline(0, color=INK, linewidth=0.9)
    for _, row in base.iterrows():
        panel.axvline(row["value"], color=INK, linewidth=0.9)
        panel.axvspan(row["low"], row["high"], color=INK, alpha=0.1, linewidth=0)
