#!/usr/bin/env bash
# A JSON text that looks like a date is a date to datasets, if all texts of its column do.
#
# Guess:   JSON has no dates, so what stands in quotes is read as text.
# Seen:    {"answer": "2024-01-01"} is read as a timestamp (pyarrow's JSON reader guesses it), and gives a datetime,
#          not "2024-01-01". One row with another text, and the column is text again: the type hangs on the other
#          rows. Declaring the column a string comes too late: it gives "2024-01-01 00:00:00". Written back with
#          to_json, the date is the number 1704067200000.
# With:    datasets 5.2.0, pyarrow 26.0.1
# Matters: a small subset of a data set (one type of question, one shard) has another type than the whole.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check datasets==5.2.0 pyarrow==26.0.1 pandas==3.1.1 numpy==2.4.6
export HF_HOME=$work/hf HF_HUB_OFFLINE=1 HF_DATASETS_DISABLE_PROGRESS_BARS=1

venv/bin/python - <<'PYTHON'
import json
from datetime import datetime
from pathlib import Path
import datasets
import pyarrow as pa
import pyarrow.json
from datasets import Features, Value, load_dataset

def read(name, answers, **options):
    Path(name).write_text("".join(json.dumps({"answer": answer}) + "\n" for answer in answers))
    table = load_dataset("json", data_files=name, split="train", **options)
    print(answers, "->", table.features["answer"], list(table["answer"]))
    return table

print("datasets", datasets.__version__)
dates = ["2024-01-01", "2025-02-03"]
table = read("dates.jsonl", dates)
assert list(table["answer"]) == [datetime(2024, 1, 1), datetime(2025, 2, 3)]
assert pa.json.read_json("dates.jsonl").schema.field("answer").type == pa.timestamp("s")
table.to_json("back.jsonl")
back = [json.loads(line)["answer"] for line in Path("back.jsonl").read_text().splitlines()]
print("written back:", back)
assert back == [1704067200000, 1738540800000]
assert list(read("other.jsonl", [*dates, "7"])["answer"]) == [*dates, "7"]
declared = Features({"answer": Value("string")})
assert list(read("declared.jsonl", dates, features=declared)["answer"]) == [f"{date} 00:00:00" for date in dates]
PYTHON
