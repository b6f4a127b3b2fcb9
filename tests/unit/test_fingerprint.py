"""Equal inputs give equal bytes: with other instruction sets, threads and processes, and over what a shell has set."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import forks
import numpy as np
import pytest
import torch
from kernel_digests import OTHER_PROCESSOR
from selfdistill import environment
from selfdistill.errors import UserError
from selfdistill.records import fingerprint, machine

portable = pytest.mark.skipif(
    not environment.processor().flags >= environment.PORTABLE, reason="equal bytes are promised with AVX2 and FMA"
)
# What a shell may have set, and glibc, oneDNN and numba on a processor without AVX-512.
ELSEWHERE = {
    "MKL_CBWR": "AVX512",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    **OTHER_PROCESSOR,
    **{name: "2" for name in environment.VARIABLES if name.endswith("_NUM_THREADS")},
    "ATEN_CPU_CAPABILITY": "default",
    "OPENBLAS_CORETYPE": "Nehalem",
    "NPY_DISABLE_CPU_FEATURES": "X86_V3",
    "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX512BW,-AVX512DQ",
}
RELEASED = """
import os
import selfdistill
os.environ["OPENBLAS_CORETYPE"] = "Nehalem"
from selfdistill.records import fingerprint
print(fingerprint._digest(fingerprint._statistics()))
"""


def computed(tmp_path: Path, *flags: str, **variables: str) -> dict[str, str]:
    """The digests that a process writes."""
    command = ["selfdistill", "fingerprint", "--write", str(tmp_path / "found.json"), *flags]
    if variables:  # libraries read them when they are imported
        subprocess.run([sys.executable, "-m", *command], env=os.environ | variables, check=False, capture_output=True)
    else:
        forks.start(command, cwd=tmp_path, env=os.environ, packages=forks.TRAINING).communicate()
    return json.loads((tmp_path / "found.json").read_text())


@portable
def test_the_shipped_digests_are_computed_here(tmp_path):
    assert computed(tmp_path) == fingerprint.shipped()


@portable
def test_neither_processes_nor_threads_nor_what_a_shell_has_set_change_any(elsewhere, tmp_path):
    cache = shutil.copytree(elsewhere.cache, tmp_path / "numba")
    variables = ELSEWHERE | {"NUMBA_CACHE_DIR": str(cache)}
    assert computed(tmp_path, "--workers", "2", **variables) == fingerprint.shipped()


@portable
def test_a_library_that_is_not_held_shows():
    output = subprocess.run([sys.executable, "-c", RELEASED], check=True, capture_output=True, text=True).stdout
    assert output.strip() != fingerprint.shipped()["statistics"]


def test_digests_are_of_every_digit():
    first, second = np.array([1.0, 2.0]), np.array([1.0, np.nextafter(2.0, 3.0)])
    assert fingerprint._digest([first]) == fingerprint._digest([first.copy()]) != fingerprint._digest([second])
    assert fingerprint._digest([torch.tensor(first)]) == fingerprint._digest([first])
    assert fingerprint._digest([[1.0]]) != fingerprint._digest([[np.nextafter(1.0, 2.0)]])


def test_the_verdict_names_what_differs_and_says_what_to_expect(monkeypatch):
    monkeypatch.setattr(fingerprint, "processor", lambda: environment.Processor("", environment.PORTABLE))
    found = {"drawing": "a", "tables": "b"}
    *_, told = fingerprint.report(found, {"drawing": "a", "tables": "c"})
    assert "(tables)" in told and "close" in told
    assert "equal bytes" in fingerprint.report(found, found)[-1]
    monkeypatch.setattr(fingerprint, "processor", lambda: environment.Processor("", frozenset({"asimd"})))
    assert "AVX2" in fingerprint.report(found, {})[-1] and "close" in fingerprint.report(found, {})[-1]


def test_a_file_without_digests_is_told(tmp_path):
    with pytest.raises(UserError, match=r"none\.json"):
        fingerprint.shipped(tmp_path / "none.json")


def test_libraries_are_held_only_where_they_have_what_they_are_held_to(monkeypatch):
    monkeypatch.setattr(os, "environ", {"ATEN_CPU_CAPABILITY": "avx512", "OMP_NUM_THREADS": "8"})
    monkeypatch.setattr(environment, "processor", lambda: environment.Processor("", frozenset({"avx2"})))
    environment.hold()
    assert os.environ == {"ATEN_CPU_CAPABILITY": "avx512"} | environment.VARIABLES
    monkeypatch.setattr(environment, "processor", lambda: environment.Processor("", environment.PORTABLE))
    environment.hold()
    assert os.environ == environment.VARIABLES | environment.HELD


@portable
def test_libraries_say_that_they_compute_as_held():
    used = machine.facts()["in_use"]
    assert used["torch"].startswith("AVX2,") and used["numpy"] == "X86_V3"
    assert used.get("OpenBLAS", "Haswell, 1 thread") == "Haswell, 1 thread"


def test_nothing_is_imported_to_be_asked():
    code = (
        "from selfdistill.records import machine; import sys; print(machine.facts()['in_use'], 'numpy' in sys.modules)"
    )
    output = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert output.strip() == "{} False"
