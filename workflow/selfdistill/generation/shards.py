"""`generate`: all samples of all prompts, in shards that survive a kill.

A shard is a chunk of problems times a block of samples. It is drawn in one engine call of fixed composition and
written by atomic rename, so a restart draws missing shards only and ends with the same table, byte for byte; asking
for 16 samples where 8 exist draws 8 more.
"""

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import astuple, dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from selfdistill import models
from selfdistill.code_digest import code_digest
from selfdistill.errors import UserError, nearest
from selfdistill.generation.requests import Engine, Prompt, Row, Sampling, sample_seed
from selfdistill.provenance import atomic_path, sha256_text

BLOCK = 8  # samples of a problem in one shard: the paper's number of rollouts
ROWS = 256  # responses in one shard

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
# Engine name -> where its class stands; modules are imported only when their engine is used.
ENGINES = {"transformers": "selfdistill.generation.transformers_engine:TransformersEngine"}


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
    share the shards and do not change the result. Columns: `COLUMNS`.
    """
    if engine not in ENGINES:
        raise UserError(f"unknown engine '{engine}'{nearest(engine, ENGINES)}; known: {', '.join(ENGINES)}")
    folder = Path(work_dir) / _key(manifest, engine, sampling, seed, stream)
    jobs = list(_jobs(prompts, first_sample, samples, folder))
    missing = [job for job in jobs if _read(job) is None]
    _draw_all(missing, manifest, engine, sampling, seed, stream, workers)
    frames = [frame for job in jobs if (frame := _read(job)) is not None]
    return _in_order(frames, prompts)


def _key(manifest: Path, engine: str, sampling: Sampling, seed: int, stream: str) -> str:
    """What decides a sample besides its prompt and number: shards of anything else lie in another folder."""
    parts = [models.fingerprint(manifest), engine, code_digest(ENGINES[engine]), *astuple(sampling), seed, stream]
    return f"{stream}-{sha256_text(repr(parts))[:16]}"


def _jobs(prompts: Sequence[Prompt], first: int, last: int, folder: Path) -> Iterator[Job]:
    chunk = max(1, ROWS // BLOCK)
    for block in range(first // BLOCK * BLOCK, last, BLOCK):
        start, stop = max(block, first), min(block + BLOCK, last)
        for i in range(0, len(prompts), chunk):
            part = tuple(prompts[i : i + chunk])
            name = sha256_text(repr([[p.sha256, p.context_sample, p.problem_id] for p in part]))[:24]
            yield Job(part, start, stop, folder / f"{name}-{start}-{stop}.parquet")


def _draw_all(
    jobs: list[Job], manifest: Path, engine: str, sampling: Sampling, seed: int, stream: str, workers: int
) -> None:
    total = sum(job.size for job in jobs)
    if not jobs:
        return
    common = (manifest, engine)
    with tqdm(total=total, desc=f"sampling {stream}", unit="response", mininterval=2) as bar:
        tokens = 0
        for drawn, count in _map(jobs, common, (sampling, seed, stream), min(workers, len(jobs))):
            tokens += count
            bar.update(drawn)
            elapsed = max(bar.format_dict["elapsed"], 1e-9)
            bar.set_postfix_str(f"{tokens / elapsed:.0f} tokens/s", refresh=False)


def _map(
    jobs: list[Job], common: tuple[Path, str], how: tuple[Sampling, int, str], workers: int
) -> Iterator[tuple[int, int]]:
    if workers == 1:
        _start_worker(*common)
        yield from (_draw(job, *how) for job in jobs)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker, initargs=common) as pool:
        yield from pool.map(_draw, jobs, *([value] * len(jobs) for value in how))


_engine: Engine | None = None  # of this process


def _start_worker(manifest: Path, engine: str) -> None:
    """Load the engine; one thread each, so that the order of additions never depends on the machine."""
    import importlib

    import torch

    global _engine
    torch.set_num_threads(1)
    module, _, name = ENGINES[engine].partition(":")
    _engine = getattr(importlib.import_module(module), name)(manifest)


def _draw(job: Job, sampling: Sampling, seed: int, stream: str) -> tuple[int, int]:
    """Draw and write one shard; the numbers of its responses and tokens."""
    assert _engine is not None
    asked = [(p, n, sample_seed(seed, stream, p.sha256, n)) for p in job.prompts for n in range(job.first, job.last)]
    completions = _engine.draw([Row(p.token_ids, row_seed) for p, _, row_seed in asked], sampling)
    table = pa.Table.from_pylist(
        [
            {
                "problem_id": prompt.problem_id,
                "context_sample": prompt.context_sample,
                "sample": number,
                "seed": row_seed,
                "prompt_sha256": prompt.sha256,
                "response": _engine.decode(completion.token_ids),
                "response_tokens": len(completion.token_ids),
                "finish_reason": completion.finish_reason,
            }
            for (prompt, number, row_seed), completion in zip(asked, completions, strict=True)
        ],
        schema=COLUMNS,
    )
    with atomic_path(job.path) as temporary:
        pq.write_table(table, temporary, compression="zstd")
    return len(asked), sum(len(completion.token_ids) for completion in completions)


def _read(job: Job) -> pd.DataFrame | None:
    """A finished shard; None when it is missing, damaged or of another shape, and so has to be drawn."""
    try:
        table = pq.read_table(job.path)
    except (FileNotFoundError, OSError, pa.ArrowInvalid):
        return None
    if not table.schema.equals(COLUMNS) or table.num_rows != job.size:
        return None
    return table.to_pandas(types_mapper={pa.int32(): pd.Int32Dtype()}.get)


def _in_order(frames: list[pd.DataFrame], prompts: Sequence[Prompt]) -> pd.DataFrame:
    place = {prompt.problem_id: i for i, prompt in enumerate(prompts)}
    table = pd.concat(frames, ignore_index=True) if frames else COLUMNS.empty_table().to_pandas()
    order = table.assign(place=table["problem_id"].map(place)).sort_values(["place", "sample"], kind="stable")
    return order.drop(columns="place").reset_index(drop=True)
