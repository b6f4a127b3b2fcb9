"""The claims ledger: every empirical statement of the paper, with a verdict and an interval.

Reads config/claims.yaml, the traces of Section 3, all evaluations and all rollouts; writes claims/. Seconds at either scale.
"""


rule make_ledger:
    """Test each statement on this study's responses."""
    input:
        claims="config/claims.yaml",
        guidance=[path for path in SECTION_3 if "unselected" not in path],
        sft=SECTION_4,
        runs=rules.list_runs.output,
        rollouts=ROLLOUTS,
        evaluations=rules.make_curves.input.evaluations,
        bases=rules.make_curves.input.bases,
    output:
        f"{RESULTS}/claims/ledger.parquet",
    log:
        f"{LOGS}/make_ledger.log",
    benchmark:
        f"{LOGS}/make_ledger.benchmark.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code("make_ledger"),
        flags=flags(CONFIG.statistics),
        window=flags(CONFIG.onpolicy, "window"),
        roles=claim_roles(),
        families=model_names(family),
        thinking=model_names(thinking),
    shell:
        "python -m selfdistill make-ledger --claims {input.claims} --guidance {input.guidance} --sft {input.sft} "
        "--runs {input.runs} --rollouts {input.rollouts} --evaluations {input.evaluations} --bases {input.bases} "
        "--roles {params.roles} --families {params.families} --thinking {params.thinking} {params.window} {params.flags} "
        "--out {output} 2>&1 | tee {log}"


rule record_config:
    """The configuration that the results were made with."""
    output:
        f"{RESULTS}/config.yaml",
    log:
        f"{LOGS}/record_config.log",
    benchmark:
        f"{LOGS}/record_config.benchmark.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code("record_config"),
        values=config_values(),
    shell:
        "python -m selfdistill record-config --values {params.values} --out {output} 2>&1 | tee {log}"


rule render_ledger:
    """The ledger as a page, which is the front page of the report."""
    input:
        rules.make_ledger.output,
    output:
        markdown=f"{RESULTS}/claims/ledger.md",
        html=report(
            f"{RESULTS}/claims/ledger.html",
            caption="../report/ledger.rst",
            category="Claims",
            labels={"figure": "claims ledger", "format": "html"},
        ),
    log:
        f"{LOGS}/render_ledger.log",
    benchmark:
        f"{LOGS}/render_ledger.benchmark.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code("render_ledger"),
        study=CONFIG.study,
    shell:
        "python -m selfdistill render-ledger --ledger {input} --study {params.study} "
        "--out-markdown {output.markdown} --out-html {output.html} 2>&1 | tee {log}"
