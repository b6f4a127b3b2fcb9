"""Run by the environment of vLLM's CPU build, which has no trainers: the model is trained by the project's own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "workflow"), str(ROOT / "tests" / "unit")]
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Manifest of a small model of the microcosm that solves some of its problems."""
    folder = tmp_path_factory.mktemp("model")
    command = [ROOT / ".venv/bin/python", "-m", "selfdistill", "pretrain-model", "--pretraining.preset", "smoke"]
    command += [
        "--seed",
        "0",
        "--model-name",
        "m",
        "--work-dir",
        folder / "work",
        "--out",
        folder / "model" / "manifest.json",
    ]
    command += ["--out-steps", folder / "steps.parquet"]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "workflow"), "OMP_WAIT_POLICY": "passive"}
    subprocess.run(command, check=True, env=environment)
    return folder / "model" / "manifest.json"
