"""Locks of a working folder that end with their run, however it ends.

Snakemake locks the files of a run by lists of their paths in ``.snakemake/locks``. After a kill (SIGKILL, out of
memory, power loss) they stay, and the next start is refused. Here a run also leaves a record in ``.snakemake/owners``,
by whose number its lists are named, and holds the kernel's lock (flock) on that record. The kernel drops it when the
process dies. A start removes the lists of runs that are dead for certain, and ends the processes that they left.

For certain means: started by this user on this machine, to run its jobs on it, and no longer holding its record. All
else is left to Snakemake's refusal, with a sentence on what to do.
"""

import fcntl
import json
import os
import shutil
import signal
import socket
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from snakemake.exceptions import LockException
from snakemake.logging import logger
from snakemake.persistence.file import FilePersistence

from selfdistill.disk import remedy, require_writable
from selfdistill.errors import UserError

# Overrides of Snakemake's internals, beyond its documented API.
OVERRIDDEN = {
    "lock": [],
    "cleanup_locks": [],
    "_write_locks": ["lock_type", "keys"],
    "_delete_locks": [],
}
# Tells the processes of a run, in their environment, which run it is.
VARIABLE = "SELFDISTILL_RUN"
GRACE = 60.0  # seconds in which training may save a checkpoint
WORK = "work/any"  # what is begun lies below `work`
AGAIN = "then run the same command again"


class Locks(FilePersistence):
    """Snakemake's records of a working folder; each run's lists of locked files bear the number of its owner."""

    def __init__(self, *arguments, **options):
        with _told():
            require_writable([".snakemake/any"])
            super().__init__(*arguments, **options)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Lock the files of this run, before anything is deleted or made.

        Raises `LockException`, with what to do, when a run that may live has them. Ends the process with a sentence
        when they could not be written.
        """
        with ExitStack() as held:
            with _told(), _one_at_a_time(self._owners):
                require_writable([WORK, *(file for job in self.dag.needrun_jobs() for file in (*job.output, *job.log))])
                _remove_dead(self._owners, Path(self._lockdir))
                self._number = held.enter_context(_recorded(self._owners, local=self.dag.workflow.local_exec))
                try:
                    held.enter_context(super().lock())
                except LockException as error:
                    error.args = (f"{error}\n{self._advice()}",)
                    raise
            yield

    def cleanup_locks(self) -> None:
        """All of them, for ``snakemake --unlock``."""
        shutil.rmtree(self._lockdir, ignore_errors=True)
        shutil.rmtree(self._owners, ignore_errors=True)

    @property
    def _owners(self) -> Path:
        return Path(self.path) / "owners"

    def _write_locks(self, lock_type, keys) -> None:
        path = Path(self._lockdir) / f"{self._number}.{lock_type}.lock"
        self._lockfile[lock_type] = path
        path.write_text("".join(f"{key}\n" for key in keys))

    def _delete_locks(self) -> None:
        """Those of this run: Snakemake would delete another's too."""
        for path in self._lockfile.values():
            path.unlink(missing_ok=True)
        self._lockfile.clear()

    def _advice(self) -> str:
        outputs = {str(file) for file in self.all_outputfiles()}
        every = outputs | {str(file) for file in self.all_inputfiles()}
        for path in sorted(Path(self._lockdir).glob("*.lock")):
            number, kind, _ = path.name.split(".")
            if not set(path.read_text().splitlines()).isdisjoint(outputs if kind == "input" else every):
                return _what_to_do(self._owners / f"{number}.json")
        return f"The other run has just ended: {AGAIN}."


@dataclass(frozen=True)
class Owner:
    """The process behind some locks. ``machine`` and ``boot``: Linux's ids of the installation and of its start."""

    host: str
    machine: str
    boot: str
    process: int
    local: bool  # whether its jobs run on the same machine

    @classmethod
    def this(cls, *, local: bool) -> "Owner":
        """This process."""
        machine, boot = (_text(place) for place in ("/etc/machine-id", "/proc/sys/kernel/random/boot_id"))
        return cls(socket.gethostname(), machine, boot, os.getpid(), local)

    def was_here(self) -> bool:
        """Whether it ran on this machine, since its start or before: without ids nobody can tell."""
        here = Owner.this(local=True)
        same = (self.boot and self.boot == here.boot) or (self.machine and self.machine == here.machine)
        return bool(same) and self.host == here.host


@contextmanager
def _told() -> Iterator[None]:
    """End the process with one sentence on what is wrong with the disk; Snakemake would set it among its stack."""
    try:
        yield
    except (UserError, OSError) as error:
        told = str(error) if isinstance(error, UserError) else remedy(error)
        if told is None:
            raise
        raise SystemExit(told) from error


def _text(place: str) -> str:
    with suppress(OSError):
        return Path(place).read_text().strip()
    return ""


@contextmanager
def _one_at_a_time(owners: Path) -> Iterator[None]:
    """Between two starts, looking and locking must not mix."""
    owners.mkdir(parents=True, exist_ok=True)
    with open(owners / "lock", "a") as file:
        with suppress(OSError):  # a file system without flock: as safe as Snakemake is by itself
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _recorded(owners: Path, *, local: bool) -> Iterator[str]:
    """Keep a record of this process as long as it locks files; its number."""
    number = str(uuid.uuid4().int)
    path = owners / f"{number}.json"
    with open(path, "w", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            json.dump(asdict(Owner.this(local=local)), file)
            file.flush()
            os.fsync(file.fileno())  # a list of locked files without its owner's record would never be removed
        except OSError:  # no flock, or a full disk: nobody could tell whether this process is alive
            path.unlink(missing_ok=True)
        if local:
            os.environ[VARIABLE] = number
        try:
            yield number
        finally:
            path.unlink(missing_ok=True)


def _read(record: Path) -> Owner | None:
    try:
        return Owner(**json.loads(record.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def warm_folder(record: Path) -> Path:
    """Where the sockets of a run's warm processes lie."""
    return record.with_suffix(".warm")


def _is_held(record: Path) -> bool:
    with open(record, encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def _remove_dead(owners: Path, locks: Path) -> None:
    for record in sorted(owners.glob("*.json")):
        owner = _read(record)
        if owner is None or not owner.local or not owner.was_here() or record.stat().st_uid != os.geteuid():
            continue
        if _is_held(record):
            continue
        _end_processes(record.stem, owner)
        for path in locks.glob(f"{record.stem}.*.lock"):
            path.unlink()
        shutil.rmtree(warm_folder(record), ignore_errors=True)
        record.unlink()
        logger.warning(f"Process {owner.process} was killed while it ran here. Its lock is removed; its work goes on.")


def _end_processes(number: str, owner: Owner) -> None:
    """End what a killed run has left: it would write the same files. Training saves a checkpoint first."""
    left = _processes_of(number)
    if not left:
        return
    logger.warning(f"Ending {len(left)} processes that process {owner.process} left when it was killed.")
    _signal(left, signal.SIGTERM)
    deadline = time.monotonic() + GRACE
    while (left := _processes_of(number, left)) and time.monotonic() < deadline:
        time.sleep(0.1)
    while left:
        _signal(left, signal.SIGKILL)
        time.sleep(0.1)
        left = _processes_of(number, left)


def _processes_of(number: str, known: Iterable[int] = ()) -> list[int]:
    """Processes with a run's mark in their environment, and all that these and the ``known`` ones have started.

    A process that gives itself a title, as vLLM's does, overwrites its environment: it is known by its parent.
    """
    mark, parents, found = f"{VARIABLE}={number}".encode(), {}, set(known)
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended, or is another user's
            state, parent = (place / "stat").read_text().rpartition(") ")[2].split()[:2]
            if state != "Z":
                parents[int(place.name)] = int(parent)
            if mark in (place / "environ").read_bytes().split(b"\0"):
                found.add(int(place.name))
    while started := {process for process, parent in parents.items() if parent in found} - found:
        found |= started
    return sorted(found.intersection(parents) - {os.getpid()})


def _signal(processes: list[int], number: int) -> None:
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process, number)


def _what_to_do(record: Path) -> str:
    owner = _read(record)
    unlock = f"`snakemake --unlock`, {AGAIN}"
    if owner is None:
        return f"It is not recorded who locked them. If no other Snakemake runs in this folder: {unlock}."
    who = f"Process {owner.process} on {owner.host}"
    if not owner.was_here():
        return f"{who} has locked them, which cannot be seen from here. If it no longer runs: {unlock}."
    if _is_held(record):
        return f"{who} is making them. Wait for its end, or stop it, {AGAIN}."
    if not owner.local:
        return f"{who} has died, but its jobs on the cluster may still run: docs/slurm.md says how to go on."
    return f"{who}, of another user, has died. {unlock[0].upper()}{unlock[1:]}."
