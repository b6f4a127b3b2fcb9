#!/usr/bin/env bash
# In seaborn, the mean that a plot shows depends on whether its axis is made logarithmic before or after the plot.
#
# Guess:   an axis' scale is a matter of display: a bar at the mean of 1, 10, 100 and 1000 stands at 277.75.
# Seen:    on an axis that is logarithmic already, barplot, pointplot and lineplot average the logarithms and show the
#          geometric mean, 31.6. With set_yscale("log") after the plot they show 277.75. `log_scale=True` of barplot
#          and pointplot is the same as "before". Nothing is written on the axis.
# With:    seaborn 0.13.2, matplotlib 3.11.2
# Matters: numbers of tokens, losses and learning rates are drawn on such axes, and the order of two lines decides
#          what a figure's caption may call it. A table beside the figure has other numbers.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check seaborn==0.13.2 matplotlib==3.11.2 pandas==3.1.1 numpy==2.4.6
export MPLBACKEND=agg MPLCONFIGDIR=$work/mpl

venv/bin/python - <<'PYTHON'
import matplotlib
import matplotlib.pyplot as plt
import pandas as pd
import seaborn

print("seaborn", seaborn.__version__, "matplotlib", matplotlib.__version__)
table = pd.DataFrame({"step": [0] * 4, "tokens": [1.0, 10.0, 100.0, 1000.0]})

def shown(draw, log):
    _, axes = plt.subplots()
    if log == "before":
        axes.set_yscale("log")
    options = {"log_scale": True} if log == "log_scale" else {}
    draw(table, x="step", y="tokens", errorbar=None, ax=axes, **options)
    if log == "after":
        axes.set_yscale("log")
    return float(axes.patches[0].get_height() if axes.patches else axes.lines[0].get_ydata()[0])

assert round(shown(seaborn.barplot, "log_scale"), 2) == round(shown(seaborn.pointplot, "log_scale"), 2) == 31.62
for draw in (seaborn.barplot, seaborn.pointplot, seaborn.lineplot):
    heights = {log: round(shown(draw, log), 2) for log in ("before", "after", "never")}
    print(f"{draw.__name__:10}", heights)
    assert heights == {"before": 31.62, "after": 277.75, "never": 277.75}
PYTHON
