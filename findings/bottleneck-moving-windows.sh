#!/usr/bin/env bash
# One infinite or large number spoils all of Bottleneck's moving means and standard deviations after it.
#
# Guess:   move_mean and move_std are those of the numbers in the window: one that an infinite loss, or a spike, has
#          left is right again, as in pandas.
# Seen:    after an infinity, sum, mean and standard deviation are NaN for ever; after a NaN they are right again. In
#          float32 the standard deviation of 1, 2, 3 is 0 for ever after a 100,000, and their mean is 2.67 after a
#          100,000,000. What enters the window is added and what leaves it taken off again. move_max is right. xarray
#          does the same with set_options(use_bottleneck=True).
# With:    Bottleneck 1.6.0, numpy 2.4.6, pandas 3.1.1, xarray 2026.9.0
# Matters: smoothed curves of losses and gradient norms: a spike at the start gives all that follows a spread of
#          nothing, and an infinite loss ends the curve.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check Bottleneck==1.6.0 numpy==2.4.6 pandas==3.1.1 xarray==2026.9.0

venv/bin/python -W ignore - <<'PYTHON'
from importlib.metadata import version

import bottleneck
import numpy as np
import pandas as pd
import xarray

print(*(f"{name} {version(name)}" for name in ("Bottleneck", "numpy", "pandas", "xarray")))
right = {"sum": 6, "mean": 2, "max": 3, "std": (2 / 3) ** 0.5}

def expect(bad, what, kind, want):
    """The last number of moving windows of three; what is bad has long left them."""
    losses = np.array([1, 2, 3, bad, 1, 2, 3, 1, 2, 3], dtype=kind)
    found = float(getattr(bottleneck, f"move_{what}")(losses, 3)[-1])
    more = {"ddof": 0} if what == "std" else {}  # pandas divides by one less
    plain = getattr(pd.Series(losses).rolling(3), what)(**more).iloc[-1]
    print(f"{what:4} after {bad!r:11} in {kind}: {found:.3f}, in pandas {plain:.3f}")
    assert np.isclose(found, want, equal_nan=True) and np.isclose(plain, right[what])
    rolling = xarray.DataArray(losses, dims="step").rolling(step=3)
    for use, same in ((True, want), (False, right[what])):
        with xarray.set_options(use_bottleneck=use):
            assert np.isclose(float(getattr(rolling, what)()[-1]), same, equal_nan=True)

for what in ("sum", "mean", "std"):
    expect(float("inf"), what, "float64", float("nan"))
    expect(float("nan"), what, "float64", right[what])
    expect(10.0, what, "float32", right[what])
expect(float("inf"), "max", "float64", 3)
expect(1e5, "std", "float32", 0)
expect(1e8, "mean", "float32", 8 / 3)
PYTHON
