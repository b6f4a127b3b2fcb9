"""Starts a training stage in one process, or in several that share the work.

``python -m selfdistill.launch CONFIGURATION STAGE --flag value ...``: with "none" the stage runs in this process. With
the path of an accelerate configuration it runs once per visible GPU of this machine (once per ``num_processes`` of the
configuration where there is none), in the environment that `accelerate launch` would set up.

`accelerate launch` itself hands its processes to torchrun, which ends at SIGUSR1, and 30 seconds after SIGTERM kills
them: too early for a checkpoint of a large model. Here both signals reach the stage, and nobody is in a hurry.
"""

import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from selfdistill import processes
from selfdistill.errors import UserError
from selfdistill.processes import ALONE
from selfdistill.warm import client

FORWARDED = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
# Once one process has failed, the others wait for it in vain: they get this many seconds to end by themselves.
GRACE = 30.0


def main(argv: Sequence[str] | None = None) -> int:
    """Run a stage; its exit status (of several processes: the first that is not 0)."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments:
        print(f"selfdistill.launch: expected '{ALONE}' or an accelerate configuration, then a stage", file=sys.stderr)
        return 2
    configuration, *stage = arguments
    if configuration == ALONE:
        from selfdistill import cli  # not needed where a warm process does the work

        processes.see_one_gpu()
        return cli.main(stage)
    try:
        environments = processes.environments_of(Path(configuration))
    except UserError as error:
        print(f"selfdistill.launch: {error}", file=sys.stderr)
        return 2
    command = [sys.executable, "-m", "selfdistill", *stage]
    return _wait([subprocess.Popen(command, env=environment) for environment in environments])


def _wait(started: list[subprocess.Popen]) -> int:
    """The first exit status that is not 0, or 0; stop signals are passed on."""

    def forward(number: int, frame: FrameType | None) -> None:
        for process in started:
            process.send_signal(number)

    for number in FORWARDED:
        signal.signal(number, forward)
    failed, deadline = 0, float("inf")
    while any(process.poll() is None for process in started):
        failed = failed or next((process.returncode for process in started if process.returncode), 0)
        if failed and deadline == float("inf"):
            deadline = time.monotonic() + GRACE
        if time.monotonic() > deadline:
            for process in started:
                process.kill()
        time.sleep(0.1)
    failed = failed or next((process.returncode for process in started if process.returncode), 0)
    return failed if failed >= 0 else 128 - failed  # a process that was killed, as shells tell it


if __name__ == "__main__":
    sys.exit(client.run(client.LAUNCHER, main))
