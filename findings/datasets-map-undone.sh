#!/usr/bin/env bash
# datasets' map takes a change of type back where the new values can be cast to the old type.
#
# Guess:   map with a function that gives texts for an integer column makes it a column of texts.
# Seen:    str(n) leaves integers, and so does f"{n:03d}": "007" is cast to 7. n == 7 leaves 0 and 1, str(flag) leaves
#          a flag. f"{n}." or a new column's name give texts, and so does `features=`.
# With:    datasets 5.2.0, pyarrow 26.0.1
# Matters: the usual line that makes all answers texts does nothing, and the next step sees numbers. Whether it works
#          depends on the values: with one among them that cannot be cast, all stay texts.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check datasets==5.2.0 pyarrow==26.0.1 pandas==3.1.1 numpy==2.4.6
export HF_HOME=$work/hf HF_HUB_OFFLINE=1 HF_DATASETS_DISABLE_PROGRESS_BARS=1

venv/bin/python - <<'PYTHON'
import datasets
from datasets import Dataset, Features, Value

numbers = Dataset.from_dict({"n": [7, 42]})
flags = Dataset.from_dict({"n": [True, False]})

def shown(label, table, column, want):
    values = list(table[column])
    print(f"{label:38} {table.features[column]!r:18} {values}")
    assert values == want and [type(v) for v in values] == [type(v) for v in want], want

print("datasets", datasets.__version__)
shown("n: str(n)", numbers.map(lambda row: {"n": str(row["n"])}), "n", [7, 42])
shown("n: f'{n:03d}'", numbers.map(lambda row: {"n": f"{row['n']:03d}"}), "n", [7, 42])
shown("n: n == 7", numbers.map(lambda row: {"n": row["n"] == 7}), "n", [1, 0])
shown("n: str(flag)", flags.map(lambda row: {"n": str(row["n"])}), "n", [True, False])
shown("n: f'{n}.'", numbers.map(lambda row: {"n": f"{row['n']}."}), "n", ["7.", "42."])
mixed = numbers.map(lambda row: {"n": "7" if row["n"] == 7 else "none"})
shown("n: '7' and 'none'", mixed, "n", ["7", "none"])
shown("m: f'{n:03d}'", numbers.map(lambda row: {"m": f"{row['n']:03d}"}), "m", ["007", "042"])
declared = Features({"n": Value("string")})
kept = numbers.map(lambda row: {"n": f"{row['n']:03d}"}, features=declared)
shown("n: f'{n:03d}', features=string", kept, "n", ["007", "042"])
PYTHON
