"""Figures 1, 3-8, D.1 and E: curves of on-policy runs with their intervals, in grids of panels.

Everything shown is a row of the `curves` table, selected by its columns; a view of the configuration says which.
"""

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from selfdistill import tables
from selfdistill.analysis.summaries import V
from selfdistill.analysis.views import View, in_view
from selfdistill.analysis.words import GUIDANCE, benchmark_label, rate_label
from selfdistill.errors import UserError
from selfdistill.figures import plotting
from selfdistill.figures.plotting import GUIDED, INK, UNGUIDED, Drawn, Look, looks_of
from selfdistill.markers.counting import MARKERS

GRPO, SDPO, SDPO_NO_THINK = "grpo", "sdpo", "sdpo without think"
# Curves' labels are made from the rows that are drawn (`arm_label`).
METHODS: dict[str, Look] = {
    GRPO: Look("GRPO", UNGUIDED, "o"),
    SDPO: Look("SDPO", GUIDED, "s", (4, 1.2)),
    SDPO_NO_THINK: Look("SDPO without think", "#009E73", "^", (1.2, 1)),
}
# Colour, marker and dashes of user-defined contexts.
OWN_LOOKS = (
    ("#E69F00", "v", (6, 1, 1.2, 1)),
    ("#56B4E9", "P", (2.5, 1)),
    ("#8f4a73", "X", (8, 2)),
    ("#7f7f00", "<", (1.2, 2.5)),
    ("#332288", ">", (4, 1, 4, 3)),
)
MOVING = Look("SDPO", "#CC79A7", "D", (4, 1.2, 1.2, 1.2))
BASE: dict[str, Any] = {"color": INK, "linewidth": 0.9}
TO_BASE = "_difference_to_base"
# Bounds of a metric's values.
BOUNDS = {"score": (0, 1), "avg": (0, 100), "L": (0, math.inf), "E_substring": (0, math.inf), V: (0, 1)}
MOST_POINTS = 8  # of a curve that are marked with their intervals
# Sideways shift between curves, as a share of the panel's width, so that no interval covers another.
ASIDE = 0.018
PANEL_HEIGHT, AXIS_HEIGHT = 1.5, 1.0  # inches, with and without labels
LETTER = 0.062  # inches: the advance of a title's letters


@dataclass(frozen=True)
class Curve:
    """One line of a figure: the rows of its arm and how it is drawn; ``end`` is written at its end."""

    rows: pd.DataFrame
    look: Look
    end: str = ""


@dataclass(frozen=True)
class Panel:
    """What one panel shows against training steps: a metric of the rollouts (benchmark "") or of a benchmark.

    Panels of a row that show one metric share their y-axis.
    """

    metric: str
    title: str
    benchmark: str = ""
    x_label = "training step"

    def shown(self, curve: Curve) -> pd.DataFrame:
        """The rows of a curve that are drawn, by step."""
        rows = curve.rows[(curve.rows["metric"] == self.metric) & (curve.rows["benchmark"] == self.benchmark)]
        if rows.duplicated(["step", "problems"]).any():
            raise UserError(f"'{curve.look.label}' is more than one arm in the panel '{self.metric}'")
        return rows.sort_values("step")

    def draw(self, axes: Axes, curves: Sequence[Curve], of_curves: Sequence[pd.DataFrame]) -> None:
        """Lines, of which at most `MOST_POINTS` steps have a point with its interval and base models.

        ``of_curves``: what is `shown` of each. On a benchmark the base model, step 0, is a line and a band across; in
        differences to it, a line at zero.
        """
        last = max(curve.rows["step"].max() for curve in curves)  # a curve may lack a metric, as a ratio to nothing
        self._draw_base(axes, pd.concat([rows[rows["step"] == 0] for rows in of_curves]))
        for curve, rows, aside in zip(curves, of_curves, _aside(len(curves), last), strict=True):
            _draw_line(axes, rows["step"] + aside, rows["value"], curve.look)
            marked = _marked(rows)
            plotting.draw_points(axes, marked["step"] + aside, marked, curve.look, along="y")
        axes.set_xlim(-3 * ASIDE * last, last * (1 + 3 * ASIDE))
        axes.xaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 5, 10], integer=True))

    def finish(self, axes: Axes, curves: Sequence[Curve], of_curves: Sequence[pd.DataFrame]) -> None:
        """Set what depends on the scale shared by the panels of a row: ticks, limits, labels at the ends."""
        axes.yaxis.set_major_locator(MaxNLocator(nbins=4, steps=[1, 2, 2.5, 5, 10]))
        low, high = BOUNDS.get(self.metric, (None, None))
        if low is not None:
            most = min(axes.get_ylim()[1], high)
            axes.set_ylim(low - 0.04 * most, 1.04 * most)
        shown = zip(curves, of_curves, strict=True)
        _write_ends(axes, [(curve, rows) for curve, rows in shown if curve.end and len(rows)])

    def _draw_base(self, axes: Axes, rows: pd.DataFrame) -> None:
        if self.metric.endswith(TO_BASE):
            axes.axhline(0, **BASE)
        elif len(rows):
            base = rows.iloc[0]
            axes.axhline(base["value"], **BASE)
            if pd.notna(base["low"]):
                axes.axhspan(base["low"], base["high"], color=INK, alpha=0.1, linewidth=0)


class Sizes(Panel):
    """A metric at the last step against the number of training problems, which stand in equal distances."""

    x_label = "training problems |D|;\nlast step"  # four in a row fit the page

    def shown(self, curve: Curve) -> pd.DataFrame:
        """The last row of each |D|, in ascending order."""
        return super().shown(curve).groupby("problems").tail(1).sort_values("problems")

    def draw(self, axes: Axes, curves: Sequence[Curve], of_curves: Sequence[pd.DataFrame]) -> None:
        """Points with their intervals and base models, on a line per curve."""
        sizes = _sizes(pd.concat(of_curves))
        self._draw_base(axes, pd.DataFrame())
        for curve, rows, aside in zip(curves, of_curves, _aside(len(curves), 3 * len(sizes)), strict=True):
            places = rows["problems"].map(list(sizes).index) + aside
            _draw_line(axes, places, rows["value"], curve.look)
            plotting.draw_points(axes, places, rows, curve.look, along="y")
        axes.set_xticks(range(len(sizes)), list(sizes.values()))
        axes.set_xlim(-0.4, len(sizes) - 0.6)


class MarkerChange(Panel):
    """Change of each marker's count per response on a benchmark, from the base model to the last checkpoint."""

    x_label = ""

    def shown(self, curve: Curve) -> pd.DataFrame:
        """The last step's rows, in the order of the markers."""
        rows = curve.rows[curve.rows["benchmark"] == self.benchmark]
        last = rows[rows["step"] == rows["step"].max()].set_index("metric", drop=False)
        return last.loc[[self.metric.replace("*", marker) for marker in MARKERS]]

    def draw(self, axes: Axes, curves: Sequence[Curve], of_curves: Sequence[pd.DataFrame]) -> None:
        """A lane for each marker, and in it a point with interval and base models for each curve."""
        for place in range(1, len(MARKERS), 2):
            axes.axvspan(place - 0.5, place + 0.5, color=plotting.LANE, linewidth=0, zorder=0)
        axes.grid(axis="x", visible=False)
        self._draw_base(axes, pd.DataFrame())
        between = min(0.25, 0.8 / len(curves))  # all of them stay in their lane
        for curve, rows, aside in zip(curves, of_curves, _aside(len(curves), between / ASIDE), strict=True):
            plotting.draw_points(axes, np.arange(len(MARKERS)) + aside, rows, curve.look, along="y")
        axes.set_xticks(range(len(MARKERS)), MARKERS, rotation=40, ha="right", rotation_mode="anchor")
        axes.set_xlim(-0.5, len(MARKERS) - 0.5)


Cell = tuple[Panel, Sequence[Curve]]
SCORE, LENGTH = Panel("score", "training score"), Panel("L", "response length L (tokens)")
EPISTEMIC = Panel("E_substring", "markers E per response")
VERIFIED = Panel(V, "verified V (share of accepted answers)")
TRAINING = (SCORE, LENGTH, EPISTEMIC, VERIFIED)


def accuracy(benchmark: str) -> Panel:
    """Accuracy on a benchmark, in percent."""
    return Panel("avg", f"accuracy on {benchmark_label(benchmark)} (%)", benchmark)


def difference(benchmark: str) -> Panel:
    """Difference in accuracy to the base model on a benchmark, problem by problem, in percentage points."""
    return Panel("avg" + TO_BASE, f"{benchmark_label(benchmark)}: difference to base model (points)", benchmark)


def markers(benchmark: str) -> Panel:
    """Markers per response on a benchmark."""
    return Panel("E_substring", f"markers E on {benchmark_label(benchmark)}", benchmark)


def verified(benchmark: str) -> Panel:
    """Share of the accepted answers on a benchmark that their responses show to hold."""
    return Panel(V, f"verified V on {benchmark_label(benchmark)}", benchmark)


def marker_change(benchmark: str) -> Panel:
    """Difference to the base model in each marker per response on a benchmark."""
    title = f"{benchmark_label(benchmark)}: markers per response, difference to base"
    return MarkerChange("substring_*" + TO_BASE, title, benchmark)


def at_last(panel: Panel) -> Panel:
    """What a panel shows of the last step, against |D|."""
    return Sizes(panel.metric, panel.title, panel.benchmark)


def arm_label(rows: pd.DataFrame, *, teacher: bool = False, top_k: bool = False) -> str:
    """What sets the arm of ``rows`` apart, for a legend: method, context, moving teacher, learning rate.

    ``teacher``: a fixed one is named as well; ``top_k``: it is named.
    """
    arm = rows.iloc[0]
    words = [arm["method"].upper()]
    if arm["context"] in GUIDANCE:
        words.append(GUIDANCE[arm["context"]].short)
    elif arm["context"] != "none":
        words.append(f"c = {arm['context']}")
    if arm["teacher_update_rate"] > 0:
        words.append(f"moving teacher (EMA {arm['teacher_update_rate']:g})")
    elif teacher:
        words.append("fixed teacher")
    words.append(f"rate {rate_label(arm['learning_rate'])}")
    if top_k and pd.notna(arm["top_k"]):
        words.append(f"top-k {arm['top_k']:.0f}")
    return ", ".join(words)


def method_of(curves: pd.DataFrame) -> pd.Series:
    """Key of `METHODS` for each row, or the name of a context of one's own."""
    contexts = curves["context"].replace({"solution_without_thinking": SDPO_NO_THINK})
    return curves["method"].where(contexts.isin(["none", "solution"]), contexts)


def by_method(curves: pd.DataFrame) -> list[Curve]:
    """One curve per method present, in the order of `METHODS`; then one per context of one's own, by name."""
    methods = method_of(curves)
    own = sorted(set(methods) - METHODS.keys())
    looks = METHODS | {name: Look("SDPO", *look) for name, look in zip(own, own_looks(len(own)), strict=True)}
    found = [(curves[methods == name], look) for name, look in looks.items()]
    return [Curve(rows, replace(look, label=arm_label(rows))) for rows, look in found if len(rows)]


def by_size(curves: pd.DataFrame) -> list[Curve]:
    """One curve per |D|, the whole set last and darkest."""
    sizes = _sizes(curves)
    looks = looks_of([f"|D| = {size}" for size in sizes.values()])
    return [
        Curve(curves[curves["problems"] == number], look, size)
        for (number, size), look in zip(sizes.items(), looks.values(), strict=True)
    ]


def _sizes(curves: pd.DataFrame) -> dict[int, str]:
    """Each |D| as it is written, in ascending order."""
    whole = curves.loc[curves["whole_set"].astype(bool), "problems"].unique()
    return {size: "all" if size in whole else f"{size:,}" for size in sorted(curves["problems"].unique())}


def own_looks(number: int) -> list[tuple[str, str, tuple[float, ...]]]:
    """As many looks of `OWN_LOOKS`; once all have been given, colours come with other markers and dashes."""
    several = len(OWN_LOOKS)
    pairs = ((OWN_LOOKS[place % several], OWN_LOOKS[(place + place // several) % several]) for place in range(number))
    return [(colour, marker, dashes) for (colour, _, _), (_, marker, dashes) in pairs]


def _aside(curves: int, width: float) -> np.ndarray:
    """How far each of the ``curves`` is drawn aside, on an axis of ``width``."""
    return ASIDE * width * (np.arange(curves) - (curves - 1) / 2)


def _marked(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows that have a point: the last one, and others in equal distances; not the base model."""
    trained = rows[rows["step"] > 0]
    return trained.iloc[:: -max(1, math.ceil(len(trained) / MOST_POINTS))]  # a curve may have no number at all


def _draw_line(axes: Axes, places: pd.Series, values: pd.Series, look: Look) -> None:
    axes.plot(places, values, color=look.colour, **plotting.line_style(look))


def _write_ends(axes: Axes, curves: Sequence[tuple[Curve, pd.DataFrame]]) -> None:
    """Each curve's word at its end, one above the other where ends are close."""
    low, high = axes.get_ylim()
    ends = [(rows["step"].iloc[-1], np.clip(rows["value"].iloc[-1], low, high)) for _, rows in curves]
    places = _apart([(y - low) / (high - low) for _, y in ends], gap=8 / 72 / AXIS_HEIGHT)
    for (curve, _), end, place in zip(curves, ends, places, strict=True):
        leader = {"arrowstyle": "-", "linewidth": 0.5, "color": curve.look.colour, "shrinkA": 0, "shrinkB": 0}
        at = {"xytext": (1.06, place), "textcoords": "axes fraction", "va": "center", "annotation_clip": False}
        axes.annotate(curve.end, end, **at, fontsize=7, color=curve.look.colour, arrowprops=leader)


def _apart(places: Sequence[float], gap: float) -> np.ndarray:
    """``places``, in the same order, moved until they are ``gap`` apart; none above 1."""
    order = np.argsort(places, kind="stable")
    moved = np.asarray(places, float)[order]
    for number in range(1, len(moved)):
        moved[number] = max(moved[number], moved[number - 1] + gap)
    moved[-1:] = np.minimum(moved[-1:], 1.0)
    for number in range(len(moved) - 1, 0, -1):
        moved[number - 1] = min(moved[number - 1], moved[number] - gap)
    return moved[np.argsort(order)]


def draw_grid(
    rows: Sequence[Sequence[Cell]], study: str, *, columns: Sequence[str] = (), names: Sequence[str] = ()
) -> Drawn:
    """A grid of lettered panels, each with its curves.

    ``names`` stand left of the rows. ``columns`` stand above the rows that show one panel in every column; its title
    then stands left of the row.
    """
    plotting.use_style()
    figure = plotting.new_figure(height=0.55 + PANEL_HEIGHT * len(rows))
    grid = figure.add_gridspec(len(rows), math.lcm(*map(len, rows)))
    drawn: list[tuple[Axes, Panel, Sequence[Curve], Sequence[pd.DataFrame]]] = []
    for number, row in enumerate(rows):
        width = grid.ncols // len(row)
        repeated = len(columns) == len(row) and len({panel for panel, _ in row}) == 1
        below = [panel.x_label for panel, _ in rows[number + 1]] if number + 1 < len(rows) else []
        scales: dict[str, Axes] = {}
        for column, (panel, curves) in enumerate(row):
            place = grid[number, column * width : (column + 1) * width]
            axes = figure.add_subplot(place, sharey=scales.get(panel.metric))
            scales.setdefault(panel.metric, axes)
            of_curves = [panel.shown(curve) for curve in curves]
            panel.draw(axes, curves, of_curves)
            drawn.append((axes, panel, curves, of_curves))
            title = panel.title if not repeated else "" if number else columns[column]
            axes.set_title(textwrap.fill(title, int(plotting.WIDTH / len(row) / LETTER) - 6), loc="left")
            if len(below) != len(row) or below[column] != panel.x_label:
                axes.set_xlabel(panel.x_label)
            if column == 0 and (repeated or names):
                axes.set_ylabel(textwrap.fill(panel.title if repeated else names[number], 18))
    for axes, panel, curves, of_curves in drawn:
        panel.finish(axes, curves, of_curves)
    plotting.letter_panels(axes for axes, *_ in drawn)
    looks = {curve.look.label: curve.look for _, _, curves, _ in drawn for curve in curves}
    entries = [plotting.line_entry(look) for look in looks.values()]
    if any(panel.benchmark for _, panel, *_ in drawn):
        entries.append(Line2D([], [], label="base model", **BASE))
    plotting.draw_legend(figure, entries)
    shown = pd.concat([rows for *_, of_curves in drawn for rows in of_curves])
    data = shown.drop_duplicates().sort_values(list(tables.CURVES.key), ignore_index=True)
    first = data.iloc[0]
    model = f"{first['family']}, thinking {first['thinking']}"
    plotting.stamp(figure, study, f"{model}. Bars: {plotting.interval_text(data)}.", view=_view(data))
    return Drawn(figure, data)


def _view(data: pd.DataFrame) -> str:
    """The comparison of the reading room that ``data`` are about: rollouts, if there are any."""
    first = data.sort_values("benchmark", kind="stable").iloc[0]
    place = f"evaluation/{first['benchmark']}" if first["benchmark"] else f"training/{first['problem_set']}"
    return f"{place}/{first['family']}-{first['thinking']}"


def comparison(curves: pd.DataFrame, view: View, study: str, *, with_markers: bool) -> Drawn:
    """Figures 3-5: `training_and_benchmarks` of each method and, if wanted, the change of every marker."""
    shown = by_method(in_view(curves, view))
    rows = training_and_benchmarks(shown, view["benchmarks"])
    if with_markers:
        rows.append([(marker_change(name), shown) for name in view["benchmarks"]])
    return draw_grid(rows, study)


def training_and_benchmarks(curves: Sequence[Curve], benchmarks: Sequence[str]) -> list[list[Cell]]:
    """Rows of panels: training, accuracy on each benchmark, and its difference to the base model."""
    kinds = [TRAINING, [accuracy(name) for name in benchmarks], [difference(name) for name in benchmarks]]
    return [[(panel, curves) for panel in kind] for kind in kinds]


def by_number_of_problems(
    curves: pd.DataFrame, view: View, study: str, panels: Sequence[Panel], last: Sequence[Panel]
) -> Drawn:
    """Figures 7 and 8: a row for each of ``panels``, GRPO left and SDPO right, one line per |D|.

    Below, ``last`` at the last step against |D|, GRPO and SDPO in one panel.
    """
    grpo = in_view(curves, view, method="grpo", whole_set=None)
    sdpo = in_view(curves, view, method="sdpo", context="solution", whole_set=None)
    methods = by_method(pd.concat([grpo, sdpo]))
    rows = [[(panel, by_size(arm)) for arm in (grpo, sdpo)] for panel in panels]
    rows.append([(at_last(panel), methods) for panel in last])
    return draw_grid(rows, study, columns=[curve.look.label for curve in methods])
