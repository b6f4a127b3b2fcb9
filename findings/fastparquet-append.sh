#!/usr/bin/env bash
# fastparquet appends other numbers and names than the ones that it is given: 0.9 becomes 0, and "base" becomes "tuned".
#
# Guess:   write(append=True) of a second data frame keeps its values: a categorical column with other categories
#          (models: a, b; then c, a) reads back as the four names; a column of integers to which floats are appended is
#          refused.
# Seen:    the type of the first frame decides, and nothing is said. Grades 0 and 1, then 0.5 and 0.9, are 0, 1, 0, 0;
#          of true and false, then 2, the 2 is True; of 32-bit integers, then 3,000,000,000, it is -1294967296. Of two
#          categorical columns fastparquet reads all rows with the names of the last: a file of "base" and "tuned" has
#          only "tuned". There the file is right: pyarrow reads both. Text after integers is refused, and so is NaN.
# With:    fastparquet 2026.9.0, pandas 3.1.1, pyarrow 26.0.1
# Matters: results are appended model by model. The first ones have whole grades, and a part grade comes later; names of
#          models are what one makes a category.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check \
    fastparquet==2026.9.0 pandas==3.1.1 pyarrow==26.0.1 numpy==2.4.6

venv/bin/python - <<'PYTHON'
import fastparquet
import numpy as np
import pandas as pd
import pyarrow.parquet as pq

print("fastparquet", fastparquet.__version__, "pandas", pd.__version__)


def appended(name, first, second):
    """What fastparquet and pyarrow read of two frames with one column."""
    file = f"{name}.parquet"
    fastparquet.write(file, pd.DataFrame({name: first}))
    fastparquet.write(file, pd.DataFrame({name: second}), append=True)
    read = fastparquet.ParquetFile(file).to_pandas()[name].tolist(), pq.read_table(file)[name].to_pylist()
    print(f"{list(first)} and {list(second)}: {read[0]}, by pyarrow {read[1]}")
    return read


assert appended("grades", [0, 1], [0.5, 0.9]) == ([0, 1, 0, 0],) * 2
assert appended("flags", [True, False], [2, 0]) == ([True, False, True, False],) * 2
assert appended("tokens", np.array([1], "int32"), [3_000_000_000]) == ([1, -1_294_967_296],) * 2
names = pd.Categorical(["base", "base"]), pd.Categorical(["tuned", "tuned"])
assert appended("model", *names) == (["tuned"] * 4, ["base", "base", "tuned", "tuned"])
names = pd.Categorical(["a", "b"]), pd.Categorical(["c", "a"])
assert appended("letter", *names) == (["a", "c", "c", "a"], ["a", "b", "c", "a"])
for second, error in ((["a"], ValueError), ([np.nan], TypeError)):
    try:
        appended("refused", [0, 1], second)
    except error as refusal:
        print(f"refused: {second}: {refusal}")
    else:
        raise SystemExit(f"{second} is taken")
PYTHON
