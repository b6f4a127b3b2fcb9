#!/usr/bin/env bash
# math-verify drops the sign for degrees, also inside a sine.
#
# Guess:   \sin 30^\circ is 1/2, and 180^\circ is \pi, or at least no plain number.
# Seen:    \sin 30^\circ is the sine of 30 radians, which differs from 1/2, and 180^\circ is 180, which differs from
#          \pi. \sin\frac{\pi}{6} is 1/2 as it should be.
# With:    math-verify 0.9.0, latex2sympy2_extended 1.11.0
# Matters: 2\sin 40^\circ is a usual form of an answer in geometry; it equals itself, but not 2\cos 50^\circ.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check math-verify==0.9.0 latex2sympy2_extended==1.11.0 \
    sympy==1.14.0 antlr4-python3-runtime==4.13.2

venv/bin/python - <<'PYTHON'
from importlib.metadata import version
from math_verify import parse, verify

print("math-verify", version("math-verify"), "latex2sympy2_extended", version("latex2sympy2_extended"))

def expect(gold, answer, want):
    """Whether `answer` is right where `gold` is: both in dollars, as LaTeX in a text."""
    gold, answer = parse(f"${gold}$"), parse(f"${answer}$")
    found = verify(gold, answer)
    print(f"{gold[-1]:24} {answer[-1]:34} {'equal' if found else 'unequal':8} read as {gold[0]} and {answer[0]}")
    assert found is want

expect(r"\sin 30^\circ", r"\frac{1}{2}", False)
expect(r"\tan 45^{\circ}", "1", False)
expect(r"180^\circ", r"\pi", False)
expect(r"180^\circ", "180", True)
expect(r"\sin \frac{\pi}{6}", r"\frac{1}{2}", True)
expect(r"2\sin 40^\circ", r"2\cos 50^\circ", False)
expect(r"2\sin 40^\circ", r"2\sin 40^\circ", True)
PYTHON
