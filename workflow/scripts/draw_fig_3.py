"""**Figure 3 (Section 5.1): GRPO and SDPO with the whole solution, and with the solution without its thinking, as
context.** From the top down: score, length L, markers E and verified answers V of the training rollouts; accuracy
(avg@k) on problems of unseen types, where the black line and grey band are the base model and its interval; the
difference in accuracy to the base model; and the difference in each marker's count per response, last checkpoint minus
base model. E counts the ten markers as substrings, as the authors do; the tables hold the count by whole word as well.
V is the share of accepted answers that a response shows to hold: exact in the microcosm, elsewhere by phrases that say
so.

*What the authors did differently.* One run per curve and no intervals; SDPO at ten times GRPO's learning rate, where we
show both rates; validation with one response per problem; curves of unknown smoothing. docs/deviations.md lists what
their code does.
"""

import pandas as pd
from selfdistill.figures import curve_plots
from selfdistill.figures.curve_plots import Drawn, View


def draw(curves: pd.DataFrame, view: View, study: str) -> Drawn:
    """Training above, accuracy on problems of unseen types below."""
    return curve_plots.comparison(curves, view, study, with_markers=True)
