"""**Appendix D.1: markers with thinking switched off.** *Above:* markers E per response and verified answers V in the
training rollouts and on problems of unseen types. *Below:* the difference in each marker's count per response, last
checkpoint minus base model, on each benchmark. E counts the ten markers as substrings, as the authors do; the tables
hold the count by whole word as well. V is the share of accepted answers that a response shows to hold: exact in the
microcosm, elsewhere by phrases that say so.

*What the authors did differently.* One run per curve and no intervals; SDPO at ten times GRPO's learning rate, where we
show both rates; validation with one response per problem; curves of unknown smoothing. docs/deviations.md lists what
their code does.
"""

import pandas as pd
from selfdistill.figures.curve_plots import (
    EPISTEMIC,
    VERIFIED,
    Drawn,
    View,
    by_method,
    draw_grid,
    in_view,
    marker_change,
    markers,
    verified,
)


def draw(curves: pd.DataFrame, view: View, study: str) -> Drawn:
    """E and V against steps above; below, the change of every marker from the base model to the last checkpoint."""
    shown = by_method(in_view(curves, view))
    benchmarks = view["benchmarks"]
    kinds = [
        [EPISTEMIC, *map(markers, benchmarks)],
        [VERIFIED, *map(verified, benchmarks)],
        map(marker_change, benchmarks),
    ]
    return draw_grid([[(panel, shown) for panel in kind] for kind in kinds], study)
