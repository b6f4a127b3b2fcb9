"""Kernels round alike in every process, whether it compiled them or loaded them from the cache."""

import os
import sys
from pathlib import Path

import forks
import pytest

SAMPLE = """
prompts = [(3, 4, 5), (6,), tuple(range(3, 50))]
rows = [Row(prompt, 10 * i + j) for i, prompt in enumerate(prompts) for j in range(4)]
weights = Weights(model.config, model.state_dict())
for completion in sample_rows(weights, rows, Sampling(1.0, max_tokens=40), np.array([0]), Drafts(), logps=True):
    digest("sampled", np.array(completion.token_ids), np.array(completion.logps))
"""
TRAIN = """
hidden_states(model, torch.arange(90) % 13 + 1, [50, 30, 10]).square().sum().backward()
digest("trained", *(weight.grad.numpy() for weight in model.parameters() if weight.grad is not None))
"""
BEGINNING = """
import hashlib
import numpy as np
import torch
from numba.core import config

config.reload_config()  # numba was imported before the cache's place was known
from selfdistill.generation.drafts import Drafts
from selfdistill.generation.qwen3_engine import sample_rows
from selfdistill.generation.requests import Row, Sampling
from selfdistill.qwen3.decoding import Weights
from selfdistill.qwen3.forward import hidden_states
from tiny import random_qwen3

torch.set_num_threads(1)
model = random_qwen3()

def digest(name, *arrays):
    print(name, hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest())
"""


def digests(cache: Path, *parts: str) -> list[str]:
    """Lines of what the parts compute in a process of its own that keeps compiled kernels in ``cache``."""
    cache.mkdir(exist_ok=True)
    program = cache / "program.py"
    program.write_text(BEGINNING + "".join(parts))
    environment = os.environ | {"NUMBA_CACHE_DIR": str(cache), "PYTHONPATH": os.pathsep.join(sys.path)}
    process = forks.start([str(program)], cwd=cache, env=environment, packages=forks.TRAINING)
    output, _ = process.communicate()
    assert process.returncode == 0, output
    return sorted(output.splitlines())


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A cache that a process has filled, and what that process found."""
    cache = tmp_path_factory.mktemp("cache")
    return cache, digests(cache, SAMPLE, TRAIN)


def test_kernels_from_the_cache_round_as_those_just_compiled(compiled: tuple[Path, list[str]]):
    cache, expected = compiled
    files = sorted(cache.rglob("*.nbc"))
    assert len(files) > 10 and len(expected) == 13
    assert digests(cache, SAMPLE, TRAIN) == expected
    assert sorted(cache.rglob("*.nbc")) == files


def test_kernels_round_alike_whichever_are_compiled_first(compiled: tuple[Path, list[str]], tmp_path: Path):
    _, expected = compiled
    assert digests(tmp_path, TRAIN, SAMPLE) == expected


def test_kernels_compiled_beside_others_from_the_cache_round_alike(compiled: tuple[Path, list[str]], tmp_path: Path):
    _, expected = compiled
    trained = digests(tmp_path, TRAIN)
    assert digests(tmp_path, SAMPLE, TRAIN) == expected
    assert set(trained) < set(expected)
