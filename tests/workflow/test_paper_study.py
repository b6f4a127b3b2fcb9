"""The study of the paper's models is a whole graph, built without network."""

import re

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
    small = [line for line in commands if "--subset 8 " in line]
    assert small and all("--batch-size 64 " in line for line in small)
    assert any("--method sdpo --learning-rate 1e-05 --batch-size 256" in line for line in commands)
    off = [line for line in commands if "evaluate-model" in line and "--model-name qwen3_8b_off" in line]
    assert off and all("--temperature 0.7 --top-p 0.8" in line and "--enable-thinking false" in line for line in off)
