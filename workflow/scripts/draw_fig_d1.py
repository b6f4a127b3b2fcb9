"""**Appendix D.1: markers with thinking switched off.** *Above:* markers E per response in the training rollouts and
on problems of unseen types. *Below:* the difference in each marker's count per response, last checkpoint minus base
model, on each benchmark. E counts the ten markers as substrings, as the authors do; the tables hold the count by
whole word as well.

*What the authors did differently.* One run per curve and no intervals; SDPO at ten times GRPO's learning rate, where we
show both rates; validation with one response per problem; curves of unknown smoothing. docs/deviations.md lists what
their code does.
"""

import pandas as pd
from selfdistill.figures.curve_plots import (
    EPISTEMIC,
    Drawn,
    View,
    by_method,
    draw_grid,
    in_view,
    marker_change,
    markers,
)


def draw(curves: pd.DataFrame, view: View, study: str) -> Drawn:
    """E against steps above; below, the change of every marker from the base model to the last checkpoint."""
    shown = by_method(in_view(curves, view))
    kinds = [[EPISTEMIC, *map(markers, view["benchmarks"])], map(marker_change, view["benchmarks"])]
    return draw_grid([[(panel, shown) for panel in kind] for kind in kinds], study)
