"""**Table 1 (Section 3): reasoning under richer context.** Response length L in tokens, number of epistemic
markers E per response, their density per 1,000 tokens, verified answers V, and score (share of correct responses) for
the selected problems, in four settings: *unguided* (c = ∅); *solution-guided* (c = s: a correct response with its
thinking is shown); *c = s without think* (its thinking removed); *regeneration* (c = ỹ: a response written under
solution guidance is shown). The ten markers are wait, hmm, perhaps, maybe, actually, alternatively, seems,
might, likely and check; E is their sum over the whole response, thinking included.

*Above:* as measured. *Below:* relative to unguided, the scale on which models of different size can be compared;
the hollow diamonds are the paper's quoted values for DeepSeek-R1-Distill-Qwen-7B, divided by its own unguided
value. Score and V are compared as they are; V is the share of accepted answers that a response shows to hold: exact
in the microcosm, elsewhere by phrases that say so.

*Intervals:* lines and table entries give 95 % intervals (docs/statistics.md): what other base models and other problems
could have given; of one base model, other problems only. Small points are the base models. L, E and score are means
over the responses to a problem, then over problems, then over base models; the density is total markers over total
tokens. Ratios divide the same responses' totals, both sides over the same problems.

*What the authors did differently.* They count markers as substrings, so that *check* is found in *checked* and
*likely* in *unlikely*; we report that count and the count by whole words. Their unguided score comes from
the same eight responses that selected the problem, which biases it; we draw again after selecting and show the
selection draw beside it. Their code keeps only the correct unguided responses, from which L and E of that
row cannot be computed; we keep every response. Their ỹ is the first correct of eight guided responses, otherwise
the first; we show that choice and an *unselected* one. They give no intervals.
"""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure
from selfdistill.figures import plotting
from selfdistill.figures.plotting import Drawn

# Title, unit, and the metric by way of counting ("" where nothing is counted).
PANELS = [
    ("length L", "tokens\nper response", {"": "L"}),
    ("markers E", "markers\nper response", {"substring": "E_substring", "word": "E_word"}),
    (
        "density E / L",
        "markers per\n1,000 tokens",
        {"substring": "E_per_1000_tokens_substring", "word": "E_per_1000_tokens_word"},
    ),
    ("verified V", "share of\naccepted", {"": "V"}),
    ("score", "share\ncorrect", {"": "score"}),
]
SHARES = ("verified V", "score")  # compared as they are


def draw(table: pd.DataFrame, study: str) -> Drawn:
    """Two rows of panels for each family of base models measured in the summary ``table``."""
    plotting.use_style()
    settings = plotting.in_order(table["row"], plotting.SETTINGS)
    figure, blocks = plotting.blocks_by_model(table, height=1.3 + 0.56 * len(settings))
    plotting.letter_panels([panel for block, of_model in blocks for panel in _draw_block(block, of_model, settings)])
    plotting.stamp(figure, study, f"Bars: {plotting.interval_text(table)}.", view="guidance")
    return Drawn(figure, table)


def _draw_block(block: SubFigure, frame: pd.DataFrame, settings: list[str]) -> list[Axes]:
    """The panels of one family."""
    axes = block.subplots(2, len(PANELS), sharey=True)
    quoted = plotting.relative_to(frame[frame["origin"] == "quoted"], "unguided")
    # Measured ratios stand in the table, with intervals in which both their sides vary together.
    ratios = pd.concat([plotting.measured(frame), quoted.assign(metric=quoted["metric"] + "_ratio")])
    for (title, unit, metrics), above, below in zip(PANELS, *axes, strict=True):
        is_share = title in SHARES
        plotting.draw_settings(above, frame if is_share else plotting.measured(frame), settings, metrics)
        above.set(title=title, xlabel=unit)
        plotting.from_zero(above, most=1 if is_share else None)
        if is_share:
            below.axis("off")
        else:
            of_ratios = {counting: f"{metric}_ratio" for counting, metric in metrics.items()}
            plotting.draw_settings(below, ratios, settings, of_ratios)
            below.axvline(1, color=plotting.MUTED, linewidth=0.8, zorder=0)
            below.set(title=title, xlabel="ratio\nto unguided")
            plotting.from_zero(below)
    _draw_legend(axes[-1, -1])
    return [panel for panel in axes.flat if panel.axison]


def _draw_legend(axes: Axes) -> None:
    entries = [plotting.legend_entry(look, interval=True) for look in plotting.COUNTINGS.values()]
    axes.legend(handles=[*entries, plotting.legend_entry(plotting.QUOTED, quoted=True)], loc="center")
