"""What kernels compute, in digests, in processes that compile them for this processor or for another one.

To compile them takes half a minute of a processor, in every copy of a fresh clone again: `make test` does it once.
"""

import functools
import json
import os
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

import forks
from filelock import FileLock
from selfdistill.code_digest import PACKAGE_ROOT
from selfdistill.environment import PORTABLE, processor

SHARED = "COMPILED_KERNELS"
MODELS = Path(__file__).parents[1] / "unit"  # the folder of `tiny.py`

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
# The other kernels of a study of the microcosm.
OTHERS = """
from selfdistill.markers.counting import count_tables
from selfdistill.qwen3.kernels import orthogonalise

orthogonalise(np.eye(3, 5, dtype=np.float32), 5)
count_tables(["wait"])
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


class Compiled(NamedTuple):
    """Kernels that processes have compiled, in a folder that tests must not change, and what each process found."""

    cache: Path
    digests: list[list[str]]


def compiled_once(cache: Path, *processes: tuple[str, ...], **variables: str) -> Compiled:
    """`digests` of processes that run one after the other, made by whoever asks first; the others wait."""
    found = Path(f"{cache}.json")
    with FileLock(f"{cache}.lock"):
        if not found.exists():
            found.write_text(json.dumps([digests(cache, *parts, **variables) for parts in processes]))
    return Compiled(cache, json.loads(found.read_text()))


def compiled_here(place: Path) -> Compiled:
    """All kernels of a study of the microcosm, for this processor; those of training first.

    ``place``: where they are kept, unless ``COMPILED_KERNELS`` names a folder for all groups of tests.
    """
    return compiled_once(Path(os.environ.get(SHARED, place)), (TRAIN,), (SAMPLE, TRAIN, OTHERS))


@functools.cache
def kernels_for_copies() -> None:
    """Where kernels are compiled for all groups of tests: put them beside their sources, with which they are copied."""
    if SHARED not in os.environ:
        return
    compiled = compiled_here(Path())
    for index in compiled.cache.rglob("*.nbi"):
        (source,) = PACKAGE_ROOT.rglob(f"{index.name.partition('.')[0]}.py")
        beside = source.parent / "__pycache__"
        beside.mkdir(exist_ok=True)
        if not (beside / index.name).exists():
            for file in (*index.parent.glob(f"{index.stem}.*.nbc"), index):  # what names the others comes last
                shutil.copy(file, beside / f"{file.name}.tmp.{os.getpid()}").rename(beside / file.name)


def digests(cache: Path, *parts: str, **variables: str) -> list[str]:
    """Lines of what the parts compute in a process of its own that keeps compiled kernels in ``cache``."""
    cache.mkdir(parents=True, exist_ok=True)
    program = cache / "program.py"
    program.write_text(BEGINNING + "".join(parts))
    places = {"NUMBA_CACHE_DIR": str(cache), "PYTHONPATH": os.pathsep.join([*sys.path, str(MODELS)])}
    process = forks.start([str(program)], cwd=cache, env=os.environ | places | variables, packages=forks.TRAINING)
    output, _ = process.communicate()
    assert process.returncode == 0, output
    return sorted(output.splitlines())
