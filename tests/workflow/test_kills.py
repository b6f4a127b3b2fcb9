"""The same command goes on after kills, on a disk that was full or read-only, and in a folder of any name.

`make torture` does the same at length.
"""

import os
import shutil

import kills
import pytest
from disks import full, mounted, read_only
from project import Project

from .conftest import PART

SELECTION = "results/smoke/traces/microcosm/selection.parquet"
RUNS = "results/smoke/training/runs.parquet"


def test_killed_again_and_again_on_one_core_it_goes_on_to_the_bytes_of_an_undisturbed_run_on_two(request, tmp_path):
    """In pre-training, with jobs left running and with none left, and in on-policy training."""
    project = Project.copy_to(tmp_path / "project")
    study = ("--cores", "1", "--configfile", "config/smoke.yaml")
    for begun, alone in (("pre-training: ", True), ("pre-training: ", False), ("grpo-.*step/s", False)):
        kills.kill_when(project, PART, begun, study, alone=alone)
    assert "pretrain_model" not in project.pending()
    project.snakemake(*PART, cores=1)
    finished = request.getfixturevalue("finished")  # which another worker has run meanwhile
    assert len(kills.finished(project)) > 50
    assert kills.differing(project, kills.finished(finished)) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
@pytest.mark.parametrize(
    ("way", "told"),
    [(full, "the disk is full: make room"), (read_only, "the file system is read-only: mount it")],
)
def test_on_a_disk_that_cannot_be_written_a_sentence_says_what_to_do(project, finished, way, told):
    results = project.folder / "results"
    with mounted(results):
        if way is full:
            (project.folder / SELECTION).unlink()
        else:
            project.edit("config/smoke.yaml", "batch: 64", "batch: 63")
        with way(results):
            status, output = project.run("snakemake", SELECTION, *kills.STUDY)
        assert status == 1 and told in output
        assert "Traceback" not in output and "selfdistill/" not in output.partition(told)[2].partition("\n")[0]
        assert (project.folder / SELECTION).exists() == (way is read_only)  # nothing was deleted in vain
        assert project.run("snakemake", SELECTION, *kills.STUDY)[0] == 0
    assert way is read_only or (project.folder / SELECTION).read_bytes() == (finished.folder / SELECTION).read_bytes()


def test_a_folder_of_any_name_is_as_good(project, tmp_path):
    folder = tmp_path / "sp ace, quo'te, do$lar(1); amp&and {x} ümlaut per%cent a=b"
    shutil.move(project.folder, folder)
    moved = Project(folder)
    (folder / RUNS).unlink()
    status, output = moved.run("snakemake", RUNS, *kills.STUDY)
    assert status == 0, output
