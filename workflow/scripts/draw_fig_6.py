"""Figure 6: SDPO with a fixed teacher, and with one that follows the policy."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from selfdistill.figures import curve_plots
from selfdistill.figures.curve_plots import METHODS, MOVING, SDPO, TRAINING, Curve, Drawn, accuracy, draw_grid, in_view
from selfdistill.figures.plotting import Look


def draw(curves: pd.DataFrame, view: Mapping[str, Any], study: str) -> Drawn:
    """Training above, accuracy on problems of unseen types below."""
    rows = in_view(curves, view, method="sdpo", context="solution", teacher_update_rate=None)
    fixed = Look("SDPO, fixed teacher", METHODS[SDPO].colour)
    shown = [
        Curve(arm, fixed if rate == 0 else Look(f"{MOVING.label} (EMA {rate:g})", MOVING.colour))
        for rate, arm in rows.groupby("teacher_update_rate")
    ]
    return draw_grid(
        [[(panel, shown) for panel in TRAINING], [(accuracy(name), shown) for name in view["benchmarks"]]], study
    )


if __name__ == "__main__":
    curve_plots.run(snakemake, draw)  # noqa: F821 (Snakemake puts it in scope)
