"""**Figure 2: reasoning with and without epistemic markers.** Two responses to one problem. *(2a)* A model after SFT on
solution-guided responses commits to an answer, which is wrong. *(2b)* The base model, unguided, voices doubt
and gets to the correct answer. Markers (whole words) are highlighted. The page (HTML) holds both responses in full; the
image leaves out the middle of long ones. A problem of the microcosm asks for the one number x from 0 to 59 that fits
all its clues: *m5 = 4* says that x leaves the remainder 4 when it is divided by 5, and *a = 4* that table *a*, one of
twelve which the model knows by heart, holds 4 at x. *no* says that a candidate does not fit.

*How the examples were chosen.* By code, not by hand. Eligible are the problems that the base model solved at
least once in a response with a marker and missed at least once, and that the trained model finished at least
once with a wrong answer. Of these, the problem is shown whose mean number of markers in the base model's
responses is the median; on it, the trained model's finished wrong response (2a) and the base model's finished
correct response with markers (2b) whose number of markers is the median. Medians are lower medians; ties go to
the smaller problem id, then to the smaller sample number. Markers are counted by whole word.

The trained model is the one fine-tuned on D_sg at the largest learning rate of the grid, and the problems are those of
the last benchmark of the configuration; run, benchmark and sample stand above each response.

An example illustrates and proves nothing: the rule looks for a problem on which the trained model was wrong and the
base model right. Table 2 says how often either is.

*What the authors did differently.* How the paper's examples were chosen is not stated.
"""

import pandas as pd
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from selfdistill.figures import examples, plotting
from selfdistill.figures.plotting import Drawn

FONT, POINTS = "DejaVu Sans Mono", 7.5
LETTER = 0.602 * POINTS / 72  # inches; the advance of this font is 0.602 of its size
LINE = 1.55 * POINTS / 72  # inches
MARGIN, GAP = 0.12, 0.25  # inches
BOX = (plotting.WIDTH - 2 * MARGIN - GAP) / 2
LETTERS = int((BOX - 2 * MARGIN) / LETTER)  # in a line of a box
MOST_LINES = 36
MARKED = {"facecolor": "#ffd166", "edgecolor": "none", "boxstyle": "round,pad=0.1,rounding_size=0.2"}
COLOURS = {"2a": plotting.GUIDED, "2b": plotting.UNGUIDED}
FACTS = ["panel", "model", "run", "problem_id", "sample", "response_tokens", "answer", "correct", "E"]


def draw(base: pd.DataFrame, trained: pd.DataFrame, problems: pd.DataFrame, study: str) -> Drawn:
    """One response of each of two traces tables, chosen by `examples.choose_examples`; the page holds them in full."""
    chosen = examples.choose_examples(base, trained)

    def page(made_from: str) -> str:
        return examples.to_html(chosen, problems, stamp=plotting.stamp_text(study), description=made_from)

    return Drawn(_side_by_side(chosen, problems, study), chosen.reindex(columns=FACTS), page)


def _side_by_side(chosen: pd.DataFrame, problems: pd.DataFrame, study: str) -> Figure:
    """The rows of ``chosen`` under their problem."""
    plotting.use_style()
    if chosen.empty:
        question, answer = "No problem of this run satisfies the rule by which examples are chosen.", ""
    else:
        question, answer = examples.problem_of(chosen, problems)[["problem", "answer"]]
    above = examples.wrap(question, int((plotting.WIDTH - 2 * MARGIN) / LETTER), MOST_LINES // 4)
    texts = [examples.wrap(response, LETTERS, MOST_LINES) for response in chosen["response"]]
    top = 2 * MARGIN + len(above) * LINE
    height = top + max((len(text) + 4.7 for text in texts), default=0) * LINE + 2 * LINE
    figure = Figure(figsize=(plotting.WIDTH, height))
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, plotting.WIDTH), ylim=(height, 0))
    axes.axis("off")
    _write(axes, MARGIN, MARGIN, above)
    for place, ((_, example), text) in enumerate(zip(chosen.iterrows(), texts, strict=True)):
        note = examples.describe(example, answer)
        _draw_box(axes, MARGIN + place * (BOX + GAP), top, example["panel"], note, text)
    plotting.stamp(figure, study, view="sft")
    return figure


def _draw_box(axes: Axes, left: float, top: float, panel: str, note: str, text: list[str]) -> None:
    colour = COLOURS[panel]
    axes.text(left, top + LINE, examples.PANEL_TITLES[panel], weight="bold", fontsize=8.5, color=colour)
    axes.text(left, top + 3.1 * LINE, note, fontsize=7, color=plotting.MUTED, parse_math=False)
    size = (BOX, (len(text) + 1) * LINE)
    look = {"facecolor": "#fafafa", "edgecolor": colour, "linewidth": 0.9}
    axes.add_patch(Rectangle((left, top + 3.7 * LINE), *size, **look))
    _write(axes, left + MARGIN, top + 4.1 * LINE, text)


def _write(axes: Axes, left: float, top: float, lines: list[str]) -> None:
    """Lines of equal-width letters, each piece put at its own column, markers on a coloured ground."""
    for number, line in enumerate(lines, start=1):
        column = 0
        for chunk, is_marker in examples.highlight(line):
            indent = len(chunk) - len(chunk.lstrip())
            axes.text(
                left + (column + indent) * LETTER,
                top + (number - 0.35) * LINE,
                _drawable(chunk.strip()),
                family=FONT,
                fontsize=POINTS,
                parse_math=False,
                bbox=MARKED if is_marker else None,
            )
            column += len(chunk)


def _drawable(text: str) -> str:
    """``text`` with a hollow square for every letter that the font lacks, so that columns stay in place."""
    glyphs = font_manager.get_font(font_manager.findfont(FONT)).get_charmap()
    return "".join(letter if ord(letter) in glyphs else "□" for letter in text)
