"""What contexts tell of responses, measured on a finished study."""

import pytest
from selfdistill import tables

ASKED = ("--configfile", "config/smoke.yaml", "--config", "guidance={information: true, parts: [50]}")
GUIDED = ["regeneration", "regeneration_unselected", "solution", "solution_first_50", "solution_without_thinking"]


def test_information_is_measured_on_the_responses_that_exist(project):
    targets = ["results/smoke/figures/information.svg", "results/smoke/claims/ledger.parquet"]
    started = project.started(*targets, *ASKED)
    assert {"sample_guidance", "measure_information", "make_table_information", "make_ledger"} <= started
    assert not started & {"pretrain_model", "select_borderline", "train_sft", "train_onpolicy", "evaluate_model"}
    table = tables.read(project.folder / "results/smoke/tables/table_information.parquet", tables.SUMMARY)
    told = table[table["metric"] == "information"]
    assert sorted(told["row"]) == GUIDED
    assert told[["value", "low", "high"]].notna().all(axis=None)
    ledger = tables.read(project.folder / targets[1], tables.LEDGER)
    order = ledger[ledger["id"] == "information-order"]
    assert order["value"].notna().all() and len(order) == 2
    shown = told.set_index("row")["value"]
    first, second = shown["solution"], shown["regeneration"]
    falls = [first - second, second - shown["solution_without_thinking"]]
    assert sorted(order["value"]) == pytest.approx(sorted(falls))
