r"""**Beyond the paper: base models that are kept from words, or held to them.** A lane per list of words of the
configuration (docs/beyond.md): words that are never sampled, or words of which one is sampled wherever the model gives
them together at least the stated chance. A column per benchmark; from the top down accuracy (avg@k), its paired
difference to the same model that writes as it likes, length L, markers E, verified answers V, and the share of
answers that are accepted and not given up. The black line and grey band are the model as it likes, and its interval.

*What the authors did differently.* The paper does not change what is sampled. Nothing is trained here: a model that
never learnt to do without a word shows what happens at once, not what it would learn to do in its place.
"""

from collections.abc import Sequence

import pandas as pd
from selfdistill.figures import plotting
from selfdistill.figures.lanes import draw_lanes
from selfdistill.figures.plotting import UNGUIDED, Drawn, Look

METRICS = {
    "avg": "accuracy (%)",
    "avg_difference_to_base": "difference to base (points)",
    "L": "length L (tokens)",
    "E_substring": "markers E per response",
    "V": "verified V (share of accepted)",
    "accepted": "accepted (share of responses)",
}
LOOK = Look("base model with other words", UNGUIDED, "o")


def draw(table: pd.DataFrame, words: Sequence[str], benchmarks: Sequence[str], study: str) -> Drawn:
    """One block per family of base models; a row of panels per metric, a lane in each for every list of words."""
    plotting.use_style()
    shown = table[table["metric"].isin(METRICS)].assign(lane=table["row"])
    lanes = {name: name.partition("-")[2].replace("_", " ") for name in words}
    figure = draw_lanes(shown, lanes, lambda _: LOOK, METRICS, benchmarks)
    plotting.draw_legend(figure, [plotting.legend_entry(LOOK, interval=True)])
    plotting.stamp(figure, study, f"Bars: {plotting.interval_text(shown)}.", view="sft")
    return Drawn(figure, shown.drop(columns="lane"))
