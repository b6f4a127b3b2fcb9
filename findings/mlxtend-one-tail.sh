#!/usr/bin/env bash
# mlxtend's test of two accuracies gives p = 0.99 where the first is better, and 0.01 where the second is.
#
# Guess:   proportion_difference gives a two-sided p-value, which does not depend on which model is named first: 0.019
#          for 90 % against 78 % of 100 problems.
# Seen:    it is the lower tail of the normal distribution: 0.99 for 90 % against 78 %, 0.01 for 78 % against 90 %, and
#          0.5 for two equal ones. The description says "the p-value", and no argument changes it.
# With:    mlxtend 0.25.0, scipy 1.17.1
# Matters: with the better model named first no difference is ever significant; with the better one named second, the
#          p-value is half of the two-sided one. 2 * min(p, 1 - p) is right.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check mlxtend==0.25.0 numpy==2.4.6 scipy==1.17.1 pandas==3.1.1 \
    scikit-learn==1.9.1 matplotlib==3.11.2

venv/bin/python - <<'PYTHON'
from importlib.metadata import version
from statistics import NormalDist

from mlxtend.evaluate import proportion_difference

print("mlxtend", version("mlxtend"), "scipy", version("scipy"))
words = proportion_difference.__doc__.lower()
assert "p-value" in words and "tail" not in words and "sided" not in words

def p_value(one, other):
    """What mlxtend says of two shares of 100 problems, beside the two-sided Wald test."""
    z, found = proportion_difference(one / 100, other / 100, 100, 100)
    error = ((one * (100 - one) + other * (100 - other)) / 100**3) ** 0.5
    wald = 2 * NormalDist().cdf(-abs(one - other) / 100 / error)
    print(f"{one} % against {other} %: z {z:5.2f}, p {found:.3f}; two-sided {wald:.3f}")
    assert abs(2 * min(found, 1 - found) - wald) < 1e-9
    return found

assert p_value(90, 78) > 0.98
assert p_value(78, 90) < 0.02
assert p_value(80, 80) == 0.5
PYTHON
