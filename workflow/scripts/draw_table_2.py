"""**Table 2 (Section 4): accuracy after SFT.** Accuracy (avg@k: the mean over k responses to a problem, then over
problems) of the base model and of the models fine-tuned from it on three sets of its own responses, by
benchmark and learning rate: D_ug, unguided and correct; D_sg, solution-guided and correct; and a set
of the size of D_ug drawn without regard to correctness (*unfiltered*). No context is shown at evaluation.

*Above:* accuracy; the line and band are the base model and its interval. *Below:* the difference to the base model
on the same problems. *Right:* the paper's quoted values on the same scales, hollow, without intervals; its learning
rate is not published, and its benchmarks are not ours unless they bear the same name.

*Intervals:* 95 % (docs/statistics.md): what other base models and other problems could have given; of one base model,
other problems only. Small points are the base models. Differences are taken problem by problem within a base model: one
whose interval excludes zero is a change that others would be expected to show; it must not be read off two overlapping
intervals above.

*What the authors did differently.* They report one unpublished training recipe; we show every rate of a grid that was
fixed beforehand. Their script takes one response per problem, at most 100 where the paper says 800, repeats
the instruction and adds a system prompt that evaluation does not use; our sets have the stated size, cover the same
problems as far as possible, and use the prompt of the evaluation. The unfiltered set is ours: it separates
the effect of keeping only correct responses from that of training on one's own.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure
from selfdistill.analysis.words import benchmark_label, rate_label
from selfdistill.figures import plotting
from selfdistill.figures.plotting import Drawn

METRICS = {"avg": "accuracy (%)", "avg_difference_to_base": "difference to base\n(percentage points)"}
SHIFTS = {"base": -0.36, "unguided": -0.18, "guided": 0.0, "unguided_unfiltered": 0.18}


def draw(table: pd.DataFrame, runs: plotting.Runs, benchmarks: Sequence[str], study: str) -> Drawn:
    """Two rows of panels, one column per benchmark and one for the paper, for each model measured.

    ``benchmarks``: those of the study, in its order.
    """
    plotting.use_style()
    trained = [plotting.what_trained(row, runs) for row in table["row"]]
    frame = table.assign(dataset=[dataset for dataset, _ in trained], rate=[rate for _, rate in trained])
    figure, blocks = plotting.blocks_by_model(frame, height=4.0)
    plotting.letter_panels([panel for block, of_model in blocks for panel in _draw_block(block, of_model, benchmarks)])
    present = plotting.in_order(frame["dataset"], plotting.DATASETS)
    entries = [plotting.legend_entry(plotting.DATASETS[name], interval=True) for name in present]
    plotting.draw_legend(figure, entries)
    plotting.stamp(figure, study, f"Bars: {plotting.interval_text(table)}.", view="sft")
    return Drawn(figure, table)


def _draw_block(block: SubFigure, frame: pd.DataFrame, order: Sequence[str]) -> np.ndarray:
    """The panels of one model."""
    measured, quoted = plotting.measured(frame), frame[frame["origin"] == "quoted"]
    benchmarks = sorted(measured["benchmark"].unique(), key=list(order).index)
    axes = block.subplots(2, len(benchmarks) + 1, sharex="col", sharey="row")
    for (metric, label), panels in zip(METRICS.items(), axes, strict=True):
        panels[0].set_ylabel(label)
        rows = measured[measured["metric"] == metric]
        for panel, benchmark in zip(panels[:-1], benchmarks, strict=True):
            _draw_rates(panel, rows[rows["benchmark"] == benchmark])
        _draw_quoted(panels[-1], quoted[quoted["metric"] == metric])
    for panel, title in zip(axes[0], [*map(benchmark_label, benchmarks), "paper (quoted)"], strict=True):
        panel.set_title(title)
    for panel in axes[1]:
        panel.axhline(0, color=plotting.INK, linewidth=0.9)
    for panel in axes[1, :-1]:
        panel.set_xlabel("learning rate")
    axes[0, 0].set_ylim(0, 100)
    return axes.flat


def _draw_rates(axes: Axes, frame: pd.DataFrame) -> None:
    for _, base in frame[frame["dataset"] == "base"].iterrows():
        axes.axhline(base["value"], color=plotting.INK, linewidth=0.9)
        axes.axhspan(base["low"], base["high"], color=plotting.INK, alpha=0.12, linewidth=0)
    runs = frame[frame["dataset"] != "base"]
    rates = sorted(runs["rate"].unique())
    _draw_datasets(axes, runs, np.searchsorted(rates, runs["rate"]), quoted=False)
    axes.set_xticks(range(len(rates)), [rate_label(rate) for rate in rates])
    axes.set_xlim(-0.5, len(rates) - 0.5)


def _draw_quoted(axes: Axes, frame: pd.DataFrame) -> None:
    benchmarks = list(frame["benchmark"].unique())  # in the paper's order
    _draw_datasets(axes, frame, frame["benchmark"].map(benchmarks.index), quoted=True)
    axes.set_xticks(range(len(benchmarks)), benchmarks, rotation=35, ha="right", rotation_mode="anchor")
    axes.set_facecolor("#f6f6f6")


def _draw_datasets(axes: Axes, frame: pd.DataFrame, columns: np.ndarray, *, quoted: bool) -> None:
    """Points at their column, each data set at its own place within it."""
    for dataset in plotting.in_order(frame["dataset"], plotting.DATASETS):
        own = (frame["dataset"] == dataset).to_numpy()
        positions = columns[own] + SHIFTS[dataset]
        drawn_as = plotting.DATASETS[dataset]
        plotting.draw_points(axes, positions, frame[own], drawn_as, quoted=quoted, along="y")
