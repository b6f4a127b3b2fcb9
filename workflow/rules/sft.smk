"""Section 4: data sets of unguided and solution-guided responses, and fine-tuning on them.

Reads problems/{model}/borderline.parquet and the traces; writes datasets/{model}/, models/{model}/sft-*/ and
training/{model}/. Microcosm: 20 s per run. Paper: full fine-tuning of 7 B parameters, hyperparameters not published.
"""


rule collect_correct:
    """More samples of the selected problems until each has its share of correct responses."""
    input:
        problems=rules.select_borderline.output.problems,
        model=rules.select_borderline.input.model,
        contexts=context_table,
    output:
        f"{RESULTS}/traces/{{model}}/sft_{{setting}}.parquet",
    log:
        f"{LOGS}/collect_correct/{{model}}/{{setting}}.log",
    benchmark:
        f"{LOGS}/collect_correct/{{model}}/{{setting}}.benchmark.tsv"
    wildcard_constraints:
        setting="unguided|solution",
    conda:
        ENVIRONMENT
    params:
        code=code("collect_correct"),
        flags=flags(CONFIG.sft, "per_problem", "max_draws"),
        sampling=flags(CONFIG.sampling.collect),
        draw=draw_flags,
    shell:
        "python -m selfdistill collect-correct --setting {wildcards.setting} --contexts {input.contexts} "
        "--problems {input.problems} --model {input.model} {params.flags} {params.sampling} "
        "{params.draw} --workers {threads} --out {output} 2>&1 | tee {log}"


rule build_sft_sets:
    """D_ug and D_sg over the same problems, and an unfiltered unguided set of the same size."""
    input:
        problems=rules.select_borderline.output.problems,
        unguided=f"{RESULTS}/traces/{{model}}/sft_unguided.parquet",
        guided=f"{RESULTS}/traces/{{model}}/sft_solution.parquet",
    output:
        unguided=f"{RESULTS}/datasets/{{model}}/unguided.parquet",
        guided=f"{RESULTS}/datasets/{{model}}/guided.parquet",
        unfiltered=f"{RESULTS}/datasets/{{model}}/unguided_unfiltered.parquet",
        card=f"{RESULTS}/datasets/{{model}}/README.md",
    log:
        f"{LOGS}/build_sft_sets/{{model}}.log",
    benchmark:
        f"{LOGS}/build_sft_sets/{{model}}.benchmark.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code("build_sft_sets"),
        flags=flags(CONFIG.sft, "responses", "at_least", "per_problem"),
        instruction=instruction_flag,
        names=name_flags,
    shell:
        "python -m selfdistill build-sft-sets --problems {input.problems} --unguided {input.unguided} "
        "--guided {input.guided} {params.flags} {params.instruction} {params.names} "
        "--out-unguided {output.unguided} --out-guided {output.guided} --out-unfiltered {output.unfiltered} "
        "--out-card {output.card} 2>&1 | tee {log}"


rule train_sft:
    """Fine-tune on one data set at one rate of the grid; loss on the response tokens only."""
    input:
        examples=sft_set,
        model=f"{RESULTS}/models/{{model}}/base/manifest.json",
    output:
        manifest=f"{RESULTS}/models/{{model}}/{{run}}/manifest.json",
        steps=f"{RESULTS}/training/{{model}}/{{run}}.parquet",
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
    params:
        code=code("train_sft"),
        rate=sft_rate,
        flags=flags(CONFIG.sft, *SFT_SETTINGS),
        train=train_flags,
    shell:
        "python -m selfdistill.launch {resources.accelerate} train-sft --examples {input.examples} --model {input.model} "
        "--model-name {wildcards.model} --run {wildcards.run} "
        "--learning-rate {params.rate} {params.flags} {params.train} "
        "--out {output.manifest} --out-steps {output.steps} 2>&1 | tee {log}"
