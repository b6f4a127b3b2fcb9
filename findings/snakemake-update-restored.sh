#!/usr/bin/env bash
# Snakemake's update() takes the restored output of a failed job for the result of the new parameters.
#
# Guess:   an output marked update() is backed up, and restored when its job fails; the job that was asked for with other
#          parameters has not been done, so the next dry run still wants it.
# Seen:    the output is restored, and with it the record of the failed job is written: the dry run with the parameters
#          that failed says "Nothing to be done". Asked for the old parameters, it wants to run.
# With:    Snakemake 9.27.1
# Matters: who marks outputs so that a failure costs nothing finds the old numbers under the new setting.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check snakemake==9.27.1
export XDG_CACHE_HOME=$work/cache PATH=$work/venv/bin:$PATH

cat >Snakefile <<'RULES'
rule train:
    output:
        update("score.txt"),
    params:
        rate=config["rate"],
    shell:
        "echo rate {params.rate} > {output}; [[ {params.rate} != 9 ]]"
RULES
snakemake --version
snakemake --quiet all --cores 1 --config rate=1 2>/dev/null
snakemake --quiet all --cores 1 --config rate=9 >/dev/null 2>&1 && exit 1
echo "after the failure: $(cat score.txt)"
wants() {
    if snakemake --dry-run --cores 1 --config "rate=$1" 2>&1 | grep -q "Nothing to be done"; then
        echo "rate $1: nothing to be done"
    else
        echo "rate $1: to be run"
    fi
}
{ cat score.txt; wants 9; wants 1; } | tee seen.txt
diff seen.txt - <<'SEEN'
rate 1
rate 9: nothing to be done
rate 1: to be run
SEEN
