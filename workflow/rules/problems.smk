"""Problem sets: from the microcosm, a local file or the hub, all in one schema.

Reads the file of a set that comes from one; writes results/{study}/problems/{problem_set}.parquet. Seconds at either scale.
"""


rule load_problems:
    """Section 3's pool and the benchmarks; duplicates dropped by the normalised text."""
    input:
        by(STUDY.problem_files, "problem_set"),
    output:
        STUDY.problems("{problem_set}"),
    log:
        f"{LOGS}/load_problems/{{problem_set}}.log",
    benchmark:
        f"{LOGS}/load_problems/{{problem_set}}.benchmark.tsv"
    wildcard_constraints:
        problem_set="|".join(CONFIG.problem_sets),
    conda:
        ENVIRONMENT
    params:
        code=code("load_problems"),
        flags=by(FLAGS.problem_set, "problem_set"),
    shell:
        "python -m selfdistill load-problems {params.flags} --out {output} 2>&1 | tee {log}"
