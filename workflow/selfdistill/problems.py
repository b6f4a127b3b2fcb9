"""Problem sets from the microcosm, local files and the hub, in one schema.

The stored problem is bare: the wording that a source wraps around it is taken off, and `prompts` puts on the one
that a model is to see. A problem is known by a hash of its normalised text, and duplicates are dropped by it:
DAPO-Math-17k's file holds each of its problems about 100 times.
"""

import json
import logging
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from selfdistill.errors import UserError, nearest
from selfdistill.provenance import sha256_text
from selfdistill.tables import PROBLEMS

# Wordings around a problem: DAPO-Math-17k's own, and the authors' boxed form (change_math_prompts.py:22).
_DAPO = re.compile(
    r"\s*Solve the following math problem step by step\. The last line of your response should be of the form "
    r"Answer: \$Answer \(without quotes\) where \$Answer is the answer to the problem\.\s*(.*?)\s*"
    r'Remember to put your answer on its own line after "Answer:"\.\s*',
    re.DOTALL,
)
_SUFFIX = re.compile(
    r"\s*Please reason step by step(?:, and put your final answer within \\boxed\{\})?\.\s*\Z", re.DOTALL
)

PROBLEM_COLUMNS = ("problem", "question", "prompt")
ANSWER_COLUMNS = ("answer", "reward_model", "reward", "ground_truth")
TYPE_COLUMNS = ("problem_type", "type", "subject", "domain")

Row = Mapping[str, Any]


def bare(prompt: str) -> str:
    """The problem without the instructions that a source wraps around it."""
    found = _DAPO.fullmatch(prompt)
    return _SUFFIX.sub("", found.group(1) if found else prompt).strip()


def normalise(text: str) -> str:
    """The text that identifies a problem: bare, in Unicode's compatibility form, white space folded."""
    return " ".join(unicodedata.normalize("NFKC", bare(text)).split())


def problem_id(text: str) -> str:
    """16 hexadecimal digits that identify a problem whatever file it comes from."""
    return sha256_text(normalise(text))[:16]


def from_microcosm(split: str, size: int | None) -> pd.DataFrame:
    """A split of the microcosm (`microcosm.world.SPLITS`)."""
    from selfdistill.microcosm.world import problem_split

    rows = [(p.text, str(p.answer), p.problem_type) for p in problem_split(split, size)]
    return problem_table(rows, source=f"microcosm/{split}", size=size)


def from_file(path: Path, size: int | None) -> pd.DataFrame:
    """A local Parquet, JSONL or JSON file; `UserError` names file, row and column of what is malformed."""
    return problem_table(_read_rows(_rows(path), str(path)), source=path.name, size=size)


def from_hub(repo: str, revision: str, *, split: str, name: str | None, size: int | None) -> pd.DataFrame:
    """A data set of the Hugging Face hub at a commit of 40 hexadecimal digits."""
    from datasets import load_dataset

    if not re.fullmatch(r"[0-9a-f]{40}", revision):
        raise UserError(
            f"{repo}: revision '{revision}' is not a commit of 40 hexadecimal digits; "
            "`selfdistill resolve-revisions` looks it up"
        )
    loaded = load_dataset(repo, name, split=split, revision=revision)
    return problem_table(_read_rows(loaded, f"{repo}@{revision[:7]}"), source=f"{repo}/{split}", size=size)


def problem_table(rows: Iterable[tuple[str, str, str]], *, source: str, size: int | None) -> pd.DataFrame:
    """(prompt, answer, type) rows as the `problems` schema: duplicates dropped, the first ``size`` kept."""
    seen: dict[str, str] = {}
    kept, duplicates, conflicts = [], 0, 0
    for prompt, answer, kind in rows:
        identity = problem_id(prompt)
        if identity in seen:
            duplicates += 1
            conflicts += seen[identity] != answer
        elif size is None or len(kept) < size:
            seen[identity] = answer
            kept.append((identity, len(kept), bare(prompt), answer, source, kind))
    if duplicates:
        logging.info("%s: %d duplicates dropped, %d of them with another answer", source, duplicates, conflicts)
    if size is not None and len(kept) < size:
        raise UserError(f"{source}: {size} problems were asked for, {len(kept)} distinct ones exist")
    return pd.DataFrame(kept, columns=PROBLEMS.names)


def resolve_revision(repo: str, revision: str, lock: Path) -> str:
    """``revision`` itself, or for ``locked`` the commit that the lock file holds for ``repo``."""
    if revision != "locked":
        return revision
    locked = json.loads(lock.read_text(encoding="utf-8")) if lock.is_file() else {}
    if repo not in locked:
        hint = nearest(repo, locked)
        raise UserError(f"{lock}: no revision for '{repo}'{hint}; `selfdistill resolve-revisions` adds it")
    return locked[repo]


def latest_revision(repo: str, kind: str) -> str:
    """The newest commit of a hub repository; ``kind`` is ``model`` or ``dataset``. Needs the network."""
    from huggingface_hub import HfApi

    return HfApi().repo_info(repo, repo_type=kind).sha


# --- layouts --------------------------------------------------------------------------------------------------
def _rows(path: Path) -> Iterator[Row]:
    if not path.is_file():
        raise UserError(f"{path}: no such problem file")
    if path.suffix == ".parquet":
        try:
            yield from pq.read_table(path).to_pylist()
        except pa.ArrowInvalid as error:
            raise UserError(f"{path}: not a readable Parquet file: {error}") from None
    elif path.suffix in (".jsonl", ".json"):
        yield from _json_rows(path)
    else:
        raise UserError(f"{path}: unknown kind of file '{path.suffix}'; allowed: .parquet, .jsonl, .json")


def _json_rows(path: Path) -> Iterator[Row]:
    text = path.read_text(encoding="utf-8")
    if text.lstrip().startswith("["):
        yield from _parse_json(text, f"{path}")
        return
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            yield _parse_json(line, f"{path}: line {number}")


def _parse_json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"{where}: not valid JSON: {error.msg} at character {error.pos}") from None


def _read_rows(rows: Iterable[Row], where: str) -> Iterator[tuple[str, str, str]]:
    for number, row in enumerate(rows):
        place = f"{where}: row {number}"
        if not isinstance(row, Mapping):
            raise UserError(f"{place}: expected an object with named columns, found {type(row).__name__}")
        problem_column = _column(row, PROBLEM_COLUMNS, place)
        answer_column = _column(row, ANSWER_COLUMNS, place)
        problem = _problem_text(row[problem_column], f"{place}, column '{problem_column}'")
        answer = _answer_text(row[answer_column], f"{place}, column '{answer_column}'")
        yield problem, answer, _type_text(row)


def _column(row: Row, names: tuple[str, ...], place: str) -> str:
    for name in names:
        if name in row:
            return name
    hint = next((h for name in names if (h := nearest(name, row))), "")
    raise UserError(f"{place}: none of the columns {', '.join(names)} is there{hint}; found {', '.join(row)}")


def _problem_text(value: Any, where: str) -> str:
    """A problem given as text, as a list of messages, or as the JSON text of such a list."""
    if isinstance(value, str) and value.lstrip().startswith('[{"'):
        value = _parse_json(value, where)
    if isinstance(value, list):
        turns = [turn.get("content") for turn in value if isinstance(turn, Mapping) and turn.get("role") == "user"]
        if len(turns) != 1:
            raise UserError(f"{where}: expected one user message, found {len(turns)}")
        value = turns[0]
    return _non_empty(value, where)


def _answer_text(value: Any, where: str) -> str:
    """An answer given as text or number, or as the ``ground_truth`` of a reward object or its JSON text."""
    if isinstance(value, str) and value.lstrip().startswith('{"'):
        value = _parse_json(value, where)
    if isinstance(value, Mapping):
        if "ground_truth" not in value:
            raise UserError(f"{where}: no 'ground_truth' in it{nearest('ground_truth', value)}")
        value = value["ground_truth"]
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return _non_empty(str(value) if isinstance(value, (int, float)) else value, where)


def _type_text(row: Row) -> str:
    named = next((row[name] for name in TYPE_COLUMNS if isinstance(row.get(name), str) and row[name]), "")
    return named or str(row.get("data_source") or row.get("dataset") or "")


def _non_empty(value: Any, where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        found = repr(value)[:60] if value else "nothing"
        raise UserError(f"{where}: expected text, found {found}")
    return value.strip()
