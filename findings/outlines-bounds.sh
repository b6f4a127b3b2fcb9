#!/usr/bin/env bash
# outlines-core drops the bounds of numbers from a JSON schema, and puts the parts of allOf one behind the other.
#
# Guess:   the pattern that a schema becomes allows what the schema allows: a score from 1 to 10 is one, and what cannot
#          be written as a pattern is refused, as "not" is.
# Seen:    99 and -3 fit. minimum, maximum, multipleOf and uniqueItems are ignored without a word; maxItems, maxLength,
#          pattern and enum hold. allOf of an integer and of [1, 2] takes 12 and not 1, and that of "yes or no" and "yes
#          or maybe" takes "yes""yes".
# With:    outlines_core 0.2.14, pydantic 2.14.4
# Matters: a judge's grades, which the decoder seems to keep in bounds, must be checked after all; `Literal[1, 2, 3]`
#          holds.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check outlines_core==0.2.14 pydantic==2.14.4

venv/bin/python - <<'PYTHON'
import json
import re
from importlib.metadata import version
from typing import Literal

from outlines_core.json_schema import build_regex_from_schema
from pydantic import BaseModel, Field, ValidationError

print("outlines_core", version("outlines_core"), "pydantic", version("pydantic"))

def expect(schema, text, want):
    found = re.fullmatch(build_regex_from_schema(json.dumps(schema)), text) is not None
    print(f"{text:32} {'fits' if found else 'does not fit'}")
    assert found == want

class Grade(BaseModel):
    score: int = Field(ge=1, le=10)
    share: float = Field(ge=0, le=1)

class Choice(BaseModel):
    score: Literal[1, 2, 3]

for text in ('{"score": 99, "share": 0.5}', '{"score": -3, "share": 7.5}'):
    expect(Grade.model_json_schema(), text, True)
    try:
        Grade.model_validate_json(text)
    except ValidationError:
        pass
    else:
        raise SystemExit("pydantic accepts it")
expect(Choice.model_json_schema(), '{"score": 3}', True)
expect(Choice.model_json_schema(), '{"score": 4}', False)

numbers = {"type": "array", "items": {"type": "integer"}}
expect({"type": "integer", "multipleOf": 5}, "7", True)
expect({**numbers, "uniqueItems": True}, "[1,1]", True)
expect({**numbers, "maxItems": 2}, "[1,2,3]", False)
expect({"type": "string", "maxLength": 3}, '"abcd"', False)
expect({"type": "string", "pattern": "^[A-D]$"}, '"E"', False)

both = {"allOf": [{"type": "integer"}, {"enum": [1, 2]}]}
expect(both, "1", False)
expect(both, "12", True)
words = {"allOf": [{"enum": ["yes", "no"]}, {"enum": ["yes", "maybe"]}]}
expect(words, '"yes"', False)
expect(words, '"yes""yes"', True)

try:
    build_regex_from_schema('{"not": {"type": "integer"}}')
except ValueError as error:
    print(str(error).splitlines()[0])
else:
    raise SystemExit("not is taken")
PYTHON
