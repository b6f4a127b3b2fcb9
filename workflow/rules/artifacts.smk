"""Tables and figures, each from tables only; numbers carry their interval and their origin.

Reads traces, evaluations and training metrics; writes tables/ and figures/. Seconds at either scale.
"""

EXAMPLE = STUDY.example
TABLES = expand(
    STUDY.table("{table}", "{kind}"),
    table=TABLE_SECTIONS,
    kind=["csv", "md", "tex"],
)
FIGURES = expand(
    STUDY.figure("{figure}", "{kind}"),
    figure=[
        "table_1",
        "marker_breakdown",
        "selection",
        "table_2",
        "sft_curves",
        "fig_2",
        *CONFIG.figures.views,
    ],
    kind=["png", "svg", "pdf", "csv"],
)


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
    conda:
        ENVIRONMENT
    params:
        code=code("make_table_1"),
        flags=FLAGS.bootstrap(),
    shell:
        "python -m selfdistill make-table-1 --selection {input.selection} --traces {input.traces} {params.flags} "
        "--out {output.table} --out-a1 {output.breakdown} --out-selection {output.selection} 2>&1 | tee {log}"


rule make_table_2:
    """Table 2: avg@k of the base model and of every fine-tuned one."""
    input:
        STUDY.sft_evaluations(),
    output:
        STUDY.table("table_2"),
    log:
        f"{LOGS}/make_table_2.log",
    benchmark:
        f"{LOGS}/make_table_2.benchmark.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code("make_table_2"),
        flags=FLAGS.bootstrap(),
    shell:
        "python -m selfdistill make-table-2 --traces {input} {params.flags} --out {output} 2>&1 | tee {log}"


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
        table="|".join(TABLE_SECTIONS),
    conda:
        ENVIRONMENT
    params:
        code=code("render_table"),
    shell:
        "python -m selfdistill render-table --table {input.table} --sft-runs {input.runs} "
        "--out-csv {output.csv} --out-markdown {output.markdown} --out-latex {output.latex} 2>&1 | tee {log}"


rule draw_table_1:
    """Length, markers and score under four levels of guidance."""
    input:
        table=STUDY.table("table_1"),
    output:
        *figure_files("table_1", "Section 3"),
    log:
        f"{LOGS}/draw_table_1.log",
    benchmark:
        f"{LOGS}/draw_table_1.benchmark.tsv"
    conda:
        ENVIRONMENT
    params:
        code=script_code("draw_table_1"),
        study=CONFIG.study,
    script:
        "../scripts/draw_table_1.py"


rule draw_marker_breakdown:
    """Counts of the ten markers (A.1.1)."""
    input:
        table=STUDY.table("table_a1"),
    output:
        *figure_files("marker_breakdown", "Section 3"),
    log:
        f"{LOGS}/draw_marker_breakdown.log",
    benchmark:
        f"{LOGS}/draw_marker_breakdown.benchmark.tsv"
    conda:
        ENVIRONMENT
    params:
        code=script_code("draw_marker_breakdown"),
        study=CONFIG.study,
    script:
        "../scripts/draw_marker_breakdown.py"


rule draw_selection:
    """Solve rates, and the band from which problems are selected."""
    input:
        table=STUDY.table("selection"),
    output:
        *figure_files("selection", "Section 3"),
    log:
        f"{LOGS}/draw_selection.log",
    benchmark:
        f"{LOGS}/draw_selection.benchmark.tsv"
    conda:
        ENVIRONMENT
    params:
        code=script_code("draw_selection"),
        study=CONFIG.study,
        low=CONFIG.selection.low,
        high=CONFIG.selection.high,
    script:
        "../scripts/draw_selection.py"


rule draw_table_2:
    """Accuracy after fine-tuning, by data set and learning rate."""
    input:
        table=STUDY.table("table_2"),
    output:
        *figure_files("table_2", "Section 4"),
    log:
        f"{LOGS}/draw_table_2.log",
    benchmark:
        f"{LOGS}/draw_table_2.benchmark.tsv"
    conda:
        ENVIRONMENT
    params:
        code=script_code("draw_table_2"),
        study=CONFIG.study,
    script:
        "../scripts/draw_table_2.py"


rule draw_sft_curves:
    """The loss of every fine-tuning run."""
    input:
        [
            STUDY.training(model, run)
            for model in CONFIG.sft.models
            for run in STUDY.sft_runs
        ],
    output:
        *figure_files("sft_curves", "Section 4"),
    log:
        f"{LOGS}/draw_sft_curves.log",
    benchmark:
        f"{LOGS}/draw_sft_curves.benchmark.tsv"
    conda:
        ENVIRONMENT
    params:
        code=script_code("draw_sft_curves"),
        study=CONFIG.study,
    script:
        "../scripts/draw_sft_curves.py"


rule draw_fig_2:
    """Two responses to one problem, chosen by a stated rule, markers highlighted."""
    input:
        base=STUDY.evaluation(EXAMPLE["model"], "base", EXAMPLE["benchmark"]),
        trained=STUDY.evaluation(**EXAMPLE),
        problems=STUDY.problems(EXAMPLE["benchmark"]),
    output:
        *figure_files("fig_2", "Section 2"),
        html=report(
            STUDY.figure("fig_2", "html"),
            caption="../report/fig_2.rst",
            category="Section 2",
            labels=shown("fig_2", "page"),
        ),
    log:
        f"{LOGS}/draw_fig_2.log",
    benchmark:
        f"{LOGS}/draw_fig_2.benchmark.tsv"
    conda:
        ENVIRONMENT
    params:
        code=script_code("draw_fig_2"),
        study=CONFIG.study,
    script:
        "../scripts/draw_fig_2.py"
