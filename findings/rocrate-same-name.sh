#!/usr/bin/env bash
# Two files of one name from different folders are one file in a crate that rocrate writes.
#
# Guess:   add_file("run1/metrics.json") and add_file("run2/metrics.json") keep their folders, or get names of their
#          own; or the second is refused.
# Seen:    a file goes to the top of the crate under its bare name, and the second takes the place of the first: the
#          crate has one metrics.json, with the numbers of run2, and metadata that speak of run2 alone. add_file returns
#          two entities with the same id, and nothing is said. `dest_path` gives each its place.
# With:    rocrate 0.16.0
# Matters: a workflow names its results alike in a folder per run; the published package has those of the last run.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check rocrate==0.16.0

venv/bin/python - <<'PYTHON'
import json
from importlib.metadata import version
from pathlib import Path

from rocrate.rocrate import ROCrate

print("rocrate", version("rocrate"))
for run, accuracy in (("run1", 0.25), ("run2", 0.75)):
    Path(run).mkdir()
    Path(run, "metrics.json").write_text(json.dumps(accuracy))

def written(name, **places):
    crate = ROCrate()
    for run in ("run1", "run2"):
        crate.add_file(f"{run}/metrics.json", properties={"description": run}, **places.get(run, {}))
    crate.write(name)
    entities = json.loads(Path(name, "ro-crate-metadata.json").read_text())["@graph"]
    described = {entity["@id"]: entity["description"] for entity in entities if entity["@type"] == "File"}
    found = {
        place: (json.loads(Path(name, place).read_text()), description) for place, description in described.items()
    }
    files = [path for path in Path(name).rglob("metrics.json")]
    assert len(files) == len(found)
    print(name, found)
    return found

assert written("plain") == {"metrics.json": (0.75, "run2")}
both = written(
    "placed", run1={"dest_path": "run1/metrics.json"}, run2={"dest_path": "run2/metrics.json"}
)
assert both == {"run1/metrics.json": (0.25, "run1"), "run2/metrics.json": (0.75, "run2")}
PYTHON
