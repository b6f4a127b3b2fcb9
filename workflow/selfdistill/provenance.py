"""Where a file comes from: content hashes, atomic writing, and the sidecar beside every output.

Volatile facts (time, host, duration, git state, package versions) go to ``<file>.provenance.json``, which no
rule reads, so that they never cause a rerun and never change an output's bytes.
"""

import dataclasses
import hashlib
import json
import os
import platform
import subprocess
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

RECORDED_PACKAGES = ("torch", "transformers", "trl", "datasets", "pyarrow", "math-verify", "snakemake")


def sha256_text(text: str) -> str:
    """Hexadecimal SHA-256 of the UTF-8 bytes of ``text``."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def sha256_file(path: str | Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that is renamed to it on success and removed on failure.

    The temporary name is unique to the process and call: two jobs that write the same output (a requeued
    cluster job, say) never mix their bytes.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write ``text`` (UTF-8) to ``path`` atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def sidecar_path(path: str | Path) -> Path:
    """The provenance file that stands beside ``path``."""
    return Path(f"{path}.provenance.json")


def write_sidecar(
    path: str | Path,
    *,
    command: list[str],
    inputs: Mapping[str, Path],
    parameters: Mapping[str, object],
    seconds: float,
) -> None:
    """Write ``<path>.provenance.json``: what made the file, from which bytes, how, where and when."""
    record = {
        "file": Path(path).name,
        "sha256": sha256_file(path),
        "command": command,
        "inputs": {name: {"path": str(file), "sha256": sha256_file(file)} for name, file in inputs.items()},
        "parameters": dict(parameters),
        "seconds": round(seconds, 3),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "host": platform.node(),
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "python": platform.python_version(),
        "packages": _package_versions(),
        "git": _git_state(),
    }
    write_text(sidecar_path(path), json.dumps(record, indent=2, default=_plain) + "\n")


def _plain(value: object) -> object:
    """Settings as their fields, paths and the like as text."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return str(value)


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
