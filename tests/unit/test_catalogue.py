"""What the Snakemake workflow catalogue asks of a repository, and what ours tells it."""

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
USAGE = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text(encoding="utf-8"))["usage"]
RULES = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "workflow/rules").glob("*.smk"))]


def test_what_the_catalogue_looks_for_is_there():
    readme = (ROOT / "README.md").read_text(encoding="utf-8").lower()
    assert "snakemake" in readme and "workflow" in readme
    assert (ROOT / "workflow/Snakefile").is_file() and RULES
    assert "| key |" in (ROOT / "config/README.md").read_text(encoding="utf-8").lower()


def test_what_it_is_told_is_so():
    deployment = USAGE["software-stack-deployment"]
    assert deployment == {"conda": True, "apptainer": True, "apptainer+conda": False}
    assert sum("conda:" in rules for rules in RULES) > 5 and (ROOT / "envs/base.yaml").is_file()
    assert re.search(r'^container: "(.+)"$', (ROOT / "workflow/Snakefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert (ROOT / "envs/selfdistill.def").is_file()
    assert USAGE["report"] is any("report(" in rules for rules in RULES)
    assert USAGE["mandatory-flags"]["flags"] == []  # plain `snakemake --cores all` runs it
