"""What a job computes with beside our code and its inputs: environment variables and installed packages.

The workflow reads this module while it builds its graph, so that nothing heavy is imported.
"""

from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

from selfdistill.errors import UserError
from selfdistill.processes import ALONE

# Of every job. Two OpenMP teams on two cores spin against each other unless they wait passively.
VARIABLES = {"OMP_WAIT_POLICY": "passive", "TOKENIZERS_PARALLELISM": "false", "PYTHONHASHSEED": "0"}
# Packages that read, check and tell, but compute nothing that a result holds.
WITHOUT_EFFECT = {"huggingface_hub", "pydantic", "pydantic_core", "tqdm", "yaml"}
# What a package computes with in turn, where another version of that gives other results.
BENEATH = {"transformers": ("tokenizers", "jinja2"), "math_verify": ("sympy",), "trl": ("accelerate",)}


def versions(packages: Iterable[str]) -> str:
    """The installed versions of what computes, by import names: "numpy 2.4.1, torch 2.13.0"; "none" if absent."""
    computing = set(packages) - WITHOUT_EFFECT
    computing |= {name for package in computing for name in BENEATH.get(package, ())}
    return ", ".join(f"{name} {_version(name)}" for name in sorted(computing))


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "none"


def accelerate_settings(configuration: str) -> dict[str, Any]:
    """What an accelerate configuration (a YAML file, or "none") says; `UserError` where it is not there or no such."""
    if configuration == ALONE:
        return {}
    path = Path(configuration)
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path}: not a readable accelerate configuration: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: expected an accelerate configuration: keys and their values")
    return values
