#!/usr/bin/env bash
# Installing Bottleneck makes pandas' standard deviation of a long float32 column wrong, and its standard error not.
#
# Guess:   pandas takes Bottleneck, where it is installed, to be faster: results agree to all but the last digits.
# Seen:    of a million numbers with mean 1000 and standard deviation 1, std() and describe() say 1.0007 without
#          Bottleneck and 8.96 with it, var() 80. Of a million times 0.7 std() is 0.007. Bottleneck adds up float32
#          numbers one by one in float32. pandas keeps it from sums and means for that reason, and not from std() and
#          var(). sem(), groupby().std() and NumPy's std() stay right, so that std() is not sem() times the root of n.
# With:    pandas 3.1.1, Bottleneck 1.6.0, numpy 2.4.6
# Matters: float32 is what torch gives. Another package that wants Bottleneck changes numbers of a table; float64, or
#          pandas' option compute.use_bottleneck, avoids it.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check pandas==3.1.1 numpy==2.4.6

cat >spread.py <<'PYTHON'
from importlib.util import find_spec

import numpy as np
import pandas as pd

there = find_spec("bottleneck") is not None
column = pd.Series(np.random.default_rng(0).normal(1000, 1, 1_000_000).astype(np.float32))
same = pd.Series(np.full(1_000_000, 0.7, np.float32))
print("pandas", pd.__version__, "numpy", np.__version__, "with" if there else "without", "Bottleneck")
print("  std", column.std(), "var", column.var(), "describe", column.describe()["std"], "of equal numbers", same.std())
grouped = column.groupby(np.zeros(len(column), int)).std().item()
print("  groupby", grouped, "numpy", column.to_numpy().std(ddof=1), "sem * 1000", column.sem() * 1000)
print("  mean", column.mean())
wrong = column.std() > 2 and column.var() > 4 and column.describe()["std"] > 2 and same.std() > 1e-3
right = abs(column.std() - 1) < 0.01 and abs(column.var() - 1) < 0.02 and same.std() < 1e-6
assert wrong if there else right
assert abs(grouped - 1) < 0.01 and abs(column.to_numpy().std(ddof=1) - 1) < 0.01 and abs(column.sem() * 1000 - 1) < 0.01
assert abs(column.mean() - 1000) < 0.01
if there:
    pd.set_option("compute.use_bottleneck", False)
    assert abs(column.std() - 1) < 0.01
    pd.set_option("compute.use_bottleneck", True)
    assert abs(column.astype(float).std() - 1) < 0.01
PYTHON
venv/bin/python spread.py
venv/bin/pip install -qq --disable-pip-version-check bottleneck==1.6.0
venv/bin/pip list --disable-pip-version-check | grep -i bottleneck
venv/bin/python spread.py
