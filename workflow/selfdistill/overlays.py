"""The configuration files of a start: those that its profiles name, and those of the command line laid over them.

Snakemake takes a profile's keys for defaults of the command line: there, one ``--configfile`` replaces all that a
profile names, so that a small file of one's own would silently turn the profile's study into the default one.
"""

import argparse
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selfdistill.errors import UserError
from selfdistill.written import read_written

if TYPE_CHECKING:
    from snakemake.settings.types import ConfigSettings


def profiles_of(arguments: Sequence[str]) -> list[str]:
    """The profiles that the command line of a Snakemake names, or else the environment."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--profile", action="append", default=[])
    return parser.parse_known_args(arguments)[0].profile or os.environ.get("SNAKEMAKE_PROFILE", "").split()


def files_of(arguments: Sequence[str]) -> list[Path]:
    """The configuration files that the command line of a Snakemake names, also where it repeats the flag.

    Snakemake itself keeps the files behind the last one.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--configfile", "--configfiles", nargs="+", action="extend", type=Path, default=[])
    return parser.parse_known_args(arguments)[0].configfile


def executors_of(arguments: Sequence[str]) -> set[str]:
    """The executors that the command line of a Snakemake names, or else its profiles."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--executor", "-e")
    given = parser.parse_known_args(arguments)[0].executor
    named = [given] if given else [_content_of(profile).get("executor") for profile in profiles_of(arguments)]
    return {str(name) for name in named if name}


def composed(profiles: Iterable[str], given: Sequence[Path]) -> list[Path]:
    """Absolute paths of all configuration files, the lowest first: the profiles', then the ``given`` ones.

    A file that stands in both keeps its place among the profiles'. `UserError` for a profile that cannot be read.
    """
    below = [file for profile in profiles for file in _named_by(profile)]
    return list(dict.fromkeys(Path(file).absolute() for file in [*below, *given]))


def compose(settings: "ConfigSettings", arguments: Sequence[str]) -> "ConfigSettings":
    """The settings of a start, with its profiles' configuration files below its own."""
    from snakemake.settings.types import ConfigSettings

    files = composed(profiles_of(arguments), files_of(arguments) or settings.configfiles)
    if files == list(settings.configfiles):
        return settings
    return ConfigSettings(
        config=settings.config,
        configfiles=files,
        config_args=settings.config_args,
        replace_workflow_config=settings.replace_workflow_config,
    )


def _named_by(profile: str) -> list[str]:
    named = _content_of(profile).get("configfile", [])
    return [named] if isinstance(named, str) else list(named)


def _content_of(profile: str) -> Mapping[str, Any]:
    from snakemake.cli import get_profile_dir

    found = get_profile_dir(profile)
    if found is None:
        raise UserError(f"{profile}: no profile there (a folder with a config.yaml)")
    content = read_written(found[1])
    return content if isinstance(content, dict) else {}


def laid_over(layers: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Merge configurations, lowest first: dictionaries merge, everything else replaces what is below.

    So does an entry that names its ``source``: of a model or problem set below it, it inherits nothing.
    """
    whole: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            below = whole.get(key)
            merges = isinstance(value, Mapping) and isinstance(below, Mapping) and "source" not in value
            whole[key] = (
                laid_over([below, value]) if merges else laid_over([value]) if isinstance(value, Mapping) else value
            )
    return whole
