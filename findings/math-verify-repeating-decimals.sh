#!/usr/bin/env bash
# math-verify reads a repeating decimal without the part that repeats, or with it as a factor.
#
# Guess:   0.\overline{3} is 1/3: it is how a third is written as a decimal, and LaTeX is what the library is for.
# Seen:    0.\overline{3} and 0.\bar{3} are 0, and 3.\overline{3} is 3, equal to the wrong answers 0 and 3. In
#          0.1\overline{6} the 6 becomes a symbol that 0.1 is multiplied by. None equals its fraction.
# With:    math-verify 0.9.0, latex2sympy2_extended 1.11.0
# Matters: a right answer is marked wrong, and where the gold answer is written so, "0" is marked right and rewarded.
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

expect(r"0.\overline{3}", r"\frac{1}{3}", False)
expect(r"0.\overline{3}", "0", True)
expect(r"0.\bar{3}", "0", True)
expect(r"3.\overline{3}", "3", True)
expect(r"0.\overline{142857}", r"\frac{1}{7}", False)
expect(r"0.1\overline{6}", r"\frac{1}{6}", False)
PYTHON
