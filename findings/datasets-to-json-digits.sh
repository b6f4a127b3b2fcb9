#!/usr/bin/env bash
# datasets' to_json writes floats with ten decimal places, to_csv and to_parquet write all of them.
#
# Guess:   JSON gets the shortest text that gives the same float, as Python's json module writes it.
# Seen:    0.1234567890123456 becomes 0.123456789, and what lies between 1e-15 and 5e-11 becomes 0.0, while 1e-16 is
#          kept: to_json goes through pandas' DataFrame.to_json, which writes ten decimal places unless a number is
#          smaller still. `double_precision=15` is passed on; more than 15 is refused.
# With:    datasets 5.2.0, pandas 3.1.1
# Matters: probabilities, p-values and losses in exported tables: some small ones are 0, and their logarithm is
#          infinite, while smaller ones beside them look right.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check datasets==5.2.0 pyarrow==26.0.1 pandas==3.1.1 numpy==2.4.6
export HF_HOME=$work/hf HF_HUB_OFFLINE=1 HF_DATASETS_DISABLE_PROGRESS_BARS=1

venv/bin/python - <<'PYTHON'
import csv
import json
from pathlib import Path
import datasets
import pandas as pd

print("datasets", datasets.__version__, "pandas", pd.__version__)
values = [0.1234567890123456, 3e-5, 1e-9, 4e-11, 1e-15, 1e-16]
table = datasets.Dataset.from_dict({"p": values})
table.to_csv("p.csv")
table.to_parquet("p.parquet")
table.to_json("p.jsonl")
table.to_json("p15.jsonl", double_precision=15)

def lines(name):
    return [json.loads(line)["p"] for line in Path(name).read_text().splitlines()]

try:
    table.to_json("p16.jsonl", double_precision=16)
except ValueError as error:
    print("double_precision=16:", error)
else:
    raise SystemExit("double_precision=16 is accepted")

written = {
    "csv": [float(row["p"]) for row in csv.DictReader(Path("p.csv").open())],
    "parquet": pd.read_parquet("p.parquet")["p"].tolist(),
    "json": lines("p.jsonl"),
    "json, 15": lines("p15.jsonl"),
}
for kind, found in written.items():
    print(f"{kind:9}", found)
assert written["csv"] == written["parquet"] == values
assert written["json"] == [0.123456789, 3e-5, 1e-9, 0.0, 0.0, 1e-16]
assert written["json, 15"] == [0.123456789012346, *values[1:]]
PYTHON
