"""The GPU engine: vLLM. The only module that imports it.

On a GPU every response has a seed of its own, by which vLLM draws it whatever else is drawn beside it. Kernels that add
up in another order for other batches can still turn a close decision, so equal calls give equal responses almost
always, not byte for byte. The CPU build knows no seeds of requests: there a call as a whole has one.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from itertools import groupby
from pathlib import Path
from typing import Any

from selfdistill import models
from selfdistill.errors import UserError
from selfdistill.generation.requests import Completion, Row, Sampling

# Prompts and responses have to fit; a little more room than this call needs lets the next call use the same engine.
ROOM_STEP = 512
LARGEST_SEED = 2**63  # of torch's generators
HOTTEST = 2  # temperature that vLLM accepts
CPU_CACHE_GIB = "1"
CPU_MEMORY_SHARE = 0.3
LLVMLITE = "llvmlite.binding.ffi"


class VllmEngine:
    """Draws from a saved model on all GPUs of the machine that its attention heads divide among, or on the CPU."""

    def __init__(self, manifest: Path, *, room: int):
        """``room``: tokens of the longest prompt and response together. `UserError` when the model has less."""
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
        os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
        import torch

        self.tokenizer = models.load_tokenizer(manifest)
        self.on_gpu = torch.cuda.is_available()
        self.end_ids = sorted(models.end_ids(models.generation_config(manifest), self.tokenizer.eos_token_id))
        self.room = _length(room, models.config(manifest))
        place, options = models.location(manifest)
        options |= _gpu_options(manifest, torch.cuda.device_count()) if self.on_gpu else _cpu_options()
        from vllm import LLM

        with nullcontext() if self.on_gpu else _llvmlite_out_of_sight():
            self.llm = LLM(
                model=place,
                max_model_len=self.room,
                enable_prefix_caching=True,
                generation_config="vllm",  # no sampling values that the model's files suggest
                trust_remote_code=False,
                disable_log_stats=True,
                seed=0,
                **options,
            )

    def decode(self, token_ids: Sequence[int]) -> str:
        return self.tokenizer.decode(token_ids, skip_special_tokens=True)

    def draw(self, rows: Sequence[Row], sampling: Sampling) -> list[Completion]:
        """One completion per row, in order; rows of one prompt that follow each other make one request."""
        requests = [list(group) for _, group in groupby(rows, key=lambda row: row.token_ids)]
        if not self.on_gpu:
            import torch

            torch.manual_seed(rows[0].seed % LARGEST_SEED)
        parameters = [self._parameters(request, sampling) for request in requests]
        prompts = [{"prompt_token_ids": list(request[0].token_ids)} for request in requests]
        outputs = self.llm.generate(prompts, parameters, use_tqdm=False)
        return [
            self._completion(drawn, parameter.seed)
            for output, parameter in zip(outputs, parameters, strict=True)
            for drawn in sorted(output.outputs, key=lambda drawn: drawn.index)
        ]

    def _parameters(self, request: list[Row], sampling: Sampling) -> Any:
        from vllm import SamplingParams

        if sampling.temperature > HOTTEST:
            raise UserError(f"vLLM takes temperatures up to {HOTTEST}, found {sampling.temperature:g}")
        return SamplingParams(
            n=len(request),
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,  # 0 keeps all, here as there
            max_tokens=sampling.max_tokens,
            seed=request[0].seed % LARGEST_SEED if self.on_gpu else None,
            stop_token_ids=self.end_ids,
            detokenize=False,
        )

    def _completion(self, drawn: Any, seed: int | None) -> Completion:
        """vLLM draws sample i of a request by the request's seed plus i."""
        ids, own = list(drawn.token_ids), None if seed is None else seed + drawn.index
        if ids and ids[-1] in self.end_ids:
            return Completion(ids[:-1], "stop", end_ids=(ids[-1],), seed=own)
        return Completion(ids, "length", seed=own)

    def close(self) -> None:
        """Give the memory back before another model is loaded."""
        self.llm.llm_engine.engine_core.shutdown()
        del self.llm


@contextmanager
def _llvmlite_out_of_sight() -> Iterator[None]:
    """The CPU build looks into every loaded module, and fails at an object of llvmlite that has whatever is asked for.

    numba, which loads llvmlite, may have been used before: it counts markers.
    """
    hidden = sys.modules.pop(LLVMLITE, None)
    try:
        yield
    finally:
        if hidden is not None:
            sys.modules[LLVMLITE] = hidden


def _gpu_options(manifest: Path, gpus: int) -> dict[str, Any]:
    heads = models.config(manifest).num_attention_heads
    return {"dtype": "bfloat16", "tensor_parallel_size": max(n for n in range(1, gpus + 1) if heads % n == 0)}


def _cpu_options() -> dict[str, Any]:
    # One process: else start-up takes a minute, and the seed could not be set.
    os.environ |= {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_KVCACHE_SPACE": CPU_CACHE_GIB}
    os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
    return {"dtype": "float32", "gpu_memory_utilization": CPU_MEMORY_SHARE, "enforce_eager": True}


def _length(room: int, config: Any) -> int:
    """``max_model_len``: the room that is needed, in steps, within what the model's positions allow."""
    most = config.max_position_embeddings
    if room > most:
        raise UserError(
            f"the longest prompt and response together need {room} tokens, the model has {most} positions; "
            "lower sampling max_tokens"
        )
    return min(-(-room // ROOM_STEP) * ROOM_STEP, most)
