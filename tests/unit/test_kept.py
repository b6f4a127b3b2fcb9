"""A failing job leaves the outputs that were there before it; a good one leaves nothing aside."""

import inspect
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
           "[[ {params.value} != wait* ]] || until test -e go; do sleep 0.05; done; [[ {params.value} != *bad ]]; "
           "[[ {params.value} != forgotten ]] || rm {output.file}"
"""
# Submits jobs to nothing but this machine: each is a Snakemake of its own, as on a cluster.
EXECUTOR = """
import subprocess
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor
from snakemake_interface_executor_plugins.settings import CommonSettings

common_settings = CommonSettings(
    non_local_exec=True, implies_no_shared_fs=False, job_deploy_sources=False, init_seconds_before_status_checks=0
)

class Executor(RemoteExecutor):
    def run_job(self, job):
        submitted = SubmittedJobInfo(job)
        self.report_job_submission(submitted)
        failed = subprocess.call(self.format_job_exec(job), shell=True)
        (self.report_job_error if failed else self.report_job_success)(submitted)

    async def check_active_jobs(self, active_jobs):
        for none in ():
            yield none

    def cancel_jobs(self, active_jobs):
        pass
"""


class Folder:
    def __init__(self, path: Path):
        self.path = path
        (path / "Snakefile").write_text(SNAKEFILE)

    def start(self, value: str, *arguments: str, start: Callable[..., Any] = forks.start) -> Any:
        command = ["snakemake", "--cores", "1", "--rerun-incomplete", "--nolock", *arguments]
        environment = os.environ | {"PYTHONPATH": f"{self.path}{os.pathsep}{PACKAGE_ROOT}"}
        options = {"cwd": self.path, "env": environment, "start_new_session": True}
        return start([*command, "--config", f"value={value}"], **options)

    def submit(self, value: str, *arguments: str) -> tuple[int, str]:
        """As `run`, with `EXECUTOR`; in a process of its own, since one that is forked knows its executors already."""
        plugin = self.path / "snakemake_executor_plugin_here"
        plugin.mkdir(exist_ok=True)
        (plugin / "__init__.py").write_text(EXECUTOR)
        done = self.start(value, *arguments, "--executor", "here", "--jobs", "1", start=run_apart)
        return done.returncode, done.stdout

    def run(self, value: str, *arguments: str) -> tuple[int, str]:
        process = self.start(value, *arguments)
        output, _ = process.communicate()
        return process.returncode, output

    def held(self) -> set[str]:
        """What the two outputs hold."""
        return {(self.path / "made" / name).read_text().strip() for name in ("a.txt", "folder/b.txt")}

    def aside(self) -> list[Path]:
        return [path for path in (self.path / ".snakemake" / "kept").rglob("*") if path.is_file()]


def run_apart(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
    both = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.run([sys.executable, "-m", *command], **both, **options)


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


def test_a_job_that_is_done_without_an_output_leaves_what_was_there(folder):
    status, output = folder.run("forgotten", "--latency-wait", "0")
    assert status != 0 and "MissingOutputException" in output
    assert folder.held() == {"good"} and folder.aside() == []
    assert "Nothing to be done" in folder.run("good", "--dry-run")[1]


def test_a_failing_job_of_a_cluster_leaves_what_was_there(folder):
    status, output = folder.submit("bad", "--retries", "1")
    assert status != 0 and output.count("made/a.txt is again what it was before the job.") == 2
    assert folder.held() == {"good"} and folder.aside() == []
    assert "Nothing to be done" in folder.run("good", "--dry-run")[1]
    assert folder.submit("better")[0] == 0
    assert folder.held() == {"better"} and folder.aside() == []


def test_results_on_another_disk_are_put_aside_too(folder):
    """A disk of its own, as a link to one is: memory."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as disk:
        assert os.stat(disk).st_dev != os.stat(folder.path).st_dev
        shutil.move(folder.path / "made", f"{disk}/made")
        (folder.path / "made").symlink_to(f"{disk}/made")
        assert folder.run("bad")[0] != 0
        assert folder.held() == {"good"} and folder.aside() == []
        assert folder.run("better")[0] == 0
        assert folder.held() == {"better"} and folder.aside() == []


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
