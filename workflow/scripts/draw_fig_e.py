"""**Appendix E: learning rate and top-k.** From the top down: GRPO by learning rate, SDPO (c = s) by learning rate,
and SDPO by the number of tokens that its divergence tells apart (the rest of the vocabulary is one more category); what
has one value in the study has no row. An arm of two rows looks alike in both. Score and length L of the training
rollouts, accuracy on problems of unseen types, and its difference to the base model.

*What the authors did differently.* The ranges of their ablation are not known to us; the rates here are a grid fixed
beforehand.
"""

import pandas as pd
from selfdistill.figures.curve_plots import (
    LENGTH,
    SCORE,
    Curve,
    Drawn,
    View,
    accuracy,
    arm_label,
    difference,
    draw_grid,
    in_view,
    looks_of,
)


def draw(curves: pd.DataFrame, view: View, study: str) -> Drawn:
    """From the top down: GRPO by rate, SDPO by rate, SDPO by top-k; score, length, and the last benchmark.

    What has one value in the study has no row, unless that holds of all.
    """
    sdpo = {"method": "sdpo", "context": "solution"}
    ablations = [
        _arms(in_view(curves, view, method="grpo", learning_rate=None), "learning_rate"),
        _arms(in_view(curves, view, **sdpo, learning_rate=None), "learning_rate"),
        _arms(in_view(curves, view, **sdpo, top_k=None), "top_k"),
    ]
    shown = [arms for arms in ablations if len(arms) > 1] or ablations
    looks = looks_of(dict.fromkeys(label for arms in shown for label in arms))  # an arm looks alike in all rows
    benchmark = view["benchmarks"][-1]
    panels = (SCORE, LENGTH, accuracy(benchmark), difference(benchmark))
    rows = [[Curve(rows, looks[label]) for label, rows in arms.items()] for arms in shown]
    return draw_grid([[(panel, row) for panel in panels] for row in rows], study)


def _arms(curves: pd.DataFrame, column: str) -> dict[str, pd.DataFrame]:
    """The rows of each value of ``column``, by the name of the arm."""
    return {arm_label(rows, top_k=True): rows for _, rows in curves.groupby(column)}
