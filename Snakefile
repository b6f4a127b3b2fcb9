# The workflow lives in workflow/; this file lets plain `snakemake` find it.
include: "workflow/Snakefile"


rule default:
    """Every table and figure of the configured study."""
    default_target: True
    input:
        rules.all.input,
        rules.prove.output if CONFIG.trial else [],
