"""A trial of the smoke study from one end to the other."""

import pytest
from project import FIGURES, TABLES, Project
from selfdistill.records import verification

TRIAL = ("--cores", "2", "--configfile", "config/smoke.yaml")


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A checkout in which the trial of the smoke study has run."""
    project = Project.copy_to(tmp_path_factory.mktemp("trial"))
    status, output = project.run("snakemake", *TRIAL, "config/trial.yaml")
    assert status == 0, output
    assert "# smoke_trial: what it has proved" in output
    return project


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
