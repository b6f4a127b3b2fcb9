#!/usr/bin/env bash
# TRL takes the letters with which two answers begin alike for the end of their prompt.
#
# Guess:   of a preference pair without a prompt of its own (plain texts), the prompt ends where a turn, a line or at
#          least a word ends.
# Seen:    it ends at the first letter that differs: of "... A: 42" and "... A: 48" the prompt is "... A: 4", and what
#          is preferred is "2" to "8". Of 1/2 and 1/3 what is left is 2 and 3. Pairs of messages are cut between
#          messages, as one would guess.
# With:    trl 1.16.0 (alone: what is used needs no torch)
# Matters: what both answers begin with counts as prompt, and the cut can fall inside a number, where no model would
#          begin its answer. A prompt in a column of its own avoids it.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check transformers==5.23.0 datasets==5.2.0
venv/bin/pip install -qq --disable-pip-version-check --no-deps trl==1.16.0
export HF_HOME=$work/hf HF_HUB_OFFLINE=1

venv/bin/python - <<'PYTHON'
from importlib.metadata import version
from trl import extract_prompt

print("trl", version("trl"))

def expect(chosen, rejected, want):
    found = extract_prompt({"chosen": chosen, "rejected": rejected})
    print(found)
    assert found == dict(zip(("prompt", "chosen", "rejected"), want, strict=True))

expect("Q: 6*7?\nA: 42", "Q: 6*7?\nA: 48", ("Q: 6*7?\nA: 4", "2", "8"))
expect("Q: 3/6?\nA: 1/2", "Q: 3/6?\nA: 1/3", ("Q: 3/6?\nA: 1/", "2", "3"))
ask, good, bad = ({"role": r, "content": c} for r, c in (("user", "6*7?"), ("assistant", "42"), ("assistant", "48")))
expect([ask, good], [ask, bad], ([ask], [good], [bad]))
PYTHON
