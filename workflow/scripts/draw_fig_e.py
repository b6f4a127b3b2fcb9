"""Appendix E: learning rates of both methods, and the top-k of SDPO's divergence."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from selfdistill.figures import curve_plots
from selfdistill.figures.curve_plots import LENGTH, SCORE, Curve, Drawn, accuracy, by_value, draw_grid, in_view
from selfdistill.figures.plotting import rate_label


def draw(curves: pd.DataFrame, view: Mapping[str, Any], study: str) -> Drawn:
    """From the top down: GRPO by rate, SDPO by rate, SDPO by top-k; score, length, accuracy on the last benchmark."""
    sdpo = {"method": "sdpo", "context": "solution"}
    rows = [
        _named("GRPO", by_value(in_view(curves, view, method="grpo", learning_rate=None), "learning_rate", _rate)),
        _named("SDPO", by_value(in_view(curves, view, **sdpo, learning_rate=None), "learning_rate", _rate)),
        _named("SDPO", by_value(in_view(curves, view, **sdpo, top_k=None), "top_k", lambda k: f"top-k {k:.0f}")),
    ]
    panels = (SCORE, LENGTH, accuracy(view["benchmarks"][-1]))
    return draw_grid([[(panel, shown) for panel in panels] for shown in rows], study, legend_per_row=True)


def _rate(rate: float) -> str:
    return f"rate {rate_label(rate)}"


def _named(method: str, shown: list[Curve]) -> list[Curve]:
    """The curves with the method in their labels."""
    return [Curve(curve.rows, type(curve.look)(f"{method}, {curve.look.label}", curve.look.colour)) for curve in shown]


if __name__ == "__main__":
    curve_plots.run(snakemake, draw)  # noqa: F821 (Snakemake puts it in scope)
