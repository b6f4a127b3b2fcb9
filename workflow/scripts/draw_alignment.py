r"""**Beyond the paper: where gradients point.** What a step of length one along the gradient of GRPO or SDPO does to
the share of right responses, to first order, at the base models, before any training; a column per benchmark. The lanes
of a loss part that change among the tokens that make it: those of right and of wrong responses, and those at decisions
(how an attempt begins), at verification and elsewhere; either add up to all.

The gradient of success is estimated from graded responses of the model to the benchmark's problems, so it has an error
of its own, which other base models show and other problems do not. A step in training is not of the gradient's length:
what is compared is directions.

*What the authors did differently.* The paper trains, and looks at no gradient.
"""

from collections.abc import Sequence

import pandas as pd
from selfdistill.figures import plotting
from selfdistill.figures.lanes import draw_lanes
from selfdistill.figures.plotting import Drawn, looks_of

PARTS = {
    "gain": "all tokens",
    "gain_right": "of right responses",
    "gain_wrong": "of wrong responses",
    "gain_decision": "at decisions",
    "gain_verification": "at verification",
    "gain_other": "elsewhere",
}
TRAINED = "trained"


def draw(table: pd.DataFrame, benchmarks: Sequence[str], study: str) -> Drawn:
    """One block per family of base models; a group of lanes for each loss."""
    plotting.use_style()
    shown = table[table["metric"].isin(PARTS)].reset_index(drop=True)
    looks = looks_of(dict.fromkeys(shown["row"]))
    lanes = {f"{loss}|{part}": label for loss in looks for part, label in PARTS.items()}
    drawn = shown.assign(lane=shown["row"] + "|" + shown["metric"], metric="gain")
    metrics = {"gain": "points per unit step"}
    figure = draw_lanes(drawn, lanes, lambda lane: looks[lane.partition("|")[0]], metrics, [TRAINED, *benchmarks])
    plotting.draw_legend(figure, [plotting.legend_entry(each, interval=True) for each in looks.values()])
    plotting.stamp(figure, study, f"Bars: {plotting.interval_text(shown)}.", view="guidance")
    return Drawn(figure, shown)
