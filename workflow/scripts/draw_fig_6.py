"""**Figure 6 (Section 5.4): a fixed and a moving teacher.** SDPO (c = s) with the initial model as teacher, and with
a teacher into which the policy enters at the given rate after every step (EMA). *Above:* score, L and E of the
training rollouts. *Below:* accuracy on problems of unseen types. E counts the ten markers as substrings, as the
authors do; the tables hold the count by whole word as well.

*What the authors did differently.* One run per curve and no intervals; SDPO at ten times GRPO's learning rate, where we
show both rates; validation with one response per problem; curves of unknown smoothing. docs/deviations.md lists what
their code does.
"""

import pandas as pd
from selfdistill.figures.curve_plots import (
    METHODS,
    MOVING,
    SDPO,
    TRAINING,
    Curve,
    Drawn,
    View,
    accuracy,
    draw_grid,
    in_view,
)
from selfdistill.figures.plotting import Look


def draw(curves: pd.DataFrame, view: View, study: str) -> Drawn:
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
