#!/usr/bin/env bash
# To jsonschema and fastjsonschema, NaN lies between 0 and 1, and is greater than 0.
#
# Guess:   {"type": "number", "minimum": 0, "maximum": 1} refuses NaN, which is neither at least 0 nor at most 1.
# Seen:    it is accepted, with exclusive bounds too, and also by a schema that asks for more than 0 and for less than
#          0. What is looked for is a violation (x < 0), and NaN violates nothing. {"not": {"minimum": 2}} refuses it.
#          Infinity is refused as one would guess; an integer or an enum is not met by NaN. pydantic (ge, le) and
#          msgspec refuse it.
# With:    jsonschema 4.26.0, fastjsonschema 2.22.3, pydantic 2.14.4, msgspec 0.23.0
# Matters: Python's json and YAML (.nan) bring NaN in, and a schema with bounds is what keeps a diverged run's score, or
#          a rate that was computed wrongly, out of a table or a configuration. Snakemake's validate() is jsonschema's.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check jsonschema==4.26.0 fastjsonschema==2.22.3 pydantic==2.14.4 \
    msgspec==0.23.0

venv/bin/python - <<'PYTHON'
import json
from importlib.metadata import version
from typing import Annotated

import fastjsonschema
import jsonschema
import msgspec
from pydantic import Field, TypeAdapter, ValidationError

print(*(f"{name} {version(name)}" for name in ("jsonschema", "fastjsonschema", "pydantic", "msgspec")))
score = json.loads("NaN")

def expect(schema, value, want):
    one = jsonschema.Draft202012Validator(schema).is_valid(value)
    try:
        fastjsonschema.compile(schema)(value)
        other = True
    except fastjsonschema.JsonSchemaValueException:
        other = False
    print(f"{json.dumps(schema):60} {value!r:5} {'accepted' if one else 'refused'}")
    assert one == other == want

expect({"type": "number", "minimum": 0, "maximum": 1}, score, True)
expect({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}, score, True)
expect({"allOf": [{"exclusiveMinimum": 0}, {"exclusiveMaximum": 0}]}, score, True)
expect({"allOf": [{"exclusiveMinimum": 0}, {"exclusiveMaximum": 0}]}, 0.5, False)
expect({"not": {"minimum": 2}}, score, False)
expect({"type": "number", "minimum": 0, "maximum": 1}, float("inf"), False)
expect({"type": "integer"}, score, False)
expect({"enum": [0, 1]}, score, False)

for name, check, error in (
    ("pydantic", TypeAdapter(Annotated[float, Field(ge=0, le=1)]).validate_python, ValidationError),
    (
        "msgspec",
        lambda value: msgspec.convert(value, Annotated[float, msgspec.Meta(ge=0, le=1)]),
        msgspec.ValidationError,
    ),
):
    assert check(0.5) == 0.5
    try:
        check(score)
    except error:
        print(name, "refuses NaN")
    else:
        raise SystemExit(f"{name} accepts NaN")
PYTHON
