"""The look of every figure and the pieces that several figures share.

A figure states its study, draws intervals as they stand in its table, and marks quoted values as quoted.
Saving is deterministic: equal figures give equal bytes in PNG, SVG and PDF, and each file says in its
metadata which study, rule, code and input bytes it was made from.
"""

import json
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from string import ascii_lowercase
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from selfdistill.analysis import quantities
from selfdistill.analysis.words import GUIDANCE, interval_over
from selfdistill.errors import UserError, one_of
from selfdistill.files import atomic_path, sha256_file, write_text
from selfdistill.pages import reading_room
from selfdistill.pages.stamp import stamp_text

WIDTH = 6.8  # inches: the text width of a journal's page; nothing is scaled down when the figure is set there
INK, MUTED = "#222222", "#6b6b6b"
STAMP_CHARACTERS = 115  # of a line below a figure: as many as its width has room for


@dataclass(frozen=True)
class Look:
    """How one setting, data set, arm or way of counting is named and drawn, the same in every figure.

    ``dash``: lengths of dash and gap in line widths; empty for a solid line. What is told apart by colour differs in
    shape or dash too, for readers of a grey print.
    """

    label: str
    colour: str = INK
    shape: str = "o"
    dash: tuple[float, ...] = ()


@dataclass(frozen=True)
class Drawn:
    """A figure and the rows that it shows; ``page`` makes an HTML page to go with it from the text of `record`."""

    figure: Figure
    data: pd.DataFrame
    page: Callable[[str], str] | None = None


# Okabe and Ito's palette, told apart by colour-blind readers. A data set wears the colour of its setting.
UNGUIDED, GUIDED = "#0072B2", "#D55E00"
SETTINGS: dict[str, Look] = {
    "selection draw": Look("selection draw (c = ∅)", "#8c8c8c"),
    **{name: Look(words.label, words.colour) for name, words in GUIDANCE.items()},
}
DATASETS: dict[str, Look] = {
    "base": Look("base model", INK, "D"),
    "unguided": Look(r"SFT on $D_{\mathrm{ug}}$ (unguided)", UNGUIDED, "o"),
    "guided": Look(r"SFT on $D_{\mathrm{sg}}$ (solution-guided)", GUIDED, "s", (4, 1.2)),
    "unguided_unfiltered": Look("SFT on unguided, unfiltered", "#56B4E9", "^", (1.2, 1)),
}
COUNTINGS: dict[str, Look] = {
    "substring": Look("counted as substring\n(the authors' way)", shape="o"),
    "word": Look("counted by whole word", shape="^"),
}
# Their numbers have no common divisor: all pairs differ until as many are drawn as both multiply to.
SHAPES = ("o", "s", "^", "D", "v", "P", "X")
DASHES = ((), (4, 1.2), (1.2, 1), (4, 1.2, 1.2, 1.2), (7, 1.5))
QUOTED = Look("paper (quoted)", shape="D")

# How a base model's own value is drawn: behind the interval and the mean, which it would hide.
BASE_MODEL: dict[str, Any] = {
    "linestyle": "none",
    "marker": ".",
    "markersize": 4,
    "markeredgewidth": 0,
    "alpha": 0.4,
    "zorder": 1.5,
}
LANE = "#f4f4f4"  # the ground of every other lane

_RC = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib: the same glyphs on every machine
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 8,
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "text.color": INK,
    "axes.edgecolor": "#9a9a9a",
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.bottom": True,
    "xtick.major.size": 2.5,
    "xtick.major.width": 0.7,
    "xtick.color": INK,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.6,
    "text.hinting": "none",  # letters advance as the font says, at every resolution
    "svg.fonttype": "path",
    "svg.hashsalt": "selfdistill",
    "pdf.fonttype": 42,
}


def use_style() -> None:
    """Set the style of all figures drawn from here on."""
    sns.set_theme(context="paper", style="whitegrid", rc=_RC)


def new_figure(height: float) -> Figure:
    """An empty figure of the page's text width and ``height`` inches, laid out without overlaps."""
    return Figure(figsize=(WIDTH, height), layout="constrained")


def look(name: str, looks: Mapping[str, Look]) -> Look:
    """The `Look` of ``name``; `UserError` with the nearest spelling when there is none."""
    if looks is SETTINGS and name not in looks:
        return Look(f"c = {name}", "#7f7f00")  # a context of one's own
    return one_of("look", name, looks)


def looks_of(labels: Iterable[str]) -> dict[str, Look]:
    """A look for each of the ``labels``: from light to dark, and each with a shape and dash of its own."""
    listed = list(labels)
    shades = mpl.colormaps["viridis"](np.linspace(0.0, 0.7, len(listed))[::-1])
    return {
        label: Look(label, mpl.colors.to_hex(shade), SHAPES[place % len(SHAPES)], DASHES[place % len(DASHES)])
        for place, (label, shade) in enumerate(zip(listed, shades, strict=True))
    }


def in_order(names: Iterable[str], looks: Mapping[str, Look]) -> list[str]:
    """The distinct ``names`` in the order of ``looks``; `UserError` for a name without a look."""
    present = {name for name in names if look(name, looks)}
    return [*(name for name in looks if name in present), *sorted(present - looks.keys())]


Runs = Mapping[str, tuple[str, float]]  # data set and learning rate of fine-tuning runs, by id


def what_trained(row: str, runs: Runs) -> tuple[str, float]:
    """Data set and learning rate of a row of Table 2, a run's id; ``runs``: those of the study.

    The rate is NaN where none is known: of the base model ("base") and of quoted rows ("sft-guided").
    """
    dataset, rate = runs.get(row, (row.removeprefix("sft-"), float("nan")))
    look(dataset, DATASETS)
    return dataset, rate


def relative_to(frame: pd.DataFrame, row: str) -> pd.DataFrame:
    """Values of a summary ``frame`` as ratios to its row ``row``, per model, metric and origin.

    Intervals are dropped: those of a ratio need the responses themselves, not the two intervals.
    Rows without a reference are dropped too.
    """
    keys = ["model", "benchmark", "metric", "origin"]
    reference = frame.loc[frame["row"] == row].set_index(keys)["value"].rename("reference")
    joined = frame.join(reference, on=keys).dropna(subset=["reference"])
    ratio = joined["value"] / joined["reference"].where(joined["reference"] != 0)
    return joined.assign(value=ratio, low=np.nan, high=np.nan).drop(columns="reference")


def measured(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of a summary ``frame`` that this study measured."""
    return frame[frame["origin"] == "measured"]


def blocks_by_model(frame: pd.DataFrame, height: float) -> tuple[Figure, list[tuple[SubFigure, pd.DataFrame]]]:
    """A figure with one block of ``height`` inches per measured model, and each block's rows of ``frame``.

    Quoted rows go to every block: they are the paper's values for its own model, whatever the block's.
    """
    models = list(measured(frame)["model"].unique())
    figure = new_figure(height * len(models) + 0.3)
    blocks = np.atleast_1d(figure.subfigures(len(models), 1))
    if len(models) > 1:
        for block, model in zip(blocks, models, strict=True):
            block.suptitle(model, x=0.01, ha="left", fontsize=9)
    parts = [frame[(frame["model"] == model) | (frame["origin"] == "quoted")] for model in models]
    return figure, list(zip(blocks, parts, strict=True))


def letter_panels(panels: Iterable[Axes]) -> None:
    """Put a letter before each panel's title, in bold: a to z, aa, ab and so on."""
    letters = ("".join(found) for length in (1, 2) for found in product(ascii_lowercase, repeat=length))
    for axes, letter in zip(panels, letters, strict=False):
        title = axes.get_title(loc="left") or axes.get_title()
        axes.set_title("")
        axes.set_title(rf"$\mathbf{{{letter}}}$  {title}", loc="left")


def draw_points(
    axes: Axes,
    positions: Sequence[float] | float,
    frame: pd.DataFrame,
    drawn_as: Look,
    *,
    quoted: bool = False,
    along: str = "x",
) -> None:
    """Draw one point per row of ``frame`` (a summary, or curves), its interval as a line, and its base models.

    Base models are small points, where there are several. ``along`` is the axis that carries the values; ``positions``
    (one per row, or one for all) lie on the other. An interval that is null is not drawn. Quoted values are hollow and
    have no interval.
    """
    values = frame["value"].to_numpy(float)
    places = np.broadcast_to(np.asarray(positions, float), values.shape)
    horizontal = along == "x"
    if not quoted:
        lines = axes.hlines if horizontal else axes.vlines
        known = frame[["low", "high"]].notna().all(axis=1).to_numpy()
        lines(places[known], frame["low"][known], frame["high"][known], color=drawn_as.colour, linewidth=1.5)
        own = quantities.by_model(frame.assign(place=places))
        if len(own):
            axes.plot(*_placed(own["value"], own["place"], horizontal), **BASE_MODEL, color=drawn_as.colour)
    axes.plot(*_placed(values, places, horizontal), **_point(drawn_as, quoted))


def _placed(values: Any, places: Any, horizontal: bool) -> tuple[Any, Any]:
    return (values, places) if horizontal else (places, values)


def _point(drawn_as: Look, quoted: bool) -> dict[str, Any]:
    return {"linestyle": "none"} | _mark(drawn_as, quoted)


def _mark(drawn_as: Look, quoted: bool = False) -> dict[str, Any]:
    return {
        "marker": drawn_as.shape,
        "markersize": 4.6 if quoted else 3.6,
        "markerfacecolor": "none" if quoted else drawn_as.colour,
        "markeredgecolor": drawn_as.colour,
        "markeredgewidth": 1.1,
    }


def draw_settings(axes: Axes, frame: pd.DataFrame, settings: Sequence[str], metrics: Mapping[str, str]) -> None:
    """Draw the ``metrics`` of a summary ``frame``, one lane per setting from the top down, values along x.

    ``metrics`` maps a way of counting (a key of `COUNTINGS`, or "" where nothing is counted) to a metric.
    Within a lane the countings stand above one another, and quoted values below them. Every other lane has a ground.
    """
    shifts = dict(zip(metrics, (-0.22, 0.02) if len(metrics) > 1 else (0.0,), strict=True))
    for position, setting in enumerate(settings):
        if position % 2:
            axes.axhspan(position - 0.5, position + 0.5, color=LANE, linewidth=0, zorder=0)
        for counting, metric in metrics.items():
            shape = COUNTINGS[counting].shape if counting else "o"
            drawn_as = replace(look(setting, SETTINGS), shape=shape)
            rows = frame[(frame["row"] == setting) & (frame["metric"] == metric)]
            draw_points(axes, position + shifts[counting], measured(rows), drawn_as)
            quoted = rows[rows["origin"] == "quoted"]
            hollow = replace(drawn_as, shape=QUOTED.shape)
            draw_points(axes, position + 0.28, quoted, hollow, quoted=True)
    labels = [look(setting, SETTINGS).label.replace(" (", "\n(") for setting in settings]
    axes.set_yticks(range(len(settings)), labels, linespacing=1.05)
    axes.set_ylim(len(settings) - 0.4, -0.6)


def from_zero(axes: Axes, most: float | None = None) -> None:
    """Let the x-axis begin at zero and end at ``most`` (or beyond the data), with room for whole points."""
    most = axes.get_xlim()[1] if most is None else most
    axes.set_xlim(-0.05 * most, 1.05 * most)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=4, steps=[1, 2, 5, 10]))
    axes.set_xticks([tick for tick in axes.get_xticks() if 0 <= tick <= most])


def legend_entry(drawn_as: Look, *, quoted: bool = False, interval: bool = False) -> Line2D:
    """A legend handle that looks as `draw_points` draws; ``interval`` shows the line through it."""
    style = _point(drawn_as, quoted) | ({"linestyle": "-", "linewidth": 1.5} if interval else {})
    return Line2D([], [], color=drawn_as.colour, label=drawn_as.label, **style)


def line_entry(drawn_as: Look, *, marked: bool = True) -> Line2D:
    """A legend handle of a line, with its points if they are ``marked``."""
    mark = _mark(drawn_as) if marked else {}
    return Line2D([], [], color=drawn_as.colour, label=drawn_as.label, **line_style(drawn_as), **mark)


def line_style(drawn_as: Look) -> dict[str, Any]:
    """Style of a line without its points."""
    return {"linestyle": (0, drawn_as.dash) if drawn_as.dash else "-", "linewidth": 1.2}


def draw_legend(figure: Figure, entries: Sequence[Line2D]) -> None:
    """Put one legend above all panels, in as few lines as fit the page."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    for entry in entries:
        entry.set_label(entry.get_label().replace("\n", " "))
    spacing = {"handletextpad": 0.4, "columnspacing": 1.4, "handlelength": 2.6}
    for columns in range(len(entries), 0, -1):
        by_row = [entry for column in range(columns) for entry in entries[column::columns]]  # filled column by column
        legend = figure.legend(handles=by_row, loc="outside upper left", ncols=columns, **spacing)
        if columns == 1 or legend.get_window_extent(renderer).width <= figure.bbox.width:
            return
        legend.remove()


def stamp(figure: Figure, study: str, note: str = "", *, view: str | None = None) -> None:
    """Write `stamp_text` and a ``note`` below the figure, where no other piece covers them.

    ``view``: the comparison of the reading room (`reading_room.link`) to which the text links in SVG and PDF.
    """
    lines = [line for said in (stamp_text(study), note) for line in textwrap.wrap(said, STAMP_CHARACTERS)]
    text = figure.supxlabel("\n".join(lines), x=0.01, ha="left", fontsize=7, color=MUTED, style="italic")
    if view is not None:
        text.set_url(reading_room.link(view=view))


def interval_text(rows: pd.DataFrame, *, points: bool = True) -> str:
    """One line on the intervals of measured ``rows``: level, what they are over, which are missing.

    ``points``: base models are drawn as small points, where there are several.
    """
    level, models = rows["confidence"].dropna().iloc[0], set(rows["models"].dropna().astype(int))
    said = [f"{100 * level:g} % intervals over {interval_over(models)}"]
    if measured(rows)["low"].isna().any():
        said.append("a single problem has none")
    if points and max(models) > 1:
        said.append("small points: base models")
    return "; ".join(said)


def record(*, study: str, rule: str, code: str, inputs: Iterable[str | Path]) -> str:
    """One line of JSON (ASCII): what a figure was made from, with the SHA-256 of each input file."""
    digests = {str(path): sha256_file(path) for path in inputs}
    return json.dumps({"study": study, "rule": rule, "code": code, "inputs": digests}, sort_keys=True)


def save(figure: Figure, paths: Iterable[str | Path], description: str, data: pd.DataFrame) -> None:
    """Write ``figure`` to each of ``paths``, in the format of its suffix: .png (200 dpi), .svg or .pdf.

    A path in .csv gets ``data``, the rows that the figure shows. ``description`` (see `record`) goes to the PNG text
    chunk and the SVG element called Description, and to the PDF's Subject. Nothing volatile is
    written, so that equal figures give equal bytes.
    """
    for path in map(Path, paths):
        if path.suffix == ".csv":
            write_text(path, data.to_csv(index=False))
            continue
        metadata = _metadata(path, description)
        with mpl.rc_context(_RC), atomic_path(path) as temporary:
            figure.savefig(temporary, format=path.suffix[1:], dpi=200, metadata=metadata)


def _metadata(path: Path, description: str) -> dict[str, str | None]:
    fields: dict[str, dict[str, str | None]] = {
        ".png": {"Description": description, "Software": None},
        ".svg": {"Description": description, "Date": None},
        ".pdf": {"Subject": description, "CreationDate": None},
    }
    if path.suffix not in fields:
        raise UserError(f"{path}: no figure format '{path.suffix}'; known: {', '.join(fields)}, .csv, .txt")
    return {"Title": path.stem} | fields[path.suffix]
