#!/usr/bin/env bash
# verifiers reads the article "a" in a judge's reason as the verdict A.
#
# Guess:   with the choices A and B, "B. The response gives a different value." is the verdict B.
# Seen:    letters count in either case, and where no line begins with "Final verdict" or the like, the last one in the
#          text is taken: A. After "Verdict:" the first one is taken, and that is the article again. With the default
#          choices yes and no, "No. The reference says yes." is yes. A box, or a line that begins with "Final verdict:
#          B", is read as it is meant.
# With:    verifiers 0.4.0 (parse_judge_choice alone, which its reference judge uses)
# Matters: a judge that gives a reason for its B turns wrong answers into right ones, and no error tells of it.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check --no-compile --no-deps --target alone verifiers==0.4.0

venv/bin/python - <<'PYTHON'
import runpy
import sys
import types
from pathlib import Path

print(next(Path("alone").glob("verifiers-*.dist-info")).name)
# What other functions of the file need.
sys.modules["math_verify"] = types.SimpleNamespace(parse=None, verify=None)
sys.modules["math_verify.errors"] = types.SimpleNamespace(TimeoutException=Exception)
sys.modules["verifiers.v1.errors"] = types.SimpleNamespace(SandboxError=Exception)
read = runpy.run_path("alone/verifiers/v1/utils/score.py")["parse_judge_choice"]
assert "parse_judge_choice(text, choices)" in Path("alone/verifiers/v1/judge.py").read_text()

def expect(reply, want, choices=("A", "B")):
    found = read(reply, choices)
    print(f"{reply!r:60} {found}")
    assert found == want

expect("B", "B")
expect("B. The response gives another value.", "B")
expect("B. The response gives a different value.", "A")
expect("B\n\nThe reference is 5; this is a different number.", "A")
expect("Verdict: this is a wrong value, so B", "A")
expect("Final verdict: B\nThe response gives a different value.", "B")
expect(r"The response gives a different value: \boxed{B}", "B")
expect("No. The reference says yes.", "yes", ("yes", "no"))
PYTHON
