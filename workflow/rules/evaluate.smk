"""Accuracy on unseen problems: avg@k of every model on every benchmark.

Reads problems/{benchmark}.parquet and models/{model}/{run}/; writes evaluations/{model}/{run}/{benchmark}.parquet.
Microcosm: 10 s each. Paper: 16 x 38,912 tokens per problem on one GPU node.
"""


rule evaluate_model:
    """All responses of one model to one benchmark."""
    input:
        problems=STUDY.problems("{benchmark}"),
        model=STUDY.manifest(MODEL, RUN),
    output:
        STUDY.evaluation(MODEL, RUN, "{benchmark}"),
    log:
        f"{LOGS}/evaluate_model/{{model}}/{{run}}/{{benchmark}}.log",
    benchmark:
        f"{LOGS}/evaluate_model/{{model}}/{{run}}/{{benchmark}}.benchmark.tsv"
    wildcard_constraints:
        benchmark="|".join(STUDY.benchmarks),
        run="base|sft-[^/]+",
    conda:
        ENVIRONMENT
    params:
        code=code("evaluate_model"),
        samples=CONFIG.evaluation.samples,
        sampling=by(FLAGS.evaluate, "model"),
        sampler=by(FLAGS.sampler, "model"),
    shell:
        "python -m selfdistill evaluate-model --problems {input.problems} --model {input.model} "
        "--samples {params.samples} {params.sampling} --benchmark {wildcards.benchmark} --run {wildcards.run} {params.sampler} "
        "--workers {threads} --out {output} 2>&1 | tee {log}"
