"""`generate`: all samples of all prompts, in shards that survive a kill.

A shard is a chunk of problems times a block of samples. It is sampled in one engine call of fixed composition and
written by atomic rename. A restart therefore samples missing shards only and ends with the same table, byte for byte;
asking for 16 samples if 8 exist samples 8 more.
"""

import logging
import math
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import astuple, dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from selfdistill import models
from selfdistill.environment import made_with
from selfdistill.errors import UserError, one_of
from selfdistill.files import atomic_path, sha256_text
from selfdistill.generation import progress
from selfdistill.generation.requests import ALL_WORDS, Engine, Prompt, Row, Sampling, Words, check_engine, sample_seed

BLOCK = 8  # samples of a problem in one shard: the paper's number of rollouts
ROWS = 512  # responses in one shard

COLUMNS = pa.schema(
    [
        ("problem_id", pa.string()),
        ("context_sample", pa.int32()),
        ("sample", pa.int32()),
        ("seed", pa.uint64()),
        ("prompt_sha256", pa.string()),
        ("response", pa.string()),
        ("response_tokens", pa.int32()),
        ("finish_reason", pa.string()),
    ]
)


def _transformers(manifest: Path, _: int) -> Engine:
    """One thread each, so that the order of additions never depends on the machine. Prompts of any length."""
    import torch

    from selfdistill.generation.qwen3_engine import Qwen3Engine

    torch.set_num_threads(1)
    if Qwen3Engine.takes(manifest):
        return Qwen3Engine(manifest)
    from selfdistill.generation.transformers_engine import TransformersEngine

    return TransformersEngine(manifest)


def _vllm(manifest: Path, max_model_len: int) -> Engine:
    check_engine("vllm")
    from selfdistill.generation.vllm_engine import VllmEngine

    return VllmEngine(manifest, max_model_len=max_model_len)


class EngineKind(NamedTuple):
    """``load`` takes a manifest and the number of tokens of the longest prompt and response together."""

    load: Callable[[Path, int], Engine]
    whole_machine: bool  # one process uses all of it


# Functions, not dotted names: the code digest follows them, so that a changed engine samples its shards again.
ENGINES = {
    "transformers": EngineKind(_transformers, whole_machine=False),
    "vllm": EngineKind(_vllm, whole_machine=True),
}


@dataclass(frozen=True)
class Request:
    """The settings that all shards of one call share."""

    manifest: Path
    engine: str
    sampling: Sampling
    words: Words
    seed: int
    stream: str


@dataclass(frozen=True)
class Job:
    """One shard: its prompts, the samples [first, last) of each, and its file."""

    prompts: tuple[Prompt, ...]
    first: int
    last: int
    path: Path

    @property
    def size(self) -> int:
        return len(self.prompts) * (self.last - self.first)


def generate(
    prompts: Sequence[Prompt],
    *,
    manifest: Path,
    samples: int,
    sampling: Sampling,
    seed: int,
    stream: str,
    work_dir: Path,
    engine: str = "transformers",
    workers: int = 1,
    first_sample: int = 0,
    words: Words = ALL_WORDS,
) -> pd.DataFrame:
    """Samples [first_sample, samples) of every prompt, one row each, in the order of the prompts.

    The same prompt, seed and ``stream`` always give the same samples. ``workers`` processes share the shards and do not
    change the result; an engine that uses the whole machine has one. Columns: `COLUMNS`.
    """
    workers = 1 if one_of("engine", engine, ENGINES).whole_machine else workers
    request = Request(Path(manifest), engine, sampling, words, seed, stream)
    jobs = list(_jobs(prompts, first_sample, samples, Path(work_dir) / _folder(request)))
    max_model_len = max((len(prompt.token_ids) for prompt in prompts), default=0) + sampling.max_tokens
    _sample_all([job for job in jobs if _read(job) is None], request, max_model_len, workers)
    return _in_order([_finished(job) for job in jobs], prompts)


def _folder(request: Request) -> str:
    """A name from all that determines a sample besides its prompt and number, so that no other is taken for it."""
    made = made_with(f"{__name__}:_write_shard", f"{__name__}:{ENGINES[request.engine].load.__name__}")
    parts = [models.fingerprint(request.manifest), made, *astuple(request)[1:]]
    return f"{request.stream}-{sha256_text(repr(parts))[:16]}"


def _jobs(prompts: Sequence[Prompt], first: int, last: int, folder: Path) -> Iterator[Job]:
    chunk = _even_chunk(len(prompts))
    for block in range(first // BLOCK * BLOCK, last, BLOCK):
        start, stop = max(block, first), min(block + BLOCK, last)
        for i in range(0, len(prompts), chunk):
            part = tuple(prompts[i : i + chunk])
            name = sha256_text(repr([[p.sha256, p.context_sample, p.problem_id] for p in part]))[:24]
            yield Job(part, start, stop, folder / f"{name}-{start}-{stop}.parquet")


def _even_chunk(problems: int) -> int:
    """Problems in each shard of a block: as few shards as `ROWS` allows, of equal size."""
    shards = max(1, math.ceil(problems * BLOCK / ROWS))
    return max(1, math.ceil(problems / shards))


def _sample_all(jobs: list[Job], request: Request, max_model_len: int, workers: int) -> None:
    if not jobs:
        return
    total = sum(job.size for job in jobs)
    with progress.shown(f"sampling {request.stream}", total, request.sampling.max_tokens) as bar:
        for responses, tokens in _map(partial(_sample_shard, request, max_model_len), jobs, workers):
            bar.finished(responses, tokens)


def _map(sample: Callable[[Job], tuple[int, int]], jobs: list[Job], workers: int) -> Iterator[tuple[int, int]]:
    if workers == 1:
        yield from map(sample, jobs)
        return
    try:
        yield from _pool(workers).map(sample, jobs)
    except BrokenProcessPool:
        _pool.cache_clear()
        raise UserError(
            "a sampling process was killed, most often for lack of memory; finished shards are kept, "
            "so the same command continues, with fewer workers if need be"
        ) from None


@cache
def _pool(workers: int) -> ProcessPoolExecutor:
    """Processes that stay until this one ends: they load torch and the model once, not at every call."""
    context = multiprocessing.get_context("spawn")
    start, counter = _start, progress.shared_counter()
    return ProcessPoolExecutor(workers, mp_context=context, initializer=start, initargs=(counter,))


def _start(counter: Any) -> None:
    """Count tokens with the parent, and end with it: its processes would wait for work forever."""
    progress.count_in(counter)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


class EngineHolder:
    """Holds one engine at a time, because two would not fit on a GPU."""

    def __init__(self) -> None:
        self._engine: Engine | None = None
        self._key: tuple[str, Path, str] | None = None

    def get(self, name: str, manifest: Path, max_model_len: int) -> Engine:
        """The engine ``name`` for the model at ``manifest``: the one held if it fits, else a new one."""
        key = name, manifest, models.fingerprint(manifest)
        if self._engine is not None and (key != self._key or self._engine.max_model_len < max_model_len):
            self._engine.close()
            self._engine = None  # frees its memory before the next one is loaded
        if self._engine is None:
            self._engine, self._key = ENGINES[name].load(manifest, max_model_len), key
        return self._engine


_holder = EngineHolder()  # of this process


def _sample_shard(request: Request, max_model_len: int, job: Job) -> tuple[int, int]:
    """Sample and write one shard; the numbers of its responses and tokens."""
    return _write_shard(_holder.get(request.engine, request.manifest, max_model_len), request, job)


def _write_shard(engine: Engine, request: Request, job: Job) -> tuple[int, int]:
    numbered = [(prompt, number) for prompt in job.prompts for number in range(job.first, job.last)]
    seeds = [sample_seed(request.seed, request.stream, prompt.sha256, number) for prompt, number in numbered]
    rows = [Row(prompt.token_ids, seed) for (prompt, _), seed in zip(numbered, seeds, strict=True)]
    completions = engine.sample(rows, request.sampling, request.words)
    records = [
        {
            "problem_id": prompt.problem_id,
            "context_sample": prompt.context_sample,
            "sample": number,
            "seed": seed if completion.seed is None else completion.seed,
            "prompt_sha256": prompt.sha256,
            "response": engine.decode(completion.token_ids),
            "response_tokens": len(completion.token_ids),
            "finish_reason": completion.finish_reason,
        }
        for (prompt, number), seed, completion in zip(numbered, seeds, completions, strict=True)
    ]
    with atomic_path(job.path) as temporary:
        table = pa.Table.from_pylist(records, schema=COLUMNS)
        pq.write_table(table, temporary, compression="zstd", write_page_checksum=True)
    return len(records), sum(len(completion.token_ids) for completion in completions)


def _read(job: Job) -> pd.DataFrame | None:
    """A finished shard; None if it is missing, damaged or of another shape, so that it has to be sampled."""
    if not job.path.exists():
        return None
    try:
        table = pq.ParquetFile(job.path, page_checksum_verification=True).read()
    except (OSError, pa.ArrowException, UnicodeDecodeError):  # the last one: of names in a damaged footer
        table = None
    if table is None or not table.schema.equals(COLUMNS) or table.num_rows != job.size:
        logging.warning("%s is damaged: its responses are sampled again", job.path)
        return None
    return table.to_pandas(types_mapper={pa.int32(): pd.Int32Dtype()}.get)


def _finished(job: Job) -> pd.DataFrame:
    frame = _read(job)
    if frame is None:
        raise UserError(f"{job.path}: vanished or damaged since it was sampled; run the same command again")
    return frame


def _in_order(frames: list[pd.DataFrame], prompts: Sequence[Prompt]) -> pd.DataFrame:
    place = {prompt.problem_id: i for i, prompt in enumerate(prompts)}
    table = pd.concat(frames, ignore_index=True) if frames else COLUMNS.empty_table().to_pandas()
    order = table.assign(place=table["problem_id"].map(place)).sort_values(["place", "sample"], kind="stable")
    return order.drop(columns="place").reset_index(drop=True)
