"""**Figure 1: on-policy training on one type of problem (a) and on many (b).** Score and length L of the rollouts of
GRPO and SDPO (whole problem set) against training steps, accuracy on a benchmark, and its difference to the base model
on the same problems. In (1a) training and benchmark problems are of the same single type, the role of the Chemistry
set; in (1b) the benchmark's types do not occur in training, SDPO has c = s and a fixed teacher.

*What the authors did differently.* Their Figure 1a is taken from the published logs of SDPO: another model mode,
length limit, teacher and batch than their Figure 1b, so that the two differ by more than the problems. Here SDPO's
context and teacher in (a) are those of the study's runs on that set. The Chemistry set itself needs a model that knows
chemistry: it belongs to the study of the paper's models.
"""

import pandas as pd
from selfdistill.figures.curve_plots import (
    LENGTH,
    SCORE,
    Drawn,
    View,
    accuracy,
    by_method,
    difference,
    draw_grid,
    in_view,
)


def draw(curves: pd.DataFrame, view: View, narrow: View, study: str) -> Drawn:
    """One row per problem set, that of ``narrow`` and the view's: score, length, and its first benchmark."""
    of_many = {"problem_set": view["problem_set"], "context": "solution", "teacher_update_rate": 0.0}
    rows = []
    for trained_on in (narrow, of_many | {"benchmarks": view["benchmarks"]}):
        shown = by_method(in_view(curves, view, **{name: trained_on[name] for name in of_many}))
        benchmark = trained_on["benchmarks"][0]
        rows.append([(panel, shown) for panel in (SCORE, LENGTH, accuracy(benchmark), difference(benchmark))])
    return draw_grid(rows, study, names=("(1a) one type", "(1b) many types"))
