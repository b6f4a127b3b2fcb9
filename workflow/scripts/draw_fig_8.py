"""Figure 8: accuracy and markers on problems of unseen types, by number of training problems |D|."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from selfdistill.figures import curve_plots
from selfdistill.figures.curve_plots import Drawn, Panel, accuracy


def draw(curves: pd.DataFrame, view: Mapping[str, Any], study: str) -> Drawn:
    """Accuracy and markers of each benchmark from the top down."""
    panels = [
        panel
        for name in view["benchmarks"]
        for panel in (accuracy(name), Panel("E_substring", f"markers E on\n{name}", name))
    ]
    return curve_plots.by_number_of_problems(curves, view, study, panels)


if __name__ == "__main__":
    curve_plots.run(snakemake, draw)  # noqa: F821 (Snakemake puts it in scope)
