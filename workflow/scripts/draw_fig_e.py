"""**Appendix E: learning rate and top-k.** From the top down: GRPO by learning rate, SDPO (c = s) by learning rate,
and SDPO by the number of tokens that its divergence tells apart (the rest of the vocabulary is one more category).
Score and length L of the training rollouts, and accuracy on problems of unseen types.

*What the authors did differently.* The ranges of their ablation are not known to us; the rates here are a grid fixed
beforehand.
"""

import pandas as pd
from selfdistill.analysis.words import rate_label
from selfdistill.figures.curve_plots import LENGTH, SCORE, Curve, Drawn, View, accuracy, by_value, draw_grid, in_view


def draw(curves: pd.DataFrame, view: View, study: str) -> Drawn:
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
