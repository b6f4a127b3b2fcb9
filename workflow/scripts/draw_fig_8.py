r"""**Figure 8 (Section 6.2): problems of unseen types by number of training problems \|D\|.** Accuracy (avg@k) and
markers E on each benchmark against training steps, as in Figure 7; dashed line and grey band are the base model. E
counts the ten markers as substrings, as the authors do; the tables hold the count by whole word as well.

*What the authors did differently.* One draw of each \|D\|, one run each, with Qwen3-8B and thinking off.
"""

import pandas as pd
from selfdistill.figures import curve_plots
from selfdistill.figures.curve_plots import Drawn, Panel, View, accuracy


def draw(curves: pd.DataFrame, view: View, study: str) -> Drawn:
    """Accuracy and markers of each benchmark from the top down."""
    panels = [
        panel
        for name in view["benchmarks"]
        for panel in (accuracy(name), Panel("E_substring", f"markers E on\n{name}", name))
    ]
    return curve_plots.by_number_of_problems(curves, view, study, panels)
