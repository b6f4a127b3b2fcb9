"""Results are known by our records too: where Snakemake has none, and for files that no job makes."""

import json
import os
import shutil
from pathlib import Path

import forks
import pytest
from selfdistill import files
from selfdistill.code_digest import PACKAGE_ROOT
from selfdistill.records.provenance import SEAL, seal, sidecar_path
from snakemake.persistence import PersistenceBase

# Two jobs that copy a file, each with a record. What they are given is in the configuration.
SNAKEFILE = """
import snakemake.workflow
from pathlib import Path
from selfdistill.persistence import Persistence
Persistence.results = Path("results")
snakemake.workflow.FilePersistence = Persistence

COPY = (
    "python -m copying copy {params.flags} --source {input} --workers {threads} --size={resources.size} --out {output} "
    "2>&1 | tee {log}"
)

rule all:
    input: "results/b.txt"

rule first:
    input: config["own"]
    output: "results/a.txt"
    log: "a.log"
    threads: config["threads"]
    resources: size=config["threads"]
    params: code=config["code"], flags=config["flags"]
    shell: COPY

rule second:
    input: "results/a.txt"
    output: "results/b.txt"
    log: "b.log"
    resources: size=1
    params: code="0", flags=""
    shell: COPY
"""
COPYING = """
import shutil, sys
from pathlib import Path
from selfdistill.records import provenance

source, out = (Path(sys.argv[sys.argv.index(flag) + 1]) for flag in ("--source", "--out"))
shutil.copyfile(source, out)
command = ["selfdistill", *sys.argv[1:]]
provenance.write_sidecar(out, command=command, inputs={"source": source}, parameters={}, seconds=1)
"""
CONFIG = {"own": "own.txt", "threads": 1, "code": "0; numpy 1, torch 2", "flags": "--one=1 --many a b"}
BOTH, SECOND = ["first", "second"], ["second"]


class Study:
    def __init__(self, folder: Path):
        self.folder = folder

    def run(self, *arguments: str, **config: object) -> str:
        values = [f"{name}={value}" for name, value in (CONFIG | config).items()]
        command = ["snakemake", "--cores", "2", "--nolock", "--rerun-incomplete", *arguments, "--config", *values]
        environment = os.environ | {"PYTHONPATH": f"{self.folder}{os.pathsep}{PACKAGE_ROOT}"}
        process = forks.start(command, cwd=self.folder, env=environment)
        output, _ = process.communicate()
        assert process.returncode == 0, output
        return output

    def pending(self, **config: object) -> list[str]:
        self.told = self.run("--dry-run", "--quiet", "rules", **config)
        return [rule for rule in BOTH if f"\n{rule} " in self.told]

    def forget(self) -> "Study":
        """As results come without the folder of Snakemake."""
        shutil.rmtree(self.folder / ".snakemake")
        return self


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    for name, text in {"Snakefile": SNAKEFILE, "copying.py": COPYING, "own.txt": "own", "other.txt": "own"}.items():
        (folder / name).write_text(text)
    Study(folder).run()
    return folder


@pytest.fixture
def study(made, tmp_path) -> Study:
    return Study(Path(shutil.copytree(made, tmp_path / "study")))


def test_nothing_is_made_again_with_and_without_snakemakes_records(study):
    assert study.pending() == []
    assert study.forget().pending() == []


def test_an_own_file_is_noticed_though_it_is_older(study):
    own = study.folder / "own.txt"
    own.write_text("backup")
    os.utime(own, (0, 0))
    assert study.pending() == BOTH
    assert "results/a.txt was made from another version of own.txt" in study.told
    own.write_text("own")
    assert study.pending() == []


def test_a_flag_that_is_dropped_or_given_other_words_is_noticed_by_our_records(study):
    study.forget()
    assert study.pending(flags="--many a b") == BOTH
    assert "with --one=1, now no --one=1" in study.told
    assert study.forget().pending(flags="--one=1 --many a") == BOTH
    assert study.forget().pending(flags="--one=1 --many a b --new=1") == BOTH
    assert "with no --new=1, now --new=1" in study.told
    assert study.forget().pending(threads=2) == []  # nor where a resource is another


def test_an_input_in_the_place_of_another_is_noticed_by_our_records(study):
    assert study.forget().pending(own="other.txt") == BOTH
    assert "with --source own.txt, now --source other.txt" in study.told


def test_other_code_and_packages_are_noticed_by_our_records(study):
    assert study.forget().pending(code="1; numpy 1, torch 3") == BOTH
    assert "with code 0 torch 2, now code 1 torch 3" in study.told
    record = sidecar_path(study.folder / "results/a.txt")
    content = json.loads(record.read_text())
    assert content["made_with"] == {"code": CONFIG["code"]}
    # As in records of earlier versions, and of a table that was shipped without its text.
    for changed in ({"made_with": {}}, {"whole": "0" * 64}):
        plain = {name: value for name, value in (content | changed).items() if name != SEAL}
        record.write_text(json.dumps(plain | {SEAL: seal(plain)}, indent=2))
        assert study.forget().pending(code="1; numpy 1, torch 3") == []


def test_the_record_of_a_job_that_failed_keeps_what_it_says(study):
    """It stands beside old outputs, which come back."""
    record = sidecar_path(study.folder / "results/a.txt")
    before = record.read_bytes()
    (study.folder / "copying.py").write_text("raise SystemExit(1)")
    with pytest.raises(AssertionError):
        study.run(code="1")
    assert record.read_bytes() == before


def test_results_that_were_copied_with_other_times_are_as_they_were(study):
    study.forget()
    for place, age in (("results/b.txt", 3), ("results/a.txt", 2), ("own.txt", 1)):
        os.utime(study.folder / place, (2e9 - age, 2e9 - age))
    assert study.pending() == []
    assert files.sha256_file(study.folder / "results/a.txt") == files.sha256_text("own")
    (study.folder / "own.txt").write_text("changed")
    os.utime(study.folder / "own.txt", (2e9, 2e9))
    assert study.forget().pending() == BOTH


@pytest.mark.parametrize("name", ["finished", "incomplete", "input_checksums", "_get_recorded_starttime"])
def test_snakemake_still_has_what_is_overridden_or_asked(name):
    assert callable(getattr(PersistenceBase, name))
