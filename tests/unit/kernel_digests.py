"""What kernels compute, in digests, in processes that compile them for this processor or for another one."""

import os
import sys
from pathlib import Path
from typing import NamedTuple

import forks
from selfdistill.environment import PORTABLE, processor

# Numba on a processor without AVX-512. Where equal bytes are not promised, it may have no such code to run.
OTHER_PROCESSOR = {
    "NUMBA_CPU_NAME": "haswell",
    "NUMBA_CPU_FEATURES": "+avx,+avx2,+bmi,+bmi2,+f16c,+fma,+lzcnt,+movbe,+popcnt,+sse4.1,+sse4.2,+ssse3,-avx512f",
} if processor().flags >= PORTABLE else {}  # fmt: skip

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

config.reload_config()  # numba was imported before the cache's place and the processor were known
from selfdistill.generation.drafts import Drafts
from selfdistill.generation.qwen3_engine import sample_rows
from selfdistill.generation.requests import Row, Sampling
from selfdistill.qwen3.decoding import Weights
from selfdistill.qwen3.forward import hidden_states
from tiny import random_qwen3

torch.set_num_threads(1)
model = random_qwen3(head_dim=32)  # as wide as the microcosm's

def digest(name, *arrays):
    print(name, hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest())
"""


class Elsewhere(NamedTuple):
    """Kernels that a process has compiled for another processor, and what that process found."""

    cache: Path
    digests: list[str]


def digests(cache: Path, *parts: str, **variables: str) -> list[str]:
    """Lines of what the parts compute in a process of its own that keeps compiled kernels in ``cache``."""
    cache.mkdir(exist_ok=True)
    program = cache / "program.py"
    program.write_text(BEGINNING + "".join(parts))
    places = {"NUMBA_CACHE_DIR": str(cache), "PYTHONPATH": os.pathsep.join(sys.path)}
    process = forks.start([str(program)], cwd=cache, env=os.environ | places | variables, packages=forks.TRAINING)
    output, _ = process.communicate()
    assert process.returncode == 0, output
    return sorted(output.splitlines())
