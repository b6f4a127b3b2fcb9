"""Accuracy on unseen problems: avg@k of every model on every benchmark.

Reads problems/{benchmark}.parquet and models/{model}/{run}/; writes evaluations/{model}/{run}/{benchmark}.parquet.
Microcosm: 10 s each. Paper: 16 x 38,912 tokens per problem on one GPU node.
"""


rule list_trained:
    """The problems that a model's runs train on first, for the model itself to be asked as well."""
    input:
        problems=lambda wildcards: [
            STUDY.problems(name) for name in STUDY.own_problems_of(wildcards.model)
        ],
    output:
        STUDY.asked(MODEL, TRAINED),
    log:
        f"{LOGS}/list_trained/{{model}}.log",
    benchmark:
        f"{LOGS}/list_trained/{{model}}.benchmark.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code("list_trained"),
        own=by(FLAGS.own_problems, "model"),
    shell:
        "python -m selfdistill list-trained --problem-sets {input.problems} {params.own} --out {output} 2>&1 | tee {log}"


rule evaluate_model:
    """All responses of one model to one benchmark."""
    input:
        problems=by(STUDY.asked, "model", "benchmark"),
        model=by(STUDY.evaluated, "model", "run"),
    output:
        STUDY.evaluation(MODEL, RUN, "{benchmark}"),
    log:
        f"{LOGS}/evaluate_model/{{model}}/{{run}}/{{benchmark}}.log",
    benchmark:
        f"{LOGS}/evaluate_model/{{model}}/{{run}}/{{benchmark}}.benchmark.tsv"
    wildcard_constraints:
        benchmark="|".join([*STUDY.benchmarks, TRAINED]),
        run=f"base|sft-[^/]+|{WORDED}[^/]+",
    conda:
        ENVIRONMENT
    params:
        code=code("evaluate_model"),
        asked=by(FLAGS.extent, "benchmark"),
        sampling=by(FLAGS.evaluate, "model"),
        words=by(FLAGS.word_rule, "run"),
        sampler=by(FLAGS.sampler, "model"),
    shell:
        "python -m selfdistill evaluate-model --problems {input.problems} --model {input.model} "
        "{params.asked} {params.sampling} {params.words} --benchmark {wildcards.benchmark} --run {wildcards.run} {params.sampler} "
        "--workers {threads} --out {output} 2>&1 | tee {log}"


rule check_model:
    """A look at a base model's first evaluation. Nothing waits for it: where a job is to be made again, Snakemake forgets
    those behind a pending input that is `ancient`."""
    input:
        traces=by(first_evaluation, "model"),
        problems=by(first_problems, "model"),
    output:
        STUDY.checked(MODEL),
    log:
        f"{LOGS}/check_model/{{model}}.log",
    benchmark:
        f"{LOGS}/check_model/{{model}}.benchmark.tsv"
    priority: 1  # before any training that is ready
    conda:
        ENVIRONMENT
    params:
        code=code("check_model"),
        longest=by(FLAGS.longest_evaluated, "model"),
        go_on=FLAGS.go_on(),
    shell:
        "python -m selfdistill check-model --traces {input.traces} --problems {input.problems} {params.longest} "
        "{params.go_on} --out {output} 2>&1 | tee {log}"
