"""Sections 5 and 6: on-policy training by GRPO and SDPO, and the evaluation of its checkpoints.

Reads problems/ and the base model; writes training/{model}/{run}.parquet (metrics of every step), traces/{model}/rollouts/
(every rollout) and evaluations/{model}/{run}/along_training.parquet. Microcosm: under a minute per run. Paper: one node with 4 GPUs per run.
"""


rule train_onpolicy:
    """One run: a row of the configuration's list. Continues from its last checkpoint after a kill."""
    input:
        problems=by(run_problems, "model", "run"),
        model=STUDY.manifest(MODEL),
    output:
        checkpoints=checkpoints(STUDY.checkpoints(MODEL, RUN)),
        steps=STUDY.training(MODEL, RUN),
        seconds=STUDY.training(MODEL, "{run}.seconds"),
        rollouts=STUDY.rollouts(MODEL, RUN),
    log:
        f"{LOGS}/train_onpolicy/{{model}}/{{run}}.log",
    benchmark:
        f"{LOGS}/train_onpolicy/{{model}}/{{run}}.benchmark.tsv"
    wildcard_constraints:
        run=TRAINED_RUN,
    conda:
        ENVIRONMENT
    resources:
        accelerate="none",
        micro_batch_size=CONFIG.onpolicy.micro_batch_size,
        micro_batch_tokens=CONFIG.onpolicy.micro_batch_tokens,
        vllm_memory=CONFIG.onpolicy.vllm_memory,
    params:
        code=by(run_code, "model", "run"),
        processes=processes("train_onpolicy"),
        run=by(FLAGS.onpolicy_run, "model", "run"),
        settings=by(FLAGS.onpolicy_settings, "model", "run"),
        mirrors=FLAGS.mirrors(),
        train=by(FLAGS.onpolicy_training, "model", "run"),
    shell:
        "python -m selfdistill.launch {resources.accelerate} train-onpolicy "
        "--problems {input.problems} --model {input.model} "
        "{params.run} {params.settings} --settings.micro-batch-size={resources.micro_batch_size} "
        "--settings.micro-batch-tokens={resources.micro_batch_tokens} --settings.vllm-memory={resources.vllm_memory} "
        "{params.mirrors} {params.train} "
        "--out-models {output.checkpoints} --out-steps {output.steps} --out-seconds {output.seconds} "
        "--out-rollouts {output.rollouts} 2>&1 | tee {log}"


rule adopt_checkpoint:
    """A published model in place of the checkpoints of a run that was trained elsewhere."""
    input:
        model=by(released_manifest, "model", "run"),
    output:
        checkpoints=directory(STUDY.checkpoints(MODEL, RUN)),
    log:
        f"{LOGS}/adopt_checkpoint/{{model}}/{{run}}.log",
    benchmark:
        f"{LOGS}/adopt_checkpoint/{{model}}/{{run}}.benchmark.tsv"
    wildcard_constraints:
        run=RELEASED_RUN,
    conda:
        ENVIRONMENT
    params:
        code=code("share_model"),
        step=by(last_step, "model", "run"),
    shell:
        "python -m selfdistill share-model --model {input.model} --out {output.checkpoints}/step-{params.step}/manifest.json "
        "2>&1 | tee {log}"


rule evaluate_checkpoints:
    """avg@k of a run's checkpoints on benchmarks of unseen types, and perhaps on the problems that it trains on."""
    input:
        benchmarks=by(run_benchmarks, "model", "run"),
        trained_on=by(run_own_problems, "model", "run"),
        checkpoints=STUDY.checkpoints(MODEL, RUN),
    output:
        STUDY.along_training(MODEL, RUN),
    log:
        f"{LOGS}/evaluate_checkpoints/{{model}}/{{run}}.log",
    benchmark:
        f"{LOGS}/evaluate_checkpoints/{{model}}/{{run}}.benchmark.tsv"
    wildcard_constraints:
        run=ONPOLICY_RUN,
    conda:
        ENVIRONMENT
    params:
        code=code("evaluate_checkpoints"),
        asked=by(FLAGS.along_training, "model", "run"),
        trained=lambda wildcards, input: given_as("trained-on", input.trained_on),
        sampling=by(FLAGS.evaluate, "model"),
        sampler=by(FLAGS.sampler, "model"),
    shell:
        "python -m selfdistill evaluate-checkpoints --benchmarks {input.benchmarks} --model {input.checkpoints} "
        "{params.asked} {params.trained} {params.sampling} "
        "--run {wildcards.run} {params.sampler} --workers {threads} --out {output} 2>&1 | tee {log}"


rule list_runs:
    """All on-policy runs as a table, one row each."""
    input:
        problems=[STUDY.problems(name) for name in CONFIG.onpolicy.benchmarks],
    output:
        STUDY.runs_table,
    log:
        f"{LOGS}/list_runs.log",
    benchmark:
        f"{LOGS}/list_runs.benchmark.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code("list_runs"),
        rows=by(FLAGS.run_rows),
    shell:
        "python -m selfdistill list-runs {params.rows} --problem-sets {input.problems} --out {output} 2>&1 | tee {log}"
