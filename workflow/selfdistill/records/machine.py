"""What a process computes with: the processor, and the code that libraries have chosen for it.

Asks only libraries that are loaded: none is imported for it.
"""

import ctypes
import platform
import sys
from contextlib import suppress
from pathlib import Path

from selfdistill import processes
from selfdistill.environment import processor

# Instruction sets by which libraries choose their code, as Linux names them.
TELLING = ("sse4_2", "avx2", "fma", "avx512f", "avx512_bf16", "avx512_fp16", "amx_bf16", "asimd", "sve", "sve2")
MKL_BRANCHES = {1: "any", 2: "auto", 3: "COMPATIBLE", 8: "SSE4_2", 9: "AVX", 10: "AVX2", 12: "AVX512", 14: "AVX512_E1"}


def facts() -> dict[str, object]:
    """Processor, its instruction sets, by library what it uses of them and how many threads; processes and GPUs."""
    found = processor()
    libraries = {"torch": _torch, "MKL": _mkl, "numpy": _numpy, "OpenBLAS": _openblas, "numba": _numba}
    return {
        "processor": found.name or platform.machine(),
        "instruction_sets": " ".join(name for name in TELLING if name in found.flags),
        "in_use": {name: told for name, ask in libraries.items() if (told := ask())},
        "processes": processes.count(),
        "gpus": _gpus(),
    }


def _gpus() -> str | None:
    """The GPUs that this process, or vLLM's that it has started, has computed on; None where none was used."""
    torch, vllm = sys.modules.get("torch"), sys.modules.get("vllm.platforms")
    if torch is not None and torch.cuda.is_initialized():
        name = torch.cuda.get_device_name()
    elif vllm is not None and vllm.current_platform.is_cuda():
        name = vllm.current_platform.get_device_name()  # asked of the driver: this process computes nothing there
    else:
        return None
    return f"{torch.cuda.device_count() if torch else 1} x {name}"


def _torch() -> str | None:
    if (torch := sys.modules.get("torch")) is None:
        return None
    return f"{torch.backends.cpu.get_cpu_capability()}, {_threads(torch.get_num_threads())}"


def _mkl() -> str | None:
    """The branch of torch's own MKL; None where torch was built with another library."""
    if (torch := sys.modules.get("torch")) is None:
        return None
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"))
        branch = library.mkl_serv_cbwr_get(1)
        return MKL_BRANCHES.get(branch, str(branch))
    return None


def _numpy() -> str | None:
    """The widest of the instruction sets that numpy has code for and may use here."""
    if (numpy := sys.modules.get("numpy")) is None:
        return None
    with suppress(AttributeError):
        core = numpy._core._multiarray_umath
        usable = [name for name in core.__cpu_dispatch__ if core.__cpu_features__.get(name)]
        return usable[-1] if usable else core.__cpu_baseline__[-1]
    return None


def _openblas() -> str | None:
    """The processor that numpy's OpenBLAS computes for; None in builds with another library."""
    if (numpy := sys.modules.get("numpy")) is None:
        return None
    for file in (Path(numpy.__file__).parent.parent / "numpy.libs").glob("libscipy_openblas64*"):
        with suppress(OSError, AttributeError):
            library = ctypes.CDLL(str(file))
            library.scipy_openblas_get_corename64_.restype = ctypes.c_char_p
            threads = library.scipy_openblas_get_num_threads64_()
            return f"{library.scipy_openblas_get_corename64_().decode()}, {_threads(threads)}"
    return None


def _numba() -> str | None:
    if (binding := sys.modules.get("llvmlite.binding")) is None:
        return None
    return binding.get_host_cpu_name()


def _threads(number: int) -> str:
    return f"{number} thread{'s' * (number > 1)}"
