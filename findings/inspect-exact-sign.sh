#!/usr/bin/env bash
# Inspect's exact() holds -5 for 5, 1/2 for 12 and 2^3 for 23, and the answer A to be wrong where A is right.
#
# Guess:   exact() compares the texts but for case, blanks and the like: what differs in meaning differs.
# Seen:    both texts are cut at blanks and hyphens, and lose punctuation and the words a, an and the, as in question
#          answering about texts. The sign goes too: -5 is right for 5, -x for x, x+1 for x1. Of the letter A nothing is
#          left, and a target of nothing is never met, so that A is wrong where A is right; B is right for B. f1() is
#          alike.
# With:    inspect_ai 0.3.285
# Matters: exact() is the scorer whose name promises most. A test with choices loses every question whose answer is A,
#          and slips of sign are not seen.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check inspect_ai==0.3.285

venv/bin/python - <<'PYTHON'
import asyncio
from importlib.metadata import version

from inspect_ai.model import ModelOutput
from inspect_ai.scorer import Target, exact, f1
from inspect_ai.solver import TaskState

print("inspect_ai", version("inspect_ai"))

def expect(answer, target, want):
    state = TaskState(
        model="none", sample_id=1, epoch=1, input="", messages=[], output=ModelOutput.from_content("none", answer)
    )
    found = asyncio.run(exact()(state, Target(target))).value
    share = asyncio.run(f1()(state, Target(target))).value
    print(f"{answer!r:6} for {target!r:6} exact: {found}, f1: {share}")
    assert found == want
    assert share == (want == "C")

expect("-5", "5", "C")
expect("5", "-5", "C")
expect("1/2", "12", "C")
expect("2^3", "23", "C")
expect("-x", "x", "C")
expect("x+1", "x1", "C")
expect("A", "A", "I")
expect("B", "B", "C")
expect("6", "5", "I")
PYTHON
