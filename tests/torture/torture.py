"""What can befall a study, and whether the same command goes on (`make torture`): a table.

Kills at random moments, full and read-only disks, folders of any name, damaged results. Every case ends with the bytes
of an undisturbed run, or with a sentence. A case that cannot be tried here says why.
"""

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
import kills
from damages import damages, undone
from disks import full, mounted, read_only
from project import Project
from selfdistill.records.provenance import SIDECAR

NAMES = [
    "sp ace", "quo'te", "do$lar", "paren(1)", "semi;colon", "amp&and", "brace{x}", "ümlaut", "per%cent", "a=b",
]  # fmt: skip
RUN = "grpo-train-n2-draw0-lr0.0003-seed0"
SELECTION = "results/smoke/traces/microcosm/selection.parquet"
TRAINED = f"results/smoke/evaluations/microcosm_off/{RUN}/along_training.parquet"
RUNS = "results/smoke/training/runs.parquet"
TARGETS = [SELECTION, TRAINED]  # sampling in shards; training with checkpoints, and its evaluation
FULL = "the disk is full: make room"
READ_ONLY = "the file system is read-only: mount it"
TRACE = "workflow/selfdistill/"  # a line of a traceback through our code names a file below it


@dataclass
class Table:
    """What was tried and what came of it, printed as it comes."""

    failed: int = 0

    def add(self, what: str, came: str, *, good: bool = True) -> None:
        self.failed += not good
        print(f"| {'' if good else 'FAILED: '}{what} | {came} |", flush=True)


def main() -> int:
    parts = {
        "kills": torture_by_kills,
        "disks": torture_by_disks,
        "folders": torture_by_folders,
        "damages": torture_by_damages,
    }
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--longest", type=float, default=30.0, help="seconds between a start and its kill, at most")
    parser.add_argument("--only", nargs="+", choices=parts, default=list(parts))
    parser.add_argument("--finished", type=Path, help="a checkout with the finished smoke study; without it, it is run")
    given = parser.parse_args()
    table = Table()
    with tempfile.TemporaryDirectory(prefix="torture-") as scratch:
        place = Path(scratch).resolve()
        study = undisturbed(place, given.finished, [] if "damages" in given.only else [*kills.SHORT, *TARGETS, RUNS])
        print(f"seed {given.seed}\n\n| what was done | what came of it |\n|---|---|", flush=True)
        for name in given.only:
            parts[name](table, study, place, given)
    print(f"\n{table.failed} failed")
    return 1 if table.failed else 0


def undisturbed(place: Path, finished: Path | None, targets: list[str]) -> Project:
    """The smoke study, or so much of it, run without disturbance by this code."""
    project = Project.copy_to(place / "undisturbed")
    if finished is not None:
        for name in ("results/smoke", ".snakemake", "work"):
            shutil.copytree(finished / name, project.folder / name)
    print("the undisturbed run ...", flush=True)
    project.snakemake(*targets)
    return project


def copy_of(study: Project, folder: Path) -> Project:
    shutil.copytree(study.folder, folder, symlinks=True)
    return Project(folder)


# --- kills ----------------------------------------------------------------------------------------------------------


def torture_by_kills(table: Table, study: Project, place: Path, given: argparse.Namespace) -> None:
    """New studies, until so many kills are done."""
    chance, count, expected = random.Random(given.seed), 0, kills.finished(study)
    while count < given.kills:
        project = Project.copy_to(place / f"killed-{count}")
        started = time.monotonic()
        for killed in kills.kills_until_done(project, kills.SHORT, chance, given.longest):
            count += 1
            table.add(f"kill {count}: {killed}", "started again")
        differing = kills.differing(project, expected)
        came = f"done after {time.monotonic() - started:.0f} s, {len(kills.finished(project))} files of equal bytes"
        table.add("until it was done", f"other bytes: {differing}" if differing else came, good=not differing)
        shutil.rmtree(project.folder)


# --- disks ----------------------------------------------------------------------------------------------------------


def torture_by_disks(table: Table, study: Project, place: Path, given: argparse.Namespace) -> None:
    if os.geteuid():
        table.add("full and read-only disks", "skipped: mounting them needs root")
    for name in ("results", "work", "logs", ".snakemake") if not os.geteuid() else ():
        for way, sentence in ((full, FULL), (read_only, READ_ONLY)):
            project = copy_of(study, place / f"{name}-{way.__name__}")
            with mounted(project.folder / name):
                delete_targets(project)
                with way(project.folder / name):
                    status, output = again(project)
                came = judged(status, output, sentence)
                same = goes_on(project, study)
            good = same and (came == sentence or (way is full and name in ("logs", ".snakemake")))
            table.add(f"{name}/: {way.__name__.replace('_', '-')}", f"{came}; afterwards {told(same)}", good=good)
            shutil.rmtree(project.folder)
    project = copy_of(study, place / "variables")
    for what, variables in {"HOME unset": {"HOME": None}, "TMPDIR missing": {"TMPDIR": "/nowhere"}}.items():
        delete_targets(project)
        status, output = again(project, variables)
        table.add(what, "runs" if status == 0 else output[-300:], good=status == 0 and same_bytes(project, study))
    shutil.rmtree(project.folder)


def delete_targets(project: Project) -> None:
    """The targets, and what they would be made of: `work` itself may be a disk."""
    for target in TARGETS:
        (project.folder / target).unlink()
    for begun in (project.folder / "work").glob("*/*"):
        shutil.rmtree(begun)


def again(project: Project, variables: dict[str, str | None] | None = None) -> tuple[int, str]:
    """Make the targets."""
    before = dict(os.environ)
    for name, value in (variables or {}).items():
        os.environ.pop(name, None) if value is None else os.environ.update({name: value})
    try:
        return project.run("snakemake", *TARGETS, *kills.STUDY, "--keep-going")
    finally:
        os.environ.clear()
        os.environ.update(before)


def judged(status: int, output: str, sentence: str) -> str:
    if status == 0:
        return "runs"
    if TRACE in "".join(line for line in output.splitlines() if line.lstrip().startswith("File ")):
        return f"a traceback through our code, at the end {output.strip().splitlines()[-1][:200]}"
    return sentence if sentence in output else f"Snakemake's own words: {output.strip().splitlines()[-1][:120]}"


def goes_on(project: Project, study: Project) -> bool:
    status, output = project.run("snakemake", *TARGETS, *kills.STUDY)
    if status:
        print(output)
    return status == 0 and same_bytes(project, study)


def same_bytes(project: Project, study: Project) -> bool:
    return all((project.folder / name).read_bytes() == (study.folder / name).read_bytes() for name in TARGETS)


def told(same: bool) -> str:
    return "the same command goes on to equal bytes" if same else "it does NOT go on"


# --- folders --------------------------------------------------------------------------------------------------------


def torture_by_folders(table: Table, study: Project, place: Path, given: argparse.Namespace) -> None:
    """A checkout in a folder of any name: its first jobs, and a figure from finished tables."""
    for name in NAMES:
        project = copy_of(study, place / name)
        (project.folder / RUNS).unlink()
        status, output = project.run("snakemake", RUNS, *kills.STUDY)
        good = status == 0 and (project.folder / RUNS).read_bytes() == (study.folder / RUNS).read_bytes()
        table.add(f"checkout in `{name}`", "runs" if good else output.strip()[-300:], good=good)
        shutil.rmtree(project.folder)


# --- damages --------------------------------------------------------------------------------------------------------


def torture_by_damages(table: Table, study: Project, place: Path, given: argparse.Namespace) -> None:
    """Whether `selfdistill verify` names what is damaged."""
    project = copy_of(study, place / "damaged")
    results = project.folder / "results" / "smoke"
    for damage in damages(results):
        with undone(damage):
            status, output = project.run("selfdistill", "verify", str(results))
        named = damage.path.name.removesuffix(SIDECAR) in output  # a lost record is told of its file
        trace = "Traceback" in output
        came = "named" if named and status else f"traceback: {output[-300:]}" if trace else "not named"
        table.add(f"damage, {damage.name}", came, good=bool(named and status and not trace))


if __name__ == "__main__":
    sys.exit(main())
