"""Whether a job did all of its work: one that goes on from what an earlier one has left takes less than the whole.

A job notes in its work folder that it has begun. Where the note lies beside what was kept, a later job with the same
words and inputs finds both, and says so in its log, which stands beside its benchmark file.
"""

import json
import shutil
from pathlib import Path

from selfdistill.files import sha256_text

NOTES = ".begun"
GOES_ON = "going on from an earlier attempt"
BENCHMARK, LOG = ".benchmark.tsv", ".log"
END = 4000  # bytes of a log in which its last line is looked for


def begin(work_dir: Path, job: object) -> bool:
    """Note that a job begins; whether one has before. ``job``: what says that it is the same, for JSON."""
    note = work_dir / NOTES / sha256_text(json.dumps(job, sort_keys=True))[:16]
    before = note.exists()
    note.parent.mkdir(parents=True, exist_ok=True)
    note.touch()
    return before


def end(work_dir: Path) -> None:
    """Forget what has begun where nothing is kept that a later job could go on from."""
    notes = work_dir / NOTES
    if notes.is_dir() and list(work_dir.iterdir()) == [notes]:
        shutil.rmtree(notes, ignore_errors=True)


def is_whole(benchmark: Path) -> bool:
    """Whether a benchmark file is of a whole job, by the log beside it; one without a log is."""
    log = benchmark.with_name(benchmark.name.removesuffix(BENCHMARK) + LOG)
    if not log.is_file():
        return True
    with open(log, "rb") as text:
        text.seek(max(0, log.stat().st_size - END))
        return f" s, {GOES_ON}".encode() not in text.read()
