#!/usr/bin/env bash
# evalica's eigenvalue ranking puts the worst model first.
#
# Guess:   `eigen` gives a high score to who wins against those who win, and ranks as the other methods do.
# Seen:    it takes the eigenvector of the losses. Of four models, each ten times against the others, the best one has
#          the lowest score and is the last of the sorted result; it is first in counting, bradley_terry, newman, elo
#          and pagerank. Both solvers agree.
# With:    evalica 0.4.2, numpy 2.4.6
# Matters: the scores come sorted, the highest first, so that a table of the eigenvalue method has the weakest model on
#          top; with models that lie close together it looks like a disagreement of methods.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check evalica==0.4.2 numpy==2.4.6 pandas==3.1.1 scipy==1.17.1

venv/bin/python - <<'PYTHON'
from importlib.metadata import version

import evalica
import numpy as np

print("evalica", version("evalica"), "numpy", np.__version__)

# How often the model of the row wins over that of the column, of ten times.
wins = np.array([[0, 7, 8, 9], [3, 0, 7, 8], [2, 3, 0, 7], [1, 2, 3, 0]])
models = "abcd"
pairs = [(models[i], models[j]) for i, j in np.argwhere(wins) for _ in range(wins[i, j])]
played = [one for one, _ in pairs], [other for _, other in pairs], [evalica.Winner.X] * len(pairs)
for method in ("counting", "bradley_terry", "newman", "elo", "pagerank", "eigen"):
    found = getattr(evalica, method)(*played).scores
    order = "".join(found.index)
    print(f"{method:14} {order}  {found.round(3).to_dict()}")
    assert order == ("dcba" if method == "eigen" else "abcd") and found.is_monotonic_decreasing

def leading(matrix):
    """The eigenvector of the largest eigenvalue, of length 1."""
    values, vectors = np.linalg.eig(matrix)
    return np.abs(vectors[:, np.argmax(values.real)].real)

for solver in ("pyo3", "naive"):
    found = evalica.eigen(*played, solver=solver).scores[list(models)].to_numpy()
    assert np.allclose(found, leading(wins.T), atol=1e-4) and not np.allclose(found, leading(wins), atol=0.1)
print("of the wins  ", leading(wins).round(3), "\nof the losses", leading(wins.T).round(3))
PYTHON
