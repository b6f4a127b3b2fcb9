"""Figure 7: training by number of problems |D|."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from selfdistill.figures import curve_plots
from selfdistill.figures.curve_plots import Drawn


def draw(curves: pd.DataFrame, view: Mapping[str, Any], study: str) -> Drawn:
    """Score, length and markers from the top down."""
    return curve_plots.by_number_of_problems(curves, view, study, curve_plots.TRAINING)


if __name__ == "__main__":
    curve_plots.run(snakemake, draw)  # noqa: F821 (Snakemake puts it in scope)
