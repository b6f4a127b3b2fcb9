"""Where a file comes from: the sidecar that a job writes beside every output.

Volatile facts (time, host, processor and the code that libraries chose for it, duration, git state, package versions)
go to ``<file>.provenance.json``, which no rule reads, so that they never cause a rerun and never change an output's
bytes. `bundle` reads them. A record ends with a digest of itself (`SEAL`).
"""

import dataclasses
import json
import os
import platform
import subprocess
import time
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

from selfdistill import models
from selfdistill.files import sha256_file, sha256_meaning, sha256_text, write_text
from selfdistill.records import machine

SIDECAR = ".provenance.json"
SEAL = "record_sha256"
RECORDED_PACKAGES = (
    "torch", "transformers", "tokenizers", "safetensors", "trl", "peft", "accelerate", "vllm", "datasets", "pyarrow",
    "pandas", "numpy", "numba", "llvmlite", "scipy", "math-verify", "sympy", "latex2sympy2_extended", "matplotlib",
    "snakemake",
)  # fmt: skip


def sidecar_path(path: str | Path) -> Path:
    """The provenance file that stands beside ``path``."""
    return Path(f"{path}{SIDECAR}")


def write_sidecar(
    path: str | Path,
    *,
    command: list[str],
    inputs: Mapping[str, Path],
    parameters: Mapping[str, object],
    seconds: float,
    along: Mapping[str, Path] | None = None,
) -> None:
    """Write ``<path>.provenance.json``: what made the file, from which bytes, how, where and when.

    ``along``: manifests of the models along training that were made with it.
    """
    record = {
        "file": Path(path).name,
        "sha256": sha256_file(path),
        "bytes": Path(path).stat().st_size,
        "command": command,
        "inputs": _digests(inputs),
        **({"models": _digests(along)} if along else {}),
        "parameters": flat(parameters),
        "seconds": round(seconds, 3),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "host": platform.node(),
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "machine": machine.facts(),
        "python": platform.python_version(),
        "packages": _package_versions(),
        "git": _git_state(),
    }
    if Path(path).name == models.MANIFEST:
        record["modified"] = models.modified(Path(path))
    write_text(sidecar_path(path), sealed(json.loads(json.dumps(record, default=str))))


def _digests(files: Mapping[str, Path]) -> dict[str, dict[str, str]]:
    return {name: {"path": str(file), "sha256": sha256_meaning(file)} for name, file in files.items()}


def add(path: str | Path, since: float, **facts: object) -> None:
    """Add to the record of a file what its job could not know, where it was written after ``since`` (seconds)."""
    sidecar = sidecar_path(path)
    if sidecar.is_file() and sidecar.stat().st_mtime >= since:
        content = json.loads(sidecar.read_text(encoding="utf-8"))
        write_text(sidecar, sealed(content | json.loads(json.dumps(facts))))


def sealed(record: Mapping[str, object]) -> str:
    """The text of a sidecar: the record with its digest, in place of an earlier one, at its end."""
    plain = {name: value for name, value in record.items() if name != SEAL}
    return json.dumps(plain | {SEAL: seal(plain)}, indent=2) + "\n"


def seal(record: Mapping[str, object]) -> str:
    """The SHA-256 of a record, `SEAL` left out, however it is laid out in a file."""
    return sha256_text(json.dumps({name: value for name, value in record.items() if name != SEAL}))


def flat(parameters: Mapping[str, object]) -> dict[str, object]:
    """Parameters by name, settings among them by dotted names; a run by its id too."""
    found: dict[str, object] = {}
    for name, value in parameters.items():
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            found |= {name: value.id} if hasattr(value, "id") else {}
            found |= {f"{name}.{inner}": part for inner, part in flat(vars(value)).items()}
        else:
            found[name] = value
    return found


def _package_versions() -> dict[str, str]:
    found = {}
    for package in RECORDED_PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def _git_state() -> str | None:
    """The described commit of the package's checkout, or None outside a git checkout."""
    try:
        result = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.strip() or None
