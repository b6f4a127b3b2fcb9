"""The side of the warm processes: one that waits, one for each kind that was asked for, and below those the jobs.

They do little beside: a process that forks must have no threads that hold a lock.
"""

import atexit
import ctypes
import gc
import importlib
import os
import selectors
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from selfdistill.warm import messages
from selfdistill.warm.kinds import COMMAND_LINE, IMPORTED, LAUNCHER
from selfdistill.warm.standing import code, standing

Work = Callable[[], int]

STDIN, STDERR = 0, 2
LIFE = STDIN  # a pipe whose other end closes when Snakemake ends, however it ends
PATIENCE = 10.0  # seconds in which a command has to say what it wants
PR_SET_PDEATHSIG = 1
# jemalloc's background thread, which it stops and starts around a fork.
HARMLESS = {"jemalloc_bg_thd"}
# Sent to a group of processes, these are meant for jobs and Snakemake.
NOT_MEANT = (signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)
COMM = Path("/proc/self/comm")


@dataclass(frozen=True)
class Start:
    """How the warm processes were started: what a command has to be equal in, and how signals were handled."""

    standing: str
    code: Mapping[str, tuple[int, ...]]
    handlers: Mapping[int, Any]

    @classmethod
    def now(cls) -> "Start":
        handled = (*NOT_MEANT, signal.SIGTERM)
        return cls(standing(), code(), {number: signal.getsignal(number) for number in handled})


def jobs(words: Sequence[str]) -> Work:
    """Wait for commands. Returns in the processes of jobs only, with what they have to do."""
    start = Start.now()
    listeners = {}
    for word in words:
        kind, _, descriptor = word.partition("=")
        listeners[kind] = socket.socket(fileno=int(descriptor))
    for number in NOT_MEANT:
        signal.signal(number, signal.SIG_IGN)
    return _first(listeners, start).serve()


def _first(listeners: dict[str, socket.socket], start: Start) -> "Kind":
    """Start a process for a kind at its first command. Returns in those."""
    signal.signal(signal.SIGTERM, lambda *_: _end())
    ready = selectors.PollSelector()
    ready.register(LIFE, selectors.EVENT_READ)
    for kind, listener in listeners.items():
        ready.register(listener, selectors.EVENT_READ, kind)
    while True:
        for key, _ in ready.select():
            if key.fd == LIFE:
                _end()
            if os.fork() == 0:
                for kind, listener in listeners.items():
                    if kind != key.data:
                        listener.close()
                return Kind(key.data, listeners[key.data], start)
            ready.unregister(key.fileobj)
            listeners.pop(key.data).close()


def _end() -> NoReturn:
    """When Snakemake has ended: after those that have jobs."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with suppress(ChildProcessError):
        while True:
            os.wait()
    os._exit(0)


@dataclass(frozen=True)
class Job:
    """A job that runs: its process, a descriptor of that, and its command."""

    process: int
    descriptor: int
    command: socket.socket


class Kind:
    """The warm process of one kind of jobs."""

    def __init__(self, name: str, listener: socket.socket, start: Start):
        self._name, self._listener, self._start = name, listener, start
        self._asked, self._ask = os.pipe()  # to stop, by a signal
        self._ready = selectors.PollSelector()
        self._ready.register(LIFE, selectors.EVENT_READ, self._stop)
        self._ready.register(self._asked, selectors.EVENT_READ, self._stop)
        self._ready.register(listener, selectors.EVENT_READ, self._accept)
        self._jobs: list[Job] = []
        self._imported = self._stopped = False

    def serve(self) -> Work:
        """Until Snakemake has ended and no job runs. Returns in the processes of jobs."""
        signal.signal(signal.SIGTERM, lambda *_: os.write(self._ask, b"."))
        while self._jobs or not self._stopped:
            for key, _ in self._ready.select():
                if work := key.data():
                    return work
        os._exit(0)

    def _stop(self) -> None:
        """Take no further commands."""
        if not self._stopped:
            self._stopped = True
            for source in (LIFE, self._asked, self._listener):
                self._ready.unregister(source)
            self._listener.close()

    def _accept(self) -> Work | None:
        if self._stopped:
            return None
        command, _ = self._listener.accept()
        command.settimeout(PATIENCE)
        request, streams = {}, []
        try:
            if messages.peer(command)[1] != os.geteuid():
                raise PermissionError("another user")
            request, streams = messages.receive(command)
            refused = self._refused(request, streams, command)
            if refused:
                messages.send(command, {"refused": refused})
        except (OSError, EOFError, ValueError, LookupError, TypeError):  # it has ended, or is none of ours
            refused = "no request"
        work = None if refused else self._fork(request, streams, command)
        for stream in streams:
            os.close(stream)
        if refused:
            command.close()
        return work

    def _refused(self, request: Any, streams: Sequence[int], command: socket.socket) -> str | None:
        """Why a command has to do its work itself."""
        if len(streams) != 3 or request["module"] not in (COMMAND_LINE, LAUNCHER):
            return "it is no command of a job"
        if request["standing"] != self._start.standing:
            return "it was started in another way"
        if not self._imported:
            self._import(messages.peer(command)[0], streams[STDERR])
        if code() != self._start.code:
            return "the code has changed"
        return "threads are running" if _threads() - HARMLESS else None

    def _import(self, process: int, errors: int) -> None:
        """Under the name of the job that pays for it; what is told goes to its log.

        A failure ends this process: the command meets it too, and tells it.
        """
        with _named(process), _errors_to(errors):
            try:
                from selfdistill.cli import spare_collector

                spare_collector()
                for module in IMPORTED[self._name]:
                    importlib.import_module(module)
            except BaseException:
                os._exit(1)
        gc.collect()
        gc.freeze()  # what is never looked through is never copied
        self._imported = True

    def _fork(self, request: Any, streams: Sequence[int], command: socket.socket) -> Work | None:
        client, _ = messages.peer(command)
        every = signal.valid_signals()
        before, parent = signal.pthread_sigmask(signal.SIG_BLOCK, every), os.getpid()
        process = os.fork()
        if process == 0:
            self._become_job(client, parent, command)
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            return _work(request, streams)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        job = Job(process, os.pidfd_open(process), command)
        self._jobs.append(job)
        command.settimeout(None)
        self._ready.register(job.descriptor, selectors.EVENT_READ, lambda: self._ended(job))
        self._ready.register(command, selectors.EVENT_READ, lambda: self._left(job))
        return None

    def _become_job(self, client: int, parent: int, command: socket.socket) -> None:
        """Leave all that belongs to the warm process, and end with it."""
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
        for number, handler in self._start.handlers.items():
            signal.signal(number, handler)
        self._listener.close()
        os.close(self._asked)
        os.close(self._ask)
        for job in self._jobs:
            os.close(job.descriptor)
            job.command.close()
        COMM.write_text(name_of(client))
        try:
            # By the job itself: a command that is told of one never does the work too.
            messages.send(command, {"made": True}, [own := os.pidfd_open(os.getpid())])
        except OSError:  # it was killed meanwhile
            os._exit(1)
        os.close(own)
        command.close()

    def _ended(self, job: Job) -> None:
        _, status = os.waitpid(job.process, 0)
        self._forget(job)
        with suppress(OSError):  # it was killed
            messages.send(job.command, {"status": status})
        job.command.close()

    def _left(self, job: Job) -> None:
        """A command has ended before its job: it was killed."""
        if job in self._jobs:  # else it has ended at the same time
            os.kill(job.process, signal.SIGKILL)
            self._ready.unregister(job.command)

    def _forget(self, job: Job) -> None:
        self._jobs.remove(job)
        self._ready.unregister(job.descriptor)
        os.close(job.descriptor)
        if job.command in self._ready.get_map():
            self._ready.unregister(job.command)


def name_of(command: int) -> str:
    """The name of the process that works for a command, by which Snakemake's benchmark finds it."""
    return f"job {command}"


@contextmanager
def _named(command: int) -> Iterator[None]:
    former = COMM.read_text().strip()
    COMM.write_text(name_of(command))
    try:
        yield
    finally:
        COMM.write_text(former)


@contextmanager
def _errors_to(stream: int) -> Iterator[None]:
    former = os.dup(STDERR)
    os.dup2(stream, STDERR)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(former, STDERR)
        os.close(former)


def _threads() -> set[str]:
    """Names of the threads beside the one that asks."""
    tasks = [path for path in Path("/proc/self/task").iterdir() if path.name != str(os.getpid())]
    return {(path / "comm").read_text().strip() for path in tasks}


def _work(request: Any, streams: Sequence[int]) -> Work:
    """Take on a command's streams, arguments and variables; returns the work to do."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    sys.stdout.reconfigure(line_buffering=os.isatty(1))
    sys.argv = request["words"]
    os.environ.clear()
    os.environ.update(request["environment"])
    tempfile.tempdir = None
    if "numpy" in sys.modules:  # in a new process it starts from anything
        sys.modules["numpy"].random.seed()
    return importlib.import_module(request["module"]).main


def finish(status: int) -> NoReturn:
    """End with all that the interpreter does at its end but taking apart what was imported, half a second for TRL."""
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
