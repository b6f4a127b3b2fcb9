"""One problem set as a table: read, stripped of instructions, and without duplicates."""

import itertools
import logging
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import model_validator
from tqdm import tqdm

from selfdistill.errors import UserError
from selfdistill.problems.layouts import NoAnswerError, find_layout, is_paragraph, read_row
from selfdistill.problems.readers import Rows, read_file, read_hub
from selfdistill.problems.revisions import LOCK_FILE, pinned_revision
from selfdistill.problems.text import problem_id
from selfdistill.settings import REPO, key, settings
from selfdistill.tables import PROBLEMS

LOG = logging.getLogger(__name__)
FIRST_ROWS = 2000  # that are read in a moment

Problem = tuple[str, str, str]  # problem, answer, type

# Keys that mean something for one source only.
SOURCE_KEYS = {
    "microcosm": {"split"},
    "file": {"file", "problem_column", "answer_column", "without_answer"},
    "hub": {"split", "repo", "name", "revision", "problem_column", "answer_column", "without_answer"},
}


@settings
class ProblemSet:
    """Where a problem set comes from, and how much of it is kept."""

    source: Literal["microcosm", "file", "hub"] = key(doc="Where the problems come from.")
    split: str = key("train", doc="Split of the microcosm or of the hub data set.")
    size: int | None = key(None, doc="Number of problems kept, in file order; null keeps all.", gt=0, lt=2**31)
    file: Path | None = key(None, doc="Parquet, JSONL, JSON or CSV file, perhaps gzipped, for source `file`.")
    repo: str | None = key(None, doc="Hub repository, for source `hub`.", pattern=REPO)
    name: str | None = key(None, doc="Configuration name of the hub data set.")
    revision: str | None = key(None, doc="Its commit, 40 hexadecimal digits, or `locked` (config/revisions.json).")
    problem_column: str | None = key(None, doc="Column of the problem, where its name is not a usual one.")
    answer_column: str | None = key(None, doc="Column of the answer; dots reach into structures.")
    without_answer: Literal["drop"] | None = key(
        None, doc="`drop` leaves out rows without an answer, and the log has their number; null refuses them."
    )

    @model_validator(mode="after")
    def _source_has_its_keys(self) -> "ProblemSet":
        if self.source == "hub" and not (self.repo and self.revision):
            raise ValueError("a problem set of source 'hub' needs 'repo' and 'revision'")
        if self.source == "file" and self.file is None:
            raise ValueError("a problem set of source 'file' needs 'file'")
        return self


def load_problem_set(wanted: ProblemSet, *, exactly: bool = False, lock: Path = LOCK_FILE) -> pd.DataFrame:
    """A problem set in the `problems` schema, in the source's order; ``lock`` holds the commits of "locked".

    ``problem`` is the bare text (`text.bare_problem`). Rows with a `text.problem_id` seen before are dropped, so the
    first ``size`` problems are distinct; None keeps all. With ``exactly`` it is a `UserError` if the source holds more
    than ``size``. Warnings count duplicates with another answer (the first one
    stays), rows left out for want of an answer, and answers that are whole paragraphs.
    """
    if exactly:
        table = load_problem_set(replace(wanted, size=None), lock=lock)
        _check_just(wanted.size, len(table), table["source"].iloc[0])
        return table
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
    left_out: list[str] = []
    shown = tqdm(rows.rows, desc=rows.where, unit=" rows", disable=None)
    problems = _read(replace(rows, rows=shown), wanted, left_out)
    table = _distinct(problems, wanted.size, where=rows.where, label=label)
    if left_out:
        LOG.warning("%s: %d rows without an answer left out, the first: %s", rows.where, len(left_out), left_out[0])
    return table


def check_first_rows(wanted: ProblemSet, rows: Rows, *, exactly: bool = False) -> None:
    """`UserError` for a file that `load_problem_set` would refuse, as far as its first ``rows`` show it."""
    size = None if exactly else wanted.size
    first = replace(rows, rows=itertools.islice(rows.rows, FIRST_ROWS))
    kept = _kept(_read(first, wanted, []), size)[0]
    if rows.number <= FIRST_ROWS:
        _check_enough(len(kept), size, rows.where)
        if exactly:
            _check_just(wanted.size, len(kept), Path(rows.where).name)


def _check_just(size: int | None, found: int, source: str) -> None:
    if found != size:
        raise UserError(f"{source}: holds {found} distinct problems, and is named as a part of {size} (size)")


def _check_enough(found: int, size: int | None, where: str) -> None:
    if found < (size or 1):
        raise UserError(f"{where}: holds {found} distinct problems, {size or 'at least 1'} wanted")


def _from_microcosm(split: str, size: int | None) -> pd.DataFrame:
    from selfdistill.microcosm import world

    world.check_split(split, size)
    problems = ((p.text, str(p.answer), p.problem_type) for p in world.problem_split(split, size))
    return _distinct(problems, size, where=f"microcosm split '{split}'", label=f"microcosm:{split}")


def _read(rows: Rows, wanted: ProblemSet, left_out: list[str]) -> Iterator[Problem]:
    """The problem of each row; ``left_out`` collects the places of rows without an answer."""
    names = {"problem_column": wanted.problem_column, "answer_column": wanted.answer_column}
    layout = find_layout(rows.columns, rows.where, **names)
    for place, row in rows.rows:
        try:
            yield read_row(row, layout, f"{rows.where}: {place}")
        except NoAnswerError as error:
            if wanted.without_answer is None:
                raise UserError(f"{error}; `without_answer: drop` leaves such rows out") from None
            left_out.append(place)


def _kept(problems: Iterable[Problem], size: int | None) -> tuple[dict[str, Problem], int, set[str]]:
    """By id, the first ``size`` problems with different ids; how many more had one of these, and which of them differ.

    Those that differ have another answer.
    """
    kept: dict[str, Problem] = {}
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
    return kept, dropped, conflicting


def _distinct(problems: Iterable[Problem], size: int | None, *, where: str, label: str) -> pd.DataFrame:
    """The first ``size`` problems with different ids, as a table."""
    kept, dropped, conflicting = _kept(problems, size)
    _check_enough(len(kept), size, where)
    LOG.info("%s: %d problems; %d duplicates dropped", where, len(kept), dropped)
    if conflicting:
        LOG.warning("%s: %d duplicated problems have several answers; the first is kept", where, len(conflicting))
    paragraphs = [answer for _, answer, _ in kept.values() if is_paragraph(answer)]
    if paragraphs:
        message = "%s: %d answers are running text, which no response will equal, the first: %.60r"
        LOG.warning(message, where, len(paragraphs), paragraphs[0])
    return _table(kept, label)


def _table(kept: dict[str, Problem], label: str) -> pd.DataFrame:
    texts, answers, types = zip(*kept.values(), strict=True)
    columns = {
        "problem_id": list(kept),
        "position": np.arange(len(kept), dtype="int32"),
        "problem": texts,
        "answer": answers,
        "source": label,
        "problem_type": types,
    }
    return pd.DataFrame(columns)[PROBLEMS.columns]
