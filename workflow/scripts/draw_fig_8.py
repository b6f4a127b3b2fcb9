r"""**Figure 8 (Section 6.2): problems of unseen types by number of training problems \|D\|.** *Above:* accuracy
(avg@k) and markers E on each benchmark against training steps, as in Figure 7; the black line and grey band are the
base model and its interval. *Below:* the difference in accuracy to the base model at the last step, against \|D\|. E
counts the ten markers as substrings, as the authors do; the tables hold the count by whole word as well.

*What the authors did differently.* One draw of each \|D\|, one run each, with Qwen3-8B and thinking off.
"""

import pandas as pd
from selfdistill.figures.curve_plots import Drawn, View, accuracy, by_number_of_problems, difference, markers


def draw(curves: pd.DataFrame, view: View, study: str) -> Drawn:
    """Accuracy and markers of each benchmark from the top down; below, differences to the base model against |D|."""
    panels = [panel for name in view["benchmarks"] for panel in (accuracy(name), markers(name))]
    return by_number_of_problems(curves, view, study, panels, [difference(name) for name in view["benchmarks"]])
