"""Fine-tuning on edited responses, on a finished study."""

import pytest
from selfdistill import tables

SETS = ("kept", "no_markers", "guided_verified")
ASKED = ("--configfile", "config/smoke.yaml", "--config", f"sft={{edited: [{', '.join(SETS)}]}}")


def test_models_are_fine_tuned_on_edited_sets_and_judged(project):
    targets = ["results/smoke/figures/edited.svg", "results/smoke/claims/ledger.parquet"]
    started = project.started(*targets, *ASKED)
    assert {"build_edited_set", "train_sft", "evaluate_model", "make_table_edited", "draw_edited"} <= started
    assert not started & {"pretrain_model", "collect_correct", "build_sft_sets", "train_onpolicy"}
    sets = {
        name: tables.read(project.folder / f"results/smoke/datasets/microcosm/{name}.parquet", tables.SFT_EXAMPLES)
        for name in (*SETS, "unguided", "guided")
    }
    assert 0 < len(sets["kept"]) == len(sets["no_markers"]) <= len(sets["unguided"])  # those that can be taken apart
    assert sets["no_markers"]["response_tokens"].mean() < sets["kept"]["response_tokens"].mean()
    assert sets["guided_verified"]["response_tokens"].mean() > sets["guided"]["response_tokens"].mean()
    table = tables.read(project.folder / "results/smoke/tables/table_edited.parquet", tables.SUMMARY)
    changes = table[table["metric"] == "avg_difference_to_base"].set_index("row")["value"]
    ledger = tables.read(project.folder / targets[1], tables.LEDGER).set_index("id")
    taken = changes["sft-kept-lr0.0003"] - changes["sft-no_markers-lr0.0003"]
    assert ledger.loc["markers-alone-carry-nothing", "value"] == pytest.approx(taken)
