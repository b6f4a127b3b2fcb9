#!/usr/bin/env bash
# pyarrow deletes the table that was there when writing the new one is refused.
#
# Guess:   write_table refuses a column of a type that Parquet lacks before it touches the file, or leaves half of one.
# Seen:    the file with the old table is gone: the writer empties it, and on any error removes it.
# With:    pyarrow 26.0.1
# Matters: a table that is written in place is lost by one column; write beside it and rename.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check pyarrow==26.0.1

venv/bin/python - <<'PYTHON' | tee seen.txt
import os
import pyarrow as pa
import pyarrow.parquet as pq

print("pyarrow", pa.__version__)
pq.write_table(pa.table({"score": [0.5]}), "scores.parquet")
print("before:", pq.read_table("scores.parquet").to_pydict())
try:
    spans = pa.array([(0, 3, 0)], pa.month_day_nano_interval())
    pq.write_table(pa.table({"score": [0.7], "span": spans}), "scores.parquet")
except Exception as error:
    print("refused:", type(error).__name__)
print("the table is there:", os.path.exists("scores.parquet"))
PYTHON
diff seen.txt - <<'SEEN'
pyarrow 26.0.1
before: {'score': [0.5]}
refused: ArrowNotImplementedError
the table is there: False
SEEN
