"""The claims ledger: the empirical statements of the paper, each with a verdict and an interval; and the reading room.

Reads config/claims.yaml and all traces; writes claims/ and reading_room/. Seconds at either scale.
"""

STATEMENTS_DIGEST = sha256_meaning("config/claims.yaml")


rule make_ledger:
    """Test each statement on this study's responses."""
    input:
        claims=ancient("config/claims.yaml"),  # what it says is a parameter: its time and comments rerun nothing
        guidance=STUDY.guidance_traces(STUDY.tested_settings),
        information=STUDY.all_information(STUDY.tested_settings),
        alignment=STUDY.all_alignments,
        selection=STUDY.guidance_traces(["selection"]),
        sets=[STUDY.dataset(m, data) for m in CONFIG.sft.models for data in SFT_SETS],
        sft=[*STUDY.sft_evaluations(), *STUDY.worded_evaluations()],
        sft_runs=STUDY.sft_runs_table,
        runs=STUDY.runs_table,
        rollouts=STUDY.all_rollouts(),
        evaluations=STUDY.run_evaluations(),
        bases=STUDY.base_evaluations(),
    output:
        ledger=STUDY.ledger(),
        effects=STUDY.effects,
    log:
        f"{LOGS}/make_ledger.log",
    benchmark:
        f"{LOGS}/make_ledger.benchmark.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code("make_ledger"),
        statements=STATEMENTS_DIGEST,
        confidence=FLAGS.confidence(),
        window=FLAGS.window(),
        rollouts=FLAGS.rollouts_per_prompt(),
        roles=by(FLAGS.roles),
        models=by(FLAGS.models),
    shell:
        "python -m selfdistill make-ledger --claims {input.claims} --guidance {input.guidance} --selection {input.selection} "
        "--information {input.information} --alignment {input.alignment} "
        "--sets {input.sets} --sft {input.sft} --sft-runs {input.sft_runs} --runs {input.runs} --rollouts {input.rollouts} "
        "--evaluations {input.evaluations} --bases {input.bases} {params.roles} {params.models} {params.window} "
        "{params.rollouts} {params.confidence} --out {output.ledger} --out-effects {output.effects} 2>&1 | tee {log}"


rule export_claims:
    """The ledger for other programs, with what its runs cost."""
    input:
        ledger=rules.make_ledger.output.ledger,
        effects=rules.make_ledger.output.effects,
        claims=ancient("config/claims.yaml"),
    output:
        f"{RESULTS}/claims/claims.json",
    log:
        f"{LOGS}/export_claims.log",
    benchmark:
        f"{LOGS}/export_claims.benchmark.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code("export_claims"),
        statements=STATEMENTS_DIGEST,
        scale=FLAGS.scale(),
        note=FLAGS.note(),
        study=CONFIG.study,
    shell:
        "python -m selfdistill export-claims --ledger {input.ledger} --effects {input.effects} --claims {input.claims} "
        f"--results {RESULTS} --logs {LOGS} "
        "--study {params.study} {params.scale} {params.note} --out {output} 2>&1 | tee {log}"


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
        values=by(FLAGS.config),
    shell:
        "python -m selfdistill record-config {params.values} --out {output} 2>&1 | tee {log}"


rule render_ledger:
    """The ledger as a page, which is the front page of the report."""
    input:
        ledger=rules.make_ledger.output.ledger,
        claims=ancient("config/claims.yaml"),
    output:
        markdown=STUDY.ledger("md"),
        html=report(
            STUDY.ledger("html"),
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
        statements=STATEMENTS_DIGEST,
        scale=FLAGS.scale(),
        note=FLAGS.note(),
        study=CONFIG.study,
    shell:
        "python -m selfdistill render-ledger --ledger {input.ledger} --claims {input.claims} --study {params.study} {params.scale} {params.note} "
        "--out-markdown {output.markdown} --out-html {output.html} --out-front {output.front} 2>&1 | tee {log}"


rule build_reading_room:
    """A page to read the responses behind every number, side by side."""
    input:
        traces=STUDY.all_traces,
        problem_sets=[STUDY.problems(name) for name in STUDY.used_problem_sets],
        runs=STUDY.runs_table,
        sft_runs=STUDY.sft_runs_table,
        page="workflow/reading_room/page.html",
        style="workflow/reading_room/style.css",
        script="workflow/reading_room/script.js",
        examples=[STUDY.figure("fig_2", "csv")] if "fig_2" in STUDY.figures else [],
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
        limits=FLAGS.limits(),
        examples=lambda wildcards, input: given_as("examples", input.examples),
    shell:
        "python -m selfdistill build-reading-room --traces {input.traces} --problem-sets {input.problem_sets} "
        "--runs {input.runs} --sft-runs {input.sft_runs} --page {input.page} --style {input.style} --script {input.script} {params.limits} "
        "{params.examples} --study {params.study} --out {output.page} --out-data {output.data} 2>&1 | tee {log}"
