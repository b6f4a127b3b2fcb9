#!/usr/bin/env bash
# Snakemake's validate() fills in the defaults of the branches that do not apply, and can refuse a right configuration.
#
# Guess:   of a schema with oneOf, defaults come from the branch that the configuration belongs to.
# Seen:    each branch that is tried leaves its defaults behind, whether it fits or not. The configuration of GRPO gets
#          the epochs of SFT, and is refused because the branch of GRPO has no epochs; with set_default=False it is
#          accepted. That of SFT gets GRPO's group, so that it is refused when it is validated again. Where both
#          branches have a rate, the first one's default is taken for both. anyOf does it with the branches before the
#          one that fits. With if, then and else, the right default is taken.
# With:    Snakemake 9.27.1
# Matters: methods with settings of their own are what such branches are for: one trains with another method's rate.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check snakemake==9.27.1
export XDG_CACHE_HOME=$work/cache

venv/bin/python - <<'PYTHON'
import json
from importlib.metadata import version
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.utils import validate

print("snakemake", version("snakemake"))
draft = {"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object"}

def expect(schema, config, want, **options):
    """`want` is what validating adds to the configuration, or None if it is refused."""
    path = Path("schema.json").resolve()
    path.write_text(json.dumps(draft | schema))
    given = dict(config)
    try:
        validate(config, str(path), **options)
        found = {key: value for key, value in config.items() if key not in given}
    except WorkflowError:
        found = None
    print(f"{next(iter(schema)):6} {given!s:50} {options or ''} {'refused' if found is None else found}")
    assert found == want

def branch(method, **defaults):
    return {"properties": {"method": {"const": method}} | {key: {"default": value} for key, value in defaults.items()}}

closed = {"additionalProperties": False}
own = [branch("sft", epochs=3) | closed, branch("grpo", group=8) | closed]
rate = [branch("sft", rate=0.1), branch("grpo", rate=0.2)]
expect({"oneOf": own}, {"method": "grpo"}, None)
expect({"oneOf": own}, {"method": "grpo"}, {}, set_default=False)
expect({"oneOf": own}, {"method": "sft"}, {"epochs": 3, "group": 8})
expect({"oneOf": own}, {"method": "sft", "epochs": 3, "group": 8}, None)
expect({"anyOf": own}, {"method": "grpo"}, None)
expect({"anyOf": own}, {"method": "sft"}, {"epochs": 3})
expect({"oneOf": rate}, {"method": "sft"}, {"rate": 0.1})
expect({"oneOf": rate}, {"method": "grpo"}, {"rate": 0.1})
chosen = {"if": branch("sft"), "then": branch("sft", rate=0.1), "else": branch("grpo", rate=0.2)}
expect(chosen, {"method": "sft"}, {"rate": 0.1})
expect(chosen, {"method": "grpo"}, {"rate": 0.2})
PYTHON
