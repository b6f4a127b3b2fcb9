"""The stages of the workflow: what every rule calls, and what a reader can call by hand with the same command.

Stages import what they need when they run: one that samples nothing does not load torch.
"""

from selfdistill.stages.claims import build_reading_room, make_ledger, record_config, render_ledger
from selfdistill.stages.inspection import compare, diff, explain, plan, trace, verify
from selfdistill.stages.models import pretrain_model, register_model, share_model
from selfdistill.stages.onpolicy import evaluate_checkpoints, list_runs, train_onpolicy
from selfdistill.stages.problems import load_problems
from selfdistill.stages.sft import build_sft_sets, collect_correct, train_sft
from selfdistill.stages.tables import make_curves, make_table_1, make_table_2, make_table_3, render_table
from selfdistill.stages.traces import evaluate_model, sample_guidance, select_borderline
from selfdistill.stages.upkeep import bundle_provenance, document_config, prefetch, resolve_revisions, show_verdicts

STAGES = (
    load_problems,
    pretrain_model,
    share_model,
    register_model,
    select_borderline,
    sample_guidance,
    collect_correct,
    build_sft_sets,
    train_sft,
    evaluate_model,
    train_onpolicy,
    evaluate_checkpoints,
    list_runs,
    make_table_1,
    make_table_2,
    make_curves,
    make_table_3,
    render_table,
    make_ledger,
    render_ledger,
    build_reading_room,
    show_verdicts,
    compare,
    trace,
    verify,
    diff,
    plan,
    explain,
    record_config,
    resolve_revisions,
    prefetch,
    document_config,
    bundle_provenance,
)
