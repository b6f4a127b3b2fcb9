#!/usr/bin/env bash
# Snakemake does not compare a parameter of a type that it cannot write down, and numpy's integers are such a type.
#
# Guess:   a parameter is compared by its repr, so a seed that goes from np.int64(1) to np.int64(2) runs the job
#          again.
# Seen:    "Nothing to be done" for np.int64, np.float32, fractions.Fraction, decimal.Decimal and pathlib.Path. Such
#          values are left out of the record without a word. np.float64 is recorded (it is a subclass of float), and
#          so is a list with an np.int64 in it.
# With:    Snakemake 9.27.1, numpy 2.4.6
# Matters: seeds from np.arange, sizes from a data frame's row, rates as np.float32: their results are never remade.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check snakemake==9.27.1 numpy==2.4.6
export XDG_CACHE_HOME=$work/cache PATH=$work/venv/bin:$PATH

cat >Snakefile <<'RULES'
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
import numpy as np

n = config.get("number", 1)
MADE = {
    "np.int64": np.int64(n),
    "np.float32": np.float32(n),
    "Fraction": Fraction(n, 3),
    "Decimal": Decimal(n),
    "Path": Path(f"folder{n}"),
    "np.float64": np.float64(n),
    "list_of_np.int64": [np.int64(n)],
    "int": n,
}
rule all:
    input:
        expand("{kind}.txt", kind=MADE),
rule make:
    output:
        "{kind}.txt",
    params:
        value=lambda wildcards: MADE[wildcards.kind],
    shell:
        "echo '{params.value}' >'{output}'"
RULES
snakemake --version
snakemake --cores 1 --quiet all
grep . -- *.txt
echo "--- the number goes from 1 to 2: to be made again, because params have changed"
snakemake --dry-run --cores 1 --config number=2 2>&1 | tee dry.log | grep -oP "^    output: \K.*" | sort | tee again.out
grep -q "reason: Params have changed" dry.log
diff again.out - <<'SEEN'
int.txt
list_of_np.int64.txt
np.float64.txt
SEEN
