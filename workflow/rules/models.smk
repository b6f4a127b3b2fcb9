"""Base models: pre-trained here (microcosm) or taken from the hub or a folder.

Writes results/{study}/models/{model}/base/manifest.json, beside it the weights of a model trained here.
Microcosm: about 3 minutes on 2 cores. Paper: seconds, since weights are fetched by the stages that load them.
"""


rule pretrain_model:
    """A tiny Qwen3-architecture model of the microcosm, from scratch."""
    output:
        manifest=STUDY.manifest(MODEL),
        steps=STUDY.training(MODEL, "base"),
    log:
        f"{LOGS}/pretrain_model/{{model}}.log",
    benchmark:
        f"{LOGS}/pretrain_model/{{model}}.benchmark.tsv"
    wildcard_constraints:
        model="|".join(STUDY.models("microcosm")) or "none",
    conda:
        ENVIRONMENT
    threads: 2
    params:
        code=code("pretrain_model"),
        flags=by(FLAGS.pretraining, "model"),
    shell:
        "python -m selfdistill pretrain-model {params.flags} --model-name {wildcards.model} --workers {threads} "
        "--out {output.manifest} --out-steps {output.steps} 2>&1 | tee {log}"


rule share_model:
    """The weights of another entry, for a model that is prompted otherwise."""
    input:
        model=by(shared_manifest, "model"),
    output:
        manifest=STUDY.manifest(MODEL),
    log:
        f"{LOGS}/share_model/{{model}}.log",
    benchmark:
        f"{LOGS}/share_model/{{model}}.benchmark.tsv"
    wildcard_constraints:
        model="|".join(STUDY.models("model")) or "none",
    conda:
        ENVIRONMENT
    params:
        code=code("share_model"),
    shell:
        "python -m selfdistill share-model --model {input.model} --out {output.manifest} 2>&1 | tee {log}"


rule register_model:
    """A published model: its repository and commit, or its folder and file hashes."""
    input:
        by(STUDY.model_files, "model"),
    output:
        manifest=STUDY.manifest(MODEL),
    log:
        f"{LOGS}/register_model/{{model}}.log",
    benchmark:
        f"{LOGS}/register_model/{{model}}.benchmark.tsv"
    wildcard_constraints:
        model="|".join(STUDY.models("hub", "folder")) or "none",
    conda:
        ENVIRONMENT
    params:
        code=code("register_model"),
        flags=by(FLAGS.model_source, "model"),
    shell:
        "python -m selfdistill register-model {params.flags} --out {output.manifest} 2>&1 | tee {log}"
