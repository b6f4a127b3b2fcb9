#!/usr/bin/env bash
# seaborn leaves infinite values out of the means that it draws: a run that diverged makes the curve better.
#
# Guess:   the mean of losses of which one is infinite is infinite, as in pandas and numpy: the line has a gap there.
# Seen:    lineplot, pointplot and barplot count the infinite value as missing. Of three runs with the losses 1, 2
#          and infinity, 1.5 is drawn, below the 2.0 of the step before; the interval is that of two runs. Nothing is
#          said.
# With:    seaborn 0.13.2, pandas 3.1.1, matplotlib 3.11.2
# Matters: the curve of several seeds falls where one of them diverges, and a perplexity that is infinite for one
#          problem improves the mean.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check seaborn==0.13.2 pandas==3.1.1 matplotlib==3.11.2 numpy==2.4.6
export MPLBACKEND=agg MPLCONFIGDIR=$work/matplotlib

venv/bin/python -W error - <<'PYTHON'
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns

print("seaborn", sns.__version__, "pandas", pd.__version__)
runs = pd.DataFrame({"step": [0, 0, 0, 1, 1, 1], "loss": [1.5, 2, 2.5, 1, 2, np.inf]})
print("pandas", runs.groupby("step")["loss"].mean().tolist())
assert runs.groupby("step")["loss"].mean()[1] == np.inf

def drawn(plot):
    axes = plot(runs, x="step", y="loss", errorbar=None, ax=plt.figure().add_subplot())
    means = [bar.get_height() for bar in axes.patches] or axes.lines[0].get_ydata().tolist()
    print(f"{plot.__name__:9} {[float(mean) for mean in means]}")
    return means

for plot in (sns.lineplot, sns.pointplot, sns.barplot):
    assert drawn(plot) == [2.0, 1.5]

def interval(losses):
    """The ends of the standard error that are drawn for the losses of one step."""
    axes = sns.pointplot(x=[1] * len(losses), y=losses, errorbar="se", ax=plt.figure().add_subplot())
    return axes.lines[1].get_ydata().tolist()

assert interval([1, 2, np.inf]) == interval([1, 2]) == [1.0, 2.0]
PYTHON
