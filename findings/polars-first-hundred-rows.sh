#!/usr/bin/env bash
# polars makes a 0 of the 0.5 that comes after a hundred rows of integers, and drops a key that comes first there.
#
# Guess:   pl.DataFrame of a list of rows takes the type that holds all values, or refuses what does not fit; strict is
#          on by default, and a text among integers is refused.
# Seen:    the first hundred rows decide. A 0.5 after them is 0 and a mean is that of cut numbers; after True and False
#          it is False; after texts it is the text "0.5", and the text "0.5" after integers is 0. A key that only later
#          rows have is dropped. Nothing is said. A NaN is refused, as is a list of plain values with the 0.5 in it, or
#          the same rows read with read_ndjson.
# With:    polars 2.1.0
# Matters: records of a run whose loss or reward is 0 or 1 at first, and whose evaluations begin later, lose just that.
#          `infer_schema_length=None` looks at all rows.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check polars==2.1.0

venv/bin/python - <<'PYTHON'
import json

import polars as pl

print("polars", pl.__version__)

def after(first, last, count=100):
    return [{"reward": first}] * count + [{"reward": last, "eval": 0.9}]

def lazy(rows):
    return pl.LazyFrame(rows).collect()

def strict(rows):
    return pl.DataFrame(rows, strict=True)

for make in (pl.DataFrame, pl.from_dicts, lazy, strict):
    for first, last, want in ((1, 0.5, 0), (True, 0.5, False), ("1", 0.5, "0.5"), (1, "0.5", 0)):
        table = make(after(first, last))
        print(f"{first!r} a hundred times, then {last!r}: {table['reward'][-1]!r} with the columns {table.columns}")
        assert table["reward"][-1] == want and table.columns == ["reward"]
    assert round(make(after(1, 0.5))["reward"].mean(), 4) == 0.9901

for table in (pl.DataFrame(after(1, 0.5, 99)), pl.DataFrame(after(1, 0.5), infer_schema_length=None)):
    assert table["reward"][-1] == 0.5 and table.columns == ["reward", "eval"]

with open("rows.jsonl", "w") as file:
    file.writelines(json.dumps(row) + "\n" for row in after(1, 0.5))

def refused(name, make):
    try:
        make()
    except (pl.exceptions.ComputeError, TypeError) as error:
        print(f"{name}: refused, {str(error).splitlines()[0][:70]}")
    else:
        raise SystemExit(f"{name}: taken")

refused("a NaN", lambda: pl.DataFrame(after(1, float("nan"))))
refused("a text", lambda: pl.DataFrame(after(1, "diverged")))
refused("a list of values", lambda: pl.DataFrame({"reward": [1] * 100 + [0.5]}))
refused("read_ndjson", lambda: pl.read_ndjson("rows.jsonl"))
PYTHON
