#!/usr/bin/env bash
# verl's "prime math" grader takes the golden ratio for 1 + \frac{\sqrt{5}}{2}: fractions lose their grouping.
#
# Guess:   \frac{a+b}{c} is read as (a+b)/c; the grader calls a computer algebra system to tell expressions apart.
# Seen:    before that, pylatexenc writes the LaTeX as plain text, where \frac{1}{x+1} and \frac{1}{x}+1 are both
#          "1/x+1"; so \frac{1+\sqrt{5}}{2} earns the reward of 1+\frac{\sqrt{5}}{2}, and \binom{5}{2} that of 52.
#          The right answer written otherwise, \frac{\sqrt{5}+1}{2}, does not.
# With:    verl 0.9.1, pylatexenc 2.11, sympy 1.14.0
# Matters: it is the reward of a widely used trainer for several data sets, and the error goes both ways.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check pylatexenc==2.11 sympy==1.14.0
# Alone, and of it the grader only: the trainer's own requirements are not needed for it.
venv/bin/pip install -qq --disable-pip-version-check --no-deps --target verl_alone verl==0.9.1

venv/bin/python - <<'PYTHON'
import importlib
import sys
import types
from importlib.metadata import version
from pathlib import Path

# The package's __init__ imports the trainer; these stand for it, with verl's own files below them. The only thing that
# the grader takes from elsewhere is a decorator that stops what takes too long.
for name in ("verl", "verl.utils", "verl.utils.reward_score"):
    package = types.ModuleType(name)
    package.__path__ = [str(Path("verl_alone", *name.split(".")))]
    sys.modules[name] = package
limits = types.ModuleType("verl.utils.py_functional")
limits.timeout_limit = lambda seconds: lambda function: function
sys.modules[limits.__name__] = limits
grade = importlib.import_module("verl.utils.reward_score.prime_math").grade_answer

found = next(Path("verl_alone").glob("verl-*.dist-info")).name
print(found, "pylatexenc", version("pylatexenc"), "sympy", version("sympy"))

def expect(answer, gold, want):
    right = bool(grade(answer, gold))
    print(f"{answer:26} for {gold:26} {'right' if right else 'wrong'}")
    assert right is want

expect(r"\frac{1+\sqrt{5}}{2}", r"1+\frac{\sqrt{5}}{2}", True)
expect(r"\frac{1}{x+1}", r"\frac{1}{x}+1", True)
expect(r"\frac{x+1}{2}", r"x+\frac{1}{2}", True)
expect(r"\binom{5}{2}", "52", True)
expect(r"\binom{5}{2}", "10", False)
expect(r"\frac{1+\sqrt{5}}{2}", r"\frac{\sqrt{5}+1}{2}", False)
PYTHON
