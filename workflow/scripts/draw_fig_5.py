"""**Figure 5 (Section 5.3): GRPO and SDPO with thinking switched off.** Panels as in Figure 3, without single markers.
Without a think block there is only one context, c = s. E counts the ten markers as substrings, as the authors do; the
tables hold the count by whole word as well. V is as there.

*What the authors did differently.* One run per curve and no intervals; SDPO at ten times GRPO's learning rate, where we
show both rates; validation with one response per problem; curves of unknown smoothing. docs/deviations.md lists what
their code does.
"""

import pandas as pd
from selfdistill.figures import curve_plots
from selfdistill.figures.curve_plots import Drawn, View


def draw(curves: pd.DataFrame, view: View, study: str) -> Drawn:
    """Training above, accuracy on problems of unseen types below."""
    return curve_plots.comparison(curves, view, study, with_markers=False)
