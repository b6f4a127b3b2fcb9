#!/usr/bin/env bash
# Snakemake compares an input by its content, and a script by its time.
#
# Guess:   a touched script changes nothing, as a touched (small) input changes nothing: a checksum tells that the
#          content is the same. And a script with another content is noticed.
# Seen:    the touched input: "Nothing to be done". The touched script: "Code has changed since last execution". A
#          script with another content and a time before the output's: "Nothing to be done".
# With:    Snakemake 9.27.1
# Matters: `git clone`, `git checkout` and `git pull` give files the time of the day, so finished results that travel
#          with a checkout are made again; `rsync -a` and archives keep times, so a new script may not be noticed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check snakemake==9.27.1
export XDG_CACHE_HOME=$work/cache PATH=$work/venv/bin:$PATH

cat >Snakefile <<'RULES'
rule draw:
    input:
        "table.csv",
    output:
        "figure.txt",
    script:
        "draw.py"
RULES
echo 1 >table.csv
echo 'open(snakemake.output[0], "w").write("one")' >draw.py
touch -d "2 hours ago" table.csv draw.py
snakemake --cores 1 --quiet all
snakemake --version

# $1: what happened; $2: what a dry run must say.
expect() {
    local found
    found=$(snakemake --dry-run --cores 1 2>&1 | grep -m1 -oiE "nothing to be done|code has changed") || true
    echo "$1: ${found:-neither}"
    [[ ${found,,} == "$2" ]]
}
sleep 1.1
touch table.csv
expect "the input is touched" "nothing to be done"
touch draw.py
expect "the script is touched" "code has changed"
echo 'open(snakemake.output[0], "w").write("two")' >draw.py
touch -d "1 hour ago" draw.py
expect "the script has another content and an old time" "nothing to be done"
