"""Locks: those of a killed run are removed at the next start, those of a run that may live never."""

import fcntl
import inspect
import json
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import forks
import pytest
import snakemake
from selfdistill import locks
from selfdistill.code_digest import PACKAGE_ROOT
from selfdistill.locks import OVERRIDDEN, VARIABLE, Locks, Owner
from snakemake.persistence import PersistenceBase
from snakemake.persistence.file import FilePersistence

# A job takes until a file `go` appears; it counts the shells that have begun it.
SNAKEFILE = """
import snakemake.workflow
from selfdistill.locks import Locks
snakemake.workflow.FilePersistence = Locks

rule make:
    output: "{name}.made"
    shell: "echo $$ >> {wildcards.name}.begun; until test -e go; do sleep 0.05; done; echo made > {output}"
"""


class Folder:
    """A working folder with the workflow above."""

    def __init__(self, path: Path):
        self.path = path
        (path / "Snakefile").write_text(SNAKEFILE)

    def start(self, *arguments: str) -> forks.Fork:
        command = ["snakemake", "--cores", "1", "--rerun-incomplete", *arguments]
        return forks.start(command, cwd=self.path, env=os.environ | {"PYTHONPATH": str(PACKAGE_ROOT)})

    def run(self, *arguments: str) -> tuple[int, str]:
        process = self.start(*arguments)
        output, _ = process.communicate()
        return process.returncode, output

    def begin(self, name: str) -> forks.Fork:
        """Start a run and wait until its job has begun."""
        process = self.start(f"{name}.made")
        until((self.path / f"{name}.begun").exists, process)
        return process

    def kill(self, process: forks.Fork) -> None:
        process.send_signal(signal.SIGKILL)
        process.wait()

    def go(self) -> None:
        (self.path / "go").touch()

    def locks(self) -> int:
        return len(list((self.path / ".snakemake" / "locks").glob("*.lock")))


def until(true: Callable[[], bool], process: forks.Fork | subprocess.Popen) -> None:
    """Wait as long as ``process`` runs."""
    while not true():
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)


def lives(process: int) -> bool:
    """Whether it runs; a process that has ended and nobody waited for has no environment."""
    try:
        return bool(Path(f"/proc/{process}/environ").read_bytes())
    except OSError:
        return False


@pytest.fixture
def folder(tmp_path) -> Folder:
    return Folder(tmp_path)


def test_after_a_kill_the_same_command_goes_on_and_what_was_left_running_is_ended(folder):
    folder.kill(folder.begin("a"))
    (orphan,) = map(int, (folder.path / "a.begun").read_text().split())
    assert lives(orphan) and folder.locks()
    again = folder.start("a.made")
    until(lambda: len((folder.path / "a.begun").read_text().split()) == 2, again)
    assert not lives(orphan)
    folder.go()
    output, _ = again.communicate()
    assert again.returncode == 0, output
    assert "was killed while it ran here. Its lock is removed" in output and "Ending" in output
    assert (folder.path / "a.made").read_text() == "made\n"
    assert folder.locks() == 0


def test_a_second_start_beside_a_living_run_is_refused_and_the_first_goes_on(folder):
    first = folder.begin("a")
    status, output = folder.run("a.made")
    assert status == 1
    assert f"Process {first.pid} on " in output and "is making them. Wait for its end" in output
    status, output = folder.run("a.made", "--dry-run")
    assert status == 0 and folder.locks() > 0
    folder.go()
    first.communicate()
    assert first.returncode == 0 and len((folder.path / "a.begun").read_text().split()) == 1


def test_two_runs_in_one_folder_leave_each_other_alone(folder):
    """The kill of one does not take the other's lock away."""
    killed, living = folder.begin("a"), folder.begin("b")
    folder.kill(killed)
    folder.go()
    assert folder.run("a.made")[0] == 0
    living.communicate()
    assert living.returncode == 0 and folder.locks() == 0


def test_the_end_of_one_run_leaves_the_lock_of_another(folder):
    living = folder.begin("a")
    (folder.path / "b.made").touch()
    assert folder.run("b.made", "--forcerun", "make", "--touch")[0] == 0
    assert folder.run("a.made")[0] == 1
    folder.go()
    living.communicate()
    assert living.returncode == 0


HERE = Owner.this(local=True)
GONE = replace(HERE, process=1)
# Records of owners: whether the start goes on, and what it says.
OWNERS = {
    "dead, of this machine": (GONE, True, "was killed while it ran here"),
    "dead since before the machine's last start": (
        replace(GONE, boot="another"),
        bool(HERE.machine),
        "was killed" if HERE.machine else "cannot be seen from here",
    ),
    "of another host": (replace(GONE, host="elsewhere"), False, "on elsewhere has locked them"),
    "of another machine of the same name": (replace(GONE, machine="x", boot="y"), False, "cannot be seen from here"),
    "of a machine without ids": (replace(GONE, machine="", boot=""), False, "cannot be seen from here"),
    "with its jobs on a cluster": (replace(GONE, local=False), False, "its jobs on the cluster may still run"),
    "without a record": (None, False, "It is not recorded who locked them"),
}


@pytest.mark.parametrize("case", OWNERS)
def test_a_lock_is_removed_only_when_its_owner_is_dead_for_certain(folder, case):
    owner, goes_on, told = OWNERS[case]
    leave(folder, "12", owner)
    folder.go()
    status, output = folder.run("a.made")
    assert (status == 0) == goes_on, output
    assert told in output
    assert (folder.path / "a.made").exists() == goes_on
    if not goes_on:
        assert folder.locks() == 1
        assert folder.run("--unlock")[0] == 0
        assert folder.run("a.made")[0] == 0


def test_a_cut_record_is_no_proof_of_death(folder):
    leave(folder, "12", GONE)
    record = folder.path / ".snakemake/owners/12.json"
    record.write_text(record.read_text()[:20])
    assert "not recorded who locked them" in folder.run("a.made")[1]
    assert folder.locks() == 1


def test_a_held_record_is_life_whatever_process_it_names(folder):
    leave(folder, "12", GONE)
    with open(folder.path / ".snakemake/owners/12.json") as record:
        fcntl.flock(record, fcntl.LOCK_EX)
        assert "is making them" in folder.run("a.made")[1]
    folder.go()
    assert folder.run("a.made")[0] == 0


def leave(folder: Folder, number: str, owner: Owner | None) -> None:
    """What a killed run leaves."""
    for name in ("locks", "owners"):
        (folder.path / ".snakemake" / name).mkdir(parents=True)
    (folder.path / f".snakemake/locks/{number}.output.lock").write_text("a.made\n")
    if owner is not None:
        (folder.path / f".snakemake/owners/{number}.json").write_text(json.dumps(asdict(owner)))


def test_a_process_that_has_overwritten_its_environment_is_ended_with_the_one_that_started_it(tmp_path):
    """As vLLM's, which gives itself a title. It must not outlive a parent that ends first."""
    number = uuid.uuid4().hex
    parent = subprocess.Popen(
        ["bash", "-c", "env -u SELFDISTILL_RUN bash -c 'trap \"\" TERM; echo $$ > child; sleep 60' & wait"],
        cwd=tmp_path,
        env=os.environ | {VARIABLE: number},
    )
    until(lambda: (tmp_path / "child").exists() and (tmp_path / "child").read_text().endswith("\n"), parent)
    child = int((tmp_path / "child").read_text())
    assert {parent.pid, child} <= set(locks._processes_of(number))
    parent.kill()
    parent.wait()
    assert locks._processes_of(number) == [] and child in locks._processes_of(number, [child])
    locks._signal(locks._processes_of(number, [child]), signal.SIGKILL)
    while lives(child):
        time.sleep(0.05)


def test_jobs_know_their_run_only_where_it_is_to_end_them(folder):
    """A number in the environment is what tells a killed run's processes from all others."""
    assert VARIABLE not in os.environ
    process = folder.begin("a")
    (job,) = map(int, (folder.path / "a.begun").read_text().split())
    (record,) = (folder.path / ".snakemake/owners").glob("*.json")
    environment = Path(f"/proc/{job}/environ").read_bytes().split(b"\0")
    assert f"{VARIABLE}={record.stem}".encode() in environment
    folder.go()
    process.communicate()
    assert not list((folder.path / ".snakemake/owners").glob("*.json"))


@pytest.mark.parametrize("name", OVERRIDDEN)
def test_snakemake_still_has_what_is_overridden(name):
    found = getattr(FilePersistence, name, None)
    assert found is not None, f"Snakemake {snakemake.__version__}: FilePersistence has no {name} any more"
    assert list(inspect.signature(found).parameters)[1:] == OVERRIDDEN[name]
    assert name in vars(FilePersistence) | vars(PersistenceBase)


def test_every_method_of_snakemake_that_is_overridden_is_listed():
    assert {name for name in vars(Locks) if hasattr(FilePersistence, name) and not name.startswith("__")} <= {
        *OVERRIDDEN,
        "_abc_impl",
    }
