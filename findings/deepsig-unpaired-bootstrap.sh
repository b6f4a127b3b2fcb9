#!/usr/bin/env bash
# deepsig's "paired bootstrap test" resamples the two lists apart from each other.
#
# Guess:   bootstrap_test resamples items, each with the scores of both models, as the name says: a model that is one
#          point better on each of twenty tasks gets a p-value near 0, however different the tasks are.
# Seen:    items are drawn for A and again for B, so that the pairs are lost: p is 0.44, as in a test of independent
#          samples (0.45). With both lists shuffled differently it is the same but for chance. permutation_test of the
#          same package keeps the pairs: 0.001, the least that it can give. On 200 questions of which A alone solves 10,
#          it is 0.16 against 0.001.
# With:    deepsig 1.2.8, numpy 2.4.6
# Matters: benchmarks are made of easy and hard items, and the difference between them hides that between two models
#          that answered the same ones.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check deepsig==1.2.8 numpy==2.4.6 scipy==1.17.1 pandas==3.1.1 \
    joblib==1.5.3

venv/bin/python - <<'PYTHON'
from importlib.metadata import version

import numpy as np
from deepsig import bootstrap_test, permutation_test
from scipy.stats import ttest_ind

print("deepsig", version("deepsig"), "numpy", np.__version__)
assert "paired bootstrap test" in bootstrap_test.__doc__

def p_values(name, a, b):
    found = bootstrap_test(a, b, seed=0), permutation_test(a, b, seed=0)
    print(f"{name:36} bootstrap {found[0]:.3f}  permutation {found[1]:.3f}")
    return found

tasks = np.linspace(10, 90, 20)
bootstrap, permutation = p_values("one point better on 20 of 20 tasks", tasks, tasks - 1)
independent = ttest_ind(tasks, tasks - 1, alternative="greater").pvalue
print(f"{'':36} t-test of independent samples {independent:.3f}")
assert 0.35 < bootstrap < 0.55 and abs(bootstrap - independent) < 0.1 and permutation < 0.01

shuffled = np.random.default_rng(0).permutation(tasks - 1)
assert abs(p_values("the pairs torn apart", tasks, shuffled)[0] - bootstrap) < 0.1

solved = (np.random.default_rng(0).random(200) < 0.5).astype(float)
fewer = solved.copy()
fewer[np.flatnonzero(solved)[:10]] = 0
bootstrap, permutation = p_values("10 of 200 questions more, none less", solved, fewer)
assert bootstrap > 0.05 and permutation < 0.01
PYTHON
