#!/usr/bin/env bash
# In scikit-learn's weighted kappa, a grade that nobody gave does not count: 2 and 4 are neighbours where there is no 3.
#
# Guess:   weights="quadratic" weighs a disagreement by the square of the difference of the two grades: 1 and 5 weigh 16
#          times what 1 and 2 do.
# Seen:    it is the difference of their places among the grades that occur. Of 1, 2 and 10, the 10 is one step from the
#          2: kappa is that of 1, 2 and 3. Two judges who differ twice by 2 against 4 have 0.905, and 0.818 once
#          `labels` names the 3, or both give a 3 to one more answer.
# With:    scikit-learn 1.9.1, numpy 2.4.6
# Matters: judges that are models leave out grades, and other ones for each model or task: their agreements are measured
#          with different rulers. `labels` with all integers of the scale helps.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check scikit-learn==1.9.1 numpy==2.4.6 scipy==1.17.1

venv/bin/python - <<'PYTHON'
import numpy as np
import sklearn
from sklearn.metrics import cohen_kappa_score

print("scikit-learn", sklearn.__version__, "numpy", np.__version__)

def weighted(one, other):
    """Kappa by its definition, with the squares of the differences of the grades."""
    one, other = np.array(one, float), np.array(other, float)
    return 1 - ((one - other) ** 2).mean() / ((one[:, None] - other) ** 2).mean()

def kappa(name, one, other, **more):
    found = cohen_kappa_score(one, other, weights="quadratic", **more)
    print(f"{name:44} {found:.3f}, by the grades themselves {weighted(one, other):.3f}")
    return found

one = [1, 2, 4, 5, 1, 2, 4, 5, 2, 4]
other = [1, 2, 4, 5, 1, 2, 4, 5, 4, 2]
assert abs(kappa("2 against 4, twice", one, other) - 0.905) < 0.001
assert abs(kappa("the same with labels 1 to 5", one, other, labels=range(1, 6)) - weighted(one, other)) < 1e-9
assert abs(weighted(one, other) - 0.818) < 0.001
more = kappa("the same and an answer with two grades of 3", one + [3], other + [3])
assert abs(more - weighted(one + [3], other + [3])) < 1e-9 and abs(more - 0.818) < 0.001

far, near = ([1, 2, 10, 10, 1, 2], [1, 2, 10, 1, 2, 1]), ([1, 2, 3, 3, 1, 2], [1, 2, 3, 1, 2, 1])
assert kappa("grades 1, 2 and 10", *far) == kappa("grades 1, 2 and 3", *near) == 0.25
assert abs(weighted(*far) - 0.25) > 0.05
PYTHON
