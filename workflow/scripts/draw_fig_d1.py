"""Appendix D.1: markers with thinking switched off, in training and on problems of unseen types."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from selfdistill.figures import curve_plots
from selfdistill.figures.curve_plots import EPISTEMIC, Drawn, Panel, by_method, draw_grid, in_view


def draw(curves: pd.DataFrame, view: Mapping[str, Any], study: str) -> Drawn:
    """E against steps above; below, the change of every marker from the base model to the last checkpoint."""
    shown = by_method(in_view(curves, view))
    benchmarks = [Panel("E_substring", f"markers E on\n{name}", name) for name in view["benchmarks"]]
    panels = [(panel, shown) for panel in (EPISTEMIC, *benchmarks)]
    return draw_grid([panels], study, marker_change=shown)


if __name__ == "__main__":
    curve_plots.run(snakemake, draw)  # noqa: F821 (Snakemake puts it in scope)
