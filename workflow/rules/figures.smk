"""Every figure, each from tables only: one rule for each line of the registry, `selfdistill.artifacts`.

Reads tables/ and curves.parquet, of two figures training metrics and responses; writes figures/. Seconds at either scale.
"""

# What is not written out below until a job runs sees the loop's last figure: a script's path, functions. Hence the
# parameter `figure`.
for figure in FIGURES.values():

    rule:
        """A figure with the rows that it shows, by the script of its name."""
        name:
            f"draw_{figure.name}"
        input:
            **figure.source.files(STUDY),
        output:
            *figure_files(figure),
        log:
            f"{LOGS}/draw_{figure.name}.log",
        benchmark:
            f"{LOGS}/draw_{figure.name}.benchmark.tsv"
        group:
            figure.source.group
        conda:
            ENVIRONMENT
        params:
            code=script_code(f"draw_{figure.name}"),
            study=CONFIG.study,
            figure=figure.name,
            settings=settings_of(figure, STUDY),
        script:
            "../scripts/draw_{params.figure}.py"
