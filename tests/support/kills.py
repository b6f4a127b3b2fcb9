"""A run that is killed again and again, each time started by the same command, until it is done."""

import os
import random
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from forks import Fork
from project import Project

STUDY = ("--cores", "2", "--configfile", "config/smoke.yaml")
# Pre-training, selection, guidance, collection, fine-tuning, both methods of on-policy training, evaluations, tables,
# figures: a minute and a half of the smoke study.
SHORT = [
    "results/smoke/tables/table_1.csv",
    "results/smoke/tables/table_2.csv",
    "results/smoke/figures/table_1.png",
    *(
        f"results/smoke/evaluations/{run}-seed0/along_training.parquet"
        for run in ("microcosm_off/grpo-train-n2-draw0-lr0.0003", "microcosm/sdpo-ema0.05-train-lr0.0003-k100")
    ),
]


@dataclass(frozen=True)
class Kill:
    """One SIGKILL: seconds after the start, whether of Snakemake alone or of all its processes, and files finished."""

    after: float
    alone: bool
    finished: int

    def __str__(self) -> str:
        return f"{'Snakemake alone' if self.alone else 'everything'} after {self.after:4.1f} s, {self.finished} files"


def kills_until_done(project: Project, targets: list[str], chance: random.Random, longest: float) -> Iterator[Kill]:
    """Run ``targets`` to the end, killed at random moments up to ``longest`` seconds after each start."""
    while True:
        after, alone = chance.uniform(1, longest), chance.random() < 0.5
        if not kill(project, targets, after, alone=alone):
            return
        yield Kill(after, alone, len(finished(project)))


def kill(project: Project, targets: list[str], after: float, *, alone: bool) -> bool:
    """Start and kill after so many seconds; False when the run was done before. A run that fails is an error."""
    process, told = start(project, targets, STUDY)
    try:
        status = process.wait(timeout=after)
    except subprocess.TimeoutExpired:
        end(process, alone=alone)
        return True
    assert status == 0, told.read_text()
    return False


def kill_when(project: Project, targets: list[str], pattern: str, study: tuple[str, ...], *, alone: bool) -> None:
    """Start and kill as soon as the output has ``pattern``."""
    process, told = start(project, targets, study)
    while not re.search(pattern, told.read_text()):
        assert process.poll() is None, told.read_text()
        time.sleep(0.1)
    end(process, alone=alone)


def start(project: Project, targets: list[str], study: tuple[str, ...]) -> tuple[Fork, Path]:
    """The run, and the file with its output: a pipe would end with the test, and with it what outlives Snakemake."""
    told = project.folder / "told.log"
    with told.open("w") as log:
        return project.start("snakemake", *targets, *study, start_new_session=True, stdout=log), told


def end(process: Fork, *, alone: bool) -> None:
    (os.kill if alone else os.killpg)(process.pid, signal.SIGKILL)
    process.wait()


def finished(project: Project) -> dict[str, bytes]:
    """Bytes by place of the results that there are."""
    return project.results()


def differing(project: Project, expected: dict[str, bytes]) -> list[str]:
    """Results that ``expected`` has with other bytes, or lacks."""
    return [name for name, content in finished(project).items() if expected.get(name) != content]
