"""Every command of README, CONTRIBUTING and the other pages is one that there is, with flags that there are."""

import re
from pathlib import Path

import commands
import pytest
from selfdistill import cli, stages
from snakemake.cli import get_argument_parser

ROOT = Path(__file__).resolve().parents[2]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
# Words of pages that stand for a file of the reader's.
THE_READERS = {"my.yaml", "mine.yaml"}
TYPED, NAMED = commands.typed(), commands.named()


def of(program: str, found: list[commands.Command]) -> list[commands.Command]:
    return [command for command in found if command.program == program]


def test_there_are_commands_of_every_program():
    assert len(TYPED) > 50 and len(NAMED) > 40
    assert {command.program for command in TYPED} >= {"make", "selfdistill", "snakemake", "python"}


@pytest.mark.parametrize("command", of("make", TYPED + NAMED), ids=lambda command: command.text)
def test_make_has_the_target_and_the_variables(command):
    targets = [word for word in command.words[1:] if "=" not in word]
    variables = [word.partition("=")[0] for word in command.words if "=" in word]
    assert set(targets) <= TARGETS and targets
    assert [name for name in variables if f"$({name})" not in MAKEFILE and f"ifdef {name}" not in MAKEFILE] == []


@pytest.mark.parametrize("command", of("selfdistill", TYPED), ids=lambda command: command.text)
def test_a_command_to_copy_is_read_without_complaint(command):
    cli.read([word for word in command.words[1:] if word != "..."])


@pytest.mark.parametrize("command", of("selfdistill", NAMED), ids=lambda command: command.text)
def test_a_command_that_is_named_exists_with_its_flags(command):
    name, *rest = command.words[1:]
    if name in ("--help", "STAGE"):
        return
    known = {flag.name for flag in cli._flags(stages.STAGES[name][0])} | {"--help"}
    assert {word.partition("=")[0] for word in rest if word.startswith("--")} <= known


@pytest.mark.parametrize("command", of("snakemake", TYPED + NAMED), ids=lambda command: command.text)
def test_snakemake_takes_the_flags_and_its_files_are_here(command):
    """`--configfile` takes all words behind it: a target there would be read as one more configuration."""
    given = get_argument_parser().parse_args(command.words[1:])
    files = [str(file) for file in given.configfile or [] if str(file) not in THE_READERS]
    assert [file for file in files if not (ROOT / file).is_file()] == []
    assert [profile for profile in given.profile or [] if not (ROOT / profile / "config.yaml").is_file()] == []


@pytest.mark.parametrize("command", of("python", TYPED + NAMED), ids=lambda command: command.text)
def test_a_script_is_here_and_has_the_flags(command):
    script = command.words[1]
    if not script.endswith(".py"):
        return
    source = (ROOT / script).read_text(encoding="utf-8")
    flags = re.findall(r"--([a-z-]+)", command.text)
    assert [flag for flag in flags if not re.search(rf"\b{flag.replace('-', '[-_]')}\b", source)] == []
