#!/usr/bin/env bash
# rliable draws its resamples from NumPy's global generator: random_state changes nothing.
#
# Guess:   get_interval_estimates with random_state=RandomState(0), which "ensures reproducibility" by its
#          documentation, gives the same confidence interval each time.
# Seen:    two calls with RandomState(0) give two intervals. What decides is np.random.seed: after it, the interval is
#          the same with RandomState(0), with RandomState(1) and with none. The same holds for pairs of score matrices
#          (probability of improvement).
# With:    rliable 1.2.0, arch 7.2.0, numpy 2.4.6
# Matters: intervals that are published with a seed cannot be made again, and a comparison that is close to its limit
#          comes out one way or the other.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check rliable==1.2.0 arch==7.2.0 numpy==2.4.6 scipy==1.17.1 pandas==2.3.3

venv/bin/python -W ignore - <<'PYTHON'
from importlib.metadata import version

import numpy as np
from numpy.random import RandomState
from rliable.library import get_interval_estimates
from rliable.metrics import aggregate_iqm, probability_of_improvement

print("rliable", version("rliable"), "arch", version("arch"), "numpy", np.__version__)
runs = RandomState(1).rand(5, 4)  # five seeds on four tasks

def interval(name, scores, metric, state):
    _, found = get_interval_estimates(
        {"run": scores}, lambda *of: np.array([metric(*of)]), reps=500, random_state=state
    )
    low, high = found["run"].ravel()
    print(f"{name:12} {low:.4f} to {high:.4f}")
    return low, high

for scores, metric in ((runs, aggregate_iqm), ([runs, RandomState(2).rand(6, 4)], probability_of_improvement)):
    print(metric.__name__)
    again = {interval("state 0", scores, metric, RandomState(0)) for _ in range(4)}
    assert len(again) > 1
    seeded = set()
    for state in (RandomState(0), RandomState(1), None):
        np.random.seed(7)
        seeded.add(interval("global seed", scores, metric, state))
    assert len(seeded) == 1
PYTHON
