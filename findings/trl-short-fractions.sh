#!/usr/bin/env bash
# TRL's accuracy_reward gives 0 to \frac12, \tfrac34 and \sqrt3, also where the gold answer is the same text.
#
# Guess:   an answer that repeats the gold answer letter for letter gets 1; \frac12 and \sqrt3 are proper LaTeX.
# Seen:    only the gold answer is read with the repair that puts in the missing braces. The completion's \frac12,
#          \tfrac34, \frac1{72}, \sqrt3 and 2\sqrt3 cannot be parsed and get 0, boxed or between dollars; \frac{1}{2}
#          and \sqrt{3} get 1. reasoning_accuracy_reward does the same. With math-verify's own settings all of them are
#          right.
# With:    trl 1.16.0 (alone: what is used needs no torch), math-verify 0.9.0
# Matters: the short forms are common in solutions of competition problems: a model that was trained on such texts loses
#          its rewards for right answers, and the zeros look like errors of calculation.
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
from math_verify import parse, verify
from trl.rewards import accuracy_reward, reasoning_accuracy_reward

print("trl", version("trl"), "math-verify", version("math-verify"))

def expect(answer, want):
    """What a completion gets that gives the gold answer `answer`, in a box and between dollars."""
    gold = f"${answer}$"
    for text in (rf"The answer is $\boxed{{{answer}}}$.", f"The answer is ${answer}$."):
        found = accuracy_reward([[{"content": text}]], [gold])
        print(f"gold {gold:18} completion {text:44} reward {found[0]}")
        assert found == reasoning_accuracy_reward([[{"content": f"</think>{text}"}]], [gold]) == [want]
        assert verify(parse(gold), parse(text))

expect(r"\frac{1}{2}", 1.0)
expect(r"\frac12", 0.0)
expect(r"\tfrac34", 0.0)
expect(r"\frac1{72}", 0.0)
expect(r"\sqrt{3}", 1.0)
expect(r"\sqrt3", 0.0)
expect(r"2\sqrt3", 0.0)
PYTHON
