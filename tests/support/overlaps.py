"""Whether labels of a drawn figure cover one another."""

from itertools import combinations

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

APART = 2  # pixels


def covered(figure: Figure) -> list[tuple[str, str]]:
    """Pairs of titles and axis labels of a figure's panels that touch or cover one another."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    texts = [
        text for axes in figure.axes if axes.axison for text in (axes._left_title, axes.xaxis.label, axes.yaxis.label)
    ]
    boxes = [(text.get_text(), text.get_window_extent().padded(APART)) for text in texts if text.get_text()]
    return [(one, other) for (one, box), (other, its) in combinations(boxes, 2) if box.overlaps(its)]
