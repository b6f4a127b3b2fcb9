#!/usr/bin/env bash
# lighteval's MATH tasks hold the whole response against the whole gold solution, so that right answers get 0.
#
# Guess:   math:algebra, whose maj@4 is given math_normalizer for the gold answer and the prediction, takes the boxed
#          answers of four samples, votes, and compares: four responses that box 5 are right where the solution boxes 5.
# Seen:    0. What the task sets (normalize_gold, normalize_pred) is kept and never read; the metric's own `normalize`
#          is not set. A response is right if it is the gold solution letter for letter. The vote is about whole texts
#          too, with any way of scoring: of one wrong and three differently worded right responses the first wins, since
#          each has one vote.
# With:    lighteval 0.13.0, torch 2.13.0 (all seven tasks math:algebra to math:precalculus)
# Matters: a score of 0 is taken for a weak model, and maj@n of chains of thought is the score of the first sample. Only
#          a model that knows the solutions by heart gets points.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
install() { venv/bin/pip install -qq --disable-pip-version-check "$@"; }
install torch==2.13.0+cpu 2>/dev/null || install torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu
install lighteval==0.13.0 transformers==5.24.0 datasets==5.2.0 inspect_ai==0.3.285
export HF_HOME=$work/hf HF_HUB_OFFLINE=1

venv/bin/python -W ignore - <<'PYTHON'
from importlib.metadata import version

from lighteval.metrics.metrics import Metrics
from lighteval.metrics.metrics_sample import MajAtN
from lighteval.metrics.normalizations import math_normalizer
from lighteval.models.model_output import ModelResponse
from lighteval.tasks.requests import Doc
from lighteval.tasks.tasks.math import TASKS_TABLE

print("lighteval", version("lighteval"))
row = {"problem": "Solve $2x = 10$.", "solution": r"Halve both sides: $x = \boxed{5}$."}
assert math_normalizer(row["solution"]) == math_normalizer(r"So \boxed{5}.") == "5"
samples = {
    r"four times 'We get $\boxed{5}$.'": [r"We get $\boxed{5}$."] * 4,
    r"four times '$\boxed{5}$'": [r"$\boxed{5}$"] * 4,
    "four times the solution": [row["solution"]] * 4,
}
assert len(TASKS_TABLE) == 7
for task in TASKS_TABLE:
    (metric,) = task.metrics
    doc = task.prompt_function(row, task.name)
    found = {}
    for name, texts in samples.items():
        (found[name],) = metric.compute_sample(model_response=ModelResponse(text=texts), doc=doc).values()
    print(task.name, found)
    assert list(found.values()) == [0, 0, 1]

scored = MajAtN(n=4, sample_scoring_function=Metrics.pass_at_k_math.value.sample_level_fn.compute_score)
texts = [r"I guess $\boxed{4}$.", r"So $\boxed{5}$.", r"Hence $\boxed{5}$.", r"Thus $\boxed{5}$."]
for order, want in ((texts, 0), (texts[1:] + texts[:1], 1)):
    found = scored.compute(Doc(query="", choices=["5"], gold_index=0), ModelResponse(text=order))
    print("maj@4", found, order)
    assert found == want
PYTHON
