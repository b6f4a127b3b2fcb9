"""Figure 3: GRPO and SDPO with both contexts, and how each marker's count changed."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from selfdistill.figures import curve_plots
from selfdistill.figures.curve_plots import Drawn


def draw(curves: pd.DataFrame, view: Mapping[str, Any], study: str) -> Drawn:
    """Training above, accuracy on problems of unseen types below."""
    return curve_plots.comparison(curves, view, study, with_markers=True)


if __name__ == "__main__":
    curve_plots.run(snakemake, draw)  # noqa: F821 (Snakemake puts it in scope)
