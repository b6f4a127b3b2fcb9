"""One problem set as a table: read, stripped of instructions, and without duplicates."""

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from selfdistill.errors import UserError, nearest
from selfdistill.problems.layouts import find_layout, read_row
from selfdistill.problems.readers import Rows, read_file, read_hub
from selfdistill.problems.revisions import LOCK_FILE, pinned_revision
from selfdistill.problems.text import problem_id
from selfdistill.tables import PROBLEMS

LOG = logging.getLogger(__name__)
SOURCES = ("microcosm", "file", "hub")


def load_problem_set(
    source: str,
    *,
    split: str = "train",
    size: int | None = None,
    file: Path | None = None,
    repo: str | None = None,
    name: str | None = None,
    revision: str | None = None,
    problem_column: str | None = None,
    answer_column: str | None = None,
    lock: Path = LOCK_FILE,
) -> pd.DataFrame:
    """A problem set in the `problems` schema, in the source's order.

    ``problem`` is the bare text (`text.bare_problem`). Rows with a `text.problem_id` seen before are dropped, so the
    first ``size`` problems are distinct; None keeps all. Where a duplicate has another answer, the first one stays
    and a warning counts them.

    source: "microcosm" (needs ``split``), "file" (``file``: .parquet, .jsonl or .json) or "hub" (``repo``, its
        configuration ``name``, ``split``, and ``revision``: 40 hexadecimal digits, or "locked" for ``lock``'s).
    problem_column, answer_column: where the layout is not one of `layouts`; dots reach into structs.
    """
    if source == "microcosm":
        return _from_microcosm(split, size)
    if source == "file" and file is not None:
        rows, label = read_file(Path(file)), Path(file).name
    elif source == "hub" and repo is not None:
        commit = pinned_revision(repo, revision, lock)
        rows, label = read_hub(repo, name=name, split=split, revision=commit), f"{repo}@{commit}:{split}"
    elif source in SOURCES:
        raise UserError(f"problem set: source '{source}' needs '{'repo' if source == 'hub' else 'file'}'")
    else:
        raise UserError(
            f"problem set: unknown source '{source}'{nearest(source, SOURCES)}; known: {', '.join(SOURCES)}"
        )
    return _distinct(_read(rows, problem_column, answer_column), size, where=rows.where, label=label)


def _from_microcosm(split: str, size: int | None) -> pd.DataFrame:
    from selfdistill.microcosm import world

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
