"""Figures 1, 3-8, D.1 and E, each from the curves alone; the configuration says which runs they show.

Reads results/{study}/curves.parquet; writes figures/. Seconds at either scale.
"""


rule draw_fig_1:
    """GRPO and SDPO on one type of problem and on many."""
    input:
        curves=STUDY.curves,
    output:
        *figure_files("fig_1", "Section 1"),
    log:
        f"{LOGS}/draw_fig_1.log",
    benchmark:
        f"{LOGS}/draw_fig_1.benchmark.tsv"
    conda:
        ENVIRONMENT
    params:
        code=script_code("draw_fig_1"),
        study=CONFIG.study,
        view=view("fig_1"),
    script:
        "../scripts/draw_fig_1.py"


rule draw_fig_3:
    """GRPO and SDPO with both contexts, and the change of every marker."""
    input:
        curves=STUDY.curves,
    output:
        *figure_files("fig_3", "Section 5"),
    log:
        f"{LOGS}/draw_fig_3.log",
    benchmark:
        f"{LOGS}/draw_fig_3.benchmark.tsv"
    conda:
        ENVIRONMENT
    params:
        code=script_code("draw_fig_3"),
        study=CONFIG.study,
        view=view("fig_3"),
    script:
        "../scripts/draw_fig_3.py"


rule draw_fig_4:
    """The same for the second thinking model."""
    input:
        curves=STUDY.curves,
    output:
        *figure_files("fig_4", "Section 5"),
    log:
        f"{LOGS}/draw_fig_4.log",
    benchmark:
        f"{LOGS}/draw_fig_4.benchmark.tsv"
    conda:
        ENVIRONMENT
    params:
        code=script_code("draw_fig_4"),
        study=CONFIG.study,
        view=view("fig_4"),
    script:
        "../scripts/draw_fig_4.py"


rule draw_fig_5:
    """The same with thinking switched off."""
    input:
        curves=STUDY.curves,
    output:
        *figure_files("fig_5", "Section 5"),
    log:
        f"{LOGS}/draw_fig_5.log",
    benchmark:
        f"{LOGS}/draw_fig_5.benchmark.tsv"
    conda:
        ENVIRONMENT
    params:
        code=script_code("draw_fig_5"),
        study=CONFIG.study,
        view=view("fig_5"),
    script:
        "../scripts/draw_fig_5.py"


rule draw_fig_6:
    """A fixed and a moving teacher."""
    input:
        curves=STUDY.curves,
    output:
        *figure_files("fig_6", "Section 5"),
    log:
        f"{LOGS}/draw_fig_6.log",
    benchmark:
        f"{LOGS}/draw_fig_6.benchmark.tsv"
    conda:
        ENVIRONMENT
    params:
        code=script_code("draw_fig_6"),
        study=CONFIG.study,
        view=view("fig_6"),
    script:
        "../scripts/draw_fig_6.py"


rule draw_fig_7:
    """Training by number of problems."""
    input:
        curves=STUDY.curves,
    output:
        *figure_files("fig_7", "Section 6"),
    log:
        f"{LOGS}/draw_fig_7.log",
    benchmark:
        f"{LOGS}/draw_fig_7.benchmark.tsv"
    conda:
        ENVIRONMENT
    params:
        code=script_code("draw_fig_7"),
        study=CONFIG.study,
        view=view("fig_7"),
    script:
        "../scripts/draw_fig_7.py"


rule draw_fig_8:
    """Problems of unseen types by number of training problems."""
    input:
        curves=STUDY.curves,
    output:
        *figure_files("fig_8", "Section 6"),
    log:
        f"{LOGS}/draw_fig_8.log",
    benchmark:
        f"{LOGS}/draw_fig_8.benchmark.tsv"
    conda:
        ENVIRONMENT
    params:
        code=script_code("draw_fig_8"),
        study=CONFIG.study,
        view=view("fig_8"),
    script:
        "../scripts/draw_fig_8.py"


rule draw_fig_d1:
    """Markers with thinking switched off."""
    input:
        curves=STUDY.curves,
    output:
        *figure_files("fig_d1", "Appendix"),
    log:
        f"{LOGS}/draw_fig_d1.log",
    benchmark:
        f"{LOGS}/draw_fig_d1.benchmark.tsv"
    conda:
        ENVIRONMENT
    params:
        code=script_code("draw_fig_d1"),
        study=CONFIG.study,
        view=view("fig_d1"),
    script:
        "../scripts/draw_fig_d1.py"


rule draw_fig_e:
    """Learning rates and top-k."""
    input:
        curves=STUDY.curves,
    output:
        *figure_files("fig_e", "Appendix"),
    log:
        f"{LOGS}/draw_fig_e.log",
    benchmark:
        f"{LOGS}/draw_fig_e.benchmark.tsv"
    conda:
        ENVIRONMENT
    params:
        code=script_code("draw_fig_e"),
        study=CONFIG.study,
        view=view("fig_e"),
    script:
        "../scripts/draw_fig_e.py"
