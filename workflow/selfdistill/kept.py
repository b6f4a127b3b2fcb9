"""A job that fails leaves what was there before it: old outputs are put aside, not deleted, until it has better ones.

Snakemake deletes a job's outputs before the job starts. Most of what can be wrong is said before (`checks`); what only
the job can say, such as a repository that cannot be reached or too few problems in a band, would still cost finished
results. Outputs wait in ``.snakemake/kept``, with Snakemake's records of them: without those, the old ones would pass
for what was asked for now. After a kill they wait for the next run of the same job.

Where a job is a Snakemake of its own, as on a cluster, it puts aside. Only the one that submitted it puts back, since
that one deletes the outputs of a failed job once more.
"""

import os
import shutil
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import Any

from snakemake.jobs import Job
from snakemake.logging import logger

KEPT = Path(".snakemake") / "kept"


def install() -> None:
    """Let the jobs of this process keep old outputs; a second call changes nothing."""
    if hasattr(Job.postprocess, "__wrapped__"):
        return
    Job.remove_existing_output = _putting_aside(Job.remove_existing_output)
    Job.postprocess = _putting_back(Job.postprocess)


def _putting_aside(remove: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    @wraps(remove)
    async def remove_existing_output(job: Any) -> None:
        for file in map(str, job.output):
            # After a kill, what is there is half of a file, and what is kept is whole.
            if os.path.lexists(file) and not os.path.lexists(_aside(file)):
                _put_aside(job, file)
        await remove(job)

    return remove_existing_output


def _putting_back(postprocess: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    @wraps(postprocess)
    async def finish(job: Any, *given: Any, error: bool = False, **named: Any) -> None:
        files = list(map(str, job.output)) if job.dag.workflow.is_main_process else []
        try:
            await postprocess(job, *given, error=error, **named)
        finally:
            for file in files if error else []:
                if os.path.lexists(_aside(file)):
                    _put_back(job, file)
        # Not where something is wrong with the outputs: then Snakemake calls once more, with the error.
        for file in files:
            _delete(_aside(file))
            _note(file).unlink(missing_ok=True)

    return finish


def _put_aside(job: Any, file: str) -> None:
    _aside(file).parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileNotFoundError):
        shutil.copy2(_record(job, file), _note(file))
    try:
        os.rename(file, _aside(file))
    except OSError:
        _copy_aside(file)


def _copy_aside(file: str) -> None:
    """Of results on another disk."""
    half = KEPT / f"{file}.half"
    try:
        _delete(half)  # of a copy that was killed: the file is still there
        (shutil.copytree if os.path.isdir(file) else shutil.copy2)(file, half)
        os.rename(half, _aside(file))
    except OSError as error:
        _delete(half)
        logger.warning(f"{file} cannot be put aside, and is lost if the job fails: {error}")


def _put_back(job: Any, file: str) -> None:
    _delete(Path(file))
    shutil.move(_aside(file), file)
    record = _record(job, file)
    if _note(file).exists():
        record.parent.mkdir(parents=True, exist_ok=True)
        os.replace(_note(file), record)
    else:
        record.unlink(missing_ok=True)
    logger.warning(f"{file} is again what it was before the job.")


def _aside(file: str) -> Path:
    return KEPT / file


def _note(file: str) -> Path:
    """Snakemake's record of what is kept."""
    return KEPT / f"{file}.record"


def _record(job: Any, file: str) -> Path:
    records = job.dag.workflow.persistence
    return Path(records._record_path(records._metadata_path, file))


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
