"""Sections 5 and 6 as tables and figures: training and evaluation against steps, coverage, and what runs end at.

Reads the rollouts and the evaluations of all on-policy runs; writes curves.parquet and tables/. Seconds at either scale.
"""

ROLLOUTS = [
    f"{RESULTS}/traces/{run.model}/rollouts/{run.id}.parquet" for run in RUNS.values()
]


rule make_curves:
    """Every curve of Figures 1 and 3-8 with its band, the final table of runs, and what GRPO's rate is chosen by."""
    input:
        runs=rules.list_runs.output,
        rollouts=ROLLOUTS,
        evaluations=[
            f"{RESULTS}/evaluations/{run.model}/{run.id}/along_training.parquet"
            for run in RUNS.values()
        ],
        bases=base_evaluations(),
    output:
        curves=f"{RESULTS}/curves.parquet",
        final=f"{RESULTS}/tables/table_onpolicy.parquet",
        rates=f"{RESULTS}/tables/table_rates.parquet",
    log:
        f"{LOGS}/make_curves.log",
    benchmark:
        f"{LOGS}/make_curves.benchmark.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code("make_curves"),
        flags=flags(CONFIG.statistics),
        window=flags(CONFIG.onpolicy, "window"),
    shell:
        "python -m selfdistill make-curves --runs {input.runs} --rollouts {input.rollouts} "
        "--evaluations {input.evaluations} --bases {input.bases} {params.window} {params.flags} "
        "--out {output.curves} --out-final {output.final} --out-rates {output.rates} 2>&1 | tee {log}"


rule make_table_3:
    """Table 3: coverage of the training sets."""
    input:
        runs=rules.list_runs.output,
        rollouts=ROLLOUTS,
        problem_sets=rules.list_runs.input.problems,
        benchmarks=expand(
            f"{RESULTS}/problems/{{benchmark}}.parquet", benchmark=BENCHMARKS
        ),
    output:
        f"{RESULTS}/tables/table_3.parquet",
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
