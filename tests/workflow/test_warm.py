"""Jobs made by warm processes give the bytes that they give by themselves, and end with whom they serve."""

import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from kills import STUDY
from project import Project
from selfdistill.warm.client import OFF, VARIABLE

TRAINED = "results/smoke/evaluations/microcosm_off/grpo-train-n2-draw0-lr0.0003-seed0/along_training.parquet"
RUN = "results/smoke/training/microcosm_off/grpo-train-n2-draw0-lr0.0003-seed0.parquet"


def until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 120
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def processes(project: Project) -> list[psutil.Process]:
    """All that work in the project's folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.cwd() == str(project.folder) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def trainings(project: Project) -> dict[int, psutil.Process]:
    """Training jobs that warm processes have made, by the processes of their commands."""
    found = {}
    for process in processes(project):
        try:
            command = psutil.Process(int(process.name().removeprefix("job ")))
            if "train-onpolicy" in command.cmdline() and process.num_threads() and process.pid != command.pid:
                found[command.pid] = process
        except (ValueError, psutil.Error):
            continue
    return found


def forget_begun(project: Project) -> None:
    """Of the run that is made anew, all that it could go on from."""
    work = project.folder / "work" / "smoke"
    for folder in (work / "traces", *list(work.rglob("grpo-train-n2-*"))):
        shutil.rmtree(folder, ignore_errors=True)


def nothing_left(project: Project) -> bool:
    return not processes(project)


def test_the_same_bytes_without_warm_processes(project, monkeypatch):
    expected = project.results()
    shutil.rmtree(project.folder / "work" / "smoke")
    run = "microcosm_off/grpo-train-n2"
    remade = (f"training/{run}", f"evaluations/{run}", "figures/fig_3", "tables/table_3")
    for name in expected:
        if name.startswith(remade):
            (project.folder / "results" / "smoke" / name).unlink()
    monkeypatch.setenv(VARIABLE, OFF)
    output = project.snakemake(TRAINED, "results/smoke/tables/table_3.csv", "results/smoke/figures/fig_3.png")
    assert "rule train_onpolicy" in output and "rule draw_fig_3" in output
    assert project.results() == expected


@pytest.mark.parametrize("whom", ["command", "all"])
def test_whoever_is_killed_nothing_is_left_running(project, whom):
    forget_begun(project)
    (project.folder / RUN).unlink()
    with (project.folder / "told.log").open("w") as log:
        snakemake = project.start("snakemake", TRAINED, *STUDY, start_new_session=True, stdout=log)
        until(lambda: trainings(project) or snakemake.poll() is not None)
        ((command, job),) = trainings(project).items()
        if whom == "command":
            os.kill(command, signal.SIGKILL)
            assert snakemake.wait() == 1
            assert not job.is_running()
            assert [path.name for path in Path(project.folder / ".snakemake" / "owners").iterdir()] == ["lock"]
        else:
            os.killpg(snakemake.pid, signal.SIGKILL)
            snakemake.wait()
    until(lambda: nothing_left(project))
    assert project.run("snakemake", TRAINED, *STUDY)[0] == 0
    assert [path.name for path in Path(project.folder / ".snakemake" / "owners").iterdir()] == ["lock"]
