"""The shipped profile on a real SLURM cluster: the whole way of a study, GPUs, and what goes wrong on clusters."""

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest
import yaml
from project import Project, smoke_study

from .conftest import Submission, fault_project, new_project, started, until

STUDY = ("--configfile", "config/smoke.yaml")
# Of the smoke study: Section 3, and a training run of either kind with its evaluation.
PART = [
    *(f"results/smoke/tables/{table}.csv" for table in ("table_1", "table_a1")),
    *(f"results/smoke/figures/{figure}.svg" for figure in ("table_1", "selection")),
    "results/smoke/evaluations/microcosm/sft-guided-lr0.0003/in_domain.parquet",
    "results/smoke/evaluations/microcosm/sdpo-ema0.05-train-lr0.0003-k100-seed0/along_training.parquet",
]
# Most of a job on this cluster is Snakemake's start, twice: beside the rules' own groups, more travels together.
GROUPS = {
    "prepare": ("load_problems", "pretrain_model"),
    "sample": ("select_borderline", "sample_guidance", "collect_correct"),
    "render": ("render_table",),
}
# Training is held at one step until it is told to stop: no machine is too fast, or too slow, to be there at that time.
STEPS, HELD = 40, 20
STEP_ENDS = "        if state.global_step % self._every:\n"
HOLD = f"        while state.global_step == {HELD} and not self.stop_requested:\n            time.sleep(0.1)\n"
TRAIN = (
    "python -m selfdistill.launch none train-sft --examples examples.parquet --model model/manifest.json "
    "--model-name tiny --run.data unguided --run.learning-rate 1e-3 --settings.batch-size 8 "
    f"--settings.micro-batch-size 8 --settings.epochs {STEPS // 8} --seed 0"
)


@pytest.fixture(scope="session")
def overdue(cluster, tiny_training, tmp_path_factory) -> tuple[Project, Submission]:
    """Jobs that will not be done when their time limit comes. Waiting for that takes longest, so they start first."""
    project = fault_project(tmp_path_factory.mktemp("overdue") / "project")
    for name in ("model", "examples.parquet"):
        (project.folder / name).symlink_to(tiny_training / name)
    project.edit("workflow/selfdistill/training/checkpoints.py", STEP_ENDS, HOLD + STEP_ENDS)
    early = "{ python3 profiles/slurm/stop_in_time.py 25 & }"
    targets = ("runs_out_of_time", "is_too_slow")
    tries = ("--retries", "9")  # as many as a busy machine needs
    return project, cluster.submit(project, *targets, "--config", f"train={TRAIN}", "--precommand", early, *tries)


@pytest.fixture(scope="session")
def study(cluster, tmp_path_factory) -> tuple[Project, Submission]:
    """Part of the smoke study, on the cluster, while the tests of faults wait for this and that."""
    project = new_project(tmp_path_factory.mktemp("study") / "project")
    for _ in ("train_onpolicy", "train_sft"):  # on GPUs that are none, with models that are small, in one process
        project.edit("profiles/slurm/config.yaml", "accelerate: config/accelerate/fsdp2.yaml", "accelerate: none")
    with (project.folder / "profiles" / "slurm" / "config.yaml").open("a") as profile:
        profile.write("groups:\n")
        profile.writelines(f"  {rule}: {group}\n" for group, rules in GROUPS.items() for rule in rules)
        profile.write("group-components: {prepare: 2, render: 2}\n")
    one_node = ("--resources", "nodes=1", "--set-resource-scopes", "nodes=local")  # for those together, not for each
    return project, cluster.submit(project, *PART, "--jobs", "3", *one_node, *STUDY)


def test_the_papers_study_asks_for_gpus_by_rule(tmp_path):
    project = new_project(tmp_path / "paper")
    profiles = ("--profile", "profiles/paper", "--profile", "profiles/slurm")
    status, output = project.run("snakemake", "--dry-run", *profiles)
    assert status == 0, output
    asked = dict(re.findall(r"^ *rule (\w+):\n(?:.+\n)*? +resources: (.*)", output, re.MULTILINE))
    profile = yaml.safe_load((project.folder / "profiles" / "slurm" / "config.yaml").read_text())
    for rule, resources in profile["set-resources"].items():
        if "gpu" in resources and rule != "measure_information":  # which the paper's study does not ask for
            assert f"nodes=1, gpu={resources['gpu']}" in asked[rule]
    assert "accelerate=config/accelerate/fsdp2.yaml" in asked["train_onpolicy"]
    drawn = [rule for rule in asked if rule.startswith("draw_")]
    assert "draw_fig_3" in drawn and all("slurm_partition=cpu" in asked[rule] for rule in drawn)
    assert all("gpu" not in asked[rule] for rule in ("make_table_1", "render_table", "load_problems"))


@pytest.mark.usefixtures("overdue", "study")
def test_gpus_reach_the_jobs_that_ask_for_them(cluster, faults):
    targets = [f"on_gpus.{number}" for number in range(3)]
    cluster.submit(faults, *targets, "without_gpu").finish()
    found = [(faults.folder / target).read_text().split() for target in targets]
    assert [node for node, _ in found] == ["n1"] * 3
    gpus = [number for _, numbers in found for number in numbers.split(",")]
    assert len(gpus) == len(set(gpus)) == 6
    assert started(faults, "without_gpu").popitem()[1] == ["n1", "none"]


def test_a_failed_job_is_submitted_again(cluster, faults, outcome):
    submission = cluster.submit(faults, "fails_once")
    output = submission.finish()
    assert "SLURM status is: 'FAILED'" in output
    assert len(started(faults, "fails_once")) == 2  # two SLURM jobs: the inner Snakemake did not try again
    seconds = submission.seconds_to(faults.folder / "fails_once")
    outcome("a job fails once", "second SLURM job did it", "the first try", seconds)


def test_a_cancelled_job_is_submitted_again(cluster, faults, outcome):
    submission = cluster.submit(faults, "is_cancelled")
    until(lambda: started(faults, "is_cancelled"))
    subprocess.run(["scancel", f"--name={submission.run_id}"], check=True)
    output = submission.finish()
    assert "SLURM status is: 'CANCELLED'" in output
    assert len(started(faults, "is_cancelled")) == 2
    seconds = submission.seconds_to(faults.folder / "is_cancelled")
    outcome("scancel of a job", "second SLURM job did it", "the first try", seconds)


def test_a_dead_nodes_job_runs_on_another(cluster, faults, outcome):
    submission = cluster.submit(faults, "loses_its_node")
    until(lambda: started(faults, "loses_its_node"))
    cluster.call("kill-node", "n2")
    output = submission.finish()
    cluster.call("start-node", "n2")
    assert "failed due to a node failure" in output
    first, *later = [node for node, _ in started(faults, "loses_its_node").values()]
    assert first == "n2" and set(later) == {"n1"}
    # and SLURM did not run it a second time by itself
    assert cluster.queue(submission.run_id) == []
    seconds = submission.seconds_to(faults.folder / "loses_its_node")
    outcome("a node dies", "second SLURM job did it on the other node", "the first try", seconds)


def test_jobs_outlive_snakemake_and_the_next_start_takes_their_results(cluster, faults, outcome):
    submission = cluster.submit(faults, "outlives_snakemake")
    until(lambda: started(faults, "outlives_snakemake"))
    submission.process.send_signal(signal.SIGKILL)
    submission.process.wait()
    assert [state for _, state, _ in cluster.queue(submission.run_id)] == ["RUNNING"]
    (faults.folder / "go").touch()
    until(lambda: not cluster.queue(submission.run_id))
    status, output = faults.run("snakemake", "--unlock", "--cores", "1")
    assert status == 0, output
    assert "Nothing to be done" in cluster.submit(faults, "outlives_snakemake").finish()
    assert len(started(faults, "outlives_snakemake")) == 1
    seconds = submission.seconds_to(faults.folder / "outlives_snakemake")
    outcome("Snakemake is killed", "its job went on; the next start had nothing to do", "nothing", seconds)


def test_after_its_time_limit_a_job_begins_anew_and_training_goes_on(overdue, tiny_training, outcome):
    project, submission = overdue
    uninterrupted = _train_here(tiny_training)
    output = submission.finish()
    assert "SLURM status is: 'TIMEOUT'" in output
    assert len(started(project, "is_too_slow")) > 1
    seconds = submission.seconds_to(project.folder / "is_too_slow")
    outcome("a job reaches its limit of 60 s", "another SLURM job did it, with more time", "the first try", seconds)
    tries = sorted(project.folder.glob("trained.*.log"), key=lambda path: int(path.suffixes[0][1:]))
    reached = 0
    for told in (path.read_text() for path in tries):
        begun = re.search(rf"(\d+)/{STEPS}", told)  # not in a try that the signal met before training
        assert begun is None or int(begun[1]) == reached
        reached = max([reached, *map(int, re.findall(rf"stopped at step (\d+) of {STEPS}", told))])
    assert HELD <= reached < STEPS
    for name in ("model.safetensors", "steps.parquet"):
        assert (project.folder / "trained" / name).read_bytes() == (uninterrupted / name).read_bytes(), name
    happened = f"saved step {reached} of {STEPS} before it; another SLURM job went on there, to equal bytes"
    seconds = submission.seconds_to(project.folder / "trained" / "manifest.json")
    outcome("training reaches its limit of 60 s", happened, "nothing", seconds)


def _train_here(folder: Path) -> Path:
    """The same training, without SLURM and in one go."""
    command = [*TRAIN.split(), "--work-dir", "work", "--out", "trained/manifest.json"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2] / "workflow")}
    subprocess.run([*command, "--out-steps", "trained/steps.parquet"], cwd=folder, env=environment, check=True)
    return folder / "trained"


def test_the_study_on_slurm_equals_the_study_without(study, tmp_path):
    project, submission = study
    alone = undisturbed(tmp_path / "alone")
    submission.finish()
    expected, found = alone.results(), project.results()
    assert len(found) > 20 and found.keys() <= expected.keys()
    assert [name for name in found if expected[name] != found[name]] == []


def undisturbed(folder: Path) -> Project:
    """The smoke study that another group of tests has made; without one, the same part of it."""
    if "FINISHED_STUDY" in os.environ:
        return smoke_study(folder)
    alone = Project.copy_to(folder)
    alone.snakemake(*PART)
    return alone
