#!/usr/bin/env bash
# Snakemake's cache between workflows gives the output of one seed to all seeds, and does not know inputs apart.
#
# Guess:   what a rule with `cache: True` has written is found again by its command with the values filled in; or a rule
#          that cannot be cached rightly is refused.
# Seen:    the command is hashed as it is written, with its braces. `{wildcards.seed}` and `{config[lr]}` are not looked
#          at, so that three seeds of one run have the same file, and another learning rate has it too; a script that
#          reads snakemake.wildcards and snakemake.config likewise. Hashes of inputs are sorted before they are put
#          together: with the files of `old` and `new` exchanged, the answer is that of before.
# With:    Snakemake 9.27.1
# Matters: the documentation asks for all values as `params`, and nothing checks it: the jobs succeed. Params that have
#          names are told apart.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check snakemake==9.27.1
export XDG_CACHE_HOME=$work/cache PATH=$work/venv/bin:$PATH SNAKEMAKE_OUTPUT_CACHE=$work/outputs
mkdir "$SNAKEMAKE_OUTPUT_CACHE"

cat >Snakefile <<'RULES'
rule all:
    input:
        expand("{way}/{seed}.txt", way=["command", "script", "params"], seed=[1, 2, 3]),
        "compared.txt",

rule command:
    output:
        "command/{seed}.txt",
    cache: True
    shell:
        "echo seed {wildcards.seed}, rate {config[lr]} >{output}"

rule script:
    output:
        "script/{seed}.txt",
    cache: True
    script:
        "script.py"

rule params:
    output:
        "params/{seed}.txt",
    params:
        seed="{seed}",
        lr=config["lr"],
    cache: True
    shell:
        "echo seed {params.seed}, rate {params.lr} >{output}"

rule compare:
    input:
        old=config["old"],
        new=config["new"],
    output:
        "compared.txt",
    cache: True
    shell:
        "echo $(cat {input.new}) after $(cat {input.old}) >{output}"
RULES
cat >script.py <<'PYTHON'
with open(snakemake.output[0], "w") as file:
    print(f"seed {snakemake.wildcards.seed}, rate {snakemake.config['lr']}", file=file)
PYTHON
echo first >a.in
echo second >b.in
run() {
    rm -rf .snakemake command script params compared.txt
    snakemake --cores 1 --cache --config "$@" >run.log 2>&1 || { cat run.log; exit 1; }
    for way in command script params; do
        echo "$way: $(cat $way/?.txt | sort -u | wc -l) results, $(grep -ho "rate .*" $way/?.txt | sort -u)"
    done
    echo "compared: $(cat compared.txt)"
}
snakemake --version
{ run lr=0.1 old=a.in new=b.in; run lr=0.5 old=b.in new=a.in; } | tee seen.txt
diff seen.txt - <<'SEEN'
command: 1 results, rate 0.1
script: 1 results, rate 0.1
params: 3 results, rate 0.1
compared: second after first
command: 1 results, rate 0.1
script: 1 results, rate 0.1
params: 3 results, rate 0.5
compared: second after first
SEEN
