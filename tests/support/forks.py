"""`python -m MODULE ...` in a process that is forked from one which has imported Snakemake, or torch, already.

Tests start hundreds of processes, and these imports are most of what many of them do. A fork is a process of its own in
all that tests look at: number, session, folder, environment, output, exit status, and what a signal does to it. Nothing
of this project is imported before the fork: whose library runs is a matter of the folder and of ``PYTHONPATH``.
"""

import atexit
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import IO

PLANNING = (
    "snakemake.cli", "snakemake.workflow", "snakemake.report.html_reporter", "smart_open", "pandas", "pyarrow.parquet",
    "pydantic",
)  # fmt: skip
TRAINING = ("trl.trainer.grpo_trainer", "trl.trainer.sft_trainer", "peft", "numba", "pyarrow.parquet", "pydantic")
LONGEST = 1_000_000  # bytes of a request


class Fork:
    """Like `subprocess.Popen`; standard error goes where the output goes."""

    def __init__(self, status: IO[str], stdout: IO[str] | None):
        self._status = status
        self.stdout = stdout
        self.pid = int(status.readline())
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None and select.select([self._status], [], [], 0)[0]:
            self.wait()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not select.select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
            self.returncode = int(self._status.readline())
        return self.returncode

    def communicate(self) -> tuple[str | None, None]:
        output = None if self.stdout is None else self.stdout.read()
        self.wait()
        return output, None

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def start(
    arguments: list[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    packages: tuple[str, ...] = PLANNING,
    stdout: IO[str] | None = None,
    start_new_session: bool = False,
) -> Fork:
    """`python -m ARGUMENTS`, or `python ARGUMENTS` where the first is a file. ``stdout``: a pipe if it is not given."""
    output, written = (None, stdout.fileno()) if stdout else os.pipe()
    status, told = os.pipe()
    request = {"arguments": arguments, "cwd": str(cwd), "environment": dict(env), "session": start_new_session}
    socket.send_fds(_server(packages), [json.dumps(request).encode()], [written, told])
    os.close(told)
    if stdout is None:
        os.close(written)
    return Fork(os.fdopen(status), None if output is None else os.fdopen(output, errors="replace"))


def call(function: str, *words: str, folder: Path) -> Fork:
    """`start` of a program, written to ``folder``, that calls a ``function`` ("module:name") of the tests."""
    module, _, name = function.partition(":")
    program = folder / f"{name}.py"
    program.write_text(f"import sys\nfrom {module} import {name}\n\n{name}(*sys.argv[1:])\n")
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    return start([str(program), *words], cwd=folder, env=env, packages=TRAINING)


@cache
def _server(packages: tuple[str, ...]) -> socket.socket:
    """A connection to a new process that has imported ``packages``. It ends with this one."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-P", __file__, str(its.fileno()), *packages]
    process = subprocess.Popen(command, env=environment, pass_fds=[its.fileno()], stdin=subprocess.DEVNULL)
    its.close()
    atexit.register(lambda: (ours.close(), process.wait()))
    return ours


def _serve(connection: socket.socket) -> Callable[[], None] | None:
    """Fork for every request; what a forked process has to do is returned in it, None at the end."""
    while True:
        message, descriptors, *_ = socket.recv_fds(connection, LONGEST, 2)
        if not message:
            return None
        output, status = descriptors
        pid = os.fork()
        if pid == 0:
            os.close(status)
            connection.close()
            return partial(_become, output=output, **json.loads(message))
        os.close(output)
        threading.Thread(target=_report, args=(pid, status), daemon=True).start()


def _report(pid: int, status: int) -> None:
    with os.fdopen(status, "w") as told, suppress(BrokenPipeError):  # who started it may have ended
        print(pid, file=told, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), file=told, flush=True)


def _become(arguments: list[str], cwd: str, environment: dict[str, str], session: bool, output: int) -> None:
    """Run the program as `python` would."""
    for stream in (1, 2):
        os.dup2(output, stream)
    os.close(output)
    if session:
        os.setsid()
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    program, *sys.argv[1:] = arguments
    sys.argv[0] = program
    sys.dont_write_bytecode = bool(environment.get("PYTHONDONTWRITEBYTECODE"))
    places = [place for place in environment.get("PYTHONPATH", "").split(os.pathsep) if place]
    if program.endswith(".py"):
        sys.path[:0] = [str(Path(program).parent), *places]
        runpy.run_path(program, run_name="__main__")
    else:
        sys.path[:0] = [cwd, *places]
        runpy.run_module(program, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    gc.disable()  # imports make a million objects that stay: to walk through them takes a quarter of the time
    for name in sys.argv[2:]:
        importlib.import_module(name)
    gc.freeze()  # spares forks what they did not make
    gc.enable()
    if program := _serve(socket.socket(fileno=int(sys.argv[1]))):
        program()
