"""Signals a SLURM job's training before its time limit: `python3 stop_in_time.py SECONDS &`, started inside the job.

SECONDS before the limit, SIGUSR1 goes to every process of this job that was started as `python -m selfdistill.launch`,
or as a training stage of `python -m selfdistill`, by whatever Snakemake and shells stand in between. Training saves
a checkpoint and ends. Other jobs sleep through it. Needs nothing but Python and `squeue`.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

LAUNCHER = "selfdistill.launch"
PROGRAM = "selfdistill"
TRAINING = ("train-", "pretrain-")


def main() -> None:
    job = os.environ["SLURM_JOB_ID"]
    time.sleep(max(0.0, seconds_left(job) - float(sys.argv[1])))
    for pid in trainers(job):
        os.kill(pid, signal.SIGUSR1)
        print(f"stop_in_time: the job's time ends; SIGUSR1 to process {pid}", flush=True)


def seconds_left(job: str) -> float:
    """Until the job's time limit, as SLURM says it."""
    squeue = ["squeue", "--noheader", f"--jobs={job}", "--format=%e"]
    end = subprocess.run(squeue, check=True, capture_output=True, text=True).stdout.strip()
    return time.mktime(time.strptime(end, "%Y-%m-%dT%H:%M:%S")) - time.time()


def trainers(job: str) -> Iterator[int]:
    """The processes of this job that know what SIGUSR1 means; it would end any other."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            mine = f"SLURM_JOB_ID={job}".encode() in (folder / "environ").read_bytes().split(b"\0")
            arguments = (folder / "cmdline").read_bytes().decode().split("\0")
        except OSError:  # ended meanwhile, or another user's
            continue
        if mine and trains(arguments):
            yield int(folder.name)


def trains(arguments: list[str]) -> bool:
    """Whether a command line is `python -m selfdistill.launch ...` or `python -m selfdistill train-...`."""
    if "-m" not in arguments[:3]:
        return False
    module, stage = [*arguments[arguments.index("-m") + 1 :], "", ""][:2]
    return module == LAUNCHER or (module == PROGRAM and stage.startswith(TRAINING))


if __name__ == "__main__":
    main()
