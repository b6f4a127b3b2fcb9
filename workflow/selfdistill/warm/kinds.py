"""The kinds of jobs by what they import. A command reads this before it imports anything."""

from collections.abc import Sequence

from selfdistill.processes import ALONE

COMMAND_LINE, LAUNCHER = "selfdistill.cli", "selfdistill.launch"  # the modules whose `main` runs a stage
# Modules that a kind of process imports before its first job. A job imports whatever is missing here itself.
IMPORTED = {
    "tables": (
        "selfdistill.cli",
        "selfdistill.analysis.summaries",
        "selfdistill.claims.ledger",
        "selfdistill.pages.reading_room",
    ),
    "figures": ("selfdistill.cli", "selfdistill.figures.drawing", "selfdistill.figures.curve_plots"),
    "models": (
        "selfdistill.cli",
        "selfdistill.generation.sampler",
        "selfdistill.generation.qwen3_engine",
    ),
    "training": ("selfdistill.cli", "selfdistill.training.onpolicy", "selfdistill.training.sft"),
}
KIND = {
    "load-problems": "tables",
    "share-model": "tables",
    "register-model": "tables",
    "build-edited-set": "tables",
    "build-sft-sets": "tables",
    "check-model": "tables",
    "list-runs": "tables",
    "list-sft-runs": "tables",
    "list-trained": "tables",
    "make-curves": "tables",
    "make-figure-curves": "tables",
    "make-table-1": "tables",
    "make-table-2": "tables",
    "make-table-3": "tables",
    "make-table-edited": "tables",
    "make-table-words": "tables",
    "make-table-information": "tables",
    "make-table-alignment": "tables",
    "make-table-released": "tables",
    "gather-spread": "tables",
    "render-table": "tables",
    "make-ledger": "tables",
    "export-claims": "tables",
    "render-ledger": "tables",
    "build-reading-room": "tables",
    "prove": "tables",
    "record-config": "tables",
    "draw-figure": "figures",
    "pretrain-model": "models",
    "select-borderline": "models",
    "sample-guidance": "models",
    "collect-correct": "models",
    "evaluate-model": "models",
    "evaluate-checkpoints": "models",
    "measure-information": "training",
    "measure-alignment": "training",
    "train-sft": "training",
    "train-onpolicy": "training",
}


def kind_of(module: str, arguments: Sequence[str]) -> str | None:
    """The kind of the job that a module's ``main`` would run; None for no job, or one for several processes."""
    words = list(arguments)
    if module == LAUNCHER:
        words = words[1:] if words[:1] == [ALONE] else []
    return KIND.get(words[0]) if words else None
