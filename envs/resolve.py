"""Check that the pins of the conda files in this folder fit together, without installing: `make resolve`.

`python envs/resolve.py [FILE ...]` lets uv resolve the pip section of each file for Linux, from package metadata: it
takes seconds and needs the package index. `python envs/resolve.py --installed FILE` compares the running environment
with the pins.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import yaml

FOLDER = Path(__file__).resolve().parent
# Alone, the platform would let uv take the machine that it runs on.
PLATFORM = "x86_64-unknown-linux-gnu"
PIN = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(\[[\w,.-]+\])?==(?P<version>[\w.+!-]+)")
NO_NETWORK = re.compile(r"error sending request|failed to fetch|network was disabled|dns error", re.IGNORECASE)


class Unreachable(RuntimeError):
    """The package index does not answer."""


class Unresolvable(RuntimeError):
    """No set of packages meets the pins; the message is the resolver's."""


@dataclass(frozen=True)
class Environment:
    """A conda file: its Python, and the requirements of its pip section (options such as an index left out)."""

    path: Path
    python: str
    requirements: tuple[str, ...]

    @property
    def pins(self) -> dict[str, str]:
        """Version by package; `ValueError` for a requirement that is no exact pin."""
        found = {requirement: PIN.fullmatch(requirement) for requirement in self.requirements}
        loose = [requirement for requirement, match in found.items() if match is None]
        if loose:
            raise ValueError(f"{self.path}: not pinned by '==': {', '.join(loose)}")
        return {match["name"]: match["version"] for match in found.values() if match}


def find_uv() -> str | None:
    """The resolver, of this environment where it has one."""
    return shutil.which("uv", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))


def read(path: Path) -> Environment:
    """The environment that the conda file ``path`` describes."""
    dependencies = yaml.safe_load(path.read_text(encoding="utf-8"))["dependencies"]
    pip = next(entry["pip"] for entry in dependencies if isinstance(entry, dict))
    python = next(entry for entry in dependencies if isinstance(entry, str) and entry.startswith("python="))
    return Environment(
        path, python.partition("=")[2].lstrip("="), tuple(line for line in pip if not line.startswith("-"))
    )


def resolve(environment: Environment) -> dict[str, str]:
    """Version by package of the whole set that the pins lead to.

    Torch is the package index's, whose requirements are those of a CPU build and CUDA libraries. Raises `Unresolvable`
    or `Unreachable`.
    """
    command = [
        *(find_uv() or "uv", "pip", "compile", "-", "--quiet", "--system-certs", "--no-header", "--no-annotate"),
        *("--python-version", environment.python, "--python-platform", PLATFORM),
    ]
    result = subprocess.run(command, input="\n".join(environment.requirements), text=True, capture_output=True)
    if result.returncode:
        kind = Unreachable if NO_NETWORK.search(result.stderr) else Unresolvable
        raise kind(result.stderr.strip())
    lines = (line.partition(" ")[0] for line in result.stdout.splitlines())
    return {match["name"]: match["version"] for line in lines if (match := PIN.fullmatch(line))}


def differences(environment: Environment) -> list[str]:
    """What is missing here, or installed in another version than the pins say; a local build (+cpu) is the same one."""
    found = []
    for name, wanted in environment.pins.items():
        try:
            installed = metadata.version(name).partition("+")[0]
        except metadata.PackageNotFoundError:
            installed = "missing"
        if installed != wanted:
            found.append(f"{name}: {installed}, expected {wanted}")
    return found


def main(arguments: list[str]) -> int:
    """0: all is well; 1: versions do not fit; 2: it could not be checked."""
    if arguments[:1] == ["--installed"]:
        found = [line for path in arguments[1:] for line in differences(read(Path(path)))]
        print("\n".join(found) or "installed versions are those of " + ", ".join(arguments[1:]))
        return 1 if found else 0
    if find_uv() is None:
        print("resolve: uv is not installed (`pip install uv`)", file=sys.stderr)
        return 2
    for path in [Path(argument) for argument in arguments] or sorted(FOLDER.glob("*.yaml")):
        started = time.monotonic()
        try:
            packages = resolve(read(path))
        except (Unresolvable, Unreachable) as error:
            print(f"{path.name}: {error}", file=sys.stderr)
            return 1 if isinstance(error, Unresolvable) else 2
        print(f"{path.name}: {len(packages)} packages, {time.monotonic() - started:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
