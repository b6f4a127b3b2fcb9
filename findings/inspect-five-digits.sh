#!/usr/bin/env bash
# Inspect's match(numeric=True) compares numbers by five significant digits.
#
# Guess:   numeric=True compares the numbers: 123457 is not 123456.
# Seen:    both numbers are written with five significant digits before they are compared, so 123457, "123,459" and
#          123456 are one, 1000004 is 1000000, and location="exact" changes nothing about it. 12346 and 12345 differ.
# With:    inspect_ai 0.3.285
# Matters: word problems about money or populations have answers of six digits and more, and a slip in the last digits
#          is marked right. Without numeric=True the text is compared.
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
from inspect_ai.scorer import Target, match
from inspect_ai.solver import TaskState

print("inspect_ai", version("inspect_ai"))

def expect(answer, target, want, location="end", numeric=True):
    state = TaskState(
        model="none", sample_id=1, epoch=1, input="", messages=[], output=ModelOutput.from_content("none", answer)
    )
    score = asyncio.run(match(location=location, numeric=numeric)(state, Target(target)))
    print(f"{answer!r:26} for {target!r:10} {location:6} numeric={numeric!s:6} {score.value}, read as {score.answer}")
    assert score.value == want

expect("The total is 123457", "123456", "C")
expect("The total is $123,459.", "123456", "C")
expect("1000004", "1000000", "C", location="exact")
expect("0.123461", "0.123456", "C")
expect("12346", "12345", "I")
expect("The total is 123457", "123456", "I", numeric=False)
PYTHON
