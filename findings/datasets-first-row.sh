#!/usr/bin/env bash
# datasets' from_list, from_generator and map drop a key that the first row lacks, and say nothing.
#
# Guess:   the columns are those of all rows, with None where a row lacks one, as when the same rows are read from a
#          JSON Lines file; or the rows are refused.
# Seen:    of {"id": 1} and {"id": 2, "note": "checked"} each of the three makes the column id alone. A map that adds a
#          key to one row of 3000 adds nothing, unless it is the first row: then it fails, as the second has no such
#          key. In map and from_generator the first of each thousand rows decides about it. pyarrow's Table.from_pylist
#          drops it, too; a stream (IterableDataset) keeps it. Of from_list the documentation has a sentence on it.
# With:    datasets 5.2.0, pyarrow 26.0.1
# Matters: rows that are collected in a run, or marked by a check, have the keys that they need (an error, a remark, a
#          tool's answer): what is rare is lost.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check datasets==5.2.0 pyarrow==26.0.1

HF_HUB_OFFLINE=1 HF_HOME="$work" venv/bin/python - <<'PYTHON'
import json

import datasets
import pyarrow

print("datasets", datasets.__version__, "pyarrow", pyarrow.__version__)
datasets.disable_progress_bars()
rows = [{"id": 1}, {"id": 2, "note": "checked"}]

def expect(name, found, want):
    print(f"{name:18} {found}")
    assert found == want

both = [{"id": 1, "note": None}, {"id": 2, "note": "checked"}]
expect("from_list", datasets.Dataset.from_list(rows).to_list(), [{"id": 1}, {"id": 2}])
expect("from_list, turned", datasets.Dataset.from_list(rows[::-1]).to_list(), both[::-1])
expect("from_pylist", pyarrow.Table.from_pylist(rows).to_pylist(), [{"id": 1}, {"id": 2}])
with open("rows.jsonl", "w") as file:
    file.writelines(json.dumps(row) + "\n" for row in rows)
expect("from_json", datasets.Dataset.from_json("rows.jsonl").to_list(), both)

made = datasets.Dataset.from_generator(lambda: iter(rows), cache_dir="cache")
expect("from_generator", made.to_list(), [{"id": 1}, {"id": 2}])
streamed = datasets.IterableDataset.from_generator(lambda: iter(rows))
expect("a stream", list(streamed), rows)

def marked(count, at):
    """The columns of `count` rows, of which the row `at` gets a note."""
    plain = datasets.Dataset.from_dict({"id": list(range(count))})
    return plain.map(lambda row: {"note": "checked"} if row["id"] == at else {}).column_names

expect("map, row 1 of 2", marked(2, 1), ["id"])
expect("map, row 1500", marked(3000, 1500), ["id"])
for count, at in ((2, 0), (3000, 1000)):
    try:
        marked(count, at)
    except KeyError as error:
        print(f"map, row {at} of {count}: KeyError {error}")
    else:
        raise SystemExit(f"map, row {at} of {count}: taken")
PYTHON
