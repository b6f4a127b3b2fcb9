"""Section 4: data sets of unguided and solution-guided responses, and fine-tuning on them.

Reads problems/{model}/borderline.parquet and the traces; writes datasets/{model}/, models/{model}/sft-*/ and
training/{model}/. Microcosm: 20 s per run. Paper: full fine-tuning of 7 B parameters, hyperparameters not published.
"""


rule collect_correct:
    """More samples of the selected problems until each has its share of correct responses."""
    input:
        problems=rules.select_borderline.output.problems,
        model=rules.select_borderline.input.model,
        contexts=by(STUDY.contexts, "model", "setting"),
    output:
        STUDY.collected(MODEL, "{setting}"),
    log:
        f"{LOGS}/collect_correct/{{model}}/{{setting}}.log",
    benchmark:
        f"{LOGS}/collect_correct/{{model}}/{{setting}}.benchmark.tsv"
    wildcard_constraints:
        setting="|".join(COLLECTED),
    conda:
        ENVIRONMENT
    params:
        code=by(partial(guidance_code, "collect_correct"), "setting"),
        guidance=by(FLAGS.guidance, "setting"),
        flags=FLAGS.collection(),
        sampling=FLAGS.collect(),
        sampler=by(FLAGS.sampler, "model"),
    shell:
        "python -m selfdistill collect-correct --setting {wildcards.setting} {params.guidance} --contexts {input.contexts} "
        "--problems {input.problems} --model {input.model} {params.flags} {params.sampling} "
        "{params.sampler} --workers {threads} --out {output} 2>&1 | tee {log}"


rule build_sft_sets:
    """D_ug and D_sg over the same problems, and an unfiltered unguided set of the same size."""
    input:
        problems=rules.select_borderline.output.problems,
        unguided=STUDY.collected(MODEL, "unguided"),
        guided=STUDY.collected(MODEL, "solution"),
    output:
        unguided=STUDY.dataset(MODEL, "unguided"),
        guided=STUDY.dataset(MODEL, "guided"),
        unfiltered=STUDY.dataset(MODEL, "unguided_unfiltered"),
        card=f"{RESULTS}/datasets/{{model}}/README.md",
    log:
        f"{LOGS}/build_sft_sets/{{model}}.log",
    benchmark:
        f"{LOGS}/build_sft_sets/{{model}}.benchmark.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code("build_sft_sets"),
        flags=FLAGS.set_sizes(),
        instruction=by(FLAGS.instruction, "model"),
        names=by(FLAGS.names, "model"),
    shell:
        "python -m selfdistill build-sft-sets --problems {input.problems} --unguided {input.unguided} "
        "--guided {input.guided} {params.flags} {params.instruction} {params.names} "
        "--out-unguided {output.unguided} --out-guided {output.guided} --out-unfiltered {output.unfiltered} "
        "--out-card {output.card} 2>&1 | tee {log}"


rule build_edited_set:
    """D_ug or D_sg with one thing changed."""
    input:
        unguided=rules.build_sft_sets.output.unguided,
        guided=rules.build_sft_sets.output.guided,
    output:
        STUDY.dataset(MODEL, "{edited}"),
    log:
        f"{LOGS}/build_edited_set/{{model}}/{{edited}}.log",
    benchmark:
        f"{LOGS}/build_edited_set/{{model}}/{{edited}}.benchmark.tsv"
    wildcard_constraints:
        edited="|".join(EDITED_SETS),
    conda:
        ENVIRONMENT
    params:
        code=code("build_edited_set"),
        flags=FLAGS.edited_set(),
    shell:
        "python -m selfdistill build-edited-set --unguided {input.unguided} --guided {input.guided} "
        "--name {wildcards.edited} {params.flags} --out {output} 2>&1 | tee {log}"


rule train_sft:
    """Fine-tune on one data set at one rate of the grid; loss on the response tokens only."""
    input:
        examples=by(sft_dataset, "model", "run"),
        model=STUDY.manifest(MODEL),
    output:
        manifest=STUDY.manifest(MODEL, RUN),
        steps=STUDY.training(MODEL, RUN),
    log:
        f"{LOGS}/train_sft/{{model}}/{{run}}.log",
    benchmark:
        f"{LOGS}/train_sft/{{model}}/{{run}}.benchmark.tsv"
    wildcard_constraints:
        run="sft-[^/]+",
    conda:
        ENVIRONMENT
    resources:
        accelerate="none",
        micro_batch_size=CONFIG.sft.micro_batch_size,
    params:
        code=sft_code(),
        processes=processes("train_sft"),
        run=by(FLAGS.sft_run, "run"),
        flags=FLAGS.sft_settings(),
        train=by(FLAGS.sft_training, "model", "run"),
    shell:
        "python -m selfdistill.launch {resources.accelerate} train-sft --examples {input.examples} --model {input.model} "
        "{params.run} {params.flags} --settings.micro-batch-size={resources.micro_batch_size} {params.train} "
        "--out {output.manifest} --out-steps {output.steps} 2>&1 | tee {log}"


rule list_sft_runs:
    """All fine-tuning runs as a table, one row each."""
    output:
        STUDY.sft_runs_table,
    log:
        f"{LOGS}/list_sft_runs.log",
    benchmark:
        f"{LOGS}/list_sft_runs.benchmark.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code("list_sft_runs"),
        rows=by(FLAGS.sft_rows),
    shell:
        "python -m selfdistill list-sft-runs {params.rows} --out {output} 2>&1 | tee {log}"
