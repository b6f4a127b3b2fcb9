"""Sections 5 and 6: on-policy training by GRPO and SDPO, and the evaluation of its checkpoints.

Reads problems/ and the base model; writes training/{model}/{run}.parquet (metrics of every step), traces/{model}/rollouts/
(every rollout) and evaluations/{model}/{run}/along_training.parquet. Microcosm: under a minute per run. Paper: one node with 4 GPUs per run.
"""


rule train_onpolicy:
    """One run: a row of the configuration's list. Continues from its last checkpoint after a kill."""
    input:
        problems=run_problems,
        model=f"{RESULTS}/models/{{model}}/base/manifest.json",
    output:
        checkpoints=checkpoints(f"{RESULTS}/models/{{model}}/{{run}}"),
        steps=f"{RESULTS}/training/{{model}}/{{run}}.parquet",
        seconds=f"{RESULTS}/training/{{model}}/{{run}}.seconds.parquet",
        rollouts=f"{RESULTS}/traces/{{model}}/rollouts/{{run}}.parquet",
    log:
        f"{LOGS}/train_onpolicy/{{model}}/{{run}}.log",
    benchmark:
        f"{LOGS}/train_onpolicy/{{model}}/{{run}}.benchmark.tsv"
    wildcard_constraints:
        run="(grpo|sdpo)-[^/]+",
    conda:
        ENVIRONMENT
    resources:
        accelerate="none",
    params:
        code=code("train_onpolicy"),
        arm=arm_flags,
        flags=flags(CONFIG.onpolicy, *ONPOLICY_SETTINGS),
        mirrors=flags(CONFIG.onpolicy, "mirrors"),
        sampling=flags(CONFIG.sampling.train),
        train=onpolicy_flags,
    shell:
        "python -m selfdistill.launch {resources.accelerate} train-onpolicy --problems {input.problems} --model {input.model} --run {wildcards.run} "
        "{params.arm} {params.flags} {params.mirrors} {params.sampling} {params.train} "
        "--out-models {output.checkpoints} --out-steps {output.steps} --out-seconds {output.seconds} "
        "--out-rollouts {output.rollouts} 2>&1 | tee {log}"


rule evaluate_checkpoints:
    """avg@k of a run's checkpoints on benchmarks of unseen types."""
    input:
        benchmarks=run_benchmarks,
        checkpoints=rules.train_onpolicy.output.checkpoints,
    output:
        f"{RESULTS}/evaluations/{{model}}/{{run}}/along_training.parquet",
    log:
        f"{LOGS}/evaluate_checkpoints/{{model}}/{{run}}.log",
    benchmark:
        f"{LOGS}/evaluate_checkpoints/{{model}}/{{run}}.benchmark.tsv"
    wildcard_constraints:
        run="(grpo|sdpo)-[^/]+",
    conda:
        ENVIRONMENT
    params:
        code=code("evaluate_checkpoints"),
        samples=CONFIG.onpolicy.evaluation_samples,
        first=flags(CONFIG.onpolicy, "evaluation_problems"),
        sampling=evaluate_flags,
        draw=draw_flags,
    shell:
        "python -m selfdistill evaluate-checkpoints --benchmarks {input.benchmarks} --model {input.checkpoints} "
        "--samples {params.samples} {params.first} {params.sampling} "
        "--run {wildcards.run} {params.draw} --workers {threads} --out {output} 2>&1 | tee {log}"


rule list_runs:
    """The on-policy runs as a table, one row each."""
    input:
        problems=expand(
            f"{RESULTS}/problems/{{problem_set}}.parquet",
            problem_set=CONFIG.onpolicy.benchmarks,
        ),
    output:
        f"{RESULTS}/training/runs.parquet",
    log:
        f"{LOGS}/list_runs.log",
    benchmark:
        f"{LOGS}/list_runs.benchmark.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code("list_runs"),
        rows=run_rows(),
        study=CONFIG.study,
        families=model_names(family),
        thinking=model_names(thinking),
    shell:
        "python -m selfdistill list-runs --rows {params.rows} --study {params.study} --families {params.families} "
        "--thinking {params.thinking} --problem-sets {input.problems} --out {output} 2>&1 | tee {log}"
