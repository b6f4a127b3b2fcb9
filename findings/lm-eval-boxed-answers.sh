#!/usr/bin/env bash
# lm-evaluation-harness' MATH tasks do not look for \boxed in a response: they take what lies between its first and its
# last dollar.
#
# Guess:   hendrycks_math500 reads the last \boxed of a response, as it reads the gold answer's solution.
# Seen:    the box is read of the solution alone. Of a response, all from the first to the last dollar is the answer, so
#          that "\(x = 5\), so \boxed{5}" and "As $2x = 10$, the answer is $\boxed{5}$" are wrong, and a bare "5" or
#          "The answer is $5$" is right. The harness' AIME task does look for the box; there 073 is not 73.
# With:    lm_eval 0.4.13 (the scorers alone)
# Matters: models that are trained to box their answers get next to nothing on MATH-500, and a model that loses the habit
#          seems to get better.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check --no-deps --target alone lm_eval==0.4.13

venv/bin/python - <<'PYTHON'
import runpy
import sys
import types
from pathlib import Path

print(next(Path("alone").glob("lm_eval-*.dist-info")).name)
# Imported for the type of an argument.
sys.modules["datasets"] = types.SimpleNamespace(Dataset=object)
task = Path("alone/lm_eval/tasks/hendrycks_math")
assert "!function utils.process_results" in (task / "hendrycks_math.yaml").read_text() + (
    task / "hendrycks_math_algebra.yaml"
).read_text()
math = runpy.run_path(str(task / "utils.py"))["process_results"]
aime = runpy.run_path("alone/lm_eval/tasks/aime/utils.py")["process_results"]

def expect(score, doc, response, want):
    found = score(doc, [response])["exact_match"]
    print(f"{response!r:58} {'right' if found else 'wrong'}")
    assert found == want

five = {"solution": r"Halve both sides: $x = \boxed{5}$."}
expect(math, five, r"As $2x = 10$, the answer is $\boxed{5}$.", 0)
expect(math, five, r"\(x = 5\), so \boxed{5}", 0)
expect(math, five, r"$\boxed{5}$", 0)
expect(math, five, "5", 1)
expect(math, five, "The answer is $5$.", 1)
expect(aime, {"Answer": 73}, r"So $x = 70$ and $y = 3$: $\boxed{73}$.", 1)
expect(aime, {"Answer": 73}, r"So $x = 70$ and $y = 3$: $\boxed{073}$.", 0)
PYTHON
