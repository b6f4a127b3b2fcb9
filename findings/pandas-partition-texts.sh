#!/usr/bin/env bash
# A flag or a rate by which pandas partitions a Parquet table comes back as text, and seeds are sorted 1, 10, 2.
#
# Guess:   to_parquet(partition_cols=["lora", "rate", "seed"]) and read_parquet of the folder give the table back but
#          for the order of rows and columns.
# Seen:    all three are categories: flags are the texts "false" and "true", rates "0.1" and "0.00001". `lora == False`
#          and `lora == True` find no row, as a flag (astype(bool)) all are True, and a merge by rate with the table
#          that was written is empty. Seeds are numbers, and sort_values("seed") gives 1, 10, 2, the order of the
#          folders' names. polars reads the same folder right.
# With:    pandas 3.1.1, pyarrow 26.0.1, polars 2.1.0
# Matters: settings of runs are what one partitions by. Comparisons that find nothing, and plots by seed, raise no
#          error.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check pandas==3.1.1 numpy==2.4.6 pyarrow==26.0.1 polars==2.1.0

venv/bin/python -W ignore - <<'PYTHON'
from importlib.metadata import version

import pandas as pd
import polars as pl

print(*(f"{name} {version(name)}" for name in ("pandas", "pyarrow", "polars")))
settings = ["lora", "rate", "seed"]
runs = pd.DataFrame(
    {"lora": [False, True, True], "rate": [0.1, 1e-5, 2e-5], "seed": [1, 10, 2], "score": [0.25, 0.5, 0.75]}
)
runs.to_parquet("runs", partition_cols=settings)
found = pd.read_parquet("runs").sort_values("score")
print(found.to_string(index=False))
assert [str(found[name].dtype) for name in settings] == ["category"] * 3
assert found["score"].tolist() == runs["score"].tolist()
assert found["lora"].tolist() == ["false", "true", "true"]
assert found["rate"].tolist() == ["0.1", "0.00001", "0.00002"]
assert (found["lora"] == False).sum() == (found["lora"] == True).sum() == 0
assert found["lora"].astype(bool).all()
assert len(found.merge(runs, on="rate")) == 0
assert (found["seed"] == 10).sum() == 1
in_order = found.sort_values("seed")["seed"].tolist()
print("sorted seeds", in_order, "of the table that was written", sorted(runs["seed"]))
assert in_order == [1, 10, 2]
assert runs.astype({"seed": "category"}).sort_values("seed")["seed"].tolist() == [1, 2, 10]

right = pl.read_parquet("runs/**/*.parquet", hive_partitioning=True).sort("score")
print(right)
assert right.select(runs.columns.to_list()).rows() == [tuple(row) for row in runs.itertuples(index=False)]
PYTHON
