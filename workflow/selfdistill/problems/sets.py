"""One problem set as a table: read, stripped of instructions, and without duplicates."""

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import model_validator
from tqdm import tqdm

from selfdistill.errors import UserError
from selfdistill.problems.layouts import find_layout, read_row
from selfdistill.problems.readers import Rows, read_file, read_hub
from selfdistill.problems.revisions import LOCK_FILE, pinned_revision
from selfdistill.problems.text import problem_id
from selfdistill.settings import REPO, key, settings
from selfdistill.tables import PROBLEMS

LOG = logging.getLogger(__name__)
# Keys that mean something for one source only.
SOURCE_KEYS = {
    "microcosm": {"split"},
    "file": {"file", "problem_column", "answer_column"},
    "hub": {"split", "repo", "name", "revision", "problem_column", "answer_column"},
}


@settings
class ProblemSet:
    """Where a problem set comes from, and how much of it is kept."""

    source: Literal["microcosm", "file", "hub"] = key(doc="Where the problems come from.")
    split: str = key("train", doc="Split of the microcosm or of the hub data set.")
    size: int | None = key(None, doc="Number of problems kept, in file order; null keeps all.", gt=0, lt=2**31)
    file: Path | None = key(None, doc="Parquet, JSONL or JSON file, for source `file`.")
    repo: str | None = key(None, doc="Hub repository, for source `hub`.", pattern=REPO)
    name: str | None = key(None, doc="Configuration name of the hub data set.")
    revision: str | None = key(None, doc="Its commit, 40 hexadecimal digits, or `locked` (config/revisions.json).")
    problem_column: str | None = key(None, doc="Column of the problem, where its name is not a usual one.")
    answer_column: str | None = key(None, doc="Column of the answer; dots reach into structures.")

    @model_validator(mode="after")
    def _source_has_its_keys(self) -> "ProblemSet":
        if self.source == "hub" and not (self.repo and self.revision):
            raise ValueError("a problem set of source 'hub' needs 'repo' and 'revision'")
        if self.source == "file" and self.file is None:
            raise ValueError("a problem set of source 'file' needs 'file'")
        return self


def load_problem_set(wanted: ProblemSet, *, lock: Path = LOCK_FILE) -> pd.DataFrame:
    """A problem set in the `problems` schema, in the source's order; ``lock`` holds the commits of "locked".

    ``problem`` is the bare text (`text.bare_problem`). Rows with a `text.problem_id` seen before are dropped, so the
    first ``size`` problems are distinct; None keeps all. If a duplicate has another answer, the first one stays,
    and a warning counts them.
    """
    if wanted.source == "microcosm":
        return _from_microcosm(wanted.split, wanted.size)
    if wanted.source == "file":
        file = Path(str(wanted.file))
        rows, label = read_file(file), file.name
    else:
        repo = str(wanted.repo)
        commit = pinned_revision(repo, wanted.revision, lock)
        rows = read_hub(repo, name=wanted.name, split=wanted.split, revision=commit)
        label = f"{repo}@{commit}:{wanted.split}"
    problems = _read(rows, wanted.problem_column, wanted.answer_column)
    return _distinct(problems, wanted.size, where=rows.where, label=label)


def _from_microcosm(split: str, size: int | None) -> pd.DataFrame:
    from selfdistill.microcosm import world

    world.check_split(split, size)
    problems = ((p.text, str(p.answer), p.problem_type) for p in world.problem_split(split, size))
    return _distinct(problems, size, where=f"microcosm split '{split}'", label=f"microcosm:{split}")


def _read(rows: Rows, problem_column: str | None, answer_column: str | None) -> Iterator[tuple[str, str, str]]:
    layout = find_layout(rows.columns, rows.where, problem_column=problem_column, answer_column=answer_column)
    for place, row in tqdm(rows.rows, desc=rows.where, unit=" rows", disable=None):
        yield read_row(row, layout, f"{rows.where}: {place}")


def _distinct(problems: Iterable[tuple[str, str, str]], size: int | None, *, where: str, label: str) -> pd.DataFrame:
    """The first ``size`` problems with different ids, out of (problem, answer, type)."""
    kept: dict[str, tuple[str, str, str]] = {}
    dropped = 0
    conflicting = set()
    for problem in problems:
        identity = problem_id(problem[0])
        if identity in kept:
            dropped += 1
            conflicting |= {identity} if kept[identity][1] != problem[1] else set()
            continue
        kept[identity] = problem
        if len(kept) == size:
            break
    if len(kept) < (size or 1):
        raise UserError(f"{where}: holds {len(kept)} distinct problems, {size or 'at least 1'} wanted")
    LOG.info("%s: %d problems; %d duplicates dropped", where, len(kept), dropped)
    if conflicting:
        LOG.warning("%s: %d duplicated problems have several answers; the first is kept", where, len(conflicting))
    return _table(kept, label)


def _table(kept: dict[str, tuple[str, str, str]], label: str) -> pd.DataFrame:
    texts, answers, types = zip(*kept.values(), strict=True)
    columns = {
        "problem_id": list(kept),
        "position": np.arange(len(kept), dtype="int32"),
        "problem": texts,
        "answer": answers,
        "source": label,
        "problem_type": types,
    }
    return pd.DataFrame(columns)[PROBLEMS.names]
