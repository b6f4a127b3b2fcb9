"""Every table; numbers carry their interval and their origin.

Reads traces, evaluations and rollouts; writes tables/, curves.parquet and curves/. Seconds at either scale.
"""


rule make_table_1:
    """Table 1, the breakdown by marker (A.1.1) and the histogram of solve rates."""
    input:
        selection=STUDY.guidance_traces(["selection"]),
        traces=STUDY.guidance_traces(),
    output:
        table=STUDY.table("table_1"),
        breakdown=STUDY.table("table_a1"),
        selection=STUDY.table("selection"),
    log:
        f"{LOGS}/make_table_1.log",
    benchmark:
        f"{LOGS}/make_table_1.benchmark.tsv"
    group:
        "section_3"
    conda:
        ENVIRONMENT
    params:
        code=code("make_table_1"),
        flags=FLAGS.confidence(),
        models=by(FLAGS.models),
    shell:
        "python -m selfdistill make-table-1 --selection {input.selection} --traces {input.traces} {params.models} "
        "{params.flags} --out {output.table} --out-a1 {output.breakdown} --out-selection {output.selection} 2>&1 | tee {log}"


rule make_table_2:
    """Table 2: avg@k of the base model and of every fine-tuned one."""
    input:
        STUDY.sft_evaluations(SFT_SETS),
    output:
        STUDY.table("table_2"),
    log:
        f"{LOGS}/make_table_2.log",
    benchmark:
        f"{LOGS}/make_table_2.benchmark.tsv"
    group:
        "section_4"
    conda:
        ENVIRONMENT
    params:
        code=code("make_table_2"),
        flags=FLAGS.confidence(),
        models=by(FLAGS.models),
    shell:
        "python -m selfdistill make-table-2 --traces {input} {params.models} {params.flags} --out {output} 2>&1 "
        "| tee {log}"


rule make_table_edited:
    """The same of models that were fine-tuned on edited data sets."""
    input:
        STUDY.sft_evaluations(CONFIG.sft.edited),
    output:
        STUDY.table("table_edited"),
    log:
        f"{LOGS}/make_table_edited.log",
    benchmark:
        f"{LOGS}/make_table_edited.benchmark.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code("make_table_edited"),
        flags=FLAGS.confidence(),
        models=by(FLAGS.models),
    shell:
        "python -m selfdistill make-table-edited --traces {input} {params.models} {params.flags} --out {output} 2>&1 "
        "| tee {log}"


rule make_table_words:
    """The same of base models that are kept from words, or held to them."""
    input:
        STUDY.worded_evaluations(base=True),
    output:
        STUDY.table("table_words"),
    log:
        f"{LOGS}/make_table_words.log",
    benchmark:
        f"{LOGS}/make_table_words.benchmark.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code("make_table_words"),
        flags=FLAGS.confidence(),
        models=by(FLAGS.models),
    shell:
        "python -m selfdistill make-table-words --traces {input} {params.models} {params.flags} --out {output} 2>&1 "
        "| tee {log}"


rule make_table_information:
    """What the context of each setting tells of its responses, beside what these are like."""
    input:
        information=STUDY.all_information(),
        traces=STUDY.guidance_traces(),
    output:
        STUDY.table("table_information"),
    log:
        f"{LOGS}/make_table_information.log",
    benchmark:
        f"{LOGS}/make_table_information.benchmark.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code("make_table_information"),
        flags=FLAGS.confidence(),
        models=by(FLAGS.models),
    shell:
        "python -m selfdistill make-table-information --information {input.information} --traces {input.traces} "
        "{params.models} {params.flags} --out {output} 2>&1 | tee {log}"


rule make_table_alignment:
    """What a step along the gradients of GRPO and SDPO does to success, and which tokens do it."""
    input:
        STUDY.all_alignments,
    output:
        STUDY.table("table_alignment"),
    log:
        f"{LOGS}/make_table_alignment.log",
    benchmark:
        f"{LOGS}/make_table_alignment.benchmark.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code("make_table_alignment"),
        flags=FLAGS.confidence(),
        study=CONFIG.study,
        models=by(FLAGS.models),
    shell:
        "python -m selfdistill make-table-alignment --alignment {input} --study {params.study} {params.models} "
        "{params.flags} --out {output} 2>&1 | tee {log}"


rule make_curves:
    """The curves of all on-policy runs with their bands, the final table of runs, and what GRPO's rate is chosen by."""
    input:
        runs=STUDY.runs_table,
        rollouts=STUDY.all_rollouts(),
        evaluations=STUDY.run_evaluations(),
        bases=STUDY.base_evaluations(),
    output:
        curves=STUDY.curves,
        final=STUDY.table("table_onpolicy"),
        rates=STUDY.table("table_rates"),
    log:
        f"{LOGS}/make_curves.log",
    benchmark:
        f"{LOGS}/make_curves.benchmark.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code("make_curves"),
        flags=FLAGS.confidence(),
        window=FLAGS.window(),
    shell:
        "python -m selfdistill make-curves --runs {input.runs} --rollouts {input.rollouts} "
        "--evaluations {input.evaluations} --bases {input.bases} {params.window} {params.flags} "
        "--out {output.curves} --out-final {output.final} --out-rates {output.rates} 2>&1 | tee {log}"


rule make_figure_curves:
    """The curves of the runs that one figure shows: it needs no others."""
    input:
        rollouts=by(STUDY.all_rollouts, "figure"),
        evaluations=by(STUDY.run_evaluations, "figure"),
        bases=by(STUDY.base_evaluations, "figure"),
        problem_sets=by(STUDY.trained_sets, "figure"),
    output:
        STUDY.figure_curves("{figure}"),
    log:
        f"{LOGS}/make_figure_curves/{{figure}}.log",
    benchmark:
        f"{LOGS}/make_figure_curves/{{figure}}.benchmark.tsv"
    wildcard_constraints:
        figure="|".join(CONFIG.figures.views) or "none",
    group:
        "curves"
    conda:
        ENVIRONMENT
    params:
        code=code("make_figure_curves"),
        rows=by(FLAGS.shown_rows, "figure"),
        flags=FLAGS.confidence(),
        window=FLAGS.window(),
    shell:
        "python -m selfdistill make-figure-curves {params.rows} --problem-sets {input.problem_sets} "
        "--rollouts {input.rollouts} --evaluations {input.evaluations} --bases {input.bases} {params.window} "
        "{params.flags} --out {output} 2>&1 | tee {log}"


rule make_table_released:
    """Where published checkpoints end, beside their base models and what the paper says of them."""
    input:
        curves=rules.make_curves.output.curves,
        runs=STUDY.runs_table,
    output:
        STUDY.table("table_released"),
    log:
        f"{LOGS}/make_table_released.log",
    benchmark:
        f"{LOGS}/make_table_released.benchmark.tsv"
    group:
        "sections_5_and_6"
    conda:
        ENVIRONMENT
    params:
        code=code("make_table_released"),
    shell:
        "python -m selfdistill make-table-released --curves {input.curves} --runs {input.runs} --out {output} 2>&1 "
        "| tee {log}"


rule make_table_3:
    """Table 3: coverage of the training sets."""
    input:
        runs=STUDY.runs_table,
        rollouts=STUDY.all_rollouts(),
        problem_sets=rules.list_runs.input.problems,
        benchmarks=[STUDY.problems(name) for name in STUDY.benchmarks],
    output:
        STUDY.table("table_3"),
    log:
        f"{LOGS}/make_table_3.log",
    benchmark:
        f"{LOGS}/make_table_3.benchmark.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code("make_table_3"),
        group=CONFIG.onpolicy.rollouts,
    shell:
        "python -m selfdistill make-table-3 --runs {input.runs} --rollouts {input.rollouts} "
        "--problem-sets {input.problem_sets} --benchmarks {input.benchmarks} --rollouts-per-prompt {params.group} "
        "--out {output} 2>&1 | tee {log}"


rule render_table:
    """A table as CSV, Markdown and LaTeX."""
    input:
        table=STUDY.table("{table}"),
        runs=STUDY.sft_runs_table,
    output:
        csv=report(
            STUDY.table("{table}", "csv"),
            caption="../report/tables.rst",
            category=table_section,
            labels=table_labels,
        ),
        markdown=STUDY.table("{table}", "md"),
        latex=STUDY.table("{table}", "tex"),
    log:
        f"{LOGS}/render_table/{{table}}.log",
    benchmark:
        f"{LOGS}/render_table/{{table}}.benchmark.tsv"
    wildcard_constraints:
        table="|".join(STUDY.tables),
    conda:
        ENVIRONMENT
    params:
        code=code("render_table"),
    shell:
        "python -m selfdistill render-table --table {input.table} --sft-runs {input.runs} "
        "--out-csv {output.csv} --out-markdown {output.markdown} --out-latex {output.latex} 2>&1 | tee {log}"
