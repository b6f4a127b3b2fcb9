"""Where gradients point, measured on a finished study."""

import pytest
from selfdistill import tables

ASKED = ("--configfile", "config/smoke.yaml", "--config", "guidance={alignment: true}")
LOSSES = ["GRPO", "SDPO c = s", "SDPO c = s without think"]
STATEMENTS = {
    "distillation-points-away-from-success",
    "distillation-serves-wrong-responses-better",
    "distillation-unlearns-at-verification",
    "grpo-points-towards-success",
}


def test_gradients_are_measured_on_the_responses_that_exist(project):
    targets = ["results/smoke/figures/alignment.svg", "results/smoke/claims/ledger.parquet"]
    started = project.started(*targets, *ASKED)
    assert {"measure_alignment", "make_table_alignment", "draw_alignment", "make_ledger"} <= started
    assert not started & {"pretrain_model", "select_borderline", "sample_guidance", "train_onpolicy", "evaluate_model"}
    table = tables.read(project.folder / "results/smoke/tables/table_alignment.parquet", tables.SUMMARY)
    assert sorted(set(table["row"])) == LOSSES
    by_part = table.pivot(index=["row", "benchmark"], columns="metric", values="value")
    assert by_part.notna().all(axis=None) and "trained" in by_part.index.get_level_values("benchmark")
    for parts in (["gain_right", "gain_wrong"], ["gain_decision", "gain_verification", "gain_other"]):
        assert by_part[parts].sum(axis=1).to_list() == pytest.approx(by_part["gain"].to_list(), abs=1e-9)
    # On other responses to the same problems, the reward's own gradient points where success is.
    assert by_part.loc[("GRPO", "trained"), "gain"] > 0
    ledger = tables.read(project.folder / targets[1], tables.LEDGER)
    found = ledger[ledger["id"].isin(STATEMENTS)]
    assert set(found["id"]) == STATEMENTS and found["value"].notna().all()
    away = found[(found["id"] == "distillation-points-away-from-success")].set_index("benchmark")["value"]
    for benchmark, value in away.items():
        assert value == pytest.approx(-by_part.loc[("SDPO c = s", benchmark), "gain"])
