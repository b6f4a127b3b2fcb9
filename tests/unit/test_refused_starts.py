"""Snakemake itself: a bad start ends with sentences alone, and finished results stay as they were."""

import os
import re
import subprocess
import sys
from pathlib import Path

import forks
import pytest
from project import Project

FINISHED = (
    "results/microcosm/problems/mine.parquet",
    "results/microcosm/models/microcosm/base/manifest.json",
    "results/microcosm/training/microcosm/grpo-train-lr0.0003-seed0.parquet",
)
# What a start says that is not ours: Snakemake's own progress.
PROGRESS = re.compile(r"Using workflow specific profile|Config file .* is extended by|Warning: |Study '")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A checkout with files where finished results lie."""
    made = Project.copy_to(tmp_path_factory.mktemp("project"))
    for name in FINISHED:
        file = made.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
    return made


def state(project: Project) -> dict[str, tuple[str, int]]:
    return {name: (Path(name).read_text(), Path(name).stat().st_mtime_ns) for name in FINISHED}


def environment(project: Project) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(project.folder / "workflow"), "PYTHONDONTWRITEBYTECODE": "1"}


def start(project: Project, *words: str, cwd: Path | None = None) -> tuple[int, str]:
    process = forks.start(["snakemake", *words], cwd=cwd or project.folder, env=environment(project))
    output, _ = process.communicate()
    return process.returncode, output


def sentences(output: str) -> list[str]:
    return [line for line in output.splitlines() if line.strip() and not PROGRESS.match(line)]


DRY, REAL = ("--dry-run",), ("--cores", "1")
MINE = "problem_sets: {mine: {source: file, file: data/gone.jsonl}}\n"
CASES = {
    "a divisor": (DRY, "onpolicy: {micro_batch_size: 5}", ["config: onpolicy: micro_batch_size 5 does not divide 32"]),
    "a divisor at a real start": (REAL, "onpolicy: {micro_batch_size: 5}", ["config: onpolicy: micro_batch_size 5"]),
    "a revision": (
        REAL,
        "models: {microcosm: {source: hub, repo: a/b, revision: main, instruction: ''}}",
        ["config: models.microcosm: a/b: revision 'main' is not a commit"],
    ),
    "a file that is gone": (REAL, MINE, ["config: problem_sets.mine.file: data/gone.jsonl: no such file"]),
    "an octal": (DRY, "seed: 017", ["mine.yaml, line 1: YAML does not read 017 as a decimal number"]),
    "a view": (
        DRY,
        "figures: {views: {fig_3: {families: [micro]}}}",
        ["config: figures.views.fig_3.families: unknown 'micro' (did you mean 'microcosm'?)"],
    ),
    "several": (
        DRY,
        "seed: true\nselection: {hihg: 1}\nsft: {models: [nobody]}\nengine: vLLM\nonpolicy: {lora_rank: -4}",
        [
            "config: seed: a number is expected (found true)",
            "config: unknown key 'selection.hihg' (did you mean 'high'?)",
            "config: sft.models: unknown 'nobody'",
            "config: engine: unknown 'vLLM' (did you mean 'vllm'?)",
            "config: onpolicy.lora_rank: Input should be greater than or equal to 0",
        ],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_bad_configuration_stops_snakemake_with_its_sentences_alone(case, project, monkeypatch):
    monkeypatch.chdir(project.folder)
    before = state(project)
    how, overlay, expected = CASES[case]
    (project.folder / "mine.yaml").write_text(overlay)
    status, output = start(project, *how, "--configfile", "mine.yaml")
    told = sentences(output)
    assert status == 1 and len(told) == len(expected), output
    assert all(any(line.startswith(sentence) for line in told) for sentence in expected), output
    assert state(project) == before


def test_targets_that_are_none_are_told_with_the_nearest(project, monkeypatch):
    """Of rules, of artifacts by their name, and of files where they lie."""
    monkeypatch.chdir(project.folder)
    results = "results/microcosm"
    neither = "neither a rule nor a file of the study 'microcosm'"
    expected = {
        "fig_3": f"{neither} (did you mean '{results}/figures/fig_3.png'?); allowed are",
        "section_33": f"{neither} (did you mean 'section_3'?); allowed are",
        "train_sfft": f"{neither} (did you mean 'train_sft'?)",
        "tabels": f"{neither} (did you mean 'tables'?)",
        "config.yaml": neither,  # there, but no job makes it
        f"{results}/figures/fig_33.pdf": f"{neither} (did you mean '{results}/figures/fig_3.pdf'?)",
        f"{results}/figures": "a folder; name a file in it, or a rule",
        f"{results}/training/microcosm/grpo-trian-lr0.0003-seed0.parquet": (
            "the study 'microcosm' has no run 'grpo-trian-lr0.0003-seed0' (did you mean 'grpo-train-lr0.0003-seed0'?)"
        ),
        f"{results}/evaluations/mcrocosm/base/easy.parquet": (
            "the study 'microcosm' has no model 'mcrocosm' (did you mean 'microcosm'?)"
        ),
        "results/mine/tables/table_1.csv": "this start is of the study 'microcosm'; a file of another one needs",
    }
    *targets, until, forced = [*expected.keys() - {"train_sfft", "tabels"}, "tabels", "train_sfft"]
    before = state(project)
    status, output = start(project, *targets, "--until", until, "--forcerun", forced, *REAL)
    assert status == 1
    told = dict(line.split(": ", 1) for line in sentences(output) if line.split(": ")[0] in expected)
    assert told.keys() == expected.keys()
    assert all(told[target].startswith(sentence) for target, sentence in expected.items()), output
    assert state(project) == before


def test_a_real_start_says_the_same(project, monkeypatch):
    """Not a fork."""
    monkeypatch.chdir(project.folder)
    _, overlay, (sentence,) = CASES["a divisor"]
    (project.folder / "mine.yaml").write_text(overlay)
    command = [sys.executable, "-m", "snakemake", "--dry-run", "--configfile", "mine.yaml"]
    run = subprocess.run(command, env=environment(project), capture_output=True, text=True)
    (told,) = sentences(run.stdout + run.stderr)
    assert run.returncode == 1 and told.startswith(sentence)


PROFILES = ("--profile", "profiles/paper", "--profile", "profiles/slurm")


@pytest.mark.parametrize("own", [(), ("--configfile", "mine.yaml"), ("--config", "seed=7")])
def test_what_is_laid_over_a_profile_leaves_its_study(own, project, monkeypatch):
    monkeypatch.chdir(project.folder)
    (project.folder / "mine.yaml").write_text("study: mine\nseed: 7\n")
    target = f"results/{'mine' if 'mine.yaml' in own else 'paper'}/training/runs.parquet"
    status, output = start(project, "--dry-run", target, *PROFILES, *own)
    assert status == 0, output
    (told,) = [line for line in output.splitlines() if line.startswith("Study '")]
    files = ["config.yaml", "config/paper.yaml", *(["mine.yaml"] if "mine.yaml" in own else [])]
    assert f"by {', '.join(files)}{' and --config' * ('--config' in own)}: " in told
    assert "deepseek" in told and "vLLM, on GPUs" in told and "microcosm" not in told


def test_a_study_of_another_kind_than_its_profile_is_refused(project, monkeypatch):
    monkeypatch.chdir(project.folder)
    status, output = start(project, "--dry-run", "--profile", "profiles/slurm")
    told = sentences(output)[-1]
    assert status == 1 and "the study 'microcosm' tiny models on a CPU (microcosm)" in told
    profile = project.folder / "profiles" / "slurm" / "config.yaml"
    shipped = profile.read_text()
    profile.write_text(shipped.replace("accelerate: config/accelerate/fsdp2.yaml", "accelerate: none"))
    target = "results/microcosm/training/runs.parquet"
    status, output = start(project, target, "--dry-run", "--profile", "profiles/slurm")
    profile.write_text(shipped)
    assert status == 0, output


def test_a_profile_that_names_no_rule_or_says_nothing_is_told_with_the_nearest(project, monkeypatch):
    """In a profile, and on the command line, which Snakemake lays over it."""
    monkeypatch.chdir(project.folder)
    given = ["train_stf:gpu=1", "train_sft:cpu_per_task=4", "train_sft:gpu=0", "train_onpolicy:mem_mb=500G"]
    expected = [
        "set-resources: no rule 'train_stf' (did you mean 'train_sft'?)",
        "set-resources: train_sft: no resource 'cpu_per_task' (did you mean 'cpus_per_task'?)",
        "set-resources: train_onpolicy.mem_mb: expected a number of MB; 'mem' takes units",
        "set-resources: train_sft.gpu: its jobs load a model with vLLM, which needs a GPU (found 0)",
    ]
    profile = project.folder / "mine" / "config.yaml"
    profile.parent.mkdir()
    profile.write_text(
        "set-resources:\n  train_stf: {gpu: 1}\n  train_sft: {cpu_per_task: 4, gpu: 0}\n"
        "  train_onpolicy: {mem_mb: 500G}\n"
    )
    for words in (("--profile", "mine"), ("--set-resources", *given)):
        status, output = start(project, "--dry-run", "--profile", "profiles/paper", *words)
        told = [line for line in sentences(output) if not line.startswith("Using profiles")]
        assert status == 1 and len(told) == len(expected), output
        assert all(line.startswith(sentence) for line, sentence in zip(told, expected, strict=True)), output


ONE_GPU = ("--cores", "1", "--profile", "profiles/one_gpu")


def test_a_model_that_was_not_fetched_is_told_before_anything_is_sampled(project, monkeypatch, tmp_path):
    monkeypatch.chdir(project.folder)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    before = state(project)
    status, output = start(project, "results/one_gpu/problems/deepseek_r1_1_5b/borderline.parquet", *ONE_GPU)
    assert status == 1 and "config.json is not in the hub's cache" in output
    assert (
        "selfdistill prefetch --lock config/revisions.json --repos deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B" in output
    )
    assert state(project) == before


def test_a_model_whose_commit_is_not_known_is_told_at_a_start(project, monkeypatch):
    monkeypatch.chdir(project.folder)
    target = "results/evening/models/grpo_qwen3_8b/base/manifest.json"
    status, output = start(project, target, *ONE_GPU, "--configfile", "config/evening.yaml")
    assert status == 1 and "config/revisions.json: commits not known yet: 1; where" in output


@pytest.mark.parametrize("how", [DRY, REAL])
def test_a_disk_that_is_not_mounted_is_told_before_all_is_planned_anew(how, project, monkeypatch):
    monkeypatch.chdir(project.folder)
    before = state(project)
    results = project.folder / "results"
    results.rename("mounted")
    results.symlink_to("/gone/results")
    status, output = start(project, *how)
    results.unlink()
    Path("mounted").rename(results)
    assert status == 1 and sentences(output) == [
        f"{results}: a link to /gone/results, which is not there, where a folder is expected"
    ]
    assert state(project) == before


def test_a_start_elsewhere_says_where_it_belongs(project, monkeypatch):
    monkeypatch.chdir(project.folder)
    for folder, words in ((project.folder / "workflow", ()), (project.folder, ("--directory", "config"))):
        status, output = start(project, "--dry-run", *words, cwd=folder)
        assert status == 1 and len(sentences(output)) == 1
        assert "not the folder of the checkout" in output and f"start Snakemake in {project.folder}" in output


def test_a_file_that_is_not_there_yet_can_be_planned_and_not_started(project, monkeypatch):
    monkeypatch.chdir(project.folder)
    (project.folder / "mine.yaml").write_text(MINE.replace("mine:", "other:"))
    missing = "config: problem_sets.other.file: data/gone.jsonl: no such file"
    target = "results/microcosm/problems/other.parquet"
    status, output = start(project, target, "--dry-run", "--configfile", "mine.yaml")
    assert status == 0 and f"Warning: {missing}" in output
    before = state(project)
    status, output = start(project, target, "--cores", "1", "--configfile", "mine.yaml")
    assert status == 1 and missing in output.splitlines() and "Traceback" not in output
    assert state(project) == before and not (project.folder / "logs").exists()
