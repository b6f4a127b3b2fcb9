r"""**Figure 7 (Section 6.2): training by number of problems \|D\|.** Score, L and E of the training rollouts; darker
is larger, the whole set darkest; GRPO left, SDPO (c = s) right, on the same scales. The sets are nested; one smaller
than a batch is repeated until it fills one, every copy a group of its own. E counts the ten markers as substrings, as
the authors do; the tables hold the count by whole word as well.

*What the authors did differently.* One draw of each \|D\|, one run each, with Qwen3-8B and thinking off. A small
\|D\| depends on which problems it holds: where a study has several draws, they are averaged here, and the band says
so.
"""

import pandas as pd
from selfdistill.figures import curve_plots
from selfdistill.figures.curve_plots import Drawn, View


def draw(curves: pd.DataFrame, view: View, study: str) -> Drawn:
    """Score, length and markers from the top down."""
    return curve_plots.by_number_of_problems(curves, view, study, curve_plots.TRAINING)
