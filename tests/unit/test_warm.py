"""Jobs of warm processes are as those of new processes are: streams, status, signals, ends, benchmarks."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest
from selfdistill.code_digest import PACKAGE_ROOT
from selfdistill.stages import STAGES, STEP
from selfdistill.warm import messages, start
from selfdistill.warm.client import OFF, VARIABLE
from selfdistill.warm.kinds import IMPORTED, KIND, LAUNCHER, kind_of
from snakemake.benchmark import BenchmarkRecord
from snakemake.shell import shell

# In place of the command line: it imports slowly, tells which process imported it, and does what a word says.
STAND_IN = """
import json, os, resource, signal, sys, time

IMPORTED_BY = os.getpid()
until = time.process_time() + float(os.environ.get("IMPORT_SECONDS", 0))
while time.process_time() < until:
    pass

def spare_collector():
    pass

def main():
    word = sys.argv[2]
    print(json.dumps({"served": IMPORTED_BY != os.getpid(), "process": os.getpid(), "words": sys.argv[1:],
        "folder": os.getcwd(), "own": os.environ.get("TMPDIR"), "group": os.getpgrp(),
        "stop": str(signal.getsignal(signal.SIGTERM)), "interrupt": str(signal.getsignal(signal.SIGINT))}), flush=True)
    if word == "burn":
        until = time.process_time() + 1.5
        while time.process_time() < until:
            pass
    if word == "read":
        print(sys.stdin.read(), file=sys.stderr)
    if word == "fail":
        raise RuntimeError("failed on purpose")
    if word == "leave":
        raise SystemExit(75)
    if word == "wait":
        while True:
            time.sleep(0.05)
    if word == "save":
        asked = []
        for number in (signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, lambda number, frame: asked.append(number))
        print("ready", flush=True)
        while not asked:
            time.sleep(0.02)
        print(f"saved at {asked[0]}")
        return 75
    return int(word) if word.isdigit() else 0
"""
KINDS = '\nIMPORTED = {"tables": ("selfdistill.cli",)}\n'
SNAKEMAKE = """
import sys
from pathlib import Path
from selfdistill.warm import start
with start.warm_processes(Path("warm")):
    print("ready", flush=True)
    sys.stdin.read()
"""


def without_test(variables: Callable[[], dict[str, str]]) -> dict[str, str]:
    """Without what pytest changes before, in and after a test."""
    return {name: value for name, value in variables().items() if name != "PYTEST_CURRENT_TEST"}


@pytest.fixture
def package(tmp_path, monkeypatch) -> Path:
    """A copy of the library with the stand-in, in whose folder this test runs."""
    shutil.copytree(
        PACKAGE_ROOT / "selfdistill", tmp_path / "selfdistill", ignore=shutil.ignore_patterns("__pycache__")
    )
    (tmp_path / "selfdistill" / "cli.py").write_text(STAND_IN)
    kinds = tmp_path / "selfdistill" / "warm" / "kinds.py"
    kinds.write_text(kinds.read_text() + KINDS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(start, "IMPORTED", {"tables": ()})
    monkeypatch.setattr(shell, "_process_prefix", "")  # a Snakefile that this process has read may have set one
    monkeypatch.setattr(start, "environment_of_jobs", partial(without_test, start.environment_of_jobs))
    monkeypatch.delenv(VARIABLE, raising=False)
    return tmp_path


@pytest.fixture
def warm(package) -> Iterator[Path]:
    with start.warm_processes(package / "warm"):
        yield package / "warm"


def begin(*words: str, environment: dict[str, str] | None = None, **options) -> subprocess.Popen:
    command = [sys.executable, "-m", "selfdistill", "list-runs", *words]
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env=environment or start.environment_of_jobs(), **(streams | options))


def run(*words: str, given: str = "", **options) -> tuple[int, dict, str]:
    """Status, what the job told of itself, and its errors."""
    process = begin(*words, **options)
    output, errors = process.communicate(given)
    return process.returncode, json.loads(output.partition("\n")[0]), errors


def began(process: subprocess.Popen) -> dict:
    assert process.stdout is not None
    return json.loads(process.stdout.readline())


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def lives(process: int) -> bool:
    try:
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_every_step_has_a_kind_with_imports():
    assert {command for command, (_, group) in STAGES.items() if group == STEP} == set(KIND)
    assert set(KIND.values()) == set(IMPORTED)


def test_a_job_of_several_processes_has_no_kind():
    assert kind_of(LAUNCHER, ["none", "train-sft"]) == "training"
    assert kind_of(LAUNCHER, ["config/accelerate/ddp.yaml", "train-sft"]) is None
    assert kind_of("selfdistill.cli", ["plan"]) is None


def test_a_job_is_as_one_of_a_new_process(warm, monkeypatch):
    monkeypatch.setenv("TMPDIR", "/tmp/elsewhere")
    status, told, errors = run("read", "--flag=a b", given="text from a pipe")
    with monkeypatch.context() as without:
        without.setenv(VARIABLE, OFF)
        status_without, told_without, errors_without = run("read", "--flag=a b", given="text from a pipe")
    assert told.pop("served") and not told_without.pop("served")
    del told["process"], told_without["process"]
    assert (status, told, errors) == (status_without, told_without, errors_without)
    assert told["own"] == "/tmp/elsewhere"


@pytest.mark.parametrize("word", ["0", "1", "75", "leave", "fail"])
def test_exit_statuses_and_errors_come_back(warm, word):
    status, told, errors = run(word)
    assert told["served"]
    assert status == {"leave": 75, "fail": 1}.get(word, int(word) if word.isdigit() else None)
    assert ("RuntimeError: failed on purpose" in errors) == (word == "fail")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_stop_signals_reach_the_job(warm, number):
    process = begin("save")
    assert began(process)["served"]
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    output, _ = process.communicate()
    assert (process.returncode, output) == (75, f"saved at {number.value}\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_that_comes_while_a_job_begins_reaches_it(package, number):
    """The command is slow to pass signals on: until it can, they wait."""
    client = package / "selfdistill" / "warm" / "client.py"
    begins = '    """To a job, by a descriptor of its process."""\n'
    assert client.read_text().count(begins) == 1
    client.write_text(client.read_text().replace(begins, f"{begins}    __import__('time').sleep(1)\n"))
    with start.warm_processes(package / "warm"):
        process = begin("save")
        assert began(process)["served"]
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        output, _ = process.communicate()
    assert (process.returncode, output) == (75, f"saved at {number.value}\n")


def test_a_job_that_a_signal_ends_ends_its_command_by_it(warm):
    process = begin("wait")
    told = began(process)
    process.send_signal(signal.SIGTERM)
    assert process.wait() == -signal.SIGTERM and not lives(told["process"])
    process = begin("wait")
    os.kill(began(process)["process"], signal.SIGSEGV)
    assert process.wait() == -signal.SIGSEGV


def test_the_job_of_a_killed_command_ends(warm):
    process = begin("wait")
    told = began(process)
    assert told["served"] and lives(told["process"])
    process.kill()
    until(lambda: not lives(told["process"]))
    assert run("0")[1]["served"]  # the others go on


def test_the_jobs_of_a_killed_warm_process_end_with_a_sentence(warm):
    process = begin("wait")
    told = began(process)
    os.kill(psutil.Process(told["process"]).ppid(), signal.SIGKILL)
    _, errors = process.communicate()
    assert process.returncode == -signal.SIGKILL and "the warm process that had made this job was killed" in errors
    until(lambda: not lives(told["process"]))
    status, told, _ = run("0")
    assert status == 0 and not told["served"]


def test_changed_code_is_never_served(warm, package):
    assert run("0")[1]["served"]
    cli = package / "selfdistill" / "cli.py"
    before = cli.stat()
    cli.write_text(STAND_IN.replace("failed on purpose", "failed once more"))
    os.utime(cli, ns=(before.st_atime_ns, before.st_mtime_ns))  # a file of the same time
    status, told, errors = run("fail")
    assert status == 1 and not told["served"] and "failed once more" in errors


def test_what_a_library_may_look_at_is_the_same_or_the_command_works_itself(warm, package, tmp_path):
    environment = start.environment_of_jobs()
    assert run("0", environment=environment)[1]["served"]
    assert run("0", environment=environment | {"NUMEXPR_NUM_THREADS": "2", "OMP_NUM_THREADS": "2"})[1]["served"]
    assert not run("0", environment=environment | {"ARROW_USER_SIMD_LEVEL": "AVX2"})[1]["served"]
    assert not run("0", environment=environment | {"HF_HOME": "/tmp/elsewhere"})[1]["served"]
    assert not run("0", environment=environment | {"PYTHONPATH": f"{package}:{tmp_path}"})[1]["served"]
    assert not run("0", cwd="/")[1]["served"]
    assert not run("0", umask=0o077)[1]["served"]
    assert not run("0", start_new_session=True)[1]["served"]
    for limit in ("-n 100", "-v 4000000"):
        limited = ["bash", "-c", f"ulimit {limit}; {sys.executable} -m selfdistill list-runs 0"]
        told = subprocess.run(limited, env=environment, capture_output=True, check=True, text=True).stdout
        assert not json.loads(told)["served"]


def test_a_folder_that_others_may_enter_is_not_trusted(warm):
    assert warm.stat().st_mode & 0o777 == 0o700
    warm.chmod(0o755)
    assert not run("0")[1]["served"]


def test_a_warm_process_outlives_what_is_no_request(warm):
    for content in (b"", b"GET / HTTP/1.1\r\n\r\n", messages.LENGTH.pack(3) + b"{}x"):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(warm / "tables"))
            connection.sendall(content)
    assert run("0")[1]["served"]


def test_a_command_works_itself_where_its_kind_cannot_be_imported(package):
    kinds = package / "selfdistill" / "warm" / "kinds.py"
    kinds.write_text(kinds.read_text().replace(KINDS, KINDS.replace('"selfdistill.cli"', '"selfdistill.nowhere"')))
    with start.warm_processes(package / "warm"):
        status, told, errors = run("3")
    assert (status, told["served"], errors) == (3, False, "")


def test_in_a_folder_with_a_long_name_too(package):
    folder = package / ("long " * 40)
    folder.mkdir()
    with start.warm_processes(folder / "warm"):
        assert run("0")[1]["served"]


def test_several_jobs_at_once_do_not_hold_each_others_streams(warm):
    first = begin("wait")
    began(first)
    second = begin("0")
    output, _ = second.communicate(timeout=30)  # would not end while another process held its pipes
    assert second.returncode == 0 and json.loads(output)["served"]
    first.kill()


def test_nothing_is_left_when_snakemake_ends(package):
    before = psutil.Process().children(recursive=True)
    with start.warm_processes(package / "warm"):
        process = run("0")[1]["process"]
        below = set(psutil.Process().children(recursive=True)) - set(before)
        assert below and not lives(process)
    until(lambda: not any(part.is_running() for part in below))
    assert not (package / "warm").exists() and VARIABLE not in os.environ


def test_when_snakemake_is_killed_warm_processes_end_after_their_jobs(package):
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    variables = start.environment_of_jobs()
    snakemake = subprocess.Popen([sys.executable, "-c", SNAKEMAKE], env=variables, **streams)
    assert snakemake.stdout.readline() == "ready\n"
    started = psutil.Process(snakemake.pid).children()
    environment = variables | {VARIABLE: str(package / "warm")}
    job = begin("save", environment=environment)
    told = began(job)
    assert told["served"]
    assert job.stdout.readline() == "ready\n"
    below = [part for process in started for part in (process, *process.children(recursive=True))]
    snakemake.kill()
    snakemake.wait()
    assert lives(told["process"])
    assert not run("0", environment=environment)[1]["served"]
    job.terminate()
    assert job.wait() == 75
    until(lambda: not any(part.is_running() for part in below))


def test_benchmarks_count_the_work_and_the_imports_of_who_asked_first(package, monkeypatch):
    monkeypatch.setenv("IMPORT_SECONDS", "1.5")
    records = [BenchmarkRecord(), BenchmarkRecord()]
    with start.warm_processes(package / "warm"):
        for record in records:
            command = "env -u PYTEST_CURRENT_TEST python -m selfdistill list-runs burn > told"
            shell(command, bench_record=record, threads=1)
            assert json.loads(Path("told").read_text())["served"]
    first, second = (record.cpu_time for record in records)
    assert 0.9 < second < 2.0  # of 1.5 seconds, which are looked at twice a second
    assert first > second + 0.6  # with 1.5 seconds of imports
    assert all(record.max_rss > 15 for record in records)  # MB, of more than the command


def test_jobs_below_a_failed_start_work_themselves(package):
    (package / "warm").write_text("a file in place of the folder")
    with start.warm_processes(package / "warm"):
        assert not run("0")[1]["served"]
