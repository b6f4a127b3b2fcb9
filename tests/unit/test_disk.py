"""A disk that is full or must not be written is told in one sentence, whichever library met it."""

import errno
import os
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors import SafetensorError
from selfdistill import cli
from selfdistill.disk import remedy, require_writable
from selfdistill.errors import UserError

FULL = (
    "/dev/full"  # every write to it fails as on a full disk; only ever opened, as some writers delete what they fail at
)
NUMBERS = np.random.default_rng(0).normal(size=100_000)
WRITERS = {
    "text": lambda file: file.write(b"a" * 100_000),
    "Parquet": lambda file: pq.write_table(pa.table({"a": NUMBERS}), file),
}
WORDS = {
    "weights": SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
    "checkpoint, cut": RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534"),
    "weights, read-only": SafetensorError("I/O error: Read-only file system (os error 30)"),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_a_full_disk_is_recognised_by_what_each_library_says(kind):
    with open(FULL, "wb", buffering=0) as file, pytest.raises(OSError) as caught:
        WRITERS[kind](file)
    told = remedy(caught.value)
    assert told and "the disk is full: make room, then run the same command again" in told and "\n" not in told


@pytest.mark.parametrize("kind", WORDS)
def test_libraries_tell_it_in_words(kind):
    told = remedy(WORDS[kind])
    assert told and ("read-only: mount it" if "Read-only" in str(WORDS[kind]) else "the disk is full") in told


@pytest.mark.parametrize(
    "error", [FileNotFoundError(errno.ENOENT, "No such file"), RuntimeError("shape mismatch"), KeyError("a")]
)
def test_other_errors_keep_their_traceback(error):
    assert remedy(error) is None


def test_a_stage_tells_it_in_one_line_and_leaves_nothing_half_written(tmp_path, monkeypatch, capsys):
    def full(source: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))

    monkeypatch.setattr("selfdistill.files.os.replace", full)
    source = [f"--problem-set.{name}" for name in ("source=microcosm", "split=hard", "size=3")]
    assert cli.main(["load-problems", *source, f"--out={tmp_path / 'hard.parquet'}"]) == 2
    printed = capsys.readouterr().err.strip()
    assert re.fullmatch(r"selfdistill: .*hard\.parquet'; the disk is full: .* what is finished is kept", printed)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named_with_a_remedy(tmp_path, monkeypatch):
    require_writable([tmp_path / "not" / "yet" / "there"])
    monkeypatch.setattr("selfdistill.disk.os.access", lambda path, mode: path != tmp_path)  # root may write anywhere
    with pytest.raises(UserError) as caught:
        require_writable([tmp_path / "not" / "yet" / "there"])
    assert f"'{tmp_path}'; this user may not do that: change the permissions" in str(caught.value)


@pytest.mark.parametrize(
    ("stand", "told"),
    [
        (lambda place: place.write_text(""), "results: a file, where a folder is expected"),
        (
            lambda place: place.symlink_to("/gone/x"),
            "results: a link to /gone/x, which is not there, where a folder is",
        ),
    ],
)
def test_what_stands_in_the_place_of_a_folder_is_named(stand, told, tmp_path):
    stand(tmp_path / "results")
    with pytest.raises(UserError, match=f"^{tmp_path}/{told}"):
        require_writable([tmp_path / "results" / "smoke" / "config.yaml"])


def test_a_link_to_a_folder_is_one(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "results").symlink_to("disk")
    require_writable([tmp_path / "results" / "smoke" / "config.yaml"])
