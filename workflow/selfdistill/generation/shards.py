"""`generate`: all samples of all prompts, in shards that survive a kill.

A shard is a chunk of problems times a block of samples. It is drawn in one engine call of fixed composition and
written by atomic rename, so a restart draws missing shards only and ends with the same table, byte for byte; asking
for 16 samples where 8 exist draws 8 more.
"""

import math
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import astuple, dataclass
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from selfdistill import models
from selfdistill.code_digest import code_digest
from selfdistill.errors import UserError, one_of
from selfdistill.files import atomic_path, sha256_text
from selfdistill.generation.requests import Engine, Prompt, Row, Sampling, sample_seed

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


def _transformers(manifest: Path, room: int) -> Engine:
    """One thread each, so that the order of additions never depends on the machine."""
    import torch

    from selfdistill.generation.qwen3_engine import Qwen3Engine

    torch.set_num_threads(1)
    if Qwen3Engine.takes(manifest):
        return Qwen3Engine(manifest)
    from selfdistill.generation.transformers_engine import TransformersEngine

    return TransformersEngine(manifest)


def _vllm(manifest: Path, room: int) -> Engine:
    if find_spec("vllm") is None:
        raise UserError("the engine vllm needs vLLM, which is not installed here; envs/train.yaml has it")
    from selfdistill.generation.vllm_engine import VllmEngine

    return VllmEngine(manifest, room=room)


# By name; ``room`` is the number of tokens of the longest prompt and response together. Functions, not dotted names:
# the code digest follows them, so a changed engine redraws what it drew.
ENGINES: dict[str, Callable[[Path, int], Engine]] = {"transformers": _transformers, "vllm": _vllm}
ALONE = ("vllm",)  # engines that use the whole machine from one process


@dataclass(frozen=True)
class Request:
    """What the shards of one call have in common."""

    manifest: Path
    engine: str
    sampling: Sampling
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
) -> pd.DataFrame:
    """Samples [first_sample, samples) of every prompt, one row each, in the order of the prompts.

    ``stream`` names the draw: the same prompt, seed and stream always give the same samples. ``workers`` processes
    share the shards and do not change the result; an engine that uses the whole machine has one. Columns: `COLUMNS`.
    """
    one_of("engine", engine, ENGINES)
    workers = 1 if engine in ALONE else workers
    request = Request(Path(manifest), engine, sampling, seed, stream)
    jobs = list(_jobs(prompts, first_sample, samples, Path(work_dir) / _folder(request)))
    room = max((len(prompt.token_ids) for prompt in prompts), default=0) + sampling.max_tokens
    _draw_all([job for job in jobs if _read(job) is None], request, room, workers)
    return _in_order([_finished(job) for job in jobs], prompts)


def _folder(request: Request) -> str:
    """Named by what decides a sample besides its prompt and number, so that no other sample is taken for it."""
    code = [code_digest(f"{__name__}:{name}") for name in ("_write_shard", ENGINES[request.engine].__name__)]
    parts = [models.fingerprint(request.manifest), *code, *astuple(request)[1:]]
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


def _draw_all(jobs: list[Job], request: Request, room: int, workers: int) -> None:
    if not jobs:
        return
    total = sum(job.size for job in jobs)
    with tqdm(total=total, desc=f"sampling {request.stream}", unit="response", mininterval=2) as bar:
        tokens = 0
        for drawn, count in _map(partial(_draw, request, room), jobs, workers):
            tokens += count
            bar.update(drawn)
            elapsed = max(bar.format_dict["elapsed"], 1e-9)
            bar.set_postfix_str(f"{tokens / elapsed:.0f} tokens/s", refresh=False)


def _map(draw: Callable[[Job], tuple[int, int]], jobs: list[Job], workers: int) -> Iterator[tuple[int, int]]:
    if workers == 1:
        yield from map(draw, jobs)
        return
    try:
        yield from _pool(workers).map(draw, jobs)
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
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_end_with_parent)


def _end_with_parent() -> None:
    """Without this, the processes of a killed parent would wait for work forever."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


# The engine of this process, and what it was loaded for.
_held: dict[str, Any] = {}


def _load(name: str, manifest: Path, fingerprint: str, room: int) -> Engine:
    """The engine; one at a time, as two would not fit on a GPU. One with more room than is needed serves as well."""
    key = (name, manifest, fingerprint)
    if _held.get("key") != key or _held["engine"].room < room:
        if _held:
            _held["engine"].close()
            _held.clear()
        _held.update(key=key, engine=ENGINES[name](manifest, room))
    return _held["engine"]


def _draw(request: Request, room: int, job: Job) -> tuple[int, int]:
    """Draw and write one shard; the numbers of its responses and tokens."""
    return _write_shard(
        _load(request.engine, request.manifest, models.fingerprint(request.manifest), room), request, job
    )


def _write_shard(engine: Engine, request: Request, job: Job) -> tuple[int, int]:
    numbered = [(prompt, number) for prompt in job.prompts for number in range(job.first, job.last)]
    seeds = [sample_seed(request.seed, request.stream, prompt.sha256, number) for prompt, number in numbered]
    rows = [Row(prompt.token_ids, seed) for (prompt, _), seed in zip(numbered, seeds, strict=True)]
    completions = engine.draw(rows, request.sampling)
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
    """A finished shard; None when it is missing, damaged or of another shape, and so has to be drawn."""
    try:
        table = pq.read_table(job.path, page_checksum_verification=True)
    except (OSError, pa.ArrowException):
        return None
    if not table.schema.equals(COLUMNS) or table.num_rows != job.size:
        return None
    return table.to_pandas(types_mapper={pa.int32(): pd.Int32Dtype()}.get)


def _finished(job: Job) -> pd.DataFrame:
    frame = _read(job)
    if frame is None:
        raise UserError(f"{job.path}: vanished or damaged since it was drawn; run the same command again")
    return frame


def _in_order(frames: list[pd.DataFrame], prompts: Sequence[Prompt]) -> pd.DataFrame:
    place = {prompt.problem_id: i for i, prompt in enumerate(prompts)}
    table = pd.concat(frames, ignore_index=True) if frames else COLUMNS.empty_table().to_pandas()
    order = table.assign(place=table["problem_id"].map(place)).sort_values(["place", "sample"], kind="stable")
    return order.drop(columns="place").reset_index(drop=True)
