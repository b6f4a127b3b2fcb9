"""The stages of the workflow: what every rule calls, and what a reader can call by hand with the same command.

Stages import what they need when they run: one that samples nothing does not load torch.
"""

# The overview lists stages in the order of the workflow.
# isort: off
from selfdistill.stages.registry import EXPORT, QUESTION, STAGES, STEP, UPKEEP, Stage
from selfdistill.stages.problems import load_problems
from selfdistill.stages.models import pretrain_model, register_model, share_model
from selfdistill.stages.traces import (
    check_model,
    evaluate_model,
    measure_alignment,
    measure_information,
    sample_guidance,
    select_borderline,
)
from selfdistill.stages.sft import build_edited_set, build_sft_sets, collect_correct, list_sft_runs, train_sft
from selfdistill.stages.onpolicy import evaluate_checkpoints, list_runs, list_trained, train_onpolicy
from selfdistill.stages.tables import gather_spread, make_curves, make_figure_curves, make_table_1, make_table_2
from selfdistill.stages.tables import make_table_3, make_table_edited, make_table_information, make_table_released
from selfdistill.stages.tables import make_table_alignment, make_table_words
from selfdistill.stages.tables import render_table
from selfdistill.stages.figures import draw_figure
from selfdistill.stages.claims import (
    build_reading_room,
    export_claims,
    make_ledger,
    prove,
    record_config,
    render_ledger,
)
from selfdistill.stages.inspection import compare, diff, draw, explain, fingerprint, plan, trace, verify
from selfdistill.stages.exports import complete_report, export_inspect, export_logbook, export_tensorboard
from selfdistill.stages.upkeep import archive, bundle_provenance, document_config, new_study, prefetch
from selfdistill.stages.upkeep import resolve_revisions, show_numbers, show_verdicts
# isort: on

__all__ = [
    "EXPORT",
    "QUESTION",
    "STAGES",
    "STEP",
    "UPKEEP",
    "Stage",
    "archive",
    "build_edited_set",
    "build_reading_room",
    "build_sft_sets",
    "bundle_provenance",
    "check_model",
    "collect_correct",
    "compare",
    "complete_report",
    "diff",
    "document_config",
    "draw",
    "draw_figure",
    "evaluate_checkpoints",
    "evaluate_model",
    "explain",
    "export_claims",
    "export_inspect",
    "export_logbook",
    "export_tensorboard",
    "fingerprint",
    "gather_spread",
    "list_runs",
    "list_sft_runs",
    "list_trained",
    "load_problems",
    "make_curves",
    "make_figure_curves",
    "make_ledger",
    "make_table_1",
    "make_table_2",
    "make_table_3",
    "make_table_alignment",
    "make_table_edited",
    "make_table_information",
    "make_table_released",
    "make_table_words",
    "measure_alignment",
    "measure_information",
    "new_study",
    "plan",
    "prefetch",
    "pretrain_model",
    "prove",
    "record_config",
    "register_model",
    "render_ledger",
    "render_table",
    "resolve_revisions",
    "sample_guidance",
    "select_borderline",
    "share_model",
    "show_numbers",
    "show_verdicts",
    "trace",
    "train_onpolicy",
    "train_sft",
    "verify",
]
