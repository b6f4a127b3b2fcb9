#!/usr/bin/env bash
# A resource in a Snakemake profile is run as Python, also where YAML's quotes say that it is text.
#
# Guess:   `slurm_account: "12-345"` in a profile is the account 12-345. The quotes are there to make it text.
# Seen:    the account is -333: what YAML reads as text is evaluated as an expression. `"None"` removes the resource.
#          A partition called all (or max, id, bytes: names of Python) stops the dry run with "Resource must be
#          evaluated within the context of a rule". `long` and `gpu-a100` are no expressions and stay text. Quotes
#          inside the quotes help: `"'12-345'"`. In a rule's own `resources`, a text is a text.
# With:    Snakemake 9.27.1
# Matters: accounts and partitions of a cluster are chosen by its owners, and profiles are where a user writes them.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check snakemake==9.27.1
export XDG_CACHE_HOME=$work/cache PATH=$work/venv/bin:$PATH

cat >Snakefile <<'RULES'
rule all:
    output:
        "x.txt",
    resources:
        own="12-345",
    shell:
        "touch {output}"
RULES
mkdir profile all
cat >profile/config.yaml <<'YAML'
default-resources:
  slurm_account: "12-345"
  slurm_qos: "None"
  slurm_partition: "long"
  slurm_extra: "'12-345'"
set-resources:
  all:
    slurm_project: "12-345"
YAML
cat >all/config.yaml <<'YAML'
default-resources:
  slurm_partition: "all"
YAML
snakemake --version
cat profile/config.yaml
echo "--- what a dry run shows"
snakemake --dry-run --cores 1 --profile profile >profile.log 2>&1
grep "    resources:" profile.log | grep -oE "(slurm_[a-z]+|own)=[^, ]*" | sort | tee seen.out
diff seen.out - <<'SEEN'
own=12-345
slurm_account=-333
slurm_extra=12-345
slurm_partition=long
slurm_project=-333
SEEN
cat all/config.yaml
echo "--- what a dry run says"
! snakemake --dry-run --cores 1 --profile all >all.log 2>&1
grep "within the context of a rule" all.log
