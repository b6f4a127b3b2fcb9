"""The study of the paper's models is a whole graph, built without network."""

import re

import pytest
from project import Project


def test_the_papers_study_is_built_offline_with_every_table_and_figure(tmp_path):
    project = Project.copy_to(tmp_path / "paper")
    status, output = project.run("snakemake", "--dry-run", "--printshellcmds", "--profile", "profiles/paper")
    assert status == 0, output
    jobs = dict(re.findall(r"^(\w+)\s+(\d+)$", output.rpartition("Job stats:")[2], re.MULTILINE))
    assert int(jobs["train_onpolicy"]) == int(jobs["evaluate_checkpoints"]) >= 30
    assert "pretrain_model" not in jobs
    assert {f"draw_fig_{name}" for name in ("1", "2", "3", "4", "5", "6", "7", "8", "d1", "e")} <= jobs.keys()
    commands = [line for line in output.splitlines() if "python -m selfdistill" in line]
    small = [line for line in commands if "--run.problems=8 " in line]
    assert small and all("--settings.batch-size=64 " in line for line in small)
    whole = [line for line in commands if "--run.method=sdpo --run.learning-rate=1e-05 " in line and line not in small]
    assert whole and any("--settings.batch-size=256 " in line for line in whole)
    for ours, other in (("grpo", "sdpo"), ("sdpo", "grpo")):
        runs = [line for line in commands if f"--run.method={ours} " in line]
        assert runs and all(f"--settings.{ours}." in line and f"--settings.{other}." not in line for line in runs)
    off = [line for line in commands if "evaluate-model" in line and "--model-name=qwen3_8b_off " in line]
    own = ("--sampling.temperature=0.7 --sampling.top-p=0.8 ", "--enable-thinking=false ")
    assert off and all(flag in line for line in off for flag in own)


@pytest.fixture(scope="module")
def paper(tmp_path_factory):
    return Project.copy_to(tmp_path_factory.mktemp("paper"))


THREE = ["grpo-train-lr1e-06-seed0", "sdpo-nothink-train-lr1e-05-k100-seed0", "sdpo-train-lr1e-05-k100-seed0"]


@pytest.mark.parametrize(
    ("target", "trained", "sets"),
    [
        ("results/paper/figures/fig_3.pdf", [f"deepseek_r1_7b/{run}" for run in THREE], ["aime24", "amc23", "train"]),
        ("section_3", [], ["train"]),
    ],
)
def test_a_figure_or_section_alone_asks_for_the_runs_and_problems_that_it_shows(paper, target, trained, sets):
    status, output = paper.run("snakemake", target, "--dry-run", "--profile", "profiles/paper")
    assert status == 0, output
    rules = re.findall(r"^(?:local)?rule (\w+):$", output, re.MULTILINE)
    found = re.findall(r"output: results/paper/models/([^,]+), results/paper/training", output)
    assert sorted(found) == trained and rules.count("evaluate_checkpoints") == len(trained)
    assert sorted(re.findall(r"output: results/paper/problems/(\w+)\.parquet$", output, re.MULTILINE)) == sets
    assert "list_runs" not in rules and "train_sft" not in rules
