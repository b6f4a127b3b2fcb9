#!/usr/bin/env bash
# math-verify adds what a thin space groups: 10\,500 is 510.
#
# Guess:   10\,500, LaTeX's usual form of the number, is 10500, as 10,500 and 10{,}500 are.
# Seen:    a space between two numbers is read like that of a mixed number: 10\,500 is 10 + 500, equal to 510 and not to
#          10500, and 1\,234\,567 is 802. Before zeros it is a product: 10\,000 equals 0. "\;", "\ " and a plain space
#          do the same.
# With:    math-verify 0.9.0, latex2sympy2_extended 1.11.0
# Matters: right answers above a thousand are wrong for models that set their numbers well, and gold answers of that
#          form can only be met by the same form.
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
    print(f"{gold:10} {answer:14} {'equal' if found else 'unequal':8} read as {read[0][0]} and {read[1][0]}")
    assert found is want

expect("10500", "10,500", True)
expect("10500", "10{,}500", True)
for space in (r"\,", r"\;", r"\ ", " "):
    expect("10500", f"10{space}500", False)
    expect("510", f"10{space}500", True)
expect("1234567", r"1\,234\,567", False)
expect("802", r"1\,234\,567", True)
expect("10000", r"10\,000", False)
expect("0", r"10\,000", True)
PYTHON
