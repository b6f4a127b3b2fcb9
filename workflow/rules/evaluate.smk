"""Accuracy on unseen problems: avg@k of every model on every benchmark.

Reads problems/{benchmark}.parquet and models/{model}/{run}/; writes evaluations/{model}/{run}/{benchmark}.parquet.
Microcosm: 10 s each. Paper: 16 x 38,912 tokens per problem on one GPU node.
"""


rule evaluate_model:
    """All responses of one model to one benchmark."""
    input:
        problems=f"{RESULTS}/problems/{{benchmark}}.parquet",
        model=f"{RESULTS}/models/{{model}}/{{run}}/manifest.json",
    output:
        f"{RESULTS}/evaluations/{{model}}/{{run}}/{{benchmark}}.parquet",
    log:
        f"{LOGS}/evaluate_model/{{model}}/{{run}}/{{benchmark}}.log",
    benchmark:
        f"{LOGS}/evaluate_model/{{model}}/{{run}}/{{benchmark}}.benchmark.tsv"
    wildcard_constraints:
        benchmark="|".join(BENCHMARKS),
        run="base|sft-[^/]+",
    conda:
        ENVIRONMENT
    params:
        code=code("evaluate_model"),
        samples=CONFIG.evaluation.samples,
        sampling=evaluate_flags,
        draw=draw_flags,
    shell:
        "python -m selfdistill evaluate-model --problems {input.problems} --model {input.model} "
        "--samples {params.samples} {params.sampling} --benchmark {wildcards.benchmark} --run {wildcards.run} {params.draw} "
        "--workers {threads} --out {output} 2>&1 | tee {log}"
