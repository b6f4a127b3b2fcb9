#!/usr/bin/env bash
# seaborn leaves a run whose loss is infinite out of the mean.
#
# Guess:   with the losses 1, 3 and infinity, the mean is infinite, and there is no bar or a gap in the line. NaN is
#          missing, as in pandas; infinity is a number.
# Seen:    barplot, pointplot and lineplot show 2, the mean of the others, with an interval from 1 to 3. boxplot has the
#          median 2 in place of 3, stripplot two points, ecdfplot reaches 1 at 3, and histplot's percentages are of two
#          runs. No warning. countplot counts three.
# With:    seaborn 0.13.2, matplotlib 3.11.2, pandas 3.1.1
# Matters: a learning rate at which two of ten runs diverge looks as good as the eight. A diverged perplexity is
#          infinite (exp of a large loss), and pandas' mean in the table beside the figure is infinite too.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check seaborn==0.13.2 matplotlib==3.11.2 pandas==3.1.1 numpy==2.4.6
export MPLBACKEND=agg MPLCONFIGDIR=$work/mpl

venv/bin/python -W error::UserWarning -W error::RuntimeWarning - <<'PYTHON'
import math

import matplotlib
import matplotlib.pyplot as plt
import pandas as pd
import seaborn

print("seaborn", seaborn.__version__, "matplotlib", matplotlib.__version__)
table = pd.DataFrame({"rate": ["high"] * 3, "loss": [1.0, 3.0, math.inf]})
print("pandas   mean", table["loss"].mean(), "median", table["loss"].median())
assert table["loss"].mean() == math.inf and table["loss"].median() == 3

def drawn(draw, **options):
    _, axes = plt.subplots()
    draw(table, ax=axes, **options)
    return axes

both = {"x": "rate", "y": "loss"}
means = {
    "barplot": drawn(seaborn.barplot, **both).patches[0].get_height(),
    "pointplot": drawn(seaborn.pointplot, **both).lines[0].get_ydata()[0],
    "lineplot": drawn(seaborn.lineplot, **both).lines[0].get_ydata()[0],
}
print("seaborn ", {name: float(mean) for name, mean in means.items()})
assert set(means.values()) == {2}
interval = drawn(seaborn.barplot, **both).lines[0].get_ydata()
assert list(interval) == [1, 3]
median = drawn(seaborn.boxplot, **both).lines[4].get_ydata()
assert list(median) == [2, 2]
points = drawn(seaborn.stripplot, **both).collections[0].get_offsets()[:, 1]
assert sorted(points) == [1, 3]
shares = drawn(seaborn.ecdfplot, x="loss").lines[0]
assert list(shares.get_ydata()) == [0, 0.5, 1]
bars = [bar.get_height() for bar in drawn(seaborn.histplot, x="loss", bins=2, stat="percent").patches]
count = drawn(seaborn.countplot, x="rate").patches[0].get_height()
print("         interval", interval.tolist(), "median", float(median[0]), "points", sorted(points.tolist()))
print("         histogram", [float(bar) for bar in bars], "count", float(count))
assert bars == [50, 50] and count == 3
PYTHON
