"""Figure 1: GRPO and SDPO on problems of a single type (a), and of many (b)."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from selfdistill.figures import curve_plots
from selfdistill.figures.curve_plots import LENGTH, SCORE, Drawn, accuracy, by_method, draw_grid, in_view


def draw(curves: pd.DataFrame, view: Mapping[str, Any], study: str) -> Drawn:
    """One row per problem set: score and length in training, accuracy on its first benchmark."""
    rows = []
    for name in ("narrow", "broad"):
        shown = by_method(in_view(curves, view, problem_set=view[name], context=None))
        shown = [curve for curve in shown if curve.look.label in ("GRPO", "SDPO (c = s)")]
        rows.append([(panel, shown) for panel in (SCORE, LENGTH, accuracy(view["benchmarks"][name][0]))])
    drawn = draw_grid(rows, study)
    for axes, letter in zip(drawn.figure.axes[::3], ("(a) one type", "(b) many types"), strict=True):
        axes.set_title(letter, loc="left")
    return drawn


if __name__ == "__main__":
    curve_plots.run(snakemake, draw)  # noqa: F821 (Snakemake puts it in scope)
