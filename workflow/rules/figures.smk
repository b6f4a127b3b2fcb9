"""Every figure, each from tables only: one rule for each that the study draws.

Reads tables/ and curves/, of two figures training metrics and responses; writes figures/. Seconds at either scale.
"""


def as_flags(files, prefix=""):
    """Named files of a job as flags of its stage."""
    return " ".join(f"--{prefix}{name} {paths}" for name, paths in files.items())


# Anything evaluated only when a job runs would see the loop's last figure: hence the parameters, and `partial`.
for figure in STUDY.figures.values():

    rule:
        """A figure with its caption and the rows that it shows, by the script of its name."""
        name:
            f"draw_{figure.name}"
        input:
            **figure.files(STUDY),
        output:
            **figure_files(figure),
        log:
            f"{LOGS}/draw_{figure.name}.log",
        benchmark:
            f"{LOGS}/draw_{figure.name}.benchmark.tsv"
        group:
            figure.source.group
        conda:
            ENVIRONMENT
        params:
            code=figure_code(figure.name),
            figure=figure.name,
            tables=lambda wildcards, input: as_flags(input),
            settings=by(partial(FLAGS.figure, figure)),
            files=lambda wildcards, output: as_flags(output, "out-"),
        shell:
            "python -m selfdistill draw-figure {params.figure} {params.tables} {params.settings} "
            "--code '{params.code}' {params.files} 2>&1 | tee {log}"
