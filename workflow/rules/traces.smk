"""Section 3: select problems of intermediate difficulty, then sample them under four levels of guidance.

Reads problems/ and the base model; writes traces/{model}/*.parquet and problems/{model}/borderline.parquet, and where it
is asked for information/{model}/*.parquet and alignment/{model}/unguided.parquet. Microcosm: under a minute. Paper: 8 x
32,768 tokens per problem on one GPU node.
"""


rule select_borderline:
    """8 rollouts per problem in file order; keep those solved in 0.125-0.5 of them, stop at 100."""
    input:
        problems=STUDY.problems(CONFIG.selection.problem_set),
        model=STUDY.manifest(MODEL),
    output:
        problems=STUDY.borderline(MODEL),
        traces=STUDY.traces(MODEL, "selection"),
    log:
        f"{LOGS}/select_borderline/{{model}}.log",
    benchmark:
        f"{LOGS}/select_borderline/{{model}}.benchmark.tsv"
    conda:
        ENVIRONMENT
    threads: 2
    params:
        code=code("select_borderline"),
        flags=FLAGS.selection(),
        go_on=FLAGS.go_on(),
        sampling=FLAGS.collect(),
        sampler=by(FLAGS.sampler, "model"),
    shell:
        "python -m selfdistill select-borderline --problems {input.problems} --model {input.model} {params.flags} "
        "{params.go_on} {params.sampling} {params.sampler} --workers {threads} "
        "--out-problems {output.problems} --out-traces {output.traces} 2>&1 | tee {log}"


rule sample_guidance:
    """One of the settings (1)-(4). Setting (1) is a fresh draw, not the one that selected the problems."""
    input:
        problems=rules.select_borderline.output.problems,
        model=rules.select_borderline.input.model,
        contexts=by(STUDY.contexts, "model", "setting"),
    output:
        STUDY.traces(MODEL, "{setting}"),
    log:
        f"{LOGS}/sample_guidance/{{model}}/{{setting}}.log",
    benchmark:
        f"{LOGS}/sample_guidance/{{model}}/{{setting}}.benchmark.tsv"
    wildcard_constraints:
        setting="|".join(STUDY.guidance),
    conda:
        ENVIRONMENT
    params:
        code=by(partial(guidance_code, "sample_guidance"), "setting"),
        guidance=by(FLAGS.guidance, "setting"),
        samples=CONFIG.guidance.samples,
        sampling=FLAGS.collect(),
        sampler=by(FLAGS.sampler, "model"),
    shell:
        "python -m selfdistill sample-guidance --setting {wildcards.setting} {params.guidance} --contexts {input.contexts} "
        "--problems {input.problems} --model {input.model} --samples {params.samples} {params.sampling} "
        "{params.sampler} --workers {threads} --out {output} 2>&1 | tee {log}"


rule measure_information:
    """What the context of a setting tells of its responses."""
    input:
        traces=STUDY.traces(MODEL, "{setting}"),
        problems=rules.select_borderline.output.problems,
        model=rules.select_borderline.input.model,
        contexts=by(STUDY.contexts, "model", "setting"),
    output:
        STUDY.information(MODEL, "{setting}"),
    log:
        f"{LOGS}/measure_information/{{model}}/{{setting}}.log",
    benchmark:
        f"{LOGS}/measure_information/{{model}}/{{setting}}.benchmark.tsv"
    wildcard_constraints:
        setting="|".join(STUDY.guidance),
    conda:
        ENVIRONMENT
    params:
        code=by(partial(guidance_code, "measure_information"), "setting"),
        guidance=by(FLAGS.guidance, "setting"),
        sampling=FLAGS.collect(),
        sampler=by(FLAGS.sampler, "model"),
    shell:
        "python -m selfdistill measure-information --traces {input.traces} {params.guidance} --contexts {input.contexts} "
        "--problems {input.problems} --model {input.model} {params.sampling} {params.sampler} "
        "--out {output} 2>&1 | tee {log}"


rule measure_alignment:
    """What a step along the gradients of GRPO and SDPO does to success, at a base model."""
    input:
        traces=STUDY.traces(MODEL, "unguided"),
        problems=rules.select_borderline.output.problems,
        selection=rules.select_borderline.output.traces,
        selected_from=rules.select_borderline.input.problems,
        evaluations=[
            STUDY.evaluation(MODEL, "base", name)
            for name in CONFIG.evaluation.benchmarks
        ],
        benchmarks=[STUDY.problems(name) for name in CONFIG.evaluation.benchmarks],
        model=rules.select_borderline.input.model,
    output:
        STUDY.alignment(MODEL),
    log:
        f"{LOGS}/measure_alignment/{{model}}.log",
    benchmark:
        f"{LOGS}/measure_alignment/{{model}}.benchmark.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code("measure_alignment"),
        sdpo=FLAGS.sdpo(),
        sampling=FLAGS.collect(),
        sampler=by(FLAGS.sampler, "model"),
    shell:
        "python -m selfdistill measure-alignment --traces {input.traces} --problems {input.problems} "
        "--selection {input.selection} --selected-from {input.selected_from} --evaluations {input.evaluations} "
        "--benchmarks {input.benchmarks} --model {input.model} {params.sdpo} {params.sampling} {params.sampler} "
        "--out {output} 2>&1 | tee {log}"
