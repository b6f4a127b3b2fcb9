"""`python -m fastsnake ARGUMENTS`: snakemake that asks SLURM for its jobs' states every second; for tests.

The executor waits 10 seconds longer after each question, up to three minutes, and no option says otherwise.
"""

import sys

from snakemake.cli import main
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor

SECONDS = 1.0
interval = RemoteExecutor.next_seconds_between_status_checks


def capped(executor: RemoteExecutor) -> float:
    return min(interval.fget(executor), SECONDS)


RemoteExecutor.next_seconds_between_status_checks = property(capped, interval.fset)
sys.argv[0] = "snakemake"
main()
