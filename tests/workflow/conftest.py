"""A copy of the project in which the smoke study is run once, for all workflow tests."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from browser.conftest import browser, page  # noqa: F401 (fixtures)

# Sections 3 and 4, and of the on-policy runs one of each method: what a second study has to make for comparison.
PART = [
    *(f"results/smoke/tables/{table}.csv" for table in ("table_1", "table_a1", "table_2")),
    *(f"results/smoke/figures/{figure}.png" for figure in ("table_1", "selection", "table_2", "fig_2")),
    *(
        f"results/smoke/evaluations/microcosm/{run}-seed0/along_training.parquet"  # with it, checkpoints are deleted
        for run in ("grpo-train-n2-draw0-lr0.0003", "sdpo-ema0.05-train-lr0.0003-k100")
    ),
]
ROOT = Path(__file__).resolve().parents[2]
COPIED = ["Snakefile", "config.yaml", "config", "profiles", "workflow", "envs"]


@dataclass(frozen=True)
class Project:
    """A checkout in a folder of its own; its own copy of the library is the one that runs."""

    folder: Path

    @classmethod
    def copy_to(cls, folder: Path) -> "Project":
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        for name in COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, folder / name, ignore=ignored)
            else:
                folder.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, folder / name)
        return cls(folder)

    def start(self, *arguments: str, **options) -> subprocess.Popen:
        environment = os.environ | {"PYTHONPATH": str(self.folder / "workflow"), "PYTHONDONTWRITEBYTECODE": "1"}
        return subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            **options,
        )

    def run(self, *arguments: str) -> tuple[int, str]:
        """Exit status and output of `python -m ARGUMENTS` in the project."""
        process = self.start(*arguments)
        output, _ = process.communicate()
        return process.returncode, output

    def snakemake(self, *arguments: str, cores: int = 2) -> str:
        """Output of a run of the smoke study that must succeed."""
        # `--configfile` takes every word behind it, so targets come before it
        status, output = self.run("snakemake", *arguments, "--cores", str(cores), "--configfile", "config/smoke.yaml")
        assert status == 0, output
        return output

    def pending(self) -> dict[str, int]:
        """Jobs by rule that the next run would execute, but for the default target and the copy of all keys."""
        output = self.snakemake("--dry-run")
        if "Nothing to be done" in output:
            return {}
        table = output.rpartition("Job stats:")[2].partition("total")[0]
        jobs = {rule: int(count) for rule, count in re.findall(r"^(\w+)\s+(\d+)$", table, re.MULTILINE)}
        return {rule: count for rule, count in jobs.items() if rule not in ("default", "record_config")}

    def edit(self, file: str, old: str, new: str) -> None:
        path = self.folder / file
        text = path.read_text()
        assert text.count(old) >= 1, f"{old!r} is not in {file}"
        path.write_text(text.replace(old, new, 1))

    def results(self) -> dict[str, bytes]:
        """Bytes of every table, figure and weight file by its place; seconds differ from run to run."""
        folder = self.folder / "results" / "smoke"
        kinds = {".parquet", ".safetensors", ".csv", ".md", ".tex", ".png", ".svg", ".pdf", ".html"}
        files = [path for path in sorted(folder.rglob("*")) if path.suffix in kinds]
        return {str(p.relative_to(folder)): p.read_bytes() for p in files if not p.name.endswith(".seconds.parquet")}


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Project:
    """The smoke study, run to its end; tests must not change it."""
    project = Project.copy_to(tmp_path_factory.mktemp("finished"))
    project.snakemake()
    return project


@pytest.fixture
def project(finished, tmp_path) -> Project:
    """A copy of the finished study, Snakemake's records included, to change at will."""
    folder = tmp_path / "project"
    shutil.copytree(finished.folder, folder, symlinks=True)
    return Project(folder)
