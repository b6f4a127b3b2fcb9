"""A failing job leaves the outputs that were there before it; a good one leaves nothing aside."""

import inspect
import os
import signal
import time
from pathlib import Path

import forks
import pytest
from selfdistill.code_digest import PACKAGE_ROOT
from snakemake.jobs import Job

# A job that writes its value into a file and a folder; the value says whether it waits for a file `go`, and fails.
SNAKEFILE = """
from selfdistill import kept
kept.install()

rule make:
    output: file="made/a.txt", folder=directory("made/folder")
    params: value=config["value"]
    shell: "mkdir -p {output.folder}; echo {params.value} | tee {output.folder}/b.txt > {output.file}; touch begun; "
           "[[ {params.value} != wait* ]] || until test -e go; do sleep 0.05; done; [[ {params.value} != *bad ]]"
"""


class Folder:
    def __init__(self, path: Path):
        self.path = path
        (path / "Snakefile").write_text(SNAKEFILE)

    def start(self, value: str, *arguments: str) -> forks.Fork:
        command = ["snakemake", "--cores", "1", "--rerun-incomplete", "--nolock", *arguments]
        environment = os.environ | {"PYTHONPATH": str(PACKAGE_ROOT)}
        options = {"cwd": self.path, "env": environment, "start_new_session": True}
        return forks.start([*command, "--config", f"value={value}"], **options)

    def run(self, value: str, *arguments: str) -> tuple[int, str]:
        process = self.start(value, *arguments)
        output, _ = process.communicate()
        return process.returncode, output

    def held(self) -> set[str]:
        """What the two outputs hold."""
        return {path.read_text().strip() for path in (self.path / "made").rglob("*.txt")}

    def aside(self) -> list[Path]:
        return [path for path in (self.path / ".snakemake" / "kept").rglob("*") if path.is_file()]


@pytest.fixture
def folder(tmp_path) -> Folder:
    made = Folder(tmp_path)
    assert made.run("good")[0] == 0
    assert made.held() == {"good"} and made.aside() == []
    return made


def test_a_failing_job_leaves_what_was_there_and_is_still_to_be_done(folder):
    status, output = folder.run("bad")
    assert status != 0 and "made/a.txt is again what it was before the job." in output
    assert folder.held() == {"good"} and folder.aside() == []
    assert "Params have changed" in folder.run("bad", "--dry-run")[1]
    assert "Nothing to be done" in folder.run("good", "--dry-run")[1]


def test_better_outputs_take_the_place_of_old_ones(folder):
    assert folder.run("better")[0] == 0
    assert folder.held() == {"better"} and folder.aside() == []


def test_after_a_kill_the_old_outputs_wait_for_the_next_run(folder):
    (folder.path / "begun").unlink()
    process = folder.start("wait-bad")
    while not (folder.path / "begun").exists():
        assert process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert folder.held() == {"wait-bad"} and {"a.txt", "a.txt.record", "b.txt"} <= {p.name for p in folder.aside()}
    assert folder.run("bad")[0] != 0
    assert folder.held() == {"good"} and folder.aside() == []
    assert folder.run("better")[0] == 0
    assert folder.held() == {"better"} and folder.aside() == []


@pytest.mark.parametrize("name", ["remove_existing_output", "postprocess"])
def test_snakemake_still_has_what_is_wrapped(name):
    assert inspect.iscoroutinefunction(getattr(Job, name))
