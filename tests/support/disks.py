"""Disks that are full or must not be written, in the place of a folder."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOM = 4_000  # bytes that a full disk still takes


@contextmanager
def mounted(folder: Path) -> Iterator[None]:
    """A small disk of its own in the place of ``folder``, with what that holds, before and after. Needs root."""
    kept = folder.with_name(f"{folder.name}.kept")
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copytree(folder, kept, symlinks=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)], check=True)
    try:
        shutil.copytree(kept, folder, dirs_exist_ok=True, symlinks=True)
        yield
        shutil.rmtree(kept)
        shutil.copytree(folder, kept, symlinks=True)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
    shutil.rmtree(folder)
    kept.rename(folder)


@contextmanager
def full(folder: Path) -> Iterator[None]:
    """Next to no room left in ``folder``."""
    filler = folder / "filler"
    filler.write_bytes(bytes(shutil.disk_usage(folder).free - ROOM))
    yield
    filler.unlink()


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """``folder`` must not be written."""
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    yield
    subprocess.run(["mount", "-o", "remount,rw", str(folder)], check=True)
