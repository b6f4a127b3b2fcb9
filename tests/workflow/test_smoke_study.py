"""One study end to end: what appears, from where, and with equal bytes."""

import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest
from damages import RESULTS, damages
from project import FIGURES, ROOT, TABLES
from selfdistill import tables
from selfdistill.claims.statements import read_claims
from selfdistill.claims.verdicts import NOT_TESTABLE, ONE_MODEL
from selfdistill.records import provenance


def test_every_table_and_figure_appears_with_its_origin(finished):
    folder = finished.folder / "results" / "smoke"
    for table in TABLES:
        for kind in ("parquet", "csv", "md", "tex"):
            assert (folder / "tables" / f"{table}.{kind}").stat().st_size > 0
    for figure in FIGURES:
        for kind in ("png", "svg", "pdf", "csv"):
            assert (folder / "figures" / f"{figure}.{kind}").stat().st_size > 0
    for path in folder.rglob("*.parquet"):
        record = json.loads((path.parent / f"{path.name}.provenance.json").read_text())
        assert record["command"][0] == "selfdistill"
        assert record["file"] == path.name


def test_the_picture_of_the_workflow_shows_what_the_rules_say(finished):
    picture = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("```mermaid")[2].partition("```")[0]
    chains = [line.split(" --> ") for line in picture.splitlines() if "-->" in line]
    drawn = {pair for chain in chains for pair in zip(map(str.strip, chain), map(str.strip, chain[1:]), strict=False)}
    graph = finished.snakemake("--rulegraph")
    names = dict(re.findall(r'(\d+)\[label = "([^"]+)"', graph))
    depends = {(names[first], names[second]) for first, second in re.findall(r"(\d+) -> (\d+)", graph)}
    assert len(drawn) > 15 and drawn <= depends


def test_tables_hold_every_setting_run_and_interval(finished):
    folder = finished.folder / "results" / "smoke" / "tables"
    table_1 = tables.read(folder / "table_1.parquet", tables.SUMMARY)
    measured = table_1[table_1["origin"] == "measured"]
    assert set(measured["row"]) == {
        "selection draw",
        "unguided",
        "solution",
        "solution_without_thinking",
        "regeneration",
        "regeneration_unselected",
    }
    assert (measured["low"] <= measured["value"]).all() and (measured["value"] <= measured["high"]).all()
    table_2 = tables.read(folder / "table_2.parquet", tables.SUMMARY)
    runs = {"base", "sft-unguided-lr0.0003", "sft-guided-lr0.0003", "sft-unguided_unfiltered-lr0.0003"}
    assert set(table_2.loc[table_2["origin"] == "measured", "row"]) == runs
    average = table_2[table_2["metric"].eq("avg") & table_2["origin"].eq("measured")]
    assert (average["sampling_low"] <= average["value"]).all()


def test_traces_hold_every_rollout_and_redraws_differ(finished):
    folder = finished.folder / "results" / "smoke" / "traces" / "microcosm"
    selection = tables.read(folder / "selection.parquet", tables.TRACES)
    assert (selection.groupby("problem_id").size() == 8).all()
    assert not selection["correct"].all() and selection["correct"].any()
    unguided = tables.read(folder / "unguided.parquet", tables.TRACES)
    rates = selection.groupby("problem_id")["correct"].mean()
    assert rates.loc[unguided["problem_id"].unique()].between(0.125, 0.5).all()
    assert not set(unguided["seed"]) & set(selection["seed"])
    collected = tables.read(folder / "sft_unguided.parquet", tables.TRACES)
    both = unguided.merge(collected, on=["problem_id", "sample"], suffixes=("", "_collected"))
    assert len(both) == len(unguided)
    assert (both["response"] == both["response_collected"]).all()


def test_on_policy_runs_leave_all_that_they_said(finished):
    folder = finished.folder / "results" / "smoke"
    runs = tables.read(folder / "training" / "runs.parquet", tables.RUNS)
    assert len(runs) == 10
    for run in runs.itertuples():
        steps = tables.read(folder / "training" / run.model / f"{run.run}.parquet", tables.TRAINING_STEPS)
        last = 2 if run.thinking == "off" else 3
        assert set(steps["step"]) == {*range(1, last + 1)}
        assert {"score", "L", "E_substring", "entropy", "all_fail", "lone_success"} <= set(steps["metric"])
        assert ("divergence" in set(steps["metric"])) <= (run.method == "sdpo")
        rollouts = tables.read(folder / "traces" / run.model / "rollouts" / f"{run.run}.parquet", tables.TRACES)
        assert len(rollouts) == last * 4 * 4
        assert rollouts["problem_id"].nunique() <= run.problems
        assert rollouts["context_sample"].notna().any() == (run.method == "sdpo")
        scores = steps[steps["metric"] == "score"].set_index("step")["value"]
        assert scores.to_dict() == pytest.approx(rollouts.groupby("step")["correct"].mean().to_dict())
        along = tables.read(folder / "evaluations" / run.model / run.run / "along_training.parquet", tables.TRACES)
        unseen = along[along["setting"] == "in_domain"].groupby(["step", "problem_id"]).size()
        assert unseen.groupby("step").agg(sorted).to_dict() == {step: [2, 2, 2, 2, 4, 4] for step in range(1, last + 1)}
        own = along[along["setting"] == "trained"]
        assert own["problem_id"].nunique() == (4 if run.whole_set else 2)
        assert set(own["problem_id"]) <= set(rollouts["problem_id"])
        assert set(own.groupby(["step", "problem_id"]).size()) == {2}
        saved = {path.name for path in (folder / "models" / run.model / run.run).iterdir() if path.is_dir()}
        assert saved == {f"step-{step}" for step in range(1, last + 1)}


def test_demonstrations_are_successful_peers_of_the_same_step(finished):
    folder = finished.folder / "results" / "smoke" / "traces" / "microcosm" / "rollouts"
    rollouts = tables.read(folder / "sdpo-train-lr0.0003-k100-seed0.parquet", tables.TRACES)
    demonstrated = rollouts[rollouts["context_sample"].notna()]
    shown = demonstrated.merge(
        rollouts, left_on=["step", "context_sample"], right_on=["step", "sample"], suffixes=("", "_shown")
    )
    assert len(shown) == len(demonstrated) > 0
    assert shown["correct_shown"].all()
    assert (shown["problem_id"] == shown["problem_id_shown"]).all()
    assert (shown["sample"] != shown["sample_shown"]).all()


def test_curves_and_their_table_hold_every_arm(finished):
    folder = finished.folder / "results" / "smoke"
    curves = tables.read(folder / "curves.parquet", tables.CURVES)
    evaluated = curves[curves["benchmark"] == "in_domain"]
    arms = ["thinking", "method", "context", "teacher_update_rate", "whole_set", "learning_rate", "top_k"]
    off = evaluated.groupby(arms, dropna=False).first().reset_index()["thinking"] == "off"
    steps = [{0, 1, 2} if short else {0, 1, 2, 3} for short in off]
    assert len(steps) == 10 and evaluated.groupby(arms, dropna=False)["step"].agg(set).tolist() == steps
    assert curves[curves["benchmark"] == "trained"].groupby(arms, dropna=False)["step"].agg(set).tolist() == steps
    windows = [{2} if short else {2, 3} for short in off]
    assert curves[curves["benchmark"] == ""].groupby(arms, dropna=False)["step"].agg(set).tolist() == windows
    changes = {"avg_deep_difference_to_base", "pass@4_difference_to_base", "avg_difference_to_base"}
    assert changes <= set(evaluated["metric"])
    known = curves[curves["low"].notna()]
    assert ((known["low"] <= known["value"] + 1e-9) & (known["value"] <= known["high"] + 1e-9)).all()
    final = tables.read(folder / "tables" / "table_onpolicy.parquet", tables.SUMMARY)
    assert final["row"].nunique() == 10


def test_the_ledger_judges_every_statement_and_the_tree_is_as_recorded(finished):
    folder = finished.folder / "results" / "smoke"
    ledger = tables.read(folder / "claims" / "ledger.parquet", tables.LEDGER)
    claims = read_claims(finished.folder / "config" / "claims.yaml")
    assert set(ledger["id"]) == {claim.id for claim in claims}
    tested = ledger[ledger["value"].notna()]
    assert set(tested["of"]) == {"guidance", "solutions", "sets", "sft", "training", "evaluation"}
    assert len(tested) > 60 and set(ledger["verdict"]) == {ONE_MODEL, NOT_TESTABLE}  # one base model decides nothing
    exported = json.loads((folder / "claims" / "claims.json").read_text())
    assert {each["public"] for each in exported["statements"]} == {"inconclusive"}
    assert sum(each["cost"]["processor_minutes"] is not None for each in exported["statements"]) > 30
    page = (folder / "claims" / "ledger.html").read_text()
    assert all(claim.id in page for claim in claims)
    status, output = finished.run("selfdistill", "verify", str(folder))
    assert status == 0 and "all as recorded" in output, output
    assert {damage.kind for damage in damages(folder)} >= RESULTS.keys() - {"bundle"}  # no kind goes untried elsewhere
    status, output = finished.run("selfdistill", "diff", str(folder), str(folder))
    assert status == 0 and output.count("no difference") == 3, output
    assert "steps: 3\n" in (folder / "config.yaml").read_text()
    status, output = finished.run("selfdistill", "trace", str(folder / "figures" / "fig_7.pdf"))
    assert status == 0 and "by pretrain-model; seed 0, preset smoke" in output and "CHANGED" not in output


def test_every_rule_has_log_and_benchmark():
    for file in (ROOT / "workflow" / "rules").glob("*.smk"):
        for rule in re.split(r"^ *rule\b", file.read_text(), flags=re.MULTILINE)[1:]:
            for directive in ("log", "benchmark"):
                assert re.search(rf"^ +{directive}:$", rule, re.MULTILINE), f"{file.name}: rule{rule.partition(':')[0]}"


def test_compare_accepts_itself_and_names_a_changed_value(finished, tmp_path):
    results = finished.folder / "results" / "smoke"
    status, output = finished.run("selfdistill", "compare", "--fresh", str(results), "--reference", str(results))
    assert status == 0 and " values are equal.\nBoth were made by the same arithmetic" in output
    summary = tables.read(results / "tables" / "table_1.parquet", tables.SUMMARY)
    changed = summary["metric"].eq("score") & summary["row"].eq("solution") & summary["origin"].eq("measured")
    summary.loc[changed, ["value", "low", "high"]] = [9.0, 8.9, 9.1]
    shutil.copytree(results / "tables", tmp_path / "tables")
    tables.write(summary, tmp_path / "tables" / "table_1.parquet", tables.SUMMARY)
    status, output = finished.run("selfdistill", "compare", "--fresh", str(results), "--reference", str(tmp_path))
    assert status == 1
    assert re.search(r"^! table_1 / microcosm / solution / score: .*, reference 9$", output, re.MULTILINE)
    assert " equal, 1 not, 0 missing." in output and "only exact equality can be judged" in output


def test_compare_judges_a_study_by_its_repetitions(finished, tmp_path):
    """Of the study's own tables, with values as other base models might give; half of a table off is a fault."""
    results, rng = finished.folder / "results" / "smoke", np.random.default_rng(0)
    reference, *repetitions, sound, faulty = (tmp_path / str(number) for number in range(12))
    for folder in (reference, *repetitions, sound, faulty):
        for path in sorted((results / "tables").glob("*.parquet")):
            summary = tables.read(path, tables.SUMMARY)
            measured = summary["origin"] == "measured"
            other = rng.normal(1, 0.02, len(summary)) * (1 if folder == reference else rng.normal(1, 0.1))
            if folder == faulty and path.name == "table_2.parquet":
                other *= np.where(np.arange(len(summary)) % 2, 1, 3)
            summary.loc[measured, "value"] *= other[measured]
            if folder in repetitions:
                summary.loc[measured, "study"] = f"smoke_repetition_{folder.name}"
            tables.write(summary, folder / "tables" / path.name, tables.SUMMARY)
        settings = (results / "config.yaml").read_text().replace("study: smoke", f"study: smoke_{folder.name}")
        (folder / "config.yaml").write_text(settings)
    spread = reference / "spread.parquet"
    given = ["--results", str(reference), "--out", str(spread), "--repetitions", *map(str, repetitions)]
    status, output = finished.run("selfdistill", "gather-spread", *given)
    assert status == 0 and provenance.sidecar_path(spread).is_file(), output
    for fresh, expected, said in ((sound, 0, "\nReproduced: "), (faulty, 1, "\nNOT reproduced: ")):
        status, output = finished.run("selfdistill", "compare", "--fresh", str(fresh), "--reference", str(reference))
        assert status == expected and said in output, output


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"selektion": {}}, "unknown key 'selektion' (did you mean 'selection'?)"),
        ({"selection": {"target": 0}}, "selection.target"),
        ({"sft": {"models": ["microcosmos"]}}, "unknown 'microcosmos' (did you mean 'microcosm'?)"),
    ],
)
def test_bad_configuration_stops_with_one_sentence(finished, tmp_path, change, sentence):
    import yaml

    file = tmp_path / "bad.yaml"
    file.write_text(yaml.safe_dump(change))
    status, output = finished.run("snakemake", "--cores", "1", "--dry-run", "--configfile", str(file))
    assert status != 0
    assert sentence in output


def test_tables_as_csv_hold_every_number(finished):
    folder = finished.folder / "results" / "smoke" / "tables"
    csv = pd.read_csv(folder / "table_2.csv", keep_default_na=True)
    summary = tables.read(folder / "table_2.parquet", tables.SUMMARY)
    assert csv["value"].tolist() == pytest.approx(summary["value"].tolist())
