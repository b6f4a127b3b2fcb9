#!/usr/bin/env bash
# lm-evaluation-harness' BIG-Bench Hard drops the last character of the answer, whether it is a full stop or not.
#
# Guess:   of "So the answer is yes" and "So the answer is yes." the answer is "yes".
# Seen:    the pattern ends in an unescaped full stop, which stands for any character: without one in the response the
#          answer is "ye", "(B" or 12 in place of 123, which is right where 12 is. What follows in the same line belongs
#          to the answer. MMLU and GPQA with chains of thought have the same pattern, but leave out punctuation when
#          they compare: "(B" is right there, and "The answer is B" is empty.
# With:    lm_eval 0.4.13 (its filter and the tasks' patterns alone)
# Matters: a model that ends without a full stop gets 0, and one that learns to write it seems to reason better. Groups
#          with a "flexible" score beside it show the gap; bbh_cot_fewshot has this score only.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check --no-compile --no-deps --target alone lm_eval==0.4.13
venv/bin/pip install -qq --disable-pip-version-check PyYAML==6.0.3

venv/bin/python - <<'PYTHON'
import runpy
import string
import sys
import types
from pathlib import Path

import yaml

print(next(Path("alone").glob("lm_eval-*.dist-info")).name)
tasks = Path("alone/lm_eval/tasks")
bbh = yaml.safe_load((tasks / "bbh/cot_fewshot/_cot_fewshot_template_yaml").read_text())
mmlu = yaml.safe_load((tasks / "mmlu/flan_cot_fewshot/_mmlu_flan_cot_fewshot_template_yaml").read_text())
assert [step["name"] for step in bbh["filter_list"]] == ["get-answer"]
assert "ignore_punctuation" not in bbh["metric_list"][0] and mmlu["metric_list"][0]["ignore_punctuation"]
# What the filters' file needs of the package.
sys.modules["lm_eval.api.filter"] = types.SimpleNamespace(Filter=object)
sys.modules["lm_eval.api.registry"] = types.SimpleNamespace(register_filter=lambda _: lambda found: found)
regex = runpy.run_path("alone/lm_eval/filters/extraction.py")["RegexFilter"]

def expect(task, response, want):
    pattern = task["filter_list"][0]["filter"][0]["regex_pattern"]
    found = regex(regex_pattern=pattern).apply([[response]], [{}])[0][0]
    if task["metric_list"][0].get("ignore_punctuation"):
        found = found.translate(str.maketrans("", "", string.punctuation))
    print(f"{response:44} {found!r}")
    assert found == want

expect(bbh, "So the answer is yes.", "yes")
expect(bbh, "So the answer is yes", "ye")
expect(bbh, "So the answer is (B)", "(B")
expect(bbh, "So the answer is 12.", "12")
expect(bbh, "So the answer is 123", "12")
expect(bbh, "So the answer is 5", "")
expect(bbh, "So the answer is yes. I am sure.", "yes. I am sure")
print("MMLU, without punctuation")
expect(mmlu, "The answer is (B).", "B")
expect(mmlu, "The answer is (B)", "B")
expect(mmlu, "The answer is B", "")
PYTHON
