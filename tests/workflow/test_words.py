"""Base models that are kept from words, or held to them, on a finished study."""

import pytest
from selfdistill import tables
from selfdistill.markers.counting import MARKERS

WORDS = (
    f"{{no_markers: {{bad: [{', '.join(MARKERS)}]}}, more_hedges: {{forced: [maybe, perhaps], forced_from: 0.005}}}}"
)
HEDGES = ["word_maybe", "word_perhaps"]
ASKED = ("--configfile", "config/smoke.yaml", "--config", f"evaluation={{words: {WORDS}}}")


def test_base_models_are_evaluated_with_other_words(project):
    targets = ["results/smoke/figures/words.svg", "results/smoke/claims/ledger.parquet"]
    started = project.started(*targets, *ASKED)
    assert {"evaluate_model", "make_table_words", "draw_words", "make_ledger"} <= started
    assert not started & {"pretrain_model", "select_borderline", "train_sft", "train_onpolicy", "evaluate_checkpoints"}
    table = tables.read(project.folder / "results/smoke/tables/table_words.parquet", tables.SUMMARY)
    assert sorted(table["row"].unique()) == ["base", "words-more_hedges", "words-no_markers"]
    markers = table[table["metric"] == "E_substring"].groupby("row")["value"].mean()
    assert markers["words-no_markers"] == 0 < markers["base"]
    evaluations = project.folder / "results/smoke/evaluations/microcosm"
    hedges = {
        run: sum(
            tables.read(path, tables.TRACES, HEDGES).to_numpy().sum()
            for path in sorted((evaluations / run).glob("*.parquet"))
        )
        for run in ("base", "words-more_hedges")
    }
    assert hedges["words-more_hedges"] > hedges["base"] > 0
    changes = table[table["metric"] == "avg_difference_to_base"].set_index(["row", "benchmark"])["value"]
    ledger = tables.read(project.folder / targets[1], tables.LEDGER)
    held = ledger[(ledger["id"] == "hedges-forced-change-nothing")].drop_duplicates("benchmark").set_index("benchmark")
    assert len(held)
    for benchmark, value in held["value"].items():
        assert value == pytest.approx(changes["words-more_hedges", benchmark])
    withheld = ledger[ledger["id"] == "markers-withheld-cost-little"]
    assert withheld["value"].isna().all()  # its control was not asked
