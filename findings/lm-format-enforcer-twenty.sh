#!/usr/bin/env bash
# lm-format-enforcer ends every list of a JSON schema after twenty items.
#
# Guess:   an array without maxItems may have any number of items: a judge may give thirty grades.
# Seen:    after the twentieth item only the bracket is allowed, no comma, also for a list inside an object: what a
#          model writes has twenty grades, and is valid by the schema. With a maxItems of 30 it may write thirty, with a
#          minItems of 30 forty. Of a nested object, lines that are indented by 12 are refused too. Two environment
#          variables set the limits: LMFE_MAX_JSON_ARRAY_LENGTH and LMFE_MAX_CONSECUTIVE_WHITESPACES.
# With:    lm-format-enforcer 0.11.3
# Matters: the rest of the items is missing where nothing tells it from a model that stopped: a judge of thirty answers,
#          or of the steps of a long solution, grades the first twenty.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
unset LMFE_MAX_JSON_ARRAY_LENGTH LMFE_MAX_CONSECUTIVE_WHITESPACES
python3 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check lm-format-enforcer==0.11.3 numpy==2.4.6

cat >enforce.py <<'PYTHON'
import json
from importlib.metadata import version

from lmformatenforcer import JsonSchemaParser

print("lm-format-enforcer", version("lm-format-enforcer"))


def refused(schema, text):
    """The text up to the first character that a model may not write; nothing if it may write it all."""
    parser = JsonSchemaParser(schema)
    for at, character in enumerate(text):
        if character not in parser.get_allowed_characters():
            return text[: at + 1]
        parser = parser.add_character(character)
    assert parser.can_end()
    return ""


def longest(name, schema, wrap=lambda grades: grades):
    """The most grades that may be written, of up to 40."""
    lengths = [n for n in range(41) if not refused(schema, json.dumps(wrap([3] * n)))]
    print(f"{name}: from {lengths[0]} to {lengths[-1]} grades")
    return lengths[-1]


grades = {"type": "array", "items": {"type": "integer"}}
inside = {"type": "object", "properties": {"grades": grades}, "required": ["grades"]}
lists = [
    longest("a list", grades),
    longest("a list in an object", inside, lambda grades: {"grades": grades}),
    longest("maxItems 30", grades | {"maxItems": 30}),
    longest("minItems 30", grades | {"minItems": 30}),
]
print("refused:", refused(grades, json.dumps([3] * 30)))

schema = {"type": "object", "properties": {"c": {"type": "integer"}}}
for name in "ba":
    schema = {"type": "object", "properties": {name: schema}}
nested = {"a": {"b": {"c": 1}}}
indented = [bool(refused(schema, json.dumps(nested, indent=indent))) for indent in (None, 3, 4)]
print("a nested object without indent, with 3, with 4, is refused:", indented)
print(lists, indented)
PYTHON
venv/bin/python enforce.py | tee seen.txt
grep -qxF "[20, 20, 30, 40] [False, False, True]" seen.txt
echo "--- with the environment variables"
LMFE_MAX_JSON_ARRAY_LENGTH=40 LMFE_MAX_CONSECUTIVE_WHITESPACES=40 venv/bin/python enforce.py | tee more.txt
grep -qxF "[40, 40, 30, 40] [False, False, False]" more.txt
