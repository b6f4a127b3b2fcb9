#!/usr/bin/env bash
# OpenCompass reads the answer 1,234 as 234, and 5-3 as -3, in GSM8K.
#
# Guess:   gsm8k_postprocess takes the last number, and 1,234 is one: the commas are taken out of the gold answers.
# Seen:    they are left in the response, where a number ends at a comma: "The answer is 1,234." is 234, wrong for 1234
#          and right for 234; "$1,234.00" is 234.00. A hyphen before a digit is always a sign: of "in 2-3 days" the
#          number is -3.
# With:    opencompass 0.5.4 (its gsm8k postprocessor and evaluator alone, which 23 of its configurations use)
# Matters: GSM8K has gold answers above a thousand, and a model that writes them with a comma loses them all; it gets
#          better by leaving the comma out.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check --no-compile --no-deps --target alone opencompass==0.5.4

venv/bin/python - <<'PYTHON'
import sys
import types
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

print(next(Path("alone").glob("opencompass-*.dist-info")).name)
users = [path for path in Path("alone/opencompass/configs").rglob("*.py") if "gsm8k_postprocess" in path.read_text()]
print(len(users), "configurations use the postprocessor")
assert len(users) == 23
assert any("gsm8k_dataset_postprocess" in path.read_text() and "Gsm8kEvaluator" in path.read_text() for path in users)

# What the file takes from elsewhere (data sets, registers) is not used here.
register = types.SimpleNamespace(register_module=lambda *_: lambda thing: thing)
for name, names in {
    "datasets": {"Dataset": None, "DatasetDict": None},
    "opencompass": {},
    "opencompass.openicl": {"BaseEvaluator": object},
    "opencompass.registry": {"LOAD_DATASET": register, "TEXT_POSTPROCESSORS": register},
    "opencompass.utils": {"get_data_path": None},
    "opencompass.datasets": {"__path__": []},
    "opencompass.datasets.base": {"BaseDataset": object},
}.items():
    sys.modules[name] = types.ModuleType(name)
    vars(sys.modules[name]).update(names)
spec = spec_from_file_location("opencompass.datasets.gsm8k", "alone/opencompass/datasets/gsm8k.py")
gsm8k = module_from_spec(spec)
spec.loader.exec_module(gsm8k)

def expect(response, solution, number, right):
    found = gsm8k.gsm8k_postprocess(response)
    gold = gsm8k.gsm8k_dataset_postprocess(solution)
    score = gsm8k.Gsm8kEvaluator().score([found], [gold])["accuracy"]
    print(f"{response:34} is {found:7} gold answer {gold:6} accuracy {score:.0f}")
    assert found == number and score == 100 * right

expect("The answer is 1234.", "So much: #### 1,234", "1234", True)
expect("The answer is 1,234.", "So much: #### 1,234", "234", False)
expect(r"The answer is $\boxed{1,234}$.", "So much: #### 1,234", "234", False)
expect("She pays $1,234.00", "So much: #### 1,234", "234.00", False)
expect("The answer is 1,234.", "So much: #### 234", "234", True)
expect("It takes 2-3 days", "So much: #### 3", "-3", False)
expect("10 - 7 = 3", "So much: #### 3", "3", True)
PYTHON
