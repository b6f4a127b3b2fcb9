"""What a job computes with beside our code and its inputs: environment variables and installed packages.

Every process imports this module, and the workflow reads it while it builds its graph: nothing heavy is imported.
"""

import itertools
import os
from collections.abc import Iterable, Set
from contextlib import suppress
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

# Variables of every job. Two OpenMP teams on two cores spin against each other unless they wait passively.
VARIABLES = {"OMP_WAIT_POLICY": "passive", "TOKENIZERS_PARALLELISM": "false", "PYTHONHASHSEED": "0"} | {
    # Sums that are divided among threads are rounded otherwise. Where work is divided, processes do it.
    **{f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS")},
}
# Libraries choose their code by the processor, and another code rounds otherwise. Where `PORTABLE` is, they are held to
# it; elsewhere they would refuse these values, or crash.
PORTABLE = frozenset({"avx2", "fma"})
HELD = {
    "MKL_CBWR": "COMPATIBLE",  # on AMD's processors MKL passes over AVX2 without a word
    "ATEN_CPU_CAPABILITY": "avx2",
    "OPENBLAS_CORETYPE": "Haswell",
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
}
# Packages that read, check and tell, but compute nothing that a result holds.
WITHOUT_EFFECT = {"huggingface_hub", "pydantic", "pydantic_core", "tqdm", "yaml"}
# Packages that another one computes with, where another version gives other results.
BENEATH = {"transformers": ("tokenizers", "jinja2"), "math_verify": ("sympy",), "trl": ("accelerate", "vllm")}
# Of an image that apptainer has built: the bytes of its header, and what stands in it, behind a line that starts it.
SIF_HEADER, SIF_MAGIC = 128, b"SIF_MAGIC"


def hold() -> None:
    """Set these variables for this process and those that it starts, over what the shell has set."""
    os.environ |= VARIABLES
    if processor().flags >= PORTABLE:
        os.environ |= HELD


class Processor(NamedTuple):
    """The first processor of this machine, as Linux tells; empty elsewhere."""

    name: str
    flags: frozenset[str]


@cache
def processor() -> Processor:
    """The processor, read from /proc/cpuinfo."""
    told = {}
    with suppress(OSError), open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
        for line in itertools.takewhile(str.strip, lines):
            name, _, value = line.partition(":")
            told[name.strip()] = value.strip()
    flags = told.get("flags") or told.get("Features", "")
    return Processor(told.get("model name", ""), frozenset(flags.split()))


def made_with(*entries: str, without: Set[str] = frozenset()) -> str:
    """What work that goes on from earlier work must share with it: code, variables and versions of packages.

    ``entries``: see `code_digest`; ``without``: packages that are reached, but not used.
    """
    from selfdistill.code_digest import code_digest, packages

    return f"{code_digest(*entries, f'{__name__}:hold')}; {versions(packages(*entries), without)}"


def versions(packages: Iterable[str], without: Set[str] = frozenset()) -> str:
    """The installed versions of what computes, by import names: "numpy 2.4.1, torch 2.13.0"; "none" if absent.

    ``without``: packages that are left out, beneath others too.
    """
    computing = set(packages) - WITHOUT_EFFECT
    computing |= {name for package in computing for name in BENEATH.get(package, ())}
    return ", ".join(f"{name} {_version(name)}" for name in sorted(computing - without))


def image_identity(image: Path) -> str:
    """What tells a container image from others, and not from its copies; empty where ``image`` is no readable file.

    12 hexadecimal digits of a SIF's header, in which an image has a number and the times of its making; the size of a
    file of another format.
    """
    with suppress(OSError):
        if image.is_file():
            with image.open("rb") as file:
                header = file.read(SIF_HEADER)
            return sha256(header).hexdigest()[:12] if SIF_MAGIC in header else f"{image.stat().st_size} bytes"
    return ""


@cache  # stages share most of what they compute with
def _version(package: str) -> str:
    from importlib import metadata

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "none"
