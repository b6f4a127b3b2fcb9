#!/usr/bin/env bash
# pandera makes True of the texts "False" and "0", and of NaN, and then finds that all are flags.
#
# Guess:   Column(bool, coerce=True) reads "False" as False, or refuses it; a missing value is refused, since nullable
#          is off by default, as it is for numbers and texts. Column(int, coerce=True) refuses 0.9.
# Seen:    every text but the empty one is True, and so is NaN; None among flags is False. Coercing comes first, by
#          pandas' astype, which asks for Python's truth, and what is checked is its outcome. 0.9 is 0. With "boolean"
#          and "Int64", pandas' types for missing values, all of these are refused, as the texts are by pandera for
#          polars.
# With:    pandera 0.35.0, pandas 3.1.1, polars 2.1.0
# Matters: a table of results that was read as texts passes its schema with every answer correct.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check pandera==0.35.0 pandas==3.1.1 numpy==2.4.6 polars==2.1.0

venv/bin/python -W ignore - <<'PYTHON'
from importlib.metadata import version

import pandas as pd
import pandera.pandas
import pandera.polars
import polars as pl

print("pandera", version("pandera"), "pandas", pd.__version__, "polars", pl.__version__)

def checked(kind, values, library=pandera.pandas, frame=pd.DataFrame):
    schema = library.DataFrameSchema({"correct": library.Column(kind, coerce=True)})
    try:
        found = list(schema.validate(frame({"correct": values}))["correct"])
    except (pandera.errors.SchemaError, pandera.errors.SchemaErrors):
        found = "refused"
    print(f"{library.__name__:16} {getattr(kind, '__name__', kind):8} {values!r:20} {found}")
    return found

assert checked(bool, ["True", "False"]) == [True, True]
assert checked(bool, ["1", "0"]) == [True, True]
assert checked(bool, ["x", ""]) == [True, False]
assert checked(bool, [float("nan"), 0.0]) == [True, False]
assert checked(bool, [True, None]) == [True, False]
assert checked(int, [0.9, 1.2]) == [0, 1]
assert checked(float, [0.5, float("nan")]) == "refused"
assert checked(str, ["a", None]) == "refused"
assert checked("Int64", [0.9, 1.2]) == "refused"
assert checked("boolean", ["True", "False"]) == "refused"
assert checked("boolean", [True, None]) == "refused"
assert checked(bool, ["True", "False"], pandera.polars, pl.DataFrame) == "refused"
PYTHON
