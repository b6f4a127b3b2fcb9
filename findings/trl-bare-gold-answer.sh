#!/usr/bin/env bash
# TRL's accuracy_reward rewards the wrong answer when the gold answer is LaTeX without dollars.
#
# Guess:   a gold answer is a short LaTeX text, as in the function's own example (\frac{1}{3}): 2\sqrt{3} is read like
#          it.
# Seen:    math-verify finds no LaTeX outside of dollars or a box, but a number: 2\sqrt{3} is 2, 5\pi is 5, 2^{10} is
#          2, and 3x+1 is 3. So \boxed{2\sqrt{3}} gets 0 and \boxed{2} gets 1. A plain fraction of integers is
#          recognised, which is why the example works; \frac{\pi}{6} gives None. With $2\sqrt{3}$ all
#          is right.
# With:    trl 1.16.0 (alone: what is used needs no torch), math-verify 0.9.0
# Matters: a data set whose answers have no dollars trains towards wrong answers on some of its rows, while its
#          integers and fractions look right.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check transformers==5.23.0 datasets==5.2.0 math-verify==0.9.0 \
    latex2sympy2_extended==1.11.0 sympy==1.14.0 antlr4-python3-runtime==4.13.2
venv/bin/pip install -qq --disable-pip-version-check --no-deps trl==1.16.0
export HF_HOME=$work/hf HF_HUB_OFFLINE=1

venv/bin/python - <<'PYTHON'
from importlib.metadata import version
from trl.rewards import accuracy_reward

print("trl", version("trl"), "math-verify", version("math-verify"))

def expect(gold, answer, want):
    (found,) = accuracy_reward([[{"role": "assistant", "content": rf"The answer is \boxed{{{answer}}}."}]], [gold])
    print(f"gold {gold:14} answer {answer:14} reward {found}")
    assert found == want

expect(r"\frac{1}{3}", r"\frac{1}{3}", 1.0)
expect(r"2\sqrt{3}", r"2\sqrt{3}", 0.0)
expect(r"2\sqrt{3}", "2", 1.0)
expect(r"5\pi", r"5\pi", 0.0)
expect(r"5\pi", "5", 1.0)
expect("2^{10}", "1024", 0.0)
expect("2^{10}", "2", 1.0)
expect("3x+1", "3x+1", 0.0)
expect("3x+1", "3", 1.0)
expect(r"\frac{\pi}{6}", r"\frac{\pi}{6}", None)
expect(r"$2\sqrt{3}$", r"2\sqrt{3}", 1.0)
expect(r"$2\sqrt{3}$", "2", 0.0)
PYTHON
