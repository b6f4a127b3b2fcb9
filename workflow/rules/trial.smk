"""A trial's end: what it has proved of the study that it is a trial of.

Reads all of a trial's results and their records; writes trial.md. Seconds.
"""


rule prove:
    """What a trial has proved, once all of it is there."""
    input:
        rules.all.input,
    output:
        STUDY.trial,
    log:
        f"{LOGS}/prove.log",
    benchmark:
        f"{LOGS}/prove.benchmark.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code("prove"),
        flags=FLAGS.trial(PROCESSES),
    shell:
        f"python -m selfdistill prove --results {RESULTS} --logs {LOGS} "
        "{params.flags} --out {output} 2>&1 | tee {log}"
