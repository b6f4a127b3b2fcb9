"""The studies for one GPU are whole graphs, built without network, of which one job at a time holds the GPU."""

import re
from pathlib import Path

import pytest
import yaml
from project import ROOT, Project
from selfdistill import checks

GPU = yaml.safe_load((ROOT / "profiles" / "one_gpu" / "config.yaml").read_text())


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project.copy_to(tmp_path_factory.mktemp("one_gpu"))


def jobs(project: Project, *overlays: str) -> dict[str, int]:
    """Jobs by rule of the study of one GPU with overlays."""
    laid_over = ("--configfile", *overlays) if overlays else ()
    status, output = project.run(
        "snakemake", "--dry-run", "--quiet", "rules", "--profile", "profiles/one_gpu", *laid_over
    )
    assert status == 0, output
    table = re.findall(r"^(\w+)\s+(\d+)$", output.partition("Job stats:")[2], re.MULTILINE)
    return {rule: int(count) for rule, count in table}


def test_every_job_that_samples_or_trains_holds_the_one_gpu():
    holding = {rule for rule, resources in GPU["set-resources"].items() if resources == GPU["resources"] == {"gpu": 1}}
    assert holding == checks.LOADING


@pytest.mark.parametrize(
    ("overlays", "runs", "drawn", "not_drawn"),
    [
        ((), 4, {"fig_3", "fig_e", "table_1", "table_2"}, {"fig_1", "fig_4", "fig_5", "fig_6", "fig_7", "fig_8"}),
        (("config/weekend.yaml",), 11, {"fig_3", "fig_6", "fig_7", "fig_8"}, {"fig_1", "fig_4", "fig_5"}),
        (("config/one_gpu_qwen3.yaml",), 5, {"fig_4", "fig_5", "fig_d1", "table_1"}, {"fig_1", "fig_3", "fig_6"}),
    ],
)
def test_the_day_the_weekend_and_the_second_arm_draw_what_they_run(project, overlays, runs, drawn, not_drawn):
    found = jobs(project, *overlays)
    assert found["train_onpolicy"] == found["evaluate_checkpoints"] == runs
    assert found["train_sft"] == 6
    assert {f"draw_{name}" for name in drawn} <= found.keys()
    assert not {f"draw_{name}" for name in not_drawn} & found.keys()


def test_an_evening_trains_nothing_and_says_which_commits_are_to_be_looked_up(project):
    laid_over = ("--profile", "profiles/one_gpu", "--configfile", "config/evening.yaml")
    status, output = project.run("snakemake", "--dry-run", "--quiet", "rules", *laid_over)
    assert status == 0, output
    found = dict(re.findall(r"^(\w+)\s+(\d+)$", output.partition("Job stats:")[2], re.MULTILINE))
    assert found["adopt_checkpoint"] == found["evaluate_checkpoints"] == "8"
    assert {"draw_released", "draw_table_1", "make_ledger"} <= found.keys()
    assert not {"train_sft", "train_onpolicy", "pretrain_model"} & found.keys()
    (told,) = [line for line in output.splitlines() if "commits not known yet" in line]
    assert told.startswith("Warning: config/revisions.json: commits not known yet: 8; where")
    assert "--kind model --repos beanie00/" in told


def test_the_weekend_keeps_the_runs_of_the_day():
    day, weekend = (
        yaml.safe_load(Path(ROOT, "config", f"{name}.yaml").read_text())["onpolicy"]["runs"]
        for name in ("one_gpu", "weekend")
    )
    assert weekend[: len(day)] == day
