"""Hashes of texts and files, whether a file is what was recorded of it, and atomic writes."""

import hashlib
import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

import yaml

# A larger file of the recorded size is read only when it is newer than its record: weights would take minutes.
ALWAYS_READ = 20_000_000
YAML_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's is ten times as fast


def sha256_text(text: str) -> str:
    """Hexadecimal SHA-256 of the UTF-8 bytes of ``text``."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def sha256_file(path: str | Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_as_recorded(path: Path, sha256: str, size: int | None, recorded: int) -> bool:
    """Whether a file is there with the recorded content, told without reading much.

    ``sha256``: its digest, or the first digits of it; ``size``: in bytes, None where it is not recorded; ``recorded``:
    time of the record, in nanoseconds. Not noticed is a change of a file above `ALWAYS_READ` bytes that keeps its size
    and leaves it older than its record, as decay of a disk does: only `selfdistill verify` reads all bytes.
    """
    if not path.is_file():
        return False
    found = path.stat()
    if size not in (None, found.st_size):
        return False
    if found.st_size > ALWAYS_READ and found.st_mtime_ns <= recorded:
        return True
    return sha256_file(path).startswith(sha256)


def sha256_meaning(path: str | Path) -> str:
    """Hexadecimal SHA-256 of what a YAML file says, without comments and layout; of another file's bytes."""
    if Path(path).suffix == ".yaml":
        with suppress(OSError, ValueError, yaml.YAMLError):
            return _meaning(Path(path).read_text(encoding="utf-8"))
    return sha256_file(path)


@lru_cache(maxsize=16)  # many records name the same few files
def _meaning(text: str) -> str:
    return sha256_text(json.dumps(yaml.load(text, Loader=YAML_LOADER), default=str))


def is_unchanged(path: str | Path, recorded: str) -> bool:
    """Whether a file says what it did when ``recorded`` was its `sha256_meaning`, or the hash of its bytes."""
    return any(digest(path) == recorded for digest in (sha256_meaning, sha256_file))


def all_below(folder: Path, ending: str = "", above: frozenset[str] = frozenset()) -> Iterator[Path]:
    """Files and folders in a folder and all below it, with links to folders, whose names have this ending.

    A link that leads back to a folder ``above`` it is not followed, and what must not be read holds nothing.
    """
    place = os.path.realpath(folder)
    if place in above or not os.access(folder, os.R_OK | os.X_OK):
        return
    for path in folder.iterdir():
        if path.name.endswith(ending):
            yield path
        if path.is_dir():
            yield from all_below(path, ending, above | {place})


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that is renamed to it on success and removed on failure.

    The temporary name is unique to the process and call: two jobs that write the same output (a requeued
    cluster job, say) never mix their bytes.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write ``text`` (UTF-8) to ``path`` atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
