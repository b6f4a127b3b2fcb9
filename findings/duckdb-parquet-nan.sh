#!/usr/bin/env bash
# DuckDB finds no NaN in a Parquet file that pyarrow or polars wrote: isnan() is False for the NaN that it shows.
#
# Guess:   isnan() tells NaN from a number wherever the column comes from, as it does for a table of DuckDB.
# Seen:    a Parquet file notes a column's least and greatest number, and NaN is neither. DuckDB takes what the column
#          holds to lie between them. `WHERE isnan(loss)` finds no row, `WHERE NOT isnan(loss)` keeps the NaN, and so
#          does `loss <= 0.7`, so that the mean is NaN. max(loss) is 0.7 alone and NaN beside avg(loss): alone, it is
#          read from the note. A file that DuckDB writes has no such note for a column with NaN, and is read right.
# With:    DuckDB 2.0.1, pyarrow 26.0.1, polars 2.1.0
# Matters: runs that diverged are not found by the query that looks for them. `SET parquet_can_have_nan = true` helps.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check duckdb==2.0.1 pyarrow==26.0.1 polars==2.1.0

venv/bin/python - <<'PYTHON' | tee seen.txt
import duckdb
import polars
import pyarrow as pa
import pyarrow.parquet as pq

print("duckdb", duckdb.__version__, "pyarrow", pa.__version__, "polars", polars.__version__)
runs = {"step": [1, 2, 3, 4], "loss": [0.5, 0.7, float("nan"), 0.6]}
pq.write_table(pa.table(runs), "pyarrow.parquet")
polars.DataFrame(runs).write_parquet("polars.parquet")
shown = pa.table(runs)
duckdb.sql("COPY (FROM shown) TO 'duckdb.parquet'")

def ask(file):
    steps = lambda where: [step for (step,) in duckdb.sql(f"SELECT step FROM '{file}' WHERE {where}").fetchall()]
    print(file)
    print("  isnan:", steps("isnan(loss)"), "not isnan:", steps("NOT isnan(loss)"), "<= 0.7:", steps("loss <= 0.7"))
    print("  shown:", duckdb.sql(f"SELECT loss, isnan(loss) FROM '{file}' WHERE step = 3").fetchall())
    print("  max and mean:", duckdb.sql(f"SELECT max(loss), avg(loss) FROM '{file}'").fetchall())

ask("pyarrow.parquet")
print("  max alone:", duckdb.sql("SELECT max(loss) FROM 'pyarrow.parquet'").fetchall())
ask("polars.parquet")
ask("duckdb.parquet")
print("SET parquet_can_have_nan = true")
duckdb.sql("SET parquet_can_have_nan = true")
ask("pyarrow.parquet")
PYTHON
diff seen.txt - <<'SEEN'
duckdb 2.0.1 pyarrow 26.0.1 polars 2.1.0
pyarrow.parquet
  isnan: [] not isnan: [1, 2, 3, 4] <= 0.7: [1, 2, 3, 4]
  shown: [(nan, False)]
  max and mean: [(nan, nan)]
  max alone: [(0.7,)]
polars.parquet
  isnan: [] not isnan: [1, 2, 3, 4] <= 0.7: [1, 2, 3, 4]
  shown: [(nan, False)]
  max and mean: [(nan, nan)]
duckdb.parquet
  isnan: [3] not isnan: [1, 2, 4] <= 0.7: [1, 2, 4]
  shown: [(nan, True)]
  max and mean: [(nan, nan)]
SET parquet_can_have_nan = true
pyarrow.parquet
  isnan: [3] not isnan: [1, 2, 4] <= 0.7: [1, 2, 4]
  shown: [(nan, True)]
  max and mean: [(nan, nan)]
SEEN
