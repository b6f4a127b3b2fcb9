#!/usr/bin/env bash
# The same text means one thing in Snakemake's --configfile and another after --config.
#
# Guess:   --config reads its values as YAML, as the file is read: `false` is False and a commit's short hash is text.
# Seen:    --config tries int, then float, then the words True and False, then text. `lora=false` is the text "false",
#          which is true in an `if`; the hash 5e51051 is a float, infinity; `when=1_000` is 1000 in both. Inside
#          braces everything is text: `{rate: 0.5}` gives "0.5".
# With:    Snakemake 9.27.1
# Matters: a switch that is turned off on the command line stays on, and nothing says so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check snakemake==9.27.1
export XDG_CACHE_HOME=$work/cache PATH=$work/venv/bin:$PATH

cat >Snakefile <<'RULES'
for key in ("lora", "commit", "when", "sampling"):
    print(f"{key} = {config[key]!r}")
rule all:
    shell:
        "true"
RULES
cat >config.yaml <<'YAML'
lora: false
commit: 5e51051
when: 1_000
sampling: {rate: 0.5}
YAML
snakemake --version
snakemake --dry-run --quiet all --cores 1 --configfile config.yaml 2>/dev/null | grep " = " | tee file.txt
echo "--- the same after --config"
snakemake --dry-run --quiet all --cores 1 --config lora=false commit=5e51051 when=1_000 "sampling={rate: 0.5}" \
    2>/dev/null | grep " = " | tee flag.txt

diff file.txt - <<'SEEN'
lora = False
commit = '5e51051'
when = 1000
sampling = {'rate': 0.5}
SEEN
diff flag.txt - <<'SEEN'
lora = 'false'
commit = inf
when = 1000
sampling = {'rate': '0.5'}
SEEN
