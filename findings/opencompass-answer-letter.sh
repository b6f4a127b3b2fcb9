#!/usr/bin/env bash
# OpenCompass reads "Answer: (C)" as A: the letter is that of "Answer".
#
# Guess:   first_option_postprocess, which configurations of MMLU, C-Eval, ARC and RACE use, finds C in "Answer: (C)",
#          "Answer: $C$", "Answer: **C**" and in a box; words that begin with A to D are no options.
# Seen:    after "Answer:" the letter must follow at once. Else "The answer is" or a letter between spaces is looked
#          for, and at last any of the capitals A to D: the A of "Answer", the B of "Because", the C of "Comparing". The
#          "A" of "A car" is an option, too, before the "(C)" at the end of the sentence.
# With:    opencompass 0.5.4 (its text_postprocessors alone)
# Matters: right answers count as wrong, and some wrong ones as right, by how a model begins its sentences; "Answer:
#          (A)" is right for whoever always says A.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check --no-compile --no-deps --target alone opencompass==0.5.4

venv/bin/python -W ignore - <<'PYTHON'
import runpy
import sys
import types
from pathlib import Path

print(next(Path("alone").glob("opencompass-*.dist-info")).name)
configurations = list(Path("alone/opencompass/configs/datasets/mmlu").glob("*_gen_*.py"))
assert any("first_option_postprocess, options='ABCD'" in path.read_text() for path in configurations)
# Of the package the file needs only the register, which is not used here.
register = types.SimpleNamespace(register_module=lambda *_: lambda function: function)
sys.modules["opencompass.registry"] = types.SimpleNamespace(TEXT_POSTPROCESSORS=register)
read = runpy.run_path("alone/opencompass/utils/text_postprocessors.py")["first_option_postprocess"]

def expect(response, want):
    found = read(response, "ABCD")
    print(f"{response:60} {found}")
    assert found == want

expect("Answer: C", "C")
expect("The answer is (C)", "C")
expect("Answer: (C)", "A")
expect("Answer: $C$", "A")
expect("Answer: **C**", "A")
expect(r"\boxed{C}", "C")
expect(r"Because the sum is even, it must be $\boxed{C}$.", "B")
expect(r"Comparing both sides gives $\boxed{D}$.", "C")
expect("The final answer is (C).", "C")
expect("A car needs three hours. The final answer is (C).", "A")
PYTHON
