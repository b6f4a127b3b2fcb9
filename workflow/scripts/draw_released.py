"""**Released checkpoints: where the curves of Figures 3 to 5 end.** Models that others, such as the authors, trained by
GRPO and SDPO and published, evaluated here beside the base models that they were trained from: accuracy (avg@k),
pass@k, length L, markers E per response and verified answers V on each benchmark. E counts the ten markers as
substrings, as the authors do; the table holds the count by whole word, and each marker, as well. V is the share of
accepted answers whose response says that it verifies, which is told by phrases.

*Intervals:* 95 % over problems: there is one model of each kind, and another training run may end elsewhere. Hollow:
values of the paper, quoted second-hand, for its own models and benchmarks of these names.

*What the authors did differently.* They show one point of each curve without an interval; their grader and the two BOS
tokens before DeepSeek's prompts are not ours (docs/deviations.md).
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure
from selfdistill.analysis.responses import PASS
from selfdistill.analysis.words import benchmark_label
from selfdistill.figures import plotting
from selfdistill.figures.curve_plots import GRPO, METHODS, SDPO, SDPO_NO_THINK
from selfdistill.figures.plotting import INK, Drawn, Look

ROWS: dict[str, Look] = {
    "base": Look("base model", INK),
    "GRPO": METHODS[GRPO],
    "SDPO": METHODS[SDPO],
    "SDPO without think": METHODS[SDPO_NO_THINK],
}
METRICS = {
    "avg": "accuracy (%)",
    "pass": "pass@{k} (%)",
    "L": "length L (tokens)",
    "E_substring": "markers E\nper response",
    "V": "verified V\n(share of accepted)",
}


def draw(table: pd.DataFrame, study: str) -> Drawn:
    """One block for each base model: a panel for each metric, a lane in it for each benchmark."""
    plotting.use_style()
    shown = _shown(table)
    figure, blocks = plotting.blocks_by_model(shown, height=2.1)
    plotting.letter_panels([panel for block, of_model in blocks for panel in _draw_block(block, of_model)])
    present = plotting.in_order(shown["row"], ROWS)
    entries = [plotting.legend_entry(ROWS[name], interval=True) for name in present]
    plotting.draw_legend(figure, [*entries, plotting.legend_entry(plotting.QUOTED, quoted=True)])
    note = f"Lines: {plotting.interval_text(plotting.measured(shown))}."
    plotting.stamp(figure, study, note, view="training")
    return Drawn(figure, shown)


def _shown(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of a table that are drawn: of pass@k, the largest k that all have."""
    measured = plotting.measured(table)
    everywhere = [name for name in PASS if (measured["metric"] == name).sum() == (measured["metric"] == "avg").sum()]
    return table[table["metric"].isin(["avg", "L", "E_substring", "V", *everywhere[-1:]])]


def _draw_block(block: SubFigure, frame: pd.DataFrame) -> list[Axes]:
    """The panels of what was measured: V is not, where no response was accepted."""
    measured, quoted = plotting.measured(frame), _beside(frame)
    benchmarks = sorted(measured["benchmark"].unique())
    metrics = [metric for metric in METRICS if measured["metric"].str.startswith(metric).any()]
    panels = block.subplots(1, len(metrics))
    for axes, metric in zip(panels, metrics, strict=True):
        of_metric = [rows[rows["metric"].str.startswith(metric)] for rows in (measured, quoted)]
        for position, benchmark in enumerate(benchmarks):
            for rows, is_quoted in zip(of_metric, (False, True), strict=True):
                here = rows[rows["benchmark"].str.lower() == benchmark.lower()]
                _draw_rows(axes, here, position, quoted=is_quoted)
        name = of_metric[0]["metric"].iloc[0]
        axes.set_xlabel(METRICS[metric].format(k=name.removeprefix("pass@")))
        names = [benchmark_label(benchmark) if metric == "avg" else "" for benchmark in benchmarks]
        axes.set_yticks(range(len(benchmarks)), names)
        axes.set_ylim(len(benchmarks) - 0.5, -0.5)
        axes.locator_params(axis="x", nbins=3)
    return list(panels)


def _draw_rows(axes: Axes, frame: pd.DataFrame, position: int, *, quoted: bool) -> None:
    shifts = dict(zip(ROWS, np.linspace(-0.3, 0.3, len(ROWS)), strict=True))
    for name, drawn_as in ROWS.items():
        own = frame[frame["row"] == name]
        if len(own):
            as_drawn = Look(drawn_as.label, drawn_as.colour, plotting.QUOTED.shape) if quoted else drawn_as
            plotting.draw_points(axes, position + shifts[name], own, as_drawn, quoted=quoted)


def _beside(frame: pd.DataFrame) -> pd.DataFrame:
    """What is quoted of the model of this block, by its name without spelling: "Qwen3-8B" of "qwen3_8b"."""
    quoted = frame[frame["origin"] == "quoted"]
    own = _plain(plotting.measured(frame)["model"].iloc[0])
    return quoted[[_plain(name) == own for name in quoted["model"]]]


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum()).replace("distillqwen", "")
