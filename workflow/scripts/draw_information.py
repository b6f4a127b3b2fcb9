r"""**Section 3: what a context tells of the responses to it.** Each point is a setting: across, I(y; c | x), the mean
over its responses of log p(y | x, c) - log p(y | x) in nats, by the model that wrote them; upwards, length L, markers
E, verified answers V and score of the same responses. Unguided responses have no context, and stand at 0. Lines are
intervals of both.

Both likelihoods are the model's own, at temperature 1 and over its whole vocabulary. "First k %" shows so many of a
hundred words of s.

*What the authors did differently.* The paper orders its settings by I(y; c | x) and gives no number of it; it shows no
part of a solution.
"""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure
from selfdistill.figures import plotting
from selfdistill.figures.plotting import SETTINGS, SHAPES, Drawn, Look

INFORMATION = "information"
MEASURES = {
    "L": "length L (tokens)",
    "E_substring": "markers E",
    "V": "verified V (share)",
    "score": "score (share correct)",
}
PART = "solution_first_"
REFERENCE = "unguided"


def draw(table: pd.DataFrame, study: str) -> Drawn:
    """A panel per measure for each family of base models."""
    plotting.use_style()
    shown = table[table["metric"].isin([INFORMATION, *MEASURES])].reset_index(drop=True)
    looks = _looks(shown["row"])
    figure, blocks = plotting.blocks_by_model(shown, height=2.9)
    plotting.letter_panels([panel for block, rows in blocks for panel in _draw_block(block, rows, looks)])
    plotting.draw_legend(figure, [plotting.legend_entry(each, interval=True) for each in looks.values()])
    plotting.stamp(figure, study, f"Lines: {plotting.interval_text(shown)}.", view="guidance")
    return Drawn(figure, shown)


def _looks(rows: pd.Series) -> dict[str, Look]:
    """The settings as they look elsewhere, told apart by shape as well; parts of s from light to dark."""
    known = [name for name in SETTINGS if name in set(rows)]
    parts = sorted((name for name in set(rows) if name.startswith(PART)), key=_percent)
    others = sorted(set(rows) - {*known, *parts})
    looks = {
        name: Look(plotting.look(name, SETTINGS).label, plotting.look(name, SETTINGS).colour, shape)
        for name, shape in zip([*known, *others], [*SHAPES, *SHAPES], strict=False)
    }
    for place, name in enumerate(parts):
        grey = 0.72 - 0.5 * place / max(1, len(parts) - 1)
        looks[name] = Look(f"first {_percent(name)} % of s", f"{grey:.2f}", "<")
    return looks


def _percent(name: str) -> int:
    return int(name.removeprefix(PART))


def _draw_block(block: SubFigure, frame: pd.DataFrame, looks: dict[str, Look]) -> list[Axes]:
    axes = block.subplots(1, len(MEASURES))
    values = frame.set_index(["row", "metric"])
    for panel, (measure, label) in zip(axes, MEASURES.items(), strict=True):
        for name, drawn_as in looks.items():
            if (name, measure) in values.index and (name == REFERENCE or (name, INFORMATION) in values.index):
                across = values.loc[(name, INFORMATION)] if name != REFERENCE else None
                _draw_point(panel, across, values.loc[(name, measure)], drawn_as)
        panel.set(title=label, xlabel="I(y; c | x) (nats)", ylim=(0, None))
    return list(axes)


def _draw_point(panel: Axes, across: pd.Series | None, up: pd.Series, drawn_as: Look) -> None:
    faint = {"color": drawn_as.colour, "linewidth": 0.8, "alpha": 0.55}
    place = 0.0 if across is None else across["value"]
    if across is not None:
        panel.hlines(up["value"], across["low"], across["high"], **faint)
    panel.vlines(place, up["low"], up["high"], **faint)
    panel.plot(place, up["value"], drawn_as.shape, color=drawn_as.colour, markersize=4.2)
