#!/usr/bin/env bash
# math-verify: equations of different solutions are equal if none is real; the same equation doubled is another.
#
# Guess:   two equations in one unknown are equal when their solutions are.
# Seen:    x^2+3=0 equals x^2+7=0, x^2+1=0 equals x^4+1=0, and e^x=0 equals e^x=-1: both have no real solution. But
#          x^2=4 does not equal 2x^2=8, nor x^2-5x+6=0 its threefold.
# With:    math-verify 0.9.0, latex2sympy2_extended 1.11.0
# Matters: "find the equation with these roots" is an ordinary question, complex roots are an ordinary case of it, and
#          a common factor is an ordinary difference.
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

expect("x^2+3=0", "x^2+7=0", True)
expect("x^2+1=0", "x^4+1=0", True)
expect("e^x=0", "e^x=-1", True)
expect("x^2-4=0", "x^2-9=0", False)
expect("x^2=4", "2x^2=8", False)
expect("x^2-5x+6=0", "3x^2-15x+18=0", False)
PYTHON
