"""The side of Snakemake: warm processes while a run's jobs run, and benchmarks that count the jobs made by them."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import snakemake.benchmark
from snakemake.shell import shell

from selfdistill.warm.client import OFF, VARIABLE
from selfdistill.warm.kinds import IMPORTED
from selfdistill.warm.server import name_of

GPUS = (Path("/dev/nvidiactl"), Path("/dev/kfd"), Path("/dev/dxg"))
END = 5.0  # seconds to wait for warm processes without jobs


def possible(workflow: Any) -> bool:
    """Whether warm processes can be used: local jobs on Linux without a GPU, and not switched off."""
    here = workflow.local_exec and workflow.is_main_process and not (workflow.dryrun or workflow.touch)
    system = sys.platform == "linux" and hasattr(os, "pidfd_open") and not any(gpu.exists() for gpu in GPUS)
    return here and system and os.environ.get(VARIABLE) != OFF


@contextmanager
def warm_processes(folder: Path) -> Iterator[None]:
    """While in this context, jobs find warm processes by sockets in ``folder``; none where they cannot be started."""
    process = None
    with suppress(OSError, ValueError, subprocess.CalledProcessError):
        process = _started(folder)
    if process is None:
        _remove(folder)
        yield
        return
    try:
        with _measured(process.pid):
            yield
    finally:
        assert process.stdin is not None
        process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            process.wait(END)
        _remove(folder)


def _started(folder: Path) -> subprocess.Popen:
    folder.mkdir(mode=0o700)
    os.environ[VARIABLE] = str(folder.absolute())
    listeners = {kind: _listener(folder, kind) for kind in IMPORTED}
    environment = environment_of_jobs()
    python = shutil.which("python", path=environment["PATH"]) or sys.executable
    words = [f"{kind}={listener.fileno()}" for kind, listener in listeners.items()]
    process = subprocess.Popen(
        [python, "-m", "selfdistill.warm", *words],
        stdin=subprocess.PIPE,
        env=environment,
        pass_fds=[listener.fileno() for listener in listeners.values()],
    )
    for listener in listeners.values():
        listener.close()
    return process


def _listener(folder: Path, kind: str) -> socket.socket:
    """It is bound through the open folder, as the path of a socket may have a hundred characters only."""
    listener = socket.socket(socket.AF_UNIX)
    place = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        listener.bind(f"/proc/self/fd/{place}/{kind}")
    finally:
        os.close(place)
    listener.listen(socket.SOMAXCONN)
    return listener


def environment_of_jobs() -> dict[str, str]:
    """The variables of a job of one thread, as Snakemake and the prefix of its shells set them."""
    told = shell("env -0", read=True, threads=1)
    return dict(entry.split("=", 1) for entry in told.split("\0") if entry)


def _remove(folder: Path) -> None:
    os.environ.pop(VARIABLE, None)
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _measured(warm: int) -> Iterator[None]:
    """While in this context, Snakemake's benchmarks look at a job's processes below its shell and below ``warm``."""

    class Timer(snakemake.benchmark.BenchmarkTimer):
        def __init__(self, pid: int, *arguments: Any):
            super().__init__(pid, *arguments)
            self.main = Shell(pid, psutil.Process(warm))

    former, snakemake.benchmark.BenchmarkTimer = snakemake.benchmark.BenchmarkTimer, Timer
    try:
        yield
    finally:
        snakemake.benchmark.BenchmarkTimer = former


class Shell(psutil.Process):
    """A job's shell. To the processes below it belong those that work for its commands."""

    def __init__(self, pid: int, warm: psutil.Process):
        super().__init__(pid)
        self._warm = warm

    def children(self, recursive: bool = False) -> list[psutil.Process]:
        own = super().children(recursive=recursive)
        names = {name_of(process.pid) for process in own}
        found = {process.pid: process for process in own}
        with suppress(psutil.NoSuchProcess):
            for process in self._warm.children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    if process.name() in names:
                        found |= {part.pid: part for part in (process, *process.children(recursive=True))}
        return list(found.values())
