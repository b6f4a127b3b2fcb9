"""**Figure 6 (Section 5.4): a fixed and a moving teacher.** SDPO (c = s) with the initial model as teacher, and with a
teacher into which the policy enters at the given rate after every step (EMA). *Above:* score, L, E and V of the
training rollouts. *Below:* accuracy on problems of unseen types, and its difference to the base model. E counts the ten
markers as substrings, as the authors do; the tables hold the count by whole word as well. V is the share of accepted
answers that a response shows to hold: exact in the microcosm, elsewhere by phrases that say so.

*What the authors did differently.* One run per curve and no intervals; SDPO at ten times GRPO's learning rate, where we
show both rates; validation with one response per problem; curves of unknown smoothing. docs/deviations.md lists what
their code does.
"""

from dataclasses import replace

import pandas as pd
from selfdistill.figures.curve_plots import (
    METHODS,
    MOVING,
    SDPO,
    Curve,
    Drawn,
    View,
    arm_label,
    draw_grid,
    in_view,
    training_and_benchmarks,
)


def draw(curves: pd.DataFrame, view: View, study: str) -> Drawn:
    """Training above; below, accuracy on problems of unseen types and its difference to the base model."""
    rows = in_view(curves, view, method="sdpo", context="solution", teacher_update_rate=None)
    shown = [
        Curve(arm, replace(MOVING if rate else METHODS[SDPO], label=arm_label(arm, teacher=True)))
        for rate, arm in rows.groupby("teacher_update_rate")
    ]
    return draw_grid(training_and_benchmarks(shown, view["benchmarks"]), study)
