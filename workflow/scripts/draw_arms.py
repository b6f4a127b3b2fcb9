"""**Beyond the paper: what goes with accuracy?** Every arm of on-policy training is a point: the change in accuracy
from the base model to the arm's last checkpoint, against the change in markers E, in length L and in verified answers V
on the same responses. A column per benchmark; lines are intervals. E counts the ten markers as substrings; V is the
share of accepted answers that a response shows to hold: exact in the microcosm, elsewhere by phrases that say so.

That two things change together does not say that one is the cause (docs/beyond.md). How closely they do, base model by
base model, stands in the claims ledger.

*What the authors did differently.* The paper shows markers and accuracy of single runs, and no figure across them.
"""

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from selfdistill.analysis.arms import ARM
from selfdistill.analysis.words import benchmark_label
from selfdistill.figures import plotting
from selfdistill.figures.curve_plots import METHODS, TO_BASE, method_of, own_looks
from selfdistill.figures.plotting import INK, Drawn, Look
from selfdistill.training.settings import TRAINED

ACCURACY = "avg" + TO_BASE
MEASURES = {
    "E_substring": "change in markers E",
    "L": "change in length L (tokens)",
    "V": "change in verified V",
}


def draw(curves: pd.DataFrame, study: str) -> Drawn:
    """A row of panels per measure, a column per benchmark of problems that no arm was trained on."""
    plotting.use_style()
    shown = _last(curves)
    benchmarks = sorted(shown["benchmark"].unique())
    looks = _looks(method_of(shown))
    figure = plotting.new_figure(height=0.5 + 1.9 * len(MEASURES))
    axes = figure.subplots(len(MEASURES), len(benchmarks), sharex="row", sharey="col", squeeze=False)
    for row, (measure, label) in zip(axes, MEASURES.items(), strict=True):
        for panel, benchmark in zip(row, benchmarks, strict=True):
            _draw_panel(panel, shown[shown["benchmark"] == benchmark], measure, looks)
            panel.set(xlabel=label, title=benchmark_label(benchmark))
        row[0].set_ylabel("change in accuracy\n(points)")
    plotting.letter_panels(axes.flat)
    plotting.draw_legend(figure, [plotting.legend_entry(look, interval=True) for look in looks.values()])
    plotting.stamp(figure, study, f"Lines: {plotting.interval_text(shown, points=False)}.", view="training")
    return Drawn(figure, shown)


def _last(curves: pd.DataFrame) -> pd.DataFrame:
    """The differences to the base model at the last checkpoint of every arm."""
    wanted = [ACCURACY, *(measure + TO_BASE for measure in MEASURES)]
    found = curves[curves["metric"].isin(wanted) & ~curves["benchmark"].isin(["", TRAINED])]
    last = found.groupby([*ARM, "benchmark"], dropna=False)["step"].transform("max")
    return found[found["step"] == last].reset_index(drop=True)


def _looks(methods: pd.Series) -> dict[str, Look]:
    """The paper's methods as they look elsewhere, others after them by name."""
    others = sorted(set(methods) - METHODS.keys())
    own = {
        name: Look(name.replace("_", " "), colour, shape)
        for name, (colour, shape, _) in zip(others, own_looks(len(others)), strict=True)
    }
    return {name: look for name, look in (METHODS | own).items() if name in set(methods)}


def _draw_panel(panel: Axes, rows: pd.DataFrame, measure: str, looks: Mapping[str, Look]) -> None:
    """A point per arm that has both; intervals of both."""
    panel.axhline(0, color=INK, linewidth=0.7)
    panel.axvline(0, color=INK, linewidth=0.7)
    arms = rows.assign(look=method_of(rows)).groupby(list(ARM), dropna=False)
    for _, arm in arms:
        by_metric = arm.set_index("metric")
        if measure + TO_BASE not in by_metric.index:  # V where nothing is accepted
            continue
        across, up = by_metric.loc[measure + TO_BASE], by_metric.loc[ACCURACY]
        look = looks[across["look"]]
        faint = {"color": look.colour, "linewidth": 0.8, "alpha": 0.55}
        panel.hlines(up["value"], across["low"], across["high"], **faint)
        panel.vlines(across["value"], up["low"], up["high"], **faint)
        panel.plot(across["value"], up["value"], look.shape, color=look.colour, markersize=4.2)
