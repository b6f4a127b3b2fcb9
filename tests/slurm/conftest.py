"""A real SLURM cluster on this machine for the session, and projects whose jobs run on it."""

import os
import random
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import pytest
from kernel_digests import kernels_for_copies
from project import Project
from selfdistill import models, tables
from selfdistill.microcosm.tokenizer import build_tokenizer
from selfdistill.microcosm.vocabulary import VOCABULARY

HERE = Path(__file__).parent
NEEDED = ("munged", "slurmctld", "slurmd", "sbatch")
# The shipped profile as it is, but for its waits.
PROFILE = ("--profile", "profiles/slurm", "--slurm-init-seconds-before-status-checks", "1", "--latency-wait", "10")
# Seconds after which something that should have happened counts as failed; a busy machine takes its time.
PATIENCE = 3600
OUTCOMES = pytest.StashKey[list[tuple[str, ...]]]()


def until(condition: Callable[[], object], seconds: float = PATIENCE) -> object:
    """What ``condition`` says as soon as it says something."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"nothing came within {seconds} s"
        time.sleep(0.3)
    return found


@dataclass
class Submission:
    """Snakemake, submitting jobs from a project; its output is collected as it comes."""

    process: subprocess.Popen
    began: float = field(default_factory=time.time)
    lines: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self.process.stdout:
            self.lines.append(line)

    @property
    def output(self) -> str:
        return "".join(self.lines)

    @property
    def run_id(self) -> str:
        """The name of all its SLURM jobs, which a person finds in the same place."""
        return until(lambda: next((line.split()[-1] for line in self.lines if "SLURM run ID:" in line), None))

    def finish(self) -> str:
        """Its output, after an end without error; it must come to an end."""
        status = self.process.wait(timeout=PATIENCE)
        self._reader.join()
        assert status == 0, self.output
        return self.output

    def seconds_to(self, result: Path) -> int:
        """From its start until a file was there."""
        return round(result.stat().st_mtime - self.began)


@dataclass
class Cluster:
    """What `cluster.sh` has started in a folder, and who submits jobs to it."""

    folder: Path
    submissions: list[Submission] = field(default_factory=list)

    def call(self, *arguments: str) -> str:
        command = ["bash", str(HERE / "cluster.sh"), *arguments, str(self.folder)]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout

    def queue(self, name: str, states: str = "PENDING,RUNNING,COMPLETING") -> list[list[str]]:
        """Job id, state and node of the jobs of one run of Snakemake."""
        squeue = ["squeue", "--noheader", f"--name={name}", f"--states={states}", "--format=%i %T %N"]
        return [line.split() for line in subprocess.check_output(squeue, text=True).splitlines()]

    def submit(self, project: Project, *arguments: str) -> Submission:
        """`snakemake ARGUMENTS --profile profiles/slurm`, in the background."""
        self.submissions.append(Submission(project.start("fastsnake", *arguments, *PROFILE)))
        return self.submissions[-1]

    def stop(self) -> None:
        for submission in self.submissions:
            submission.process.kill()
        self.call("stop")


def new_project(folder: Path) -> Project:
    kernels_for_copies()
    project = Project.copy_to(folder)
    shutil.copy(HERE / "fastsnake.py", folder)
    return project


@pytest.fixture(scope="session")
def cluster(tmp_path_factory) -> Cluster:
    missing = [name for name in NEEDED if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") is None]
    if missing or os.getuid():
        reason = f"no {', '.join(missing)}: apt-get install slurm-wlm munge" if missing else "SLURM's daemons need root"
        (pytest.fail if "CI" in os.environ else pytest.skip)(reason)
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    with pytest.MonkeyPatch.context() as patch:
        try:
            cluster.call("start")
            patch.setenv("SLURM_CONF", str(cluster.folder / "etc" / "slurm.conf"))
            patch.setenv("PATH", str(cluster.folder / "bin"), prepend=os.pathsep)
            yield cluster
        finally:
            cluster.stop()


@pytest.fixture
def faults(cluster, tmp_path) -> Project:
    """A project whose workflow is `faults/Snakefile`."""
    return fault_project(tmp_path / "faults")


def fault_project(folder: Path) -> Project:
    project = new_project(folder)
    shutil.copy(HERE / "faults" / "Snakefile", folder / "Snakefile")
    return project


def started(project: Project, rule: str) -> dict[int, list[str]]:
    """Node and GPUs of every SLURM job that has begun on a rule, by its number, in their order."""
    notes = {int(path.suffix[1:]): path.read_text().split() for path in project.folder.glob(f"started.{rule}.*")}
    return {number: notes[number] for number in sorted(notes)}


@pytest.fixture(scope="session")
def tiny_training(tmp_path_factory) -> Path:
    """A folder with a tiny random model and random examples: fine-tuning on them takes a while, and no thought."""
    from transformers import Qwen3Config, Qwen3ForCausalLM, set_seed

    folder = tmp_path_factory.mktemp("training")
    set_seed(0)
    tokenizer = build_tokenizer()
    shape = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "head_dim": 32}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": len(VOCABULARY)}
    Qwen3ForCausalLM(Qwen3Config(**shape, **heads)).save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    models.save_manifest(folder / "model")
    tables.write(random_examples(64), folder / "examples.parquet", tables.SFT_EXAMPLES)
    return folder


def random_examples(count: int) -> pd.DataFrame:
    draw = random.Random(0)
    words = [word for word in VOCABULARY if not word.startswith("<")]

    def turn(role: str, length: int) -> list[dict[str, str]]:
        return [{"role": role, "content": " ".join(draw.choices(words, k=length))}]

    return pd.DataFrame(
        {
            "prompt": [turn("user", 8) for _ in range(count)],
            "completion": [turn("assistant", 100) for _ in range(count)],
            "problem_id": [f"{number:016x}" for number in range(count)],
            "sample": 0,
            "correct": True,
            "finish_reason": "stop",
            "response_tokens": 100,
            "E_substring": 0,
            "E_word": 0,
        }
    )


@pytest.fixture
def outcome(request) -> Callable[..., None]:
    """Adds a row to the table of faults at the end of the session: fault, what happened, what was lost, seconds."""
    rows = request.config.stash.setdefault(OUTCOMES, [])
    return lambda *row: rows.append(tuple(str(value) for value in row))


def pytest_terminal_summary(terminalreporter) -> None:
    rows = terminalreporter.config.stash.get(OUTCOMES, [])
    if rows:
        terminalreporter.section("faults on the SLURM cluster")
        for row in [("fault", "what happened", "lost", "seconds"), *rows]:
            terminalreporter.line(" | ".join(row))
