"""**Marker breakdown (Appendix A.1.1): which markers change.** Occurrences per response of each of the ten epistemic
markers in the settings of Table 1, on the selected problems. Every panel has its own scale, beginning at zero.

*Circles* count substrings (the authors' way), *triangles* whole words: a gap between the two is a marker found
inside other words, such as *check* in *checking*. A marker that the model does not use stays at zero in both.

*Intervals:* 95 % (docs/statistics.md), of the mean over the responses to a problem, then over problems, then over base
models, which are the small points.

*What the authors did differently.* They count substrings only and give no intervals. No values of their
breakdown were at hand to quote.
"""

import numpy as np
import pandas as pd
from matplotlib.figure import SubFigure
from selfdistill.figures import plotting
from selfdistill.figures.plotting import Drawn
from selfdistill.markers.counting import MARKERS

COLUMNS = 5


def draw(table: pd.DataFrame, study: str) -> Drawn:
    """One panel per marker, each with its own scale, for each model measured in the summary ``table``."""
    plotting.use_style()
    settings = plotting.in_order(table["row"], plotting.SETTINGS)
    figure, blocks = plotting.blocks_by_model(table, height=1.2 + 0.56 * len(settings))
    plotting.letter_panels([panel for block, of_model in blocks for panel in _draw_block(block, of_model, settings)])
    plotting.draw_legend(figure, [plotting.legend_entry(look, interval=True) for look in plotting.COUNTINGS.values()])
    plotting.stamp(figure, study, f"Bars: {plotting.interval_text(table)}.", view="guidance")
    return Drawn(figure, table)


def _draw_block(block: SubFigure, frame: pd.DataFrame, settings: list[str]) -> np.ndarray:
    """The panels of one family."""
    axes = block.subplots(len(MARKERS) // COLUMNS, COLUMNS, sharey=True)
    for marker, panel in zip(MARKERS, axes.flat, strict=True):
        metrics = {counting: f"{counting}_{marker}" for counting in plotting.COUNTINGS}
        plotting.draw_settings(panel, frame, settings, metrics)
        plotting.from_zero(panel)
        panel.set_title(marker)
    for panel in axes[-1]:
        panel.set_xlabel("per response")
    return axes.flat
