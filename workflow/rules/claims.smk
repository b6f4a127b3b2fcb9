"""The claims ledger: every empirical statement of the paper, with a verdict and an interval; and the reading room.

Reads config/claims.yaml and all traces; writes claims/ and reading_room/. Seconds at either scale.
"""

# Everything that a model said.
ALL_TRACES = sorted(
    {
        *rules.make_table_1.input.selection,
        *SECTION_3,
        *expand(
            f"{RESULTS}/traces/{{model}}/sft_{{setting}}.parquet",
            model=CONFIG.sft.models,
            setting=["unguided", "solution"],
        ),
        *SECTION_4,
        *ROLLOUTS,
        *rules.make_curves.input.evaluations,
        *rules.make_curves.input.bases,
    }
)


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
            labels={"shows": "claims ledger", "as": "page", "claims": "all"},
        ),
        front=f"{RESULTS}/claims/front.html",
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
        "--out-markdown {output.markdown} --out-html {output.html} --out-front {output.front} 2>&1 | tee {log}"


rule build_reading_room:
    """A page to read the responses behind every number, side by side."""
    input:
        traces=ALL_TRACES,
        problem_sets=expand(
            f"{RESULTS}/problems/{{problem_set}}.parquet",
            problem_set=CONFIG.problem_sets,
        ),
        runs=rules.list_runs.output,
        page="workflow/reading_room/page.html",
        style="workflow/reading_room/style.css",
        script="workflow/reading_room/script.js",
    output:
        page=f"{RESULTS}/reading_room/index.html",
        data=directory(f"{RESULTS}/reading_room/data"),
    log:
        f"{LOGS}/build_reading_room.log",
    benchmark:
        f"{LOGS}/build_reading_room.benchmark.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code("build_reading_room"),
        study=CONFIG.study,
        limits=flags(CONFIG.reading_room),
    shell:
        "python -m selfdistill build-reading-room --traces {input.traces} --problem-sets {input.problem_sets} "
        "--runs {input.runs} --page {input.page} --style {input.style} --script {input.script} {params.limits} "
        "--study {params.study} --out {output.page} --out-data {output.data} 2>&1 | tee {log}"
