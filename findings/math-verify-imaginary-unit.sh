#!/usr/bin/env bash
# To math-verify, i is a variable: i^2 is not -1, and |3+4i| is not 5.
#
# Guess:   i is the imaginary unit where nothing else gives it a meaning; sympy, below it, knows complex numbers.
# Seen:    (1+i)^2 differs from 2i, \frac{1}{i} from -i, e^{i\pi} from -1, \sqrt{-4} from 2i. Sums are compared as
#          sums of symbols, so 3+4i is 4i+3, and 6-5i can be graded as long as nobody writes it as a product.
# With:    math-verify 0.9.0, latex2sympy2_extended 1.11.0
# Matters: MATH has problems about complex numbers; a right answer that is not multiplied out as the gold answer is
#          counts as wrong.
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
    print(f"{gold[-1]:14} {answer[-1]:8} {'equal' if found else 'unequal':8} read as {gold[0]} and {answer[0]}")
    assert found is want

expect("i^2", "-1", False)
expect("(1+i)^2", "2i", False)
expect("(2+i)(2-i)", "5", False)
expect(r"\frac{1}{i}", "-i", False)
expect("|3+4i|", "5", False)
expect(r"e^{i\pi}", "-1", False)
expect(r"\sqrt{-4}", "2i", False)
expect("3+4i", "4i+3", True)
PYTHON
