"""Set up `.venv` from the lock file: `python3 envs/install.py`. Standard library only; safe to call again.

torch is chosen by machine: the CUDA build where an NVIDIA driver is present, else a CPU build (3 GB of CUDA
libraries less), first from wherever pip is configured to look, then from PyTorch's own CPU index.
"""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts" if os.name == "nt" else "bin") / "python"
LOCK = ROOT / "envs" / "requirements.lock"
TORCH = ROOT / "envs" / "torch.txt"
STAMP = VENV / "installed.sha256"
CPU_INDEX = "https://download.pytorch.org/whl/cpu"


def main() -> int:
    if sys.version_info < (3, 11):  # noqa: UP036 (this file is what an older Python runs first)
        print(f"selfdistill needs Python 3.11 or newer, found {platform.python_version()}", file=sys.stderr)
        return 2
    wanted = fingerprint()
    if STAMP.is_file() and STAMP.read_text() == wanted:
        print(f"environment: {VENV.name} is up to date")
        return 0
    started = time.monotonic()
    print(f"environment: installing into {VENV.name} (about 2 minutes, 2 GB)", flush=True)
    STAMP.unlink(missing_ok=True)
    if Path(sys.prefix).resolve() != VENV.resolve():  # else this interpreter is the environment's own: keep it
        venv.create(VENV, with_pip=True, clear=True)
    install_torch(PYTHON)
    pip(PYTHON, "--require-hashes", "--no-deps", "-r", str(LOCK))
    pip(PYTHON, "--no-deps", "--no-build-isolation", "-e", str(ROOT))
    STAMP.write_text(wanted)
    print(f"environment: ready after {time.monotonic() - started:.0f} s", flush=True)
    return 0


def fingerprint() -> str:
    parts = [LOCK, TORCH, ROOT / "pyproject.toml", Path(__file__)]
    text = b"".join(part.read_bytes() for part in parts) + platform.python_version().encode() + str(ROOT).encode()
    return hashlib.sha256(text).hexdigest()


def install_torch(python: Path) -> None:
    requirement = TORCH.read_text().strip()
    if platform.system() != "Linux" or shutil.which("nvidia-smi"):
        pip(python, requirement)
    elif not install_cpu_torch(python):
        print("environment: no CPU build of torch at hand, taking the default one with its CUDA libraries", flush=True)
        pip(python, requirement)


def install_cpu_torch(python: Path) -> bool:
    build = ("--no-deps", f"{TORCH.read_text().strip()}+cpu")
    elsewhere = ("--index-url", CPU_INDEX, "--timeout", "15", "--retries", "1")
    return pip(python, *build, quiet_failure=True) or pip(python, *elsewhere, *build, quiet_failure=True)


def pip(python: Path, *arguments: str, quiet_failure: bool = False) -> bool:
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments]
    result = subprocess.run(command, stderr=subprocess.DEVNULL if quiet_failure else None)
    if result.returncode and not quiet_failure:
        sys.exit(f"environment: failed: {' '.join(command)}")
    return result.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
