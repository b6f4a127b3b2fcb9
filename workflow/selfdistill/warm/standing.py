"""Whether a fork of a running process equals a new one: same starting state, same code on disk."""

import json
import os
import resource
import sys
import sysconfig
from pathlib import Path

# A job's own: what a shell sets anew, where temporary files go, which nobody asks for when imported, and what Snakemake
# makes of a job's threads, beside those variables that `environment.hold` sets: OpenBLAS looks at its own first.
OWN = {
    *("_", "SHLVL", "PWD", "OLDPWD", "TMPDIR", "TMP", "TEMP", "TEMPDIR"),
    *("GOTO_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "NUMEXPR_NUM_THREADS"),
}
PACKAGE = Path(__file__).resolve().parents[1]


def standing() -> str:
    """All that a process starts with, but for its words and streams; equal texts mean equal starts."""
    umask = os.umask(0o077)
    os.umask(umask)
    limits = sorted(name for name in vars(resource) if name.startswith("RLIMIT_"))
    return json.dumps(
        {
            "environment": {name: value for name, value in sorted(os.environ.items()) if name not in OWN},
            "interpreter": [sys.executable, sys.version, sys.flags, sys._xoptions, sys.warnoptions, sys.path],
            "code": str(PACKAGE),
            "folder": os.getcwd(),
            "umask": umask,
            "limits": [resource.getrlimit(getattr(resource, name)) for name in limits],
            "priority": os.getpriority(os.PRIO_PROCESS, 0),
            "processors": sorted(os.sched_getaffinity(0)),
            "user": [os.getresuid(), os.getresgid(), os.getgroups()],
            "process group": os.getpgrp(),
            "signals": _signals(),
        }
    )


def _signals() -> list[str]:
    """Which are blocked, and which are ignored."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return [line for line in lines if line.startswith(("SigBlk", "SigIgn"))]


def code() -> dict[str, tuple[int, ...]]:
    """Inode, size and times of the package's files and of the folders of installed packages, to notice changes."""
    installed = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    files = [str(path) for path in PACKAGE.rglob("*.py")]
    return {path: _state(path) for path in (*files, *installed) if os.path.exists(path)}


def _state(path: str) -> tuple[int, ...]:
    found = os.stat(path)
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
