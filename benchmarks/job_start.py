"""What the start of a job costs, by itself and as a fork of a warm process; and a whole study both ways.

    python benchmarks/job_start.py [--repeats 9] [--study PAIRS] [--json FILE]

A job that draws and one that trains, whose first input is no table: each ends, with a sentence, when it has imported
what its stage needs. Both ways alternate. Processor seconds are those of the command and, where a warm process
makes the job, of that process and of the job; the first job of a kind, which pays for the imports, stands apart.

With `--study`, the smoke study is run to its end in new folders, without and with warm processes in turn, on 2 cores.
Its processor minutes are those of Snakemake and of all processes below it.
"""

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
from selfdistill.warm import start
from selfdistill.warm.client import OFF, VARIABLE

REPOSITORY = Path(__file__).resolve().parents[1]
WRONG = "no_table.parquet"
OUTPUTS = [f"--out-{kind}=figure.{kind}" for kind in ("png", "pdf", "svg", "csv")]
COMMANDS = {
    "draws": [
        "selfdistill", "draw-figure", "fig_3", "--curves", WRONG, "--settings={}", "--study=study", "--code=none",
        *OUTPUTS,
    ],
    "trains": [
        "selfdistill.launch", "none", "train-sft", "--examples", WRONG, "--model", WRONG, "--work-dir", "work",
        "--model-name=model", "--run.data=guided", "--run.learning-rate=1e-4", "--seed=0", "--out=manifest.json",
        "--out-steps=steps.parquet",
    ],
}  # fmt: skip
COPIED = ["Snakefile", "config.yaml", "config", "profiles", "workflow", "envs"]


@dataclass(frozen=True)
class Starts:
    """Processor seconds of starts of a job: by itself, as the first of a warm process, and as a later one."""

    job: str
    alone: list[float]
    first: float
    warm: list[float]

    @property
    def ratio(self) -> float:
        return statistics.median(self.warm) / statistics.median(self.alone)


def below() -> float:
    """Processor seconds of this process's children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def running() -> float:
    """Processor seconds of the processes below this one, and of those that ended below them."""
    times = [process.cpu_times() for process in psutil.Process().children(recursive=True)]
    return sum(t.user + t.system + t.children_user + t.children_system for t in times)


def seconds(command: list[str], environment: dict[str, str]) -> float:
    """Processor seconds of a start, those of warm processes included; it has to end at its input."""
    before = below() + running()
    done = subprocess.run([sys.executable, "-m", *command], env=environment, capture_output=True, text=True)
    if done.returncode != 2 or WRONG not in done.stderr:
        sys.exit(f"expected an end at {WRONG}: {done.stderr}")
    return below() + running() - before


def starts(job: str, repeats: int) -> Starts:
    alone, warm = [], []
    with start.warm_processes(Path("warm")):
        environment = start.environment_of_jobs()
        first = seconds(COMMANDS[job], environment)
        for _ in range(repeats):
            alone.append(seconds(COMMANDS[job], environment | {VARIABLE: OFF}))
            warm.append(seconds(COMMANDS[job], environment))
    return Starts(job, alone, first, warm)


def study_minutes(*, warm: bool) -> float:
    """Processor minutes of the smoke study in a new folder; compiled code comes along."""
    with tempfile.TemporaryDirectory() as folder:
        for name in COPIED:
            source, target = REPOSITORY / name, Path(folder) / name
            (shutil.copytree if source.is_dir() else shutil.copy2)(source, target)
        environment = os.environ | {"PYTHONPATH": f"{folder}/workflow"} | ({} if warm else {VARIABLE: OFF})
        command = [sys.executable, "-m", "snakemake", "--cores", "2", "--configfile", "config/smoke.yaml"]
        before = below()
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        if done.returncode:
            sys.exit(done.stderr)
        return (below() - before) / 60


def print_starts(found: list[Starts]) -> None:
    print(f"{'a job that':<12}{'alone s':>10}{'first s':>10}{'warm s':>10}{'ratio':>8}  (medians of processor seconds)")
    for of in found:
        alone, warm = statistics.median(of.alone), statistics.median(of.warm)
        print(f"{of.job:<12}{alone:>10.2f}{of.first:>10.2f}{warm:>10.2f}{of.ratio:>8.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--study", type=int, default=0, metavar="PAIRS")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    print(f"load {os.getloadavg()[0]:.1f}")
    os.environ["PYTHONPATH"] = str(REPOSITORY / "workflow")
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        Path(WRONG).write_text("no table")
        found = [starts(job, given.repeats) for job in COMMANDS]
        os.chdir(REPOSITORY)
    print_starts(found)
    pairs = [(study_minutes(warm=False), study_minutes(warm=True)) for _ in range(given.study)]
    for without, warm in pairs:
        print(f"smoke study: {without:.2f} processor minutes without warm processes, {warm:.2f} with them")
    if given.json:
        content = {"starts": [asdict(of) | {"ratio": of.ratio} for of in found], "study minutes": pairs}
        given.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
