#!/usr/bin/env bash
# lm-evaluation-harness' lenient reading of GSM8K takes two dollars for the last number of a response.
#
# Guess:   flexible-extract takes the last number that a response holds, whatever stands around it.
# Seen:    it takes the last digits, or the last two and more digits, dollars, commas and full stops; none of those need
#          be a digit. $$\boxed{42}$$ gives "$$", which is nothing once dollars are dropped, and is wrong. So are
#          $\boxed{42}$. with its full stop, and "42, as we saw..."; $\boxed{42}$ and \[\boxed{42}\] are right.
#          "42..." is "42..", and 42.00 is not 42.
# With:    lm_eval 0.4.13 (its filter and its metric alone)
# Matters: the strict reading wants "#### 42", so models that write LaTeX are judged by this one. 51 files of its tasks
#          have the pattern, for GSM-Plus and MGSM too. A model that learns to set its answer apart seems to get worse.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check numpy==2.4.6 sacrebleu==2.6.0 PyYAML==6.0.4
venv/bin/pip install -qq --disable-pip-version-check --no-deps lm_eval==0.4.13

venv/bin/python - <<'PYTHON'
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import yaml
from lm_eval.api.metrics import exact_match_hf_evaluate
from lm_eval.filters.extraction import RegexFilter

print("lm_eval", version("lm_eval"))
tasks = Path(find_spec("lm_eval").origin).parent / "tasks"
task = yaml.safe_load((tasks / "gsm8k" / "gsm8k.yaml").read_text())
(steps,) = (entry["filter"] for entry in task["filter_list"] if entry["name"] == "flexible-extract")
settings = {key: value for key, value in steps[0].items() if key != "function"}
lenient = RegexFilter(**settings)
(metric,) = task["metric_list"]
options = {key: metric[key] for key in ("ignore_case", "ignore_punctuation", "regexes_to_ignore")}
pattern = settings["regex_pattern"].encode()
print(sum(path.is_file() and pattern in path.read_bytes() for path in tasks.rglob("*")), "files with", pattern.decode())

def expect(response, want):
    ((taken,),) = lenient.apply([[response]], [{}])
    right = exact_match_hf_evaluate([taken], ["6 * 7 = 42\n#### 42"], **options)["exact_match"]
    print(f"{response!r:44} taken: {taken!r:8} {'right' if right else 'wrong'}")
    assert right == want

expect("The answer is 42.", 1)
expect(r"The answer is $\boxed{42}$", 1)
expect(r"The answer is \[\boxed{42}\]", 1)
expect("The answer is $42$.", 1)
expect(r"The answer is $$\boxed{42}$$", 0)
expect(r"The answer is $\boxed{42}$.", 0)
expect("The answer is 42, as we saw...", 0)
expect("The answer is 42...", 0)
expect("The answer is 42.00", 0)
PYTHON
