#!/usr/bin/env bash
# math-verify takes numbers that differ by a factor of three for equal if a small power stands in them.
#
# Guess:   integers, powers and fractions are compared exactly; decimals to six places or six digits.
# Seen:    3^90/2^90 (7e15) equals 3^91/2^90 (2e16): the difference is evaluated with small terms chopped to 0, and
#          2^-90 is one. So 1/3^39 equals 1/3^40, 1/20! equals 1/21!, and in physics 6.6e-34 equals 1.6e-19. Yet
#          1/3^39 written out as a fraction of integers differs from 1/3^40 written out, and 1/3^40 differs from 0.
# With:    math-verify 0.9.0, latex2sympy2_extended 1.11.0
# Matters: probabilities of long runs and constants of nature: any answer of the right form is right. A larger
#          numeric_precision helps.
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

expect(r"\frac{3^{90}}{2^{90}}", r"\frac{3^{91}}{2^{90}}", True)
expect(r"\frac{1}{3^{39}}", r"\frac{1}{3^{40}}", True)
expect(r"\frac{1}{20!}", r"\frac{1}{21!}", True)
expect(r"6.6 \times 10^{-34}", r"1.6 \times 10^{-19}", True)
expect(rf"\frac{{1}}{{{3**39}}}", rf"\frac{{1}}{{{3**40}}}", False)
expect(r"\frac{1}{3^{40}}", "0", False)
expect(r"2^{-50}", r"2^{-51}", False)
gold, answer = parse(r"$\frac{1}{3^{39}}$"), parse(r"$\frac{1}{3^{40}}$")
print("with numeric_precision=40:", verify(gold, answer, numeric_precision=40))
assert not verify(gold, answer, numeric_precision=40)
PYTHON
