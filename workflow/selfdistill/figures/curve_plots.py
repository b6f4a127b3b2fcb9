"""Figures 1, 3-8, D.1 and E: curves of on-policy runs with their bands, in grids of panels.

Everything shown is a row of the `curves` table, selected by its columns; a view of the configuration says which.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from selfdistill import tables
from selfdistill.analysis import quantities
from selfdistill.analysis.views import View, in_view
from selfdistill.errors import UserError
from selfdistill.figures import plotting
from selfdistill.figures.plotting import GUIDED, INK, UNGUIDED, Drawn, Look
from selfdistill.markers.counting import MARKERS

GRPO, SDPO, SDPO_NO_THINK = "grpo", "sdpo", "sdpo without think"
METHODS: dict[str, Look] = {
    GRPO: Look("GRPO", UNGUIDED),
    SDPO: Look("SDPO (c = s)", GUIDED),
    SDPO_NO_THINK: Look("SDPO (c = s without think)", "#009E73"),
}
OWN_CONTEXTS = ("#E69F00", "#56B4E9", "#8f4a73", "#7f7f00")
BASE = Look("base model", INK)
MOVING = Look("SDPO, moving teacher", "#CC79A7")
# From light to dark; the whole set is darkest.
SIZES = ("#c7a0e8", "#a56fd6", "#7d47b8", "#5a2d91", "#35155f")
PANEL_HEIGHT = 1.75  # inches


@dataclass(frozen=True)
class Panel:
    """What one panel shows against training steps: a metric of the rollouts (benchmark "") or of a benchmark."""

    metric: str
    label: str
    benchmark: str = ""


SCORE, LENGTH = Panel("score", "training score"), Panel("L", "response length L\n(tokens)")
EPISTEMIC = Panel("E_substring", "markers E\nper response")
TRAINING = (SCORE, LENGTH, EPISTEMIC)


def accuracy(benchmark: str) -> Panel:
    """Accuracy on a benchmark, in percent."""
    return Panel("avg", f"accuracy on\n{benchmark} (%)", benchmark)


@dataclass(frozen=True)
class Curve:
    """One line of a figure: the rows of its arm and how it is drawn."""

    rows: pd.DataFrame
    look: Look


def method_of(curves: pd.DataFrame) -> pd.Series:
    """Key of `METHODS` for each row, or the name of a context of one's own."""
    contexts = curves["context"].replace({"solution_without_thinking": SDPO_NO_THINK})
    return curves["method"].where(contexts.isin(["none", "solution"]), contexts)


def by_method(curves: pd.DataFrame) -> list[Curve]:
    """One curve per method present, in the order of `METHODS`; then one per context of one's own, by name."""
    methods = method_of(curves)
    own = sorted(set(methods) - METHODS.keys())
    looks = METHODS | {name: Look(f"SDPO (c = {name})", colour) for name, colour in zip(own, cycle(OWN_CONTEXTS))}
    return [Curve(curves[methods == name], look) for name, look in looks.items() if (methods == name).any()]


def by_value(curves: pd.DataFrame, column: str, label: Callable[[Any], str]) -> list[Curve]:
    """One curve per value of ``column``, from light to dark."""
    values = sorted(curves[column].dropna().unique())
    places = np.linspace(len(SIZES) - 1, 0, len(values)).round().astype(int)[::-1] if len(values) > 1 else [-1]
    return [
        Curve(curves[curves[column] == value], Look(label(value), SIZES[place]))
        for value, place in zip(values, places, strict=True)
    ]


def by_size(curves: pd.DataFrame) -> list[Curve]:
    """One curve per |D|, the whole set last and darkest."""
    whole = curves.loc[curves["whole_set"].astype(bool), "problems"].unique()
    return by_value(curves, "problems", lambda size: "|D| = all" if size in whole else f"|D| = {size:,}")


def draw_panel(axes: Axes, panel: Panel, curves: Sequence[Curve]) -> None:
    """Lines with bands, and thin lines of each base model where there are several.

    On a benchmark the base model, at step 0, is a line and a band across.
    """
    for curve in curves:
        rows = _shown(panel, curve)
        if rows.duplicated(["step"]).any():
            raise UserError(f"'{curve.look.label}' is more than one arm in the panel '{panel.metric}'")
        rows = rows.sort_values("step")
        if panel.benchmark:
            _draw_base(axes, rows[rows["step"] == 0])
        for _, own in quantities.by_model(rows).groupby("base_model"):
            axes.plot(own["step"], own["value"], color=curve.look.colour, linewidth=0.5, alpha=0.35)
        style = {"color": curve.look.colour, "linewidth": 1.3, "marker": "o", "markersize": 2.6}
        axes.plot(rows["step"], rows["value"], label=curve.look.label, **style)
        step, low, high = (rows.loc[rows["low"].notna(), name] for name in ("step", "low", "high"))
        axes.fill_between(step, low, high, color=curve.look.colour, alpha=0.13, linewidth=0)
    axes.set_ylabel(panel.label)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 5, 10], integer=True))
    axes.set_xlim(left=0)


def _shown(panel: Panel, curve: Curve) -> pd.DataFrame:
    return curve.rows[(curve.rows["metric"] == panel.metric) & (curve.rows["benchmark"] == panel.benchmark)]


def _draw_base(axes: Axes, rows: pd.DataFrame) -> None:
    if axes.get_gid() == "has base" or rows.empty:
        return
    axes.set_gid("has base")
    axes.axhline(rows["value"].iloc[0], color=INK, linewidth=0.9, dashes=(4, 2))
    if rows["low"].notna().all():
        axes.axhspan(rows["low"].iloc[0], rows["high"].iloc[0], color=INK, alpha=0.07, linewidth=0)


def draw_grid(
    rows: Sequence[Sequence[tuple[Panel, Sequence[Curve]]]],
    study: str,
    *,
    titles: Sequence[str] = (),
    legend_per_row: bool = False,
    marker_change: Sequence[Curve] = (),
) -> Drawn:
    """A grid of panels, one list of curves each.

    ``titles`` stand above the columns, whose panels then share the scale of their row. Of the curves in
    ``marker_change``, a last row shows how each marker's count changed (`draw_marker_change`).
    """
    plotting.use_style()
    height = len(rows) + bool(marker_change)
    figure = plotting.new_figure(height=0.55 + PANEL_HEIGHT * height)
    grid = figure.add_gridspec(height, max(map(len, rows)))
    for number, row in enumerate(rows):
        first: Axes | None = None
        for column, (panel, curves) in enumerate(row):
            axes = figure.add_subplot(grid[number, column], sharey=first if titles else None)
            first = first or axes
            draw_panel(axes, panel, curves)
            if number + 1 == len(rows) or column >= len(rows[number + 1]):
                axes.set_xlabel("training step")
            if number == 0 and titles:
                axes.set_title(titles[column])
        if legend_per_row and first is not None:
            first.legend(fontsize=6.5, handlelength=1.4)
    if marker_change:
        draw_marker_change(figure.add_subplot(grid[-1, :]), marker_change)
    panels = [panel for row in rows for panel, _ in row]
    entries = [] if legend_per_row else _entries([curve for row in rows for _, curves in row for curve in curves])
    if any(panel.benchmark for panel in panels):
        entries.append(Line2D([], [], color=BASE.colour, linewidth=0.9, dashes=(4, 2), label=BASE.label))
    if entries:
        figure.legend(handles=entries, loc="outside upper left", ncols=5, columnspacing=1.4, handlelength=1.6)
    shown = [_shown(panel, curve) for row in rows for panel, curves in row for curve in curves]
    shown += [changes for curve in marker_change for changes in _last_changes(curve).values()]
    data = pd.concat(shown).drop_duplicates().sort_values(tables.SORT_KEYS["curves"], ignore_index=True)
    plotting.stamp(figure, study, f"Bands: {plotting.interval_text(data)}.", view=_view(data))
    return Drawn(figure, data)


def _view(data: pd.DataFrame) -> str:
    """The comparison of the reading room that ``data`` are about: rollouts, if there are any."""
    first = data.sort_values("benchmark", kind="stable").iloc[0]
    place = f"evaluation/{first['benchmark']}" if first["benchmark"] else f"training/{first['problem_set']}"
    return f"{place}/{first['family']}-{first['thinking']}"


def _entries(curves: Sequence[Curve]) -> list[Line2D]:
    colours = {curve.look.label: curve.look.colour for curve in curves}
    return [Line2D([], [], color=colour, linewidth=1.6, label=label) for label, colour in colours.items()]


def comparison(curves: pd.DataFrame, view: View, study: str, *, with_markers: bool) -> Drawn:
    """Figures 3-5: training above; below, accuracy on unseen types and, if wanted, the change of every marker."""
    shown = by_method(in_view(curves, view))
    below = [(accuracy(benchmark), shown) for benchmark in view["benchmarks"]]
    rows = [[(panel, shown) for panel in TRAINING], below]
    return draw_grid(rows, study, marker_change=shown if with_markers else ())


def by_number_of_problems(curves: pd.DataFrame, view: View, study: str, panels: Sequence[Panel]) -> Drawn:
    """Figures 7 and 8: one row per panel, GRPO left and SDPO right on the same scales, one line per |D|."""
    grpo = by_size(in_view(curves, view, method="grpo", whole_set=None))
    sdpo = by_size(in_view(curves, view, method="sdpo", context="solution", whole_set=None))
    titles = (METHODS[GRPO].label, METHODS[SDPO].label)
    return draw_grid([[(panel, grpo), (panel, sdpo)] for panel in panels], study, titles=titles)


def draw_marker_change(axes: Axes, curves: Sequence[Curve]) -> None:
    """Change of each marker's count per response from the base model to the last checkpoint, mean over benchmarks.

    Points are the benchmarks' own changes with their intervals.
    """
    offsets = np.linspace(-0.25, 0.25, len(curves)) if len(curves) > 1 else [0.0]
    benchmarks = sorted({name for curve in curves for name in _last_changes(curve)})
    shifts = np.linspace(-0.06, 0.06, len(benchmarks)) if len(benchmarks) > 1 else [0.0]
    for curve, offset in zip(curves, offsets, strict=True):
        for benchmark, shift in zip(benchmarks, shifts, strict=True):
            places = np.arange(len(MARKERS)) + offset + shift
            plotting.draw_points(axes, places, _last_changes(curve)[benchmark], curve.look, along="y")
    axes.axhline(0, color=INK, linewidth=0.9)
    axes.set_xticks(range(len(MARKERS)), MARKERS)
    axes.set_ylabel("change per response,\n" + " and ".join(benchmarks))


def _last_changes(curve: Curve) -> dict[str, pd.DataFrame]:
    """By benchmark: each marker's change from the base model to the last checkpoint, in the order of the markers."""
    metrics = [f"substring_{marker}_difference_to_base" for marker in MARKERS]
    found = {}
    for benchmark, rows in curve.rows[curve.rows["benchmark"] != ""].groupby("benchmark"):
        last = rows[rows["step"] == rows["step"].max()].set_index("metric", drop=False)
        found[benchmark] = last.loc[metrics]
    return found
