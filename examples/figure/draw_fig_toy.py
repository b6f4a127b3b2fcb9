"""**A toy figure: GRPO and SDPO on the whole problem set.** Score and length L of the training rollouts.

*What the authors did differently.* They have no such figure.
"""

import pandas as pd
from selfdistill.figures.curve_plots import LENGTH, SCORE, Drawn, View, by_method, draw_grid, in_view


def draw(curves: pd.DataFrame, view: View, study: str) -> Drawn:
    """Two panels with one line per method, from the rows of ``curves`` that ``view`` shows."""
    shown = by_method(in_view(curves, view))
    return draw_grid([[(SCORE, shown), (LENGTH, shown)]], study)
