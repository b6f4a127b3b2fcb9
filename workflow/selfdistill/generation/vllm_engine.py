"""The GPU engine: vLLM. The only module that imports it.

On a GPU every response has a seed of its own, whatever else is in the batch. Kernels that add in another order for
other batches can still turn a close decision, so equal calls give equal responses almost always, not byte for byte. The
CPU build has no seeds of requests: there one seed holds for a whole call.
"""

import logging
import math
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from itertools import groupby
from pathlib import Path
from typing import Any

from selfdistill import models
from selfdistill.errors import UserError
from selfdistill.generation.requests import ALL_WORDS, HOTTEST, LARGEST_SEED, Completion, Row, Sampling, Words
from selfdistill.generation.word_rules import token_ids

# max_model_len is rounded up to a multiple, so that a call with slightly longer prompts can use the same engine.
LENGTH_STEP = 512
NEVER = -100.0  # added to a logit: the least that vLLM takes
REASON = 400  # characters of vLLM's messages, some of which list a whole configuration
CPU_CACHE_GIB = "1"
CPU_MEMORY_SHARE = 0.3
LLVMLITE = "llvmlite.binding.ffi"

LOG = logging.getLogger(__name__)


class VllmEngine:
    """Samples from a saved model, on as many GPUs of the machine as divide its attention heads, or on the CPU."""

    def __init__(self, manifest: Path, *, max_model_len: int):
        """``max_model_len``: tokens of the longest prompt and response together.

        If the model has fewer, a response ends where they do, and is cut. `UserError` where vLLM refuses to start.
        """
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
        os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
        # A fork would inherit what torch has asked of CUDA, and could not use it.
        os.environ.setdefault("VLLM_WORKER_MULTIPROC_METHOD", "spawn")
        # FlashInfer's sampler is compiled at the start, by an nvcc; no request with a seed uses it, as all of ours are.
        os.environ.setdefault("VLLM_USE_FLASHINFER_SAMPLER", "0")
        import torch

        self.tokenizer = models.load_tokenizer(manifest)
        self.on_gpu = torch.cuda.is_available()
        self.end_ids = sorted(models.end_ids(models.generation_config(manifest), self.tokenizer.eos_token_id))
        length, most = _rounded(max_model_len), models.config(manifest).max_position_embeddings
        self.max_model_len = length if length < most else math.inf  # then no other engine takes more
        if max_model_len > most:
            told = "the longest prompt and response together need %d tokens, the model has %d: responses end there"
            LOG.warning(told, max_model_len, most)
        if self.on_gpu:
            _end_as_an_exit()
        place, options = models.location(manifest)
        options |= _gpu_options(manifest, torch.cuda.device_count()) if self.on_gpu else _cpu_options()
        from vllm import LLM

        hidden = nullcontext() if self.on_gpu else _llvmlite_out_of_sight()
        with _told("cannot start", ValueError, RuntimeError), hidden:
            self.llm = LLM(
                model=place,
                max_model_len=min(length, most),
                enable_prefix_caching=True,
                generation_config="vllm",  # no sampling values that the model's files suggest
                trust_remote_code=False,
                disable_log_stats=True,
                seed=0,
                **options,
            )

    def decode(self, token_ids: Sequence[int]) -> str:
        return self.tokenizer.decode(token_ids, skip_special_tokens=True)

    def sample(self, rows: Sequence[Row], sampling: Sampling, words: Words = ALL_WORDS) -> list[Completion]:
        """One completion per row, in order; rows of one prompt that follow each other make one request."""
        if words.forced:
            raise UserError("vLLM holds a model to no words ('forced'); the engine transformers does")
        bias = {int(token): NEVER for token in token_ids(words.bad or (), self.tokenizer)} or None
        requests = [list(group) for _, group in groupby(rows, key=lambda row: row.token_ids)]
        if not self.on_gpu:
            import torch

            torch.manual_seed(rows[0].seed % LARGEST_SEED)
        prompts = [{"prompt_token_ids": list(request[0].token_ids)} for request in requests]
        with _told("cannot sample", ValueError):
            parameters = [self._parameters(request, sampling, bias) for request in requests]
            outputs = self.llm.generate(prompts, parameters, use_tqdm=True)  # moves with every request
        return [
            completion
            for request, parameter, output in zip(requests, parameters, outputs, strict=True)
            for completion in self._completions(request, parameter.seed, output)
        ]

    def _parameters(self, request: list[Row], sampling: Sampling, bias: dict[int, float] | None) -> Any:
        from vllm import SamplingParams

        if sampling.temperature > HOTTEST:
            raise UserError(f"vLLM takes temperatures up to {HOTTEST}, found {sampling.temperature:g}")
        return SamplingParams(
            n=1 if sampling.temperature == 0 else len(request),  # it refuses several samples of what is not random
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,  # 0 keeps all, here as there
            max_tokens=sampling.max_tokens,
            seed=request[0].seed % LARGEST_SEED if self.on_gpu else None,
            stop_token_ids=self.end_ids,
            logit_bias=bias,
            detokenize=False,
        )

    def _completions(self, request: list[Row], seed: int | None, output: Any) -> list[Completion]:
        """One completion per row: a greedy response, of which there is one, is that of all of them."""
        responses = sorted(output.outputs, key=lambda response: response.index)
        if len(responses) == 1:
            responses *= len(request)
        return [self._completion(response, i, seed) for i, response in enumerate(responses)]

    def _completion(self, response: Any, i: int, seed: int | None) -> Completion:
        """The seed of sample i of a request in vLLM is the request's plus i."""
        ids, own = list(response.token_ids), None if seed is None else seed + i
        if ids and ids[-1] in self.end_ids:
            return Completion(ids[:-1], "stop", end_ids=(ids[-1],), seed=own)
        return Completion(ids, "length", seed=own)

    def close(self) -> None:
        """Free the memory, before another model is loaded."""
        self.llm.llm_engine.engine_core.shutdown()
        del self.llm


@contextmanager
def _told(what: str, *kinds: type[Exception]) -> Iterator[None]:
    """vLLM's own errors, and those of ``kinds``, as one sentence."""
    from vllm.exceptions import VLLMError

    try:
        yield
    except UserError:
        raise
    except (VLLMError, *kinds) as error:
        reason = " ".join(str(error).split())[:REASON]
        raise UserError(f"vLLM {what}: {type(error).__name__}: {reason}") from error


@contextmanager
def _llvmlite_out_of_sight() -> Iterator[None]:
    """Hide llvmlite, which numba has loaded: the CPU build inspects all modules, and an object there breaks it."""
    hidden = sys.modules.pop(LLVMLITE, None)
    try:
        yield
    finally:
        if hidden is not None:
            sys.modules[LLVMLITE] = hidden


def _end_as_an_exit() -> None:
    """A signal to end becomes an exit, which ends vLLM's own process too: else that would go on holding the GPU."""
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))


def _gpu_options(manifest: Path, gpus: int) -> dict[str, Any]:
    """On as many GPUs as divide the attention heads, a power of two: that divides a model's other widths as well."""
    heads = models.config(manifest).num_attention_heads
    several = max(2**n for n in range(gpus.bit_length()) if heads % 2**n == 0)
    return {"dtype": "bfloat16", "tensor_parallel_size": several}


def _cpu_options() -> dict[str, Any]:
    # One process: else start-up takes a minute, and the seed could not be set.
    os.environ |= {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_KVCACHE_SPACE": CPU_CACHE_GIB}
    os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
    return {"dtype": "float32", "gpu_memory_utilization": CPU_MEMORY_SHARE, "enforce_eager": True}


def _rounded(tokens: int) -> int:
    return -(-tokens // LENGTH_STEP) * LENGTH_STEP
