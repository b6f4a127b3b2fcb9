"""What a user may write freely reaches its job letter by letter, through Snakemake and the shell."""

import re
import shlex

import yaml
from project import Project
from selfdistill import cli

AWKWARD = """say "a" or 'b' for $HOME, {x} and {output}, `y` \\boxed{}\n--then=this"""
CALL = r"python -m selfdistill(?:\.launch none)? (%s .*?) 2>&1 \| tee"


def test_an_instruction_of_any_letters_reaches_its_jobs_as_it_was_written(tmp_path):
    project = Project.copy_to(tmp_path / "project")
    overlay = {"models": {name: {"instruction": AWKWARD} for name in ("microcosm", "microcosm_off")}}
    (project.folder / "mine.yaml").write_text(yaml.safe_dump(overlay))
    study = ("--configfile", "config/smoke.yaml", "mine.yaml")
    status, output = project.run("snakemake", "--dry-run", "--printshellcmds", *study)
    assert status == 0, output
    for command in ("select-borderline", "sample-guidance", "build-sft-sets", "train-onpolicy"):
        for words in re.findall(CALL % command, output, re.DOTALL):
            _, _, given = cli.read(shlex.split(words))
            assert getattr(given.get("sampler"), "instruction", given.get("instruction")) == AWKWARD
        assert re.search(CALL % command, output, re.DOTALL), command
    status, output = project.run("snakemake", "results/smoke/config.yaml", "--cores", "1", *study)
    assert status == 0, output
    recorded = yaml.safe_load((project.folder / "results/smoke/config.yaml").read_text())
    assert recorded["models"]["microcosm"]["instruction"] == AWKWARD
