#!/usr/bin/env bash
# polars adds 32-bit integers in 32 bits: three times 1,500,000,000 tokens are 205,032,704, and a count of 3 less 4 is
# 4294967295.
#
# Guess:   the sum of a column of 32-bit integers is a 64-bit one, as in NumPy, pandas, pyarrow and DuckDB, and as in
#          polars itself for 8 and 16 bits. `pl.len() - 4` of three rows is -1.
# Seen:    three times 1,500,000,000 is 205,032,704, in sum, group_by, over, cum_sum and sum_horizontal, and nothing is
#          said. `pl.len() - 4` is 4294967295, and so is the difference of two counts. mean() is right, so mean times
#          count and sum differ.
# With:    polars 2.1.0; compared with pandas 3.1.1, pyarrow 26.0.1, DuckDB 2.0.1, numpy 2.4.6
# Matters: numbers of tokens are stored in 32 bits and reach 2^31 in a small run's total. Of the sum for 8 and 16 bits
#          the documentation speaks; cast with `pl.col("tokens").cast(pl.Int64)` before adding.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check \
    polars==2.1.0 pandas==3.1.1 pyarrow==26.0.1 duckdb==2.0.1 numpy==2.4.6

venv/bin/python - <<'PYTHON'
import duckdb
import polars as pl
import pyarrow.compute as pc

print("polars", pl.__version__)
tokens = pl.col("tokens")
counts = pl.DataFrame({"run": [1, 1, 1], "tokens": [1_500_000_000] * 3}, schema_overrides={"tokens": pl.Int32})
right, wrapped = 4_500_000_000, 205_032_704
assert counts["tokens"].to_numpy().sum() == counts.to_pandas()["tokens"].sum() == right
assert counts.to_pandas().groupby("run")["tokens"].sum()[1] == counts.to_pandas()["tokens"].cumsum()[2] == right
assert pc.sum(counts["tokens"].to_arrow()).as_py() == right
assert duckdb.sql("select sum(tokens) from counts").fetchall() == [(right,)]
sums = {
    "sum": counts.select(tokens.sum()).item(),
    "group_by": counts.group_by("run").agg(tokens.sum())["tokens"].item(),
    "over": counts.select(tokens.sum().over("run"))["tokens"][0],
    "cum_sum": counts.select(tokens.cum_sum())["tokens"][2],
    "sum_horizontal": counts.select(pl.sum_horizontal(tokens, tokens, tokens))["tokens"][0],
}
print("polars", sums, "right", right)
assert set(sums.values()) == {wrapped}
assert counts.select(tokens.mean()).item() * 3 == counts.select(tokens.cast(pl.Int64).sum()).item() == right
for small in (pl.Int8, pl.Int16):
    assert pl.Series([100] * 1000, dtype=small).sum() == 100_000
fewer = counts.select(pl.len() - 4).item()
solved = pl.DataFrame({"run": ["a", "b", "b"]}).group_by("run").len().sort("run")["len"]
difference = (solved[:1] - solved[1:]).item()
print("3 rows - 4:", fewer, "counts:", solved.to_list(), "their difference:", difference)
assert fewer == difference == 4_294_967_295
PYTHON
