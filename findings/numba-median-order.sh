#!/usr/bin/env bash
# With a NaN among the numbers, numba's np.median gives one of the numbers or NaN, by the order in which they stand.
#
# Guess:   a compiled np.median gives what NumPy's gives, NaN; or leaves the NaN out, as np.nanmedian does. In either
#          case the order of the numbers does not matter.
# Seen:    of 0, 1, 2, 3 and a NaN it is 1, 2, 3 or NaN, depending on their order. Of NaN, 1, 2 it is 2, and of
#          1, NaN, 2 it is NaN. Compiled, np.percentile(a, 50), np.quantile(a, 0.5) and np.mean give NaN for every
#          order, and np.nanmedian the median of the rest.
# With:    numba 0.68.1, numpy 2.4.6
# Matters: a failed run among others does not show: their median is a plausible number. A loop that is compiled to be
#          faster changes results.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check numba==0.68.1 numpy==2.4.6

venv/bin/python - <<'PYTHON' | tee seen.txt
from itertools import permutations

import numba
import numpy as np

print("numba", numba.__version__, "numpy", np.__version__)

@numba.njit
def median(numbers):
    return np.median(numbers)

@numba.njit
def others(numbers):
    return np.percentile(numbers, 50), np.quantile(numbers, 0.5), np.mean(numbers), np.nanmedian(numbers)

nan = np.nan
print("nan, 1, 2:", median(np.array([nan, 1, 2])))
print("1, nan, 2:", median(np.array([1, nan, 2])))
orders = [np.array(order) for order in permutations([0, 1, 2, 3, nan])]
print("median:", *sorted({str(median(order)) for order in orders}))
print("percentile, quantile, mean, nanmedian:", *sorted({" ".join(map(str, others(order))) for order in orders}))
print("median, not compiled:", *sorted({str(median.py_func(order)) for order in orders}))
PYTHON
diff seen.txt - <<'SEEN'
numba 0.68.1 numpy 2.4.6
nan, 1, 2: 2.0
1, nan, 2: nan
median: 1.0 2.0 3.0 nan
percentile, quantile, mean, nanmedian: nan nan nan 1.5
median, not compiled: nan
SEEN
