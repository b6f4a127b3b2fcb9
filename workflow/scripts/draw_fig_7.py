r"""**Figure 7 (Section 6.2): training by number of problems \|D\|.** *Above:* score, L, E and V of the training
rollouts, GRPO left, SDPO (c = s) right, on the same scales; a line bears its \|D\| at its end. *Below:* the same at the
last step, against \|D\|. The sets are nested; one smaller than a batch is repeated until it fills one, every copy a
group of its own. E counts the ten markers as substrings, as the authors do; the tables hold the count by whole word as
well. V is the share of accepted answers that a response shows to hold: exact in the microcosm, elsewhere by phrases
that say so.

*What the authors did differently.* One draw of each \|D\|, one run each, with Qwen3-8B and thinking off. A small
\|D\| depends on which problems it holds: where a study has several draws, they are averaged here.
"""

import pandas as pd
from selfdistill.figures.curve_plots import TRAINING, Drawn, View, by_number_of_problems


def draw(curves: pd.DataFrame, view: View, study: str) -> Drawn:
    """Score, length, markers and verification from the top down; below, the same at the last step against |D|."""
    return by_number_of_problems(curves, view, study, TRAINING, TRAINING)
