"""The examples of docs/extending.md, each followed to the letter in a copy of a finished study."""

import shutil
import subprocess

import pandas as pd
from project import ROOT
from selfdistill import tables

EXAMPLES = ROOT / "examples"
STUDY = ("--configfile", "config/smoke.yaml")


def test_a_claim_is_tested_on_the_responses_that_exist(project):
    claims = project.folder / "config" / "claims.yaml"
    claims.write_text(claims.read_text() + (EXAMPLES / "claim" / "claim.yaml").read_text())
    assert project.pending().keys() <= {"make_ledger", "render_ledger", "export_claims"}
    project.snakemake()
    ledger = tables.read(project.folder / "results/smoke/claims/ledger.parquet", tables.LEDGER)
    mine = ledger[ledger["id"] == "my-grpo-writes-more-than-sdpo"]
    assert len(mine) and mine["value"].notna().all() and mine["verdict"].notna().all()
    assert mine["ours"].all()  # the paper's own statements are corrected as before
    assert "my-grpo-writes-more-than-sdpo" in (project.folder / "results/smoke/claims/ledger.html").read_text()


def test_a_model_from_a_folder_is_studied_beside_the_others(project):
    shutil.copytree(EXAMPLES, project.folder / "examples")
    shutil.copytree(project.folder / "results/smoke/models/microcosm/base", project.folder / "examples/model/weights")
    status, output = project.run("snakemake", "--dry-run", *STUDY, "examples/model/config.yaml")
    assert status == 0, output
    assert "results/smoke/traces/mine/selection.parquet" in output
    assert "pretrain_model" not in output and "train_onpolicy" not in output
    target = "results/smoke/evaluations/mine/base/in_domain.parquet"
    status, output = project.run("snakemake", target, "--cores", "2", *STUDY, "examples/model/config.yaml")
    assert status == 0, output
    assert set(tables.read(project.folder / target, tables.TRACES)["model"]) == {"mine"}
    (project.folder / "examples/model/weights/tokenizer_config.json").write_text('{"changed": true}')
    status, output = project.run("snakemake", target, "--dry-run", *STUDY, "examples/model/config.yaml")
    assert "rule register_model" in output and "rule evaluate_model" in output


def test_a_data_set_from_a_file_is_read_and_evaluated(project):
    shutil.copytree(EXAMPLES, project.folder / "examples")
    target = "results/smoke/evaluations/microcosm/base/mine.parquet"
    status, output = project.run("snakemake", target, "--cores", "2", *STUDY, "examples/data_set/config.yaml")
    assert status == 0, output
    problems = tables.read(project.folder / "results/smoke/problems/mine.parquet", tables.PROBLEMS)
    assert problems["answer"].tolist() == ["7", r"\frac{9}{2}", "15"]
    assert problems["problem_type"].tolist() == ["sums", "fractions", "parity"]
    assert set(tables.read(project.folder / target, tables.TRACES)["problem_id"]) == set(problems["problem_id"])
    source = project.folder / "examples/data_set/problems.jsonl"
    source.write_text(source.read_text().replace('"7"', '"8"'))
    status, output = project.run("snakemake", target, "--dry-run", *STUDY, "examples/data_set/config.yaml")
    assert "rule load_problems" in output and "rule evaluate_model" in output


def test_a_guidance_context_is_sampled_and_stands_in_table_1(project):
    patch = EXAMPLES / "guidance" / "solution_latest.patch"
    subprocess.run(["git", "apply", str(patch)], cwd=project.folder, check=True)
    assert project.pending()["sample_guidance"] == 1  # the other settings are not sampled again
    table = "results/smoke/tables/table_1.md"
    project.snakemake(table, "results/smoke/figures/table_1.png")
    assert "solution_latest" in (project.folder / table).read_text().replace("\\", "")
    traces = tables.read(project.folder / "results/smoke/traces/microcosm/solution_latest.parquet", tables.TRACES)
    selection = tables.read(project.folder / "results/smoke/traces/microcosm/selection.parquet", tables.TRACES)
    latest = selection[selection["correct"]].groupby("problem_id")["sample"].max()
    shown = traces.drop_duplicates("problem_id").set_index("problem_id")["context_sample"]
    pd.testing.assert_series_equal(shown.astype(int), latest.loc[shown.index].astype(int), check_names=False)
