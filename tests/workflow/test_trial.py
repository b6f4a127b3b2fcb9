"""A trial of the smoke study from one end to the other, and an audit of a model that it trained, as if published."""

from pathlib import Path

import pytest
import yaml
from project import FIGURES, TABLES, Project, made_once
from selfdistill import tables
from selfdistill.claims.verdicts import NOT_TESTABLE, ONE_MODEL
from selfdistill.records import verification

TRIAL = ("--cores", "2", "--configfile", "config/smoke.yaml")
AUDIT = {
    "study": "audit",
    "models": {name: {"source": "folder", "folder": name, "instruction": ""} for name in ("theirs", "another")}
    | {"microcosm_off": None},
    "sft": {"models": []},
    "onpolicy": {
        "runs": [],
        "released": [
            {"model": "microcosm", "method": method, "learning_rate": 3e-4, "steps": 2, "checkpoint": checkpoint}
            for method, checkpoint in (("grpo", "theirs"), ("sdpo", "another"))
        ],
        "benchmarks": {"train": ["in_domain"], "narrow": None},
    },
    "problem_sets": {"narrow": None, "narrow_test": None},
    "figures": {"narrow": None, "views": dict.fromkeys(f"fig_{name}" for name in "1 3 4 5 6 7 8 d1 e".split())},
    "claims": {
        "roles": dict.fromkeys(("sft", "no_thinking", "coverage", "chemistry", "moving_teacher"))
        | {"high_reasoning": {"rates": {"grpo": [3e-4], "sdpo": [3e-4]}, "hardest": "in_domain"}}
    },
}


@pytest.fixture(scope="session")
def tried(of_all_workers: Path) -> Project:
    """A checkout in which the trial of the smoke study has run, once for all workers."""

    def make(project: Project) -> None:
        status, output = project.run("snakemake", *TRIAL, "config/trial.yaml")
        assert status == 0, output
        assert "# smoke_trial: what it has proved" in output

    return made_once(of_all_workers / "trial", make)


def test_a_trial_makes_everything_and_says_what_it_proved(tried):
    results = tried.folder / "results" / "smoke_trial"
    assert {path.stem for path in results.glob("figures/*.png")} == FIGURES.keys()
    assert {path.stem for path in results.glob("tables/*.csv")} == TABLES.keys()
    told = (results / "trial.md").read_text()
    assert "| training by GRPO | 2 runs with finite losses; 1 process, each with the whole model |" in told
    assert "| training by SDPO | 3 runs with finite losses; 1 process, each with the whole model |" in told
    assert "| checkpoints | 5 models saved along training, those of 5 runs loaded and evaluated |" in told
    assert not (tried.folder / "results" / "smoke").exists()


def test_the_records_of_a_trial_hold(tried, monkeypatch):
    monkeypatch.chdir(tried.folder)
    assert verification.verify(tried.folder / "results" / "smoke_trial") == []


def test_a_published_checkpoint_is_judged_without_training(tried):
    for name, method in (("theirs", "grpo"), ("another", "sdpo")):
        trained, *_ = sorted(tried.folder.glob(f"results/smoke_trial/models/microcosm/{method}-*/step-2"))
        (tried.folder / name).symlink_to(trained)
    (tried.folder / "audit.yaml").write_text(yaml.safe_dump(AUDIT))
    status, output = tried.run("snakemake", *TRIAL, "audit.yaml", "config/trial.yaml")
    assert status == 0, output
    results = tried.folder / "results" / "audit_trial"
    assert not (results / "traces" / "microcosm" / "rollouts").exists()
    ends = tables.read(results / "tables" / "table_released.parquet", tables.SUMMARY)
    ours = ends[(ends["origin"] == "measured") & (ends["metric"] == "L")].set_index("row")
    assert set(ours.index) == {"base", "GRPO", "SDPO"} and ours["low"].notna().all()
    ledger = tables.read(results / "claims" / "ledger.parquet", tables.LEDGER)
    assert set(ledger["verdict"]) == {NOT_TESTABLE, ONE_MODEL}
    judged = ledger[ledger["verdict"] == ONE_MODEL]
    assert "grpo-lengthens-on-unseen" in set(judged["id"])
    assert (results / "figures" / "released.svg").stat().st_size > 0
