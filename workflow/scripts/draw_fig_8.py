"""Figure 8: accuracy and markers on problems of unseen types, by number of training problems |D|."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from selfdistill import curve_plots
from selfdistill.curve_plots import Panel, accuracy, by_size, draw_grid, in_view


def draw(curves: pd.DataFrame, view: Mapping[str, Any], study: str) -> Figure:
    """Accuracy and markers of each benchmark from the top down; GRPO left, SDPO right, on the same scales."""
    panels = [
        panel
        for name in view["benchmarks"]
        for panel in (accuracy(name), Panel("E_substring", f"markers E on\n{name}", name))
    ]
    grpo = by_size(in_view(curves, view, method="grpo", whole_set=None))
    sdpo = by_size(in_view(curves, view, method="sdpo", context="solution", whole_set=None))
    titles = ("GRPO", "SDPO (c = s)")
    return draw_grid([[(panel, grpo), (panel, sdpo)] for panel in panels], study, titles=titles)


if __name__ == "__main__":
    curve_plots.run(snakemake, draw)  # noqa: F821 (Snakemake puts it in scope)
