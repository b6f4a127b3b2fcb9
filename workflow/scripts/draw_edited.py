r"""**Beyond the paper: fine-tuning on edited responses.** A lane per data set: D_ug with one thing or several taken out
of its responses, or D_sg with one thing put in (docs/beyond.md). A column per benchmark; from the top down accuracy
(avg@k), its difference to the base model, markers E per response and verified answers V after fine-tuning. The black
line and grey band are the base model and its interval. E counts the ten markers as substrings; V is the share of
accepted answers that a response shows to hold.

Where several learning rates were run, the highest is drawn.

*What the authors did differently.* The paper edits no responses: it compares D_ug with D_sg, which differ in all of
these things at once.
"""

from collections.abc import Sequence

import pandas as pd
from selfdistill.figures import plotting
from selfdistill.figures.lanes import draw_lanes
from selfdistill.figures.plotting import GUIDED, UNGUIDED, Drawn, Look
from selfdistill.training.edited_sets import MATCHED, NAMES, source_of
from selfdistill.training.sft_sets import GUIDED as OF_GUIDED

METRICS = {
    "avg": "accuracy (%)",
    "avg_difference_to_base": "difference to base (points)",
    "E_substring": "markers E per response",
    "V": "verified V (share of accepted)",
}
LOOKS = {
    "unguided": Look(r"made from $D_{\mathrm{ug}}$", UNGUIDED, "o"),
    "guided": Look(r"made from $D_{\mathrm{sg}}$", GUIDED, "s"),
}


def draw(table: pd.DataFrame, runs: plotting.Runs, benchmarks: Sequence[str], study: str) -> Drawn:
    """One block per family of base models; a row of panels per metric, a lane in each for every data set."""
    plotting.use_style()
    shown = _shown(table, runs)
    lanes = {name: _label(name) for name in NAMES if name in set(shown["lane"])}
    figure = draw_lanes(shown, lanes, _look, METRICS, benchmarks)
    drawn = {_look(name) for name in lanes}
    entries = [plotting.legend_entry(look, interval=True) for look in LOOKS.values() if look in drawn]
    plotting.draw_legend(figure, entries)
    plotting.stamp(figure, study, f"Bars: {plotting.interval_text(shown)}.", view="sft")
    return Drawn(figure, shown.drop(columns=["lane", "rate"]))


def _shown(table: pd.DataFrame, runs: plotting.Runs) -> pd.DataFrame:
    """The base model's rows, and each data set's at the highest rate; with columns lane (the data set) and rate."""
    found = table["row"].map(lambda row: runs.get(row, (row, 0.0)))
    frame = table.assign(lane=found.str[0], rate=found.str[1].astype(float))
    highest = frame["rate"] == frame.groupby("lane")["rate"].transform("max")
    return frame[highest & frame["metric"].isin(METRICS)]


def _look(name: str) -> Look:
    return LOOKS["guided" if source_of(name) == OF_GUIDED else "unguided"]


def _label(name: str) -> str:
    return name.replace(MATCHED, ", matched").replace("_", " ")
