"""Sections 5 and 6 as tables and figures: training and evaluation against steps, coverage, and what runs end at.

Reads the rollouts and the evaluations of all on-policy runs; writes curves.parquet and tables/. Seconds at either scale.
"""


rule make_curves:
    """Every curve of Figures 1 and 3-8 with its band, the final table of runs, and what GRPO's rate is chosen by."""
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
        flags=FLAGS.bootstrap(),
        window=FLAGS.window(),
    shell:
        "python -m selfdistill make-curves --runs {input.runs} --rollouts {input.rollouts} "
        "--evaluations {input.evaluations} --bases {input.bases} {params.window} {params.flags} "
        "--out {output.curves} --out-final {output.final} --out-rates {output.rates} 2>&1 | tee {log}"


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
