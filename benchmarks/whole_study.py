"""The whole study of this tree against that of another revision: processor minutes, wall clock, memory, and by rule.

    python benchmarks/whole_study.py [--against REVISION] [--repeats 3] [--configfile FILE] [--cores 2] [--json FILE]

Both revisions (this one as committed) get a work tree and a .venv of their own below ``--folder``, and run in
alternation from a clean tree: no results, no compiled code. A run takes a quarter of an hour and more. What is finished
is kept in ``--folder`` and read again, so that the same command goes on where it was killed.

Processor minutes are user and system time of `snakemake` and all that it waited for, start-ups included. The largest
process is its resident memory at most; the largest job is what Snakemake's benchmarks saw of all its processes. Rules
are read as `where_time_goes.py` reads them. A job that draws takes a start and so much per token: both come from a line
through the processor seconds of all evaluations of one model against their tokens. Seconds of an on-policy step are
those that training itself records. The ratio is the other revision's over this one's: above 1 this one takes less.
"""

import argparse
import contextlib
import hashlib
import json
import os
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
from selfdistill.environment import HELD, VARIABLES, processor
from selfdistill.planning import dag
from selfdistill.planning.measured import SUFFIX
from where_time_goes import by_rule

REPOSITORY = Path(__file__).resolve().parents[1]
KEPT = (".venv",)  # of what git ignores, from one run to the next
EVALUATION = "evaluate_model"
Found = dict[str, float]


@dataclass(frozen=True)
class Tree:
    """A revision in a folder of its own."""

    commit: str
    folder: Path

    @classmethod
    def make(cls, revision: str, folder: Path) -> "Tree":
        """The work tree and the .venv of ``revision``, unless they are there."""
        commit = git(REPOSITORY, "rev-parse", "--short=12", f"{revision}^{{commit}}")
        tree = cls(commit, folder / commit)
        if not (tree.folder / "Makefile").exists():
            git(REPOSITORY, "worktree", "prune")
            git(REPOSITORY, "worktree", "add", "--detach", str(tree.folder), commit)
        if not (tree.folder / ".venv").exists():
            subprocess.run(["make", "env"], cwd=tree.folder, check=True)
        return tree

    def run(self, flags: Sequence[str]) -> Found:
        """A study from the beginning: seconds and bytes of the whole."""
        git(self.folder, "clean", "-dffxq", *(f"--exclude={name}" for name in KEPT))
        binaries = self.folder / ".venv" / "bin"
        paths = {"PATH": f"{binaries}:{os.environ['PATH']}", "PYTHONPATH": str(self.folder / "workflow")}
        # What this process holds for itself is no matter of the other revision.
        environment = {name: value for name, value in os.environ.items() if name not in VARIABLES | HELD} | paths
        started = time.perf_counter()
        with (self.folder / "run.log").open("wb") as log:
            command = [str(binaries / "snakemake"), *flags]
            process = subprocess.Popen(command, cwd=self.folder, env=environment, stdout=log, stderr=log)
            _, status, used = os.wait4(process.pid, 0)
        if status:
            sys.exit(f"{shlex.join(command)} in {self.folder} failed; run.log there says why")
        return {
            "processor minutes": (used.ru_utime + used.ru_stime) / 60,
            "wall minutes": (time.perf_counter() - started) / 60,
            "largest process, MB": used.ru_maxrss / 1024,
        }


def git(folder: Path, *words: str) -> str:
    command = ["git", "-C", str(folder), *words]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


# --- what a finished run tells ---------------------------------------------------------------------------------------


def read_run(root: Path, study: str, threads: Mapping[str, int]) -> dict[str, Found]:
    """Processor minutes by rule, and what phases cost, from the files of a finished run."""
    logs = root / "logs" / study
    jobs = [
        SimpleNamespace(rule=path.relative_to(logs).parts[0].removesuffix(SUFFIX), benchmark=path.relative_to(root))
        for path in sorted(logs.rglob(f"*{SUFFIX}"))
    ]
    for job in jobs:
        job.threads = threads.get(job.rule, 1)
    rules = {rule.rule: rule.seconds / 60 for rule in by_rule(jobs, root, lambda _: 0.0)}
    seen = pd.concat([pd.read_csv(root / job.benchmark, sep="\t")["max_rss"] for job in jobs])
    memory = float(pd.to_numeric(seen, errors="coerce").max())  # a job of half a second was never looked at
    results = root / "results" / study
    evaluated = [job for job in jobs if job.rule == EVALUATION]
    phases = {"largest job, MB": memory} | drawing(evaluated, root, results) | steps(results)
    return {"rules": rules, "phases": phases}


def drawing(jobs: Sequence[SimpleNamespace], root: Path, results: Path) -> Found:
    """Of the evaluations of one model: their median, and the line through seconds against tokens."""
    seconds = [by_rule([job], root, lambda _: 0.0)[0].seconds for job in jobs]
    tokens = [drawn(results, root / job.benchmark) for job in jobs]
    slope, start = line(tokens, seconds)
    return {
        "evaluation of a model, s": statistics.median(seconds),
        "drawing, tokens/s": 1 / slope if slope > 0 else float("nan"),
        "start of a job that draws, s": start,
    }


def drawn(results: Path, benchmark: Path) -> int:
    """Tokens of the responses of an evaluation, whose places below logs and results are the same."""
    logs = next(folder for folder in benchmark.parents if folder.name == EVALUATION)
    place = str(benchmark.relative_to(logs)).removesuffix(SUFFIX)
    return int(pd.read_parquet(results / "evaluations" / f"{place}.parquet")["response_tokens"].sum())


def line(x: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    """Slope and intercept of the least squares; NaN where the points are too few, or all above one another."""
    if len(set(x)) < 3:
        return float("nan"), float("nan")
    slope, intercept = np.polyfit(x, y, 1)
    return float(slope), float(intercept)


def steps(results: Path) -> Found:
    """Wall seconds of an on-policy step by phase: the median over all steps of all runs."""
    found = pd.concat([pd.read_parquet(path) for path in sorted(results.rglob("training/*/*.seconds.parquet"))])
    phases = found.groupby("metric")["value"].median()
    return {f"on-policy step, {phase}": float(value) for phase, value in phases.items()}


def digest(results: Path) -> str:
    """Of all tables: whether two runs came to the same bytes."""
    found = hashlib.sha256()
    for path in sorted(results.rglob("*.parquet")):
        if ".seconds." not in path.name:
            found.update(str(path.relative_to(results)).encode() + path.read_bytes())
    return found.hexdigest()[:16]


# --- what is shown ---------------------------------------------------------------------------------------------------


def compared(own: Sequence[Found], other: Sequence[Found]) -> list[dict[str, object]]:
    """A row per quantity that both sides have: medians, and the ratio of the repeats, in pairs."""
    rows = []
    for name in own[0]:
        pairs = [(mine[name], theirs[name]) for mine, theirs in zip(own, other, strict=True) if name in theirs]
        ratios = [theirs / mine for mine, theirs in pairs if mine]
        if not ratios:
            continue
        sides = zip(("this", "other"), zip(*pairs, strict=True), strict=True)
        medians = {side: statistics.median(values) for side, values in sides}
        spread = {"ratio": statistics.median(ratios), "least": min(ratios), "most": max(ratios)}
        rows.append({"what": name} | medians | spread)
    return rows


def show(rows: Sequence[Mapping[str, object]]) -> None:
    print(f"{'':<34}{'this':>10}{'other':>10}{'ratio':>8}{'least':>8}{'most':>8}")
    for row in rows:
        values = f"{row['this']:>10.2f}{row['other']:>10.2f}{row['ratio']:>8.2f}{row['least']:>8.2f}{row['most']:>8.2f}"
        print(f"{row['what']:<34}{values}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", default="5e6ff27", help="a git revision")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--configfile", type=Path, help="of both trees, each its own; without it, the default study")
    parser.add_argument("--cores", type=int, default=os.cpu_count())
    parser.add_argument("--folder", type=Path, default=REPOSITORY / "work" / "whole_study")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    if git(REPOSITORY, "status", "--porcelain", "--untracked-files=no"):
        print("This tree has changes that are not committed: its last commit is measured.")
    configfiles = [given.configfile] if given.configfile else []
    with contextlib.chdir(REPOSITORY):
        graph = dag.read(configfiles=configfiles, cores=given.cores)
    study, threads = str(graph.config["study"]), {job.rule: job.threads for job in graph.jobs}
    flags = ["--cores", str(given.cores), *(["--configfile", str(given.configfile)] if given.configfile else [])]
    trees = {"this": Tree.make("HEAD", given.folder), "other": Tree.make(given.against, given.folder)}
    runs: dict[str, list[dict]] = {side: [] for side in trees}
    for repeat in range(given.repeats):
        for side in sorted(trees, reverse=repeat % 2 == 0):  # who begins changes
            runs[side].append(one_run(trees[side], flags, study, threads, given.folder, repeat))
    same = {side: len({run["digest"] for run in found}) == 1 for side, found in runs.items()}
    rows = []
    for part in ("whole", "phases", "rules"):
        rows += compared(*([run[part] for run in runs[side]] for side in ("this", "other")))
    commits = {side: tree.commit for side, tree in trees.items()}
    print(f"Study '{study}', {given.repeats} repeats, {given.cores} cores; {commits}")
    print(f"Equal tables in all repeats: {same}")
    show(rows)
    if given.json:
        about = {"study": study, "commits": commits, "processor": processor().name, "cores": given.cores}
        report = about | {"same": same, "rows": rows, "runs": runs}
        given.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def one_run(
    tree: Tree, flags: Sequence[str], study: str, threads: Mapping[str, int], folder: Path, repeat: int
) -> dict:
    """A run, or what was kept of it."""
    kept = folder / "runs" / f"{tree.commit}-{study}-{flags[1]}-{repeat}.json"
    if not kept.exists():
        load = os.getloadavg()[0]
        whole = tree.run(flags)
        results = tree.folder / "results" / study
        found = {"whole": whole, "load": load, "digest": digest(results)} | read_run(tree.folder, study, threads)
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(found, indent=2), encoding="utf-8")
        print(f"{tree.commit}, repeat {repeat}: {whole['processor minutes']:.1f} processor minutes", flush=True)
    return json.loads(kept.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
