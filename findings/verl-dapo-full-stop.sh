#!/usr/bin/env bash
# verl's DAPO scorer gives -1 to "Answer: 5." and to "**Answer:** 5", and 1 to "Answer: $5$.".
#
# Guess:   what follows the last "Answer:" is normalised, so that a full stop or Markdown's bold does not matter.
# Seen:    a full stop after the number and the two stars after a bold "Answer:" become part of the answer. The same
#          full stop after dollars is dropped, as is a unit. 5.0 is not 5. Only the last 300 characters are read: the
#          right answer with a long remark after it is "[INVALID]".
# With:    verl 0.9.1 (its scorer alone)
# Matters: models that write Markdown or end sentences are trained out of it by the reward, which looks like learning to
#          solve in the first steps.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check --no-deps --target verl_alone verl==0.9.1

venv/bin/python - <<'PYTHON'
import runpy
from pathlib import Path

print(next(Path("verl_alone").glob("verl-*.dist-info")).name)
# The file imports nothing of the trainer.
score = runpy.run_path("verl_alone/verl/utils/reward_score/math_dapo.py")["compute_score"]

def expect(response, reward, read):
    found = score(response, "5")
    print(f"{response[:40]!r:44} {found['score']:4} read as {found['pred']!r}")
    assert (found["score"], found["pred"]) == (reward, read)

expect("Answer: 5", 1.0, "5")
expect("Answer: $5$.", 1.0, "5")
expect("Answer: 5 cm", 1.0, "5")
expect("Answer: 5.", -1.0, "5.")
expect("**Answer:** 5", -1.0, "**5")
expect("Answer: 5.0", -1.0, "5.0")
expect("Answer: 5\n" + "To check, count the squares. " * 11, -1.0, "[INVALID]")
PYTHON
