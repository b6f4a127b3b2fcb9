#!/usr/bin/env bash
# A filter of a Parquet file with "not in" keeps the rows without a value; "!=" drops them.
#
# Guess:   ("grade", "!=", "wrong") and ("grade", "not in", ["wrong"]) choose the same rows.
# Seen:    a missing grade is not "!=" anything, but it is "not in" every list. So ("grade", "!=", x) leaves out
#          the answers without a grade, and ("grade", "not in", [x]) has them; for numbers, too. pandas.read_parquet
#          hands its filters on, and pandas' own comparisons keep such rows in both cases. In DuckDB's SQL neither keeps
#          them.
# With:    pyarrow 26.0.1, pandas 3.1.1; compared with DuckDB 2.0.1
# Matters: answers that no grader could read have no grade. A second value left out turns "!=" into "not in", and the
#          unread answers come into the set for fine-tuning, or into the denominator.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check pyarrow==26.0.1 pandas==3.1.1 duckdb==2.0.1 numpy==2.4.6

venv/bin/python - <<'PYTHON'
import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

print("pyarrow", pa.__version__, "pandas", pd.__version__, "duckdb", duckdb.__version__)
table = pa.table({"answer": [1, 2, 3], "grade": ["right", "wrong", None], "score": [1, 0, None]})
pq.write_table(table, "answers.parquet")

def expect(column, operator, value, want):
    chosen = [(column, operator, value)]
    found = pq.read_table("answers.parquet", filters=chosen)["answer"].to_pylist()
    print(f"{chosen!s:34} answers {found}")
    assert found == pd.read_parquet("answers.parquet", filters=chosen)["answer"].tolist() == want

expect("grade", "!=", "wrong", [1])
expect("grade", "not in", ["wrong"], [1, 3])
expect("score", "!=", 0, [1])
expect("score", "not in", [0], [1, 3])

answers = table.to_pandas()
alone, among = answers["grade"] != "wrong", ~answers["grade"].isin(["wrong"])
print("pandas' own comparisons", answers["answer"][alone].tolist(), answers["answer"][among].tolist())
assert alone.tolist() == among.tolist() == [True, False, True]
for condition in ("grade != 'wrong'", "grade not in ('wrong')"):
    found = duckdb.sql(f"select answer from 'answers.parquet' where {condition}").fetchall()
    print(f"DuckDB, where {condition}: {found}")
    assert found == [(1,)]
PYTHON
