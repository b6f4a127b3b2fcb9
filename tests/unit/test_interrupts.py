"""Ctrl-C is told in a sentence, and a command dies of it as every other: a shell's loop must stop too."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = str(Path(sys.executable).with_name("selfdistill"))
INTERRUPTED = "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n"


@pytest.mark.parametrize("entry", [[SCRIPT], [sys.executable, "-m", "selfdistill"]], ids=["script", "module"])
@pytest.mark.parametrize("library", ["pandas", "torch"], ids=["before the command", "within the command"])
def test_ctrl_c_is_told_in_a_sentence(entry, library, tmp_path):
    """At an import: of the command line itself, or of what `fingerprint` computes with."""
    (tmp_path / f"{library}.py").write_text(INTERRUPTED)
    paths = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    stopped = subprocess.run(
        [*entry, "fingerprint"],
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's jobs ignore it
    )
    assert (stopped.returncode, stopped.stderr) == (-signal.SIGINT, "selfdistill: stopped by Ctrl-C\n")
