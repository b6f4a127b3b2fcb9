"""The commands that pages give to be copied do what they say, on a finished study; what cannot be run here says why."""

import re
import shutil

import commands
import pytest
from project import ROOT, Project

TYPED = [command.text for command in commands.typed()]
# What a reader puts for a word of the page, and the finished study for the one that the page is about.
MEANT = {
    "results/reference/microcosm": str(ROOT / "results/reference/microcosm"),
    "base/easy.parquet": "base/in_domain.parquet",
    "results/microcosm": "results/smoke",
    "trace FILE": "trace results/smoke/figures/fig_3.png",
    "diff A B": "diff results/smoke results/smoke",
    "my.yaml": "config/smoke.yaml",
    "mine.yaml": "config/smoke.yaml",
}
DRY = {"snakemake": ["--dry-run", "--quiet", "rules"]}
# What is printed, by command: that which the page promises.
RUN = {
    "selfdistill trace FILE": "seed",
    "selfdistill verify results/microcosm": "as recorded",
    "selfdistill diff A B": "verdict",
    'selfdistill plan --target "Figure 3"': "train_onpolicy",
    "selfdistill plan": "WHAT APPEARS WHEN",
    "selfdistill plan --cores 8": "on 8 cores",
    "selfdistill plan --configfile config/paper.yaml --profile profiles/slurm --price 2.50": "GPU-hours",
    "selfdistill explain": "jobs? (is|are) run|Nothing",
    'selfdistill explain --target "Figure 3"': "jobs? (is|are) run|Nothing",
    "selfdistill fingerprint": "equal bytes|last digits|This machine",
    "selfdistill draw fig_3 --from results/reference/microcosm --out fig_3.png": "",
    "selfdistill load-problems --problem-set.source microcosm --problem-set.split hard --problem-set.size 30 "
    "--out hard.parquet": "30",
    "selfdistill export-tensorboard results/microcosm --out /tmp/runs": "runs",
    "selfdistill export-inspect results/microcosm --traces results/microcosm/evaluations/microcosm/base/easy.parquet "
    "--out /tmp/logs": "json",
    "selfdistill export-logbook --claims results/microcosm/claims/claims.json --out /tmp/logbook": "statements",
    "snakemake section_3": "draw_table_1",
    "snakemake section_3 --configfile config/smoke.yaml": "Nothing to be done|record_config",
    "snakemake --configfile my.yaml": "Nothing to be done|record_config",
    "snakemake --configfile mine.yaml --dry-run": "Nothing to be done|record_config",
    "snakemake --configfile config/smoke.yaml": "Nothing to be done|record_config",
    "snakemake --configfile config/thorough.yaml": "pretrain_model +16",
    "snakemake --configfile config/beyond.yaml": "train_onpolicy",
    "snakemake --configfile config/beyond_carrier.yaml": "train_onpolicy",
    "snakemake --configfile config/carrier.yaml": "train_onpolicy",
    "snakemake --configfile config/smoke.yaml --forcerun make_table_1 --until make_table_1": "make_table_1 +1",
    "snakemake --profile profiles/paper --profile profiles/slurm --dry-run": "total ",
    "snakemake --profile profiles/paper --profile profiles/slurm --configfile config/trial.yaml": "total ",
    "snakemake --profile profiles/paper --cores 1 --keep-going --until load_problems": "load_problems",
}
# Why the others are not run by this test. Those of make: `.ci/run` runs lint and test, which run the others' parts.
ELSEWHERE = {
    r"make .*": "minutes to hours, or an installation",
    r"(python benchmarks/|git|pip|source|export) ?.*": "measurements, the network, or the reader's shell",
    r"(apptainer|conda|\./gpu/bin/pip) .*|.*--sdm .*|PATH=\$PWD/gpu.*": "conda or apptainer, and a GPU",
    r"selfdistill (prefetch|resolve-revisions) .*": "the hub of models",
    r"(tensorboard|inspect view) .*": "a server; tests/workflow/test_other_programs.py reads what it shows",
    r"selfdistill new-study .*": "a model of the reader's; tests/workflow/test_own_study.py runs it",
}


# What docs/one_gpu.md says that each of its studies takes: the files behind `--configfile`.
ONE_GPU = ["", "evening", "weekend", "one_gpu_qwen3", "trial"]


@pytest.mark.parametrize("file", ONE_GPU)
def test_the_hours_on_one_gpu_are_those_of_the_plan(tmp_path, file: str):
    project = Project.copy_to(tmp_path / "project")  # without results, by which plans are corrected
    given = ["--configfile", f"config/{file}.yaml"] if file else []
    status, output = project.run("selfdistill", "plan", "--profile", "profiles/one_gpu", *given)
    assert status == 0, output
    hours = re.search(r"^total .* ([\d.]+ \[[\d.-]+\]) .*assumed$", output, re.MULTILINE)[1]
    page = (ROOT / "docs" / "one_gpu.md").read_text(encoding="utf-8")
    command = " ".join(["snakemake", "--profile", "profiles/one_gpu", *given])
    (row,) = [line for line in page.splitlines() if f"| `{command}` |" in line]
    assert f"| {hours}" in row


@pytest.fixture(scope="module")
def place(finished, tmp_path_factory) -> Project:
    folder = tmp_path_factory.mktemp("commands") / "project"
    shutil.copytree(finished.folder, folder, symlinks=True)
    return Project(folder)


def test_every_command_is_run_here_or_says_why_not():
    assert [text for text in RUN if text not in TYPED] == []
    others = [text for text in TYPED if text not in RUN]
    assert [text for text in others if not any(re.fullmatch(pattern, text) for pattern in ELSEWHERE)] == []
    assert [pattern for pattern in ELSEWHERE if not any(re.fullmatch(pattern, text) for text in others)] == []


@pytest.mark.parametrize("text", RUN)
def test_it_does_what_its_page_says(place: Project, text: str, tmp_path):
    meant = text.replace("/tmp/", f"{tmp_path}/")
    for word, file in MEANT.items():
        meant = meant.replace(word, file)
    words = commands.Command("", meant).words
    status, output = place.run(*words, *DRY.get(words[0], []))
    assert status == 0, output
    assert re.search(RUN[text], output), output
    outs = [words[number + 1] for number, word in enumerate(words) if word == "--out"]
    assert [out for out in outs if not (place.folder / out).exists()] == []
