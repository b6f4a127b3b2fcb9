"""The side of the command: hand the work to a warm process if there is one, and end as the work did."""

import os
import resource
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType

from selfdistill.warm import messages
from selfdistill.warm.kinds import COMMAND_LINE, LAUNCHER, kind_of
from selfdistill.warm.standing import standing

__all__ = ["COMMAND_LINE", "LAUNCHER", "OFF", "VARIABLE", "run"]

# The folder of a run's sockets, set by Snakemake. `SELFDISTILL_WARM=off snakemake ...` does without warm processes.
VARIABLE, OFF = "SELFDISTILL_WARM", "off"
# Passed on to the job. SIGINT is not: a terminal sends it to the whole group of processes, in which the job is too.
FORWARDED = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP, signal.SIGQUIT)


def run(module: str, main: Callable[[], int]) -> int:
    """Exit status of this command: of the job that a warm process made for it, else of ``main``, run here."""
    status = served(module, sys.argv[1:])
    if status is not None:
        return status
    from selfdistill.cli import spare_collector

    spare_collector()
    return main()


def served(module: str, arguments: Sequence[str]) -> int | None:
    """Exit status of a job that a warm process has made; None where none does."""
    folder, kind = os.environ.get(VARIABLE, OFF), kind_of(module, arguments)
    if folder == OFF or kind is None:
        return None
    request = {
        "standing": standing(),
        "module": module,
        "words": sys.argv,
        "environment": dict(os.environ),
    }
    with socket.socket(socket.AF_UNIX) as connection:
        with _signals_waiting():
            try:
                _connect(connection, folder, kind)
                messages.send(connection, request, (0, 1, 2))
                answer, processes = messages.receive(connection)
            except (OSError, EOFError):  # none is there, or it could not import
                return None
            if "refused" in answer:
                return None
            _pass_signals_on(*processes)
        return _follow(connection, *processes)


@contextmanager
def _signals_waiting() -> Iterator[None]:
    """Inside, signals wait: one that comes while a job begins is the job's, not its command's alone."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _connect(connection: socket.socket, folder: str, kind: str) -> None:
    """Through an open folder, as a socket's path may have a hundred characters only. `OSError` if it is not ours."""
    place = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        found = os.fstat(place)
        if found.st_uid != os.geteuid() or found.st_mode & 0o077:
            raise PermissionError(folder)
        connection.connect(f"/proc/self/fd/{place}/{kind}")
    finally:
        os.close(place)
    if messages.peer(connection)[1] != os.geteuid():
        raise PermissionError(folder)


def _pass_signals_on(job: int) -> None:
    """To a job, by a descriptor of its process."""

    def forward(number: int, frame: FrameType | None) -> None:
        with suppress(ProcessLookupError):  # it has just ended
            signal.pidfd_send_signal(job, number)

    for number in FORWARDED:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, forward)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _follow(connection: socket.socket, job: int) -> int:
    """Exit status of a job, by a descriptor of its process."""
    try:
        ended, _ = messages.receive(connection)
    except (OSError, EOFError):
        return _without_end(job)
    return _end_by(os.WTERMSIG(ended["status"])) if os.WIFSIGNALED(ended["status"]) else os.WEXITSTATUS(ended["status"])


def _without_end(job: int) -> int:
    """The warm process has ended before its job: it was killed, and the job must not outlive this command."""
    with suppress(ProcessLookupError):
        signal.pidfd_send_signal(job, signal.SIGKILL)
    print(
        "selfdistill: the warm process that had made this job was killed, most often for lack of memory; "
        "run the same command again",
        file=sys.stderr,
    )
    return _end_by(signal.SIGKILL)


def _end_by(number: int) -> int:
    """End as the job did, by a signal, without a second core file."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    if number != signal.SIGKILL:
        signal.signal(number, signal.SIG_DFL)
    sys.stderr.flush()
    os.kill(os.getpid(), number)
    return 128 + number
