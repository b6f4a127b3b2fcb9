"""A trial of any shipped study runs each kind of its jobs once, and small; what it measured enters the study's plan."""

import os
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
import yaml
from project import ROOT, Project
from selfdistill import checks, tables
from selfdistill.claims.statements import read_claims
from selfdistill.config import Config, parse
from selfdistill.errors import UserError
from selfdistill.planning import costs, measured, plan, proved
from selfdistill.planning.ranges import Range
from selfdistill.settings import as_json, keys
from selfdistill.study import Study
from snakemake.utils import update_config

STUDIES = {
    "microcosm": [],
    "smoke": ["smoke"],
    "thorough": ["thorough"],
    "paper": ["paper"],
    "one_gpu": ["one_gpu"],
    "weekend": ["one_gpu", "weekend"],
    "one_gpu_qwen3": ["one_gpu", "one_gpu_qwen3"],
}


def configured(*overlays: str) -> dict:
    """The default study with overlays, as Snakemake merges them."""
    values, above = (yaml.safe_load((ROOT / name).read_text()) for name in ("config.yaml", "config/trial.yaml"))
    laid_over: dict = {}
    for name in overlays:
        update_config(
            laid_over, above if name == "trial" else yaml.safe_load((ROOT / f"config/{name}.yaml").read_text())
        )
    update_config(values, laid_over)
    return values


@pytest.fixture(params=STUDIES)
def both(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[Study, Study]:
    """A shipped study and its trial."""
    monkeypatch.chdir(ROOT)
    overlays = STUDIES[request.param]
    return Study(parse(configured(*overlays))), Study(parse(configured(*overlays, "trial")))


def kinds(study: Study) -> Counter:
    return Counter(
        (*study.labels[run.model].values(), run.method, run.problem_set, bool(run.teacher_update_rate))
        for run in study.runs.values()
    )


def test_a_trial_trains_each_kind_of_run_once(both):
    study, trial = both
    assert kinds(trial).keys() == kinds(study).keys()
    assert set(kinds(trial).values()) == {1}


def test_a_trial_is_a_sound_study_with_a_name_of_its_own(both):
    study, trial = both
    claims = read_claims(ROOT / "config" / "claims.yaml")
    assert checks.faults_of(trial, keys(Config), claims, own_environments=False) == []
    assert trial.config.study == f"{study.config.study}_trial"
    assert trial.figures.keys() == study.figures.keys()


def test_nothing_of_a_trial_is_large(both):
    _, trial = both
    config = trial.config
    samplings = [config.sampling.collect, config.sampling.train, config.sampling.evaluate]
    samplings += [model.evaluate for model in config.models.values() if model.evaluate]
    assert max(sampling.max_tokens for sampling in samplings) <= 256
    assert {problem_set.size for problem_set in config.problem_sets.values()} == {4}
    assert {run.steps for run in trial.runs.values()} == {2}
    assert {run.problems for run in trial.runs.values()} == {None}
    for run in trial.runs.values():
        settings = trial.onpolicy_settings(run)
        assert settings.share(1) % 8 == 0  # sequences of an update, on as many GPUs
    assert len(trial.sft_runs) == 1
    config.sft.accumulation(1)


def test_the_recorded_configuration_of_a_trial_is_the_trial(both):
    _, trial = both
    assert parse(as_json(trial.config)) == trial.config


def test_what_waits_for_right_responses_takes_wrong_ones(both):
    _, trial = both
    assert trial.guidance["solution"].choose == "first"
    assert trial.config.onpolicy.sdpo.success_threshold == 0
    assert (trial.config.selection.low, trial.config.selection.high) == (0, 1)


def test_a_trial_of_a_faulty_study_tells_the_study_s_faults():
    with pytest.raises(UserError, match="unknown 'trian'"):
        parse(configured("trial") | {"selection": configured()["selection"] | {"problem_set": "trian"}})


# --- the plan ---------------------------------------------------------------------------------------------------------


def benchmark(path: Path, seconds: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"s\tcpu_time\n{seconds}\t{seconds}\n")


@pytest.fixture(scope="module")
def paper(tmp_path_factory: pytest.TempPathFactory) -> tuple[plan.Plan, Path]:
    """The plan of the paper's study where nothing has been run, and its folder."""
    from selfdistill.planning import dag

    folder, before = Project.copy_to(tmp_path_factory.mktemp("paper")).folder, Path.cwd()
    os.chdir(folder)
    try:
        graph = dag.read(profiles=[Path("profiles/paper")], cores=2)
        return plan.Plan(graph, costs.study_of(graph)), folder
    finally:
        os.chdir(before)


def test_starts_that_a_trial_measured_replace_the_assumed_ones(paper, monkeypatch):
    planned, folder = paper
    monkeypatch.chdir(folder)
    before = costs.costs(planned.graph, planned.study)
    for number, seconds in enumerate((30.0, 50.0, 40.0)):
        benchmark(folder / f"logs/paper_trial/train_onpolicy/m/run{number}.benchmark.tsv", seconds)
    benchmark(folder / "logs/paper_trial/evaluate_checkpoints/m/run.benchmark.tsv", 20.0)
    assert measured.starts(planned.study)["train_onpolicy"] == Range(30.0, 40.0, 50.0)
    after = costs.costs(planned.graph, planned.study)
    tried = planned.study.assumed
    for job in planned.graph.jobs:
        change = before[job.id].seconds.typical - after[job.id].seconds.typical
        if job.rule == "train_onpolicy":
            assert change == pytest.approx(tried.seconds(job.rule).typical - 40.0)
            assert after[job.id].source == "assumed, starts by a trial"
        elif job.rule == "evaluate_checkpoints":  # of ten models
            assert change == pytest.approx(tried.seconds(job.rule).typical - 10 * 20.0)
        else:
            assert change == 0


# --- what is proved ---------------------------------------------------------------------------------------------------


def test_a_loss_that_is_no_number_is_not_passed_over(tmp_path):
    rows = {"model": "m", "run": "grpo-a", "step": [1, 2], "metric": "loss", "value": [0.1, float("nan")]}
    tables.write(pd.DataFrame(rows), tmp_path / "training/m/grpo-a.parquet", "training_steps")
    with pytest.raises(UserError, match=r"grpo-a\.parquet: the loss of a step is no number"):
        list(proved._training(tmp_path, {"train_onpolicy": "NO"}))
