"""A trial of any shipped study runs each kind of its jobs once, and small; what it measured enters the study's plan."""

import os
import re
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
import yaml
from project import ROOT, Project, configured
from selfdistill import checks, tables
from selfdistill.claims.statements import read_claims
from selfdistill.config import Config, parse
from selfdistill.errors import UserError
from selfdistill.planning import costs, measured, plan, proved
from selfdistill.planning.ranges import Range
from selfdistill.records import provenance
from selfdistill.settings import as_json, keys
from selfdistill.study import Study
from snakemake.utils import update_config

STUDIES = {
    "microcosm": [],
    "smoke": ["smoke"],
    "thorough": ["thorough"],
    "beyond": ["beyond"],
    "beyond_carrier": ["beyond_carrier"],
    "paper": ["paper"],
    "one_gpu": ["one_gpu"],
    "weekend": ["one_gpu", "weekend"],
    "one_gpu_qwen3": ["one_gpu", "one_gpu_qwen3"],
}


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
    assert trial.figures.keys() == study.figures.keys() - {"edited", "alignment"}


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


COMMENTED = r"^  # (?=seen_\d|subsets: |copies: |qwen3_8b_chemistry:|  \{source: model, of: qwen3_8b,|   system: )"


def test_what_the_paper_s_study_shows_in_comments_is_a_study_and_has_its_trial(monkeypatch):
    """The authors' subsets, draws with repetition, and Chemistry with its system turn."""
    monkeypatch.chdir(ROOT)
    text, found = re.subn(COMMENTED, "  ", (ROOT / "config/paper.yaml").read_text(), flags=re.MULTILINE)
    overlay = yaml.safe_load(text)
    assert found == 10
    for row in overlay["onpolicy"]["runs"]:
        if row.get("problem_set") == "narrow":
            row |= {"model": "qwen3_8b_chemistry", "copies": 1}
        if "problems" in row:
            row["problems"] = [1, 8, 64, 128, 511]
    values = yaml.safe_load((ROOT / "config.yaml").read_text())
    update_config(values, overlay)
    claims = read_claims(ROOT / "config" / "claims.yaml")
    paper, trial = Study(parse(values)), Study(parse(values | {"trial": {}}))
    for made in (paper, trial):
        assert checks.faults_of(made, keys(Config), claims, own_environments=False) == []
        models = {run.model for run in made.runs.values() if run.problem_set == "narrow"}
        assert models == {"qwen3_8b_chemistry"}
    parts = {run.problems: paper.read_from(run) for run in paper.runs.values() if run.problem_set == "train"}
    assert parts == {size: f"seen_{size}" for size in (1, 8, 64, 128, 511)} | {None: "train"}
    copies = {(run.problem_set, run.problems is None): run.copies for run in paper.runs.values()}
    assert copies == {("train", True): 103, ("train", False): 1, ("narrow", True): 1}


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

ALONE = {"train_sft": "NO", "train_onpolicy": "NO"}


@pytest.mark.parametrize(
    ("last", "skipped", "told"),
    [(float("nan"), 1.0, "the loss of a step is no number"), (0.1, 1.0, "not finite, and so skipped: 1")],
)
def test_a_loss_that_is_no_number_and_a_skipped_update_are_not_passed_over(tmp_path, last, skipped, told):
    tried = proved.Tried(Study(parse(configured("smoke", "trial"))), tmp_path)
    write_all_losses(tried)
    file = tried.trained("grpo")[0]
    write_losses(file, last, skipped)
    with pytest.raises(UserError, match=rf"{file.stem}\.parquet: .*{told}"):
        list(proved._training(tried, ALONE))


def write_all_losses(tried: proved.Tried) -> None:
    for file in [*tried.trained("sft"), *tried.trained("grpo"), *tried.trained("sdpo")]:
        write_losses(file, 0.1, 0.0)


def write_losses(file: Path, last: float, skipped: float) -> None:
    rows = {"step": [1, 2, 2], "metric": ["loss", "loss", "skipped_updates"], "value": [0.1, last, skipped]}
    tables.write(pd.DataFrame(rows | {"model": "m", "run": file.stem}), file, tables.TRAINING_STEPS)
    provenance.write_sidecar(file, command=["selfdistill", "x"], inputs={}, parameters={}, seconds=1)


def test_what_an_earlier_configuration_of_a_trial_has_left_proves_nothing(tmp_path):
    tried = proved.Tried(Study(parse(configured("smoke", "trial"))), tmp_path)
    write_all_losses(tried)
    runs = tried.trained("grpo")
    name, logs = runs[0].stem, tmp_path / "logs"
    (tmp_path / f"models/microcosm/{name}/step-1").mkdir(parents=True)
    (tmp_path / f"models/microcosm/{name}/step-1/manifest.json").touch()
    for rule in (f"train_onpolicy/microcosm/{name}", "pretrain_model/microcosm"):
        benchmark(logs / f"{rule}.benchmark.tsv", 7)
    before = [*proved._training(tried, ALONE), proved._checkpoints(tried)]
    assert before[1][1].startswith(f"{len(runs)} runs with finite losses") and "1 models saved" in before[-1][1]
    seconds = list(proved._seconds(logs, tried))
    assert sorted(seconds) == ["| pretrain_model | 1 | 7 | 7 |", "| train_onpolicy | 1 | 7 | 7 |"]
    write_losses(runs[0].with_name("grpo-train-lr0.5-seed0.parquet"), float("nan"), 1.0)
    (tmp_path / "models/microcosm/grpo-train-lr0.5-seed0/step-1").mkdir(parents=True)
    (tmp_path / "models/microcosm/grpo-train-lr0.5-seed0/step-1/manifest.json").touch()
    benchmark(logs / "train_onpolicy/microcosm/grpo-train-lr0.5-seed0.benchmark.tsv", 700)
    assert [*proved._training(tried, ALONE), proved._checkpoints(tried)] == before
    assert list(proved._seconds(logs, tried)) == seconds
