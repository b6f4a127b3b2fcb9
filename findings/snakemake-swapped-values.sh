#!/usr/bin/env bash
# Snakemake compares the values of `params` and the files of `input`, but not which name each of them has.
#
# Guess:   a job whose learning rate and weight decay change places is run again, as is one whose training and test
#          file change places: both change the command.
# Seen:    "Nothing to be done". The values are kept as a sorted list without their names, and so are the input files.
#          A value that is new is noticed.
# With:    Snakemake 9.27.1
# Matters: a result that was made with the two values the wrong way round stays after the mistake is mended.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check snakemake==9.27.1
export XDG_CACHE_HOME=$work/cache PATH=$work/venv/bin:$PATH

cat >Snakefile <<'RULES'
rule train:
    input:
        train=config.get("train", "a.txt"),
        test=config.get("test", "b.txt"),
    output:
        "model.txt",
    params:
        rate=config.get("rate", 0.1),
        decay=config.get("decay", 0.01),
    shell:
        "echo --rate {params.rate} --decay {params.decay} {input.train} then {input.test} >{output}"
RULES
echo a >a.txt
echo b >b.txt
snakemake --cores 1 --quiet all
snakemake --version
cat model.txt

# $1: what a dry run must say; the rest: what is set.
expect() {
    local said=$1 found
    shift
    found=$(snakemake --dry-run --cores 1 --config "$@" 2>&1 |
        grep -m1 -oiE "nothing to be done|params have changed") || true
    echo "$*: ${found:-neither}"
    [[ ${found,,} == "$said" ]]
}
expect "nothing to be done" rate=0.01 decay=0.1
expect "nothing to be done" train=b.txt test=a.txt
expect "params have changed" rate=0.02 decay=0.01
