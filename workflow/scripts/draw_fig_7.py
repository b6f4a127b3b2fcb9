"""Figure 7: training by number of problems |D|."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from selfdistill import curve_plots
from selfdistill.curve_plots import TRAINING, by_size, draw_grid, in_view


def draw(curves: pd.DataFrame, view: Mapping[str, Any], study: str) -> Figure:
    """Score, length and markers from the top down; GRPO left, SDPO right, on the same scales."""
    panels = TRAINING
    grpo = by_size(in_view(curves, view, method="grpo", whole_set=None))
    sdpo = by_size(in_view(curves, view, method="sdpo", context="solution", whole_set=None))
    titles = ("GRPO", "SDPO (c = s)")
    return draw_grid([[(panel, grpo), (panel, sdpo)] for panel in panels], study, titles=titles)


if __name__ == "__main__":
    curve_plots.run(snakemake, draw)  # noqa: F821 (Snakemake puts it in scope)
