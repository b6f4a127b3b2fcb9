#!/usr/bin/env bash
# math-verify reads two boxes that stand close together as the set of both: neither answer is right, and their pair is.
#
# Guess:   of several \boxed the last one counts, as in the graders of MATH; or the first; or those of "4 and 5".
# Seen:    what is between may say the opposite of "and": "I tried \boxed{4}, then \boxed{5}." and
#          "\boxed{4}? No: \boxed{5}" are {4, 5}, wrong for 4 and for 5, right for the gold answer 4,5.
#          So it is below ten characters, and below seventy with a comma, a semicolon, "and" or "or" among them. Otherwise
#          the last box counts.
# With:    math-verify 0.9.0, latex2sympy2_extended 1.11.0, by itself and as TRL 1.16.0's accuracy_reward calls it
# Matters: a model that corrects itself at once gets no reward for its right answer, and one that writes a long sentence
#          between does. Keeping the last box alone before grading avoids it.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check math-verify==0.9.0 latex2sympy2_extended==1.11.0 \
    sympy==1.14.0 antlr4-python3-runtime==4.13.2

venv/bin/python - <<'PYTHON'
from importlib.metadata import version
from latex2sympy2_extended import NormalizationConfig
from math_verify import LatexExtractionConfig, parse, verify

print("math-verify", version("math-verify"), "latex2sympy2_extended", version("latex2sympy2_extended"))
# As TRL's accuracy_reward has it.
boxed = LatexExtractionConfig(
    normalization_config=NormalizationConfig(units=True), boxed_match_priority=0, try_extract_without_anchor=False
)

def expect(response, gold, want):
    """Whether `response` is right where `gold` is, read with the library's own settings and with TRL's."""
    gold = parse(f"${gold}$")
    for name, settings in (("own", {}), ("TRL's", {"extraction_config": [boxed], "extraction_mode": "first_match"})):
        read = parse(response, **settings)
        found = verify(gold, read)
        print(f"{response!r:46} for {gold[1]:4} {'right' if found else 'wrong'} ({name} settings read {read[0]})")
        assert found is want

for both in (r"I tried \boxed{4}, then \boxed{5}.", r"\boxed{4}? No: \boxed{5}"):
    expect(both, "5", False)
    expect(both, "4", False)
    expect(both, "4,5", True)
expect(r"I tried \boxed{4}, which does not fit the second clue, then \boxed{5}.", "5", False)
expect(r"I tried \boxed{4} which does not fit the second clue: then \boxed{5}.", "5", True)
expect(r"I tried \boxed{4}, which does not fit the second clue because 4 is no odd number, then \boxed{5}.", "5", True)
expect(r"It is \boxed{5}. Check: \boxed{5}.", "5", True)
PYTHON
