#!/usr/bin/env bash
# safetensors' numpy writer stores a transposed array with its numbers in the wrong places.
#
# Guess:   save copies an array that is not contiguous, or refuses it.
# Seen:    save and load give an array of the right shape and type whose numbers stand in the order of memory: a.T
#          comes back as a.reshape(a.T.shape), and a column-major (Fortran) array is scrambled alike. No word is said.
#          np.ascontiguousarray before saving helps.
# With:    safetensors 0.8.0, numpy 2.4.6; 0.7.0 writes it right (reported as safetensors/safetensors#825)
# Matters: weights that are exported or converted by a transpose load without an error and compute nonsense.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check safetensors==0.8.0 numpy==2.4.6
venv/bin/pip install -qq --disable-pip-version-check --no-deps --target before safetensors==0.7.0

cat >transpose.py <<'PYTHON'
import sys
import numpy as np
import safetensors
from safetensors.numpy import load, save

def there_and_back(array):
    return load(save({"weight": array}))["weight"]

a = np.arange(6, dtype=np.float32).reshape(2, 3)
if sys.argv[1:] == ["before"]:
    assert safetensors.__version__ == "0.7.0" and np.array_equal(there_and_back(a.T), a.T)
    print("safetensors 0.7.0 gives what was saved")
    raise SystemExit
print("safetensors", safetensors.__version__, "numpy", np.__version__)
transposed = there_and_back(a.T)
print("saved ", a.T.tolist())
print("loaded", transposed.tolist())
assert transposed.shape == (3, 2)
assert not np.array_equal(transposed, a.T)
assert np.array_equal(transposed, a.reshape(3, 2))
fortran = there_and_back(np.asfortranarray(a))
print("saved  in column-major order", a.tolist())
print("loaded                      ", fortran.tolist())
assert not np.array_equal(fortran, a)
assert np.array_equal(there_and_back(np.ascontiguousarray(a.T)), a.T)
PYTHON
venv/bin/python transpose.py
PYTHONPATH=before venv/bin/python transpose.py before
