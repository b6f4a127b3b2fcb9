"""A checkout of the project in a folder of its own, for tests that run it or look at what it would run."""

import compileall
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import forks
import yaml
from filelock import FileLock
from selfdistill import artifacts
from snakemake.utils import update_config

ROOT = Path(__file__).resolve().parents[2]
# What every study has but one of runs that were trained elsewhere, of edited data sets, of other words, or of measured
# information or gradients.
OF_SOME = (artifacts.ENDS, artifacts.TABLE_EDITED, artifacts.TABLE_WORDS, artifacts.INFORMATION, artifacts.ALIGNMENT)
FIGURES = {name: figure for name, figure in artifacts.FIGURES.items() if figure.source not in OF_SOME}
TABLES_OF_SOME = ("table_released", "table_edited", "table_words", "table_information", "table_alignment")
TABLES = {name: table for name, table in artifacts.TABLES.items() if name not in TABLES_OF_SOME}
INSTALLED = "installed"  # a folder in which a project sees packages first
COPIED = ["Snakefile", "config.yaml", "config", "profiles", "workflow", "envs"]


def configured(*overlays: str) -> dict:
    """The default study with overlays of config/, as Snakemake merges them."""
    values = yaml.safe_load((ROOT / "config.yaml").read_text())
    laid_over: dict = {}
    for name in overlays:
        update_config(laid_over, yaml.safe_load((ROOT / f"config/{name}.yaml").read_text()))
    update_config(values, laid_over)
    return values


@dataclass(frozen=True)
class Project:
    """A checkout in a folder of its own; its own copy of the library is the one that runs."""

    folder: Path

    @classmethod
    def copy_to(cls, folder: Path) -> "Project":
        ignored = shutil.ignore_patterns("*.pyc", "*.tmp.*", "*.egg-info")  # not what numba has compiled
        for name in COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, folder / name, ignore=ignored)
            else:
                folder.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, folder / name)
        return cls(folder)

    @property
    def environment(self) -> dict[str, str]:
        places = [str(self.folder / place) for place in (INSTALLED, "workflow")]
        return os.environ | {"PYTHONPATH": os.pathsep.join(places), "PYTHONDONTWRITEBYTECODE": "1"}

    def start(self, *arguments: str, **options) -> forks.Fork:
        return forks.start([*arguments], cwd=self.folder, env=self.environment, **options)

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

    def pending(self, *arguments: str) -> dict[str, int]:
        """Jobs by rule that the next run would execute, but for the default target and the copy of all keys."""
        output = self.snakemake("--dry-run", *arguments)
        if "Nothing to be done" in output:
            return {}
        table = output.rpartition("Job stats:")[2].partition("total")[0]
        jobs = {rule: int(count) for rule, count in re.findall(r"^(\w+)\s+(\d+)$", table, re.MULTILINE)}
        return {rule: count for rule, count in jobs.items() if rule not in ("default", "record_config")}

    def started(self, *arguments: str) -> set[str]:
        """The rules whose jobs a run of Snakemake, which must succeed, has started."""
        status, output = self.run("snakemake", *arguments, "--cores", "2")
        assert status == 0, output
        return set(re.findall(r"\(Rule: (\w+)\)", output))

    def install(self, package: str, version: str) -> None:
        """Let the project see another version of an installed package; its code stays."""
        about = self.folder / INSTALLED / f"{package}-{version}.dist-info"
        about.mkdir(parents=True)
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")

    def explain(self) -> str:
        """Why the jobs of the smoke study that are pending would be run."""
        status, output = self.run("selfdistill", "explain", "--configfile", "config/smoke.yaml")
        assert status == 0, output
        return " ".join(output.split())

    def edit(self, file: str, old: str, new: str) -> None:
        path = self.folder / file
        text = path.read_text()
        assert text.count(old) >= 1, f"{old!r} is not in {file}"
        path.write_text(text.replace(old, new, 1))

    def add_example_figure(self) -> None:
        """What `examples/figure/README.md` tells to do, but for the study of the paper's models."""
        example = ROOT / "examples" / "figure"
        shutil.copy(example / "draw_fig_toy.py", self.folder / "workflow" / "scripts")
        entry, view = re.findall(r"^   `(.*)`$", (example / "README.md").read_text(), re.MULTILINE)
        self.edit("workflow/selfdistill/artifacts.py", "_FIGURES = (\n", f"_FIGURES = (\n    {entry}\n")
        self.edit("config.yaml", "  views:\n", f"  views:\n    {view}\n")

    def results(self) -> dict[str, bytes]:
        """Bytes of every table, figure and weight file by its place; seconds differ from run to run."""
        folder = self.folder / "results" / "smoke"
        kinds = {".parquet", ".safetensors", ".csv", ".txt", ".md", ".tex", ".png", ".svg", ".pdf", ".html"}
        files = [path for path in sorted(folder.rglob("*")) if path.suffix in kinds]
        return {str(p.relative_to(folder)): p.read_bytes() for p in files if not p.name.endswith(".seconds.parquet")}


def made_once(place: Path, make: Callable[[Project], None]) -> Project:
    """The project in ``place``, which whoever asks first makes of a checkout; the others wait for it."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{place}.lock"):
        if not place.exists():
            make(Project.copy_to(place))
            (place / "finished").touch()
    assert (place / "finished").exists(), "whoever asked first has failed to make it"
    return Project(place)


def smoke_study(place: Path) -> Project:
    """The smoke study, run to its end by whoever asks first; tests must not change it.

    ``place``: where it is kept for the others, unless ``FINISHED_STUDY`` names a folder for all groups of tests.
    """

    def make(project: Project) -> None:
        study = [sys.executable, "-m", "snakemake", "--cores", "2", "--configfile", "config/smoke.yaml"]
        subprocess.run(study, cwd=project.folder, env=project.environment, check=True)
        compileall.compile_dir(project.folder / "workflow", quiet=1)  # for the many starts in copies

    return made_once(Path(os.environ.get("FINISHED_STUDY", place)), make)
