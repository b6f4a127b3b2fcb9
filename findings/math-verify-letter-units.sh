#!/usr/bin/env bash
# math-verify takes a letter after a last number for a unit: 3m equals 3, and a^2+2ab equals a^2+2.
#
# Guess:   a letter after a number is a variable, or a unit if it stands in \text; 3m equals neither 3 nor 3h.
# Seen:    c, d, g, h, l, m, s, t, "ab", "bc", "st" and other short words are dropped at the end of an answer if they
#          follow a digit or a closing brace: 3m is 3 and equals 3h and 3t, n+3m equals n+3, \frac{1}{2}h is 1/2 and
#          a^2+2ab is a^2+2. In front of the end, or after another letter, they stay: 3m does not equal 3\,m or 2m+m,
#          though 3x equals 2x+x.
# With:    math-verify 0.9.0, latex2sympy2_extended 1.11.0 (both sides with the default settings)
# Matters: answers in m, t or h are right whichever of these letters they have, or with none; and whether the other side
#          of an equation is right hangs on the order of its terms.
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
    read = parse(f"${gold}$"), parse(f"${answer}$")
    found = verify(*read)
    print(f"{gold:14} {answer:12} {'equal' if found else 'unequal':8} read as {read[0][0]} and {read[1][0]}")
    assert found is want

for letter in ("c", "d", "g", "h", "l", "m", "s", "t", "ab", "bc", "st"):
    expect(f"3{letter}", "3", True)
for letter in ("a", "b", "k", "n", "p", "r", "x", "y", "xy"):
    expect(f"3{letter}", "3", False)
expect("3m", "3h", True)
expect("n+3m", "n+3", True)
expect("3m+n", "3+n", False)
expect("n+3m", "3m+n", False)
expect(r"\frac{1}{2}h", r"\frac{1}{2}", True)
expect("a^2+2ab", "a^2+2", True)
expect("a^2+2ab", "2ab+a^2", False)
expect("3m", r"3\,m", False)
expect("3m", "2m+m", False)
expect("3x", "2x+x", True)
PYTHON
