#!/usr/bin/env bash
# One answer of twenty digits makes pyarrow, datasets and DuckDB read all integers of a JSON column as rounded floats.
#
# Guess:   integers that no 64-bit column can hold are an error for pyarrow and datasets, and exact in DuckDB, which has
#          integers of 128 bits.
# Seen:    in the three of them the column is one of floats, and nothing is said. 18446744073709551616 is
#          1.8446744073709552e+19, 9007199254740993 beside it is ...992, and 5 is "5.0" as a text. pyarrow and
#          datasets do so from 2^63 on, DuckDB from 2^64. Without the large one all are exact. polars reads all
#          of them exactly, and pandas refuses.
# With:    pyarrow 26.0.1, datasets 5.2.0, DuckDB 2.0.1; compared with polars 2.1.0, pandas 3.1.1
# Matters: answers of competition problems have such lengths. All gold answers turn into "5.0" or lose digits by one row
#          of the file, and a right answer is wrong by 1. Write answers as texts.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check datasets==5.2.0 pyarrow==26.0.1 duckdb==2.0.1 polars==2.1.0 \
    pandas==3.1.1 numpy==2.4.6
export HF_HOME=$work/hf HF_HUB_OFFLINE=1 HF_DATASETS_DISABLE_PROGRESS_BARS=1

venv/bin/python - <<'PYTHON'
import datasets
import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.json

print("pyarrow", pa.__version__, "datasets", datasets.__version__, "duckdb", duckdb.__version__)
print("polars", pl.__version__, "pandas", pd.__version__)

def answers(name, numbers):
    """What each library makes of a file of answers, one a line."""
    path = f"{name}.jsonl"
    with open(path, "w") as file:
        file.writelines(f'{{"answer": {number}}}\n' for number in numbers)
    return {
        "pyarrow": pyarrow.json.read_json(path)["answer"].to_pylist(),
        "datasets": datasets.load_dataset("json", data_files=path, split="train")["answer"][:],
        "duckdb": [row[0] for row in duckdb.sql(f"from '{path}'").fetchall()],
        "polars": pl.read_ndjson(path)["answer"].to_list(),
    }

def exact(found, numbers):
    return [name for name, read in found.items() if list(map(str, read)) == list(map(str, numbers))]

small = [5, 2**53 + 1]
for name, numbers, want in (
    ("small", small, ["pyarrow", "datasets", "duckdb", "polars"]),
    ("from 2^63 on", [*small, 2**63], ["duckdb", "polars"]),
    ("from 2^64 on", [*small, 2**64], ["polars"]),
):
    found = answers(name, numbers)
    print(name, numbers, "exact:", ", ".join(exact(found, numbers)))
    assert exact(found, numbers) == want
for name in ("pyarrow", "datasets", "duckdb"):
    print(f"{name:9} {found[name]}")
    assert list(map(str, found[name])) == ["5.0", "9007199254740992.0", "1.8446744073709552e+19"]
try:
    pd.read_json("from 2^64 on.jsonl", lines=True)
except ValueError as error:
    print("pandas:", error)
else:
    raise AssertionError
PYTHON
