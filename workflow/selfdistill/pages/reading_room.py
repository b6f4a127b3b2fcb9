"""The reading room: a page to read the traces behind every number, side by side, without a server or a network.

``index.html`` loads ``data/{digest}.js``: one index with the numbers of every response, and shards with the texts,
loaded when they are read. They are scripts because a page opened from a folder may load no other data; gzip in base64,
which every browser since 2023 unpacks. All text travels as data and is shown as text: nothing of it becomes markup.
"""

import base64
import gzip
import hashlib
import json
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from html import escape
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from selfdistill import tables
from selfdistill.analysis.words import GUIDANCE
from selfdistill.errors import UserError
from selfdistill.files import atomic_path, write_text
from selfdistill.markers.counting import MARKERS
from selfdistill.pages.stamp import stamp_text
from selfdistill.settings import Count, key, settings

SHARD_CHARACTERS = 200_000  # of responses in one shard; a longer response has a shard of its own
TEXT_ROWS = 1024  # responses read at a time
MOST_COLUMNS = 4  # shown side by side
DIGEST = 16  # hexadecimal digits in a file's name
SOURCE = ["model", "run", "stage", "setting"]  # what distinguishes one column of the page from another
KEYS = [*SOURCE, "step", "problem_id", "sample"]
NUMBERS = [
    *KEYS,
    "response_tokens",
    "finish_reason",
    "correct",
    "accepted",
    "verified",
    *chain(*tables.MARKER_COLUMNS.values()),
]
FLAGS = ["correct", "cut", "accepted", "verified"]  # from the lowest bit
TEXTS = ["response", "answer", "context_sample"]
LABELS = {
    "section3": lambda run, setting: GUIDANCE[setting].label if setting in GUIDANCE else setting,
    "selection": lambda run, setting: "selection of problems",
    "sft": lambda run, setting: f"draws for D_{'ug' if setting == 'unguided' else 'sg'}",
    "training": lambda run, setting: f"{run}: rollouts",
    "evaluation": lambda run, setting: f"{run} on {setting}",
}


def link(**address: object) -> str:
    """Where the responses of a table or figure can be read, from any folder of a study's results.

    ``address``: view (a comparison, or the beginning of its name: see `_views`) or columns, problem, sample, step, ...
    as the page writes them into its own address.
    """
    return f"../reading_room/index.html#{urlencode(address, safe='/,')}"


@settings
class Limits:
    """How much of each traces table is shown."""

    problems: Count = key(
        100,
        doc="Problems shown of each source and step: the first by their hash, the same ones in every source.",
        paper="none",
    )
    samples: Count = key(16, doc="Responses shown to each, the first.", paper="none")
    steps: Count = key(
        30, doc="Steps shown of each training run, evenly spaced, first and last included.", paper="none"
    )


@dataclass(frozen=True)
class Parts:
    """The files that the page is put together from."""

    page: Path
    style: Path
    script: Path


@dataclass
class _Shards:
    """Texts on their way to files: consecutive responses, until a shard is full."""

    folder: Path
    starts: list[tuple[str, int]] = field(default_factory=list)  # name of each shard, and its first response
    waiting: list[list] = field(default_factory=list)
    characters: int = 0
    taken: int = 0

    def add(self, entry: list) -> None:
        if self.waiting and self.characters + len(entry[0]) > SHARD_CHARACTERS:
            self.flush()
        self.waiting.append(entry)
        self.characters += len(entry[0])

    def flush(self) -> None:
        if self.waiting:
            self.starts.append((_write_script(self.folder, self.waiting), self.taken))
            self.taken += len(self.waiting)
            self.waiting, self.characters = [], 0


def build(
    traces: Iterable[Path],
    problems: Iterable[Path],
    runs: pd.DataFrame,
    sft_runs: pd.DataFrame,
    *,
    parts: Parts,
    study: str,
    limits: Limits,
    whole: Collection[str] = (),
    out: Path,
    data: Path,
) -> int:
    """Write the page ``out`` and its ``data`` folder beside it; returns how many responses it holds.

    ``traces`` and ``problems``: Parquet files of these schemas; ``runs`` and ``sft_runs``: these schemas; ``whole``:
    ids of problems to which all responses are shown, whatever the limits. Texts are streamed: memory is bounded by the
    numbers of the responses and one row group of text.
    """
    data.mkdir(parents=True, exist_ok=True)
    shards = _Shards(data)
    paths = sorted(traces)
    rows = pd.concat([_take(path, limits, whole, shards) for path in paths], ignore_index=True)
    shards.flush()
    if rows.empty:
        raise UserError("the reading room has no response to show: every traces table is empty")
    known = pd.concat([tables.read(path, tables.PROBLEMS) for path in problems]).drop_duplicates("problem_id")
    drawn = sum(tables.rows(path, tables.TRACES) for path in paths)
    index = {"study": study, "drawn": drawn, "markers": list(MARKERS), "shards": shards.starts}
    index |= _index(rows, known.set_index("problem_id"), runs, sft_runs)
    write_text(out, _page(parts, study, f"{data.name}/{_write_script(data, index)}.js"))
    return len(rows)


def index_of(page: Path) -> Path:
    """The data file that a page of `build` loads first."""
    return page.parent / page.read_text(encoding="utf-8").partition('<script src="')[2].partition('"')[0]


def needed(page: Path) -> set[str]:
    """Names of the data files that a page of `build` needs; only the index's where that is missing."""
    index = index_of(page)
    return {index.stem, *(name for name, _ in (_read_script(index)["shards"] if index.is_file() else []))}


def _page(parts: Parts, study: str, index: str) -> str:
    text = parts.page.read_text(encoding="utf-8")
    contents = {
        "study": escape(study),
        "stamp": escape(stamp_text(study) or ""),
        "style": parts.style.read_text(encoding="utf-8"),
        "script": parts.script.read_text(encoding="utf-8"),
        "index": index,
    }
    for mark, content in contents.items():
        text = text.replace(f"<!-- {mark} -->", content)
    return text


def _take(path: Path, limits: Limits, whole: Collection[str], shards: _Shards) -> pd.DataFrame:
    """The numbers of the responses of ``path`` that are shown, in file order; texts go to ``shards``."""
    numbers = tables.read(path, tables.TRACES, NUMBERS)
    chosen = _chosen(numbers, limits, whole)
    begin = 0
    for batch in tables.record_batches(path, tables.TRACES, TEXTS, TEXT_ROWS):
        wanted = pa.array(chosen[begin : begin + len(batch)])
        begin += len(batch)
        for row in pc.filter(batch, wanted).to_pylist():
            shards.add([row[name] for name in TEXTS])
    kept = numbers[chosen]
    return pd.DataFrame(
        {
            **{name: kept[name] for name in KEYS},
            "tokens": kept["response_tokens"],
            **{name: kept[name] for name in ("correct", "accepted", "verified")},
            "cut": kept["finish_reason"] == "length",
            **{mode: kept[columns].sum(axis=1) for mode, columns in tables.MARKER_COLUMNS.items()},
        }
    )


def _chosen(numbers: pd.DataFrame, limits: Limits, whole: Collection[str]) -> np.ndarray:
    """Which responses of one table are within the limits, or answer a problem that is shown whole, as a mask."""
    chosen = np.zeros(len(numbers), dtype=bool)
    for _, source in numbers.groupby(SOURCE, sort=False):
        steps = _evenly(source["step"].dropna().unique(), limits.steps)
        for _, block in source[source["step"].isna() | source["step"].isin(steps)].groupby("step", dropna=False):
            problems = np.sort(block["problem_id"].unique())[: limits.problems]
            within = block["problem_id"].isin(problems) & (block["sample"] < limits.samples)
            chosen[block.index[within | block["problem_id"].isin(whole)]] = True
    return chosen


def _evenly(steps: np.ndarray, most: int) -> np.ndarray:
    """At most ``most`` of ``steps``, evenly spaced, first and last included; the last where one is wanted."""
    steps = np.sort(steps)
    if len(steps) <= most:
        return steps
    return steps[np.linspace(0, len(steps) - 1, most).round().astype(int)] if most > 1 else steps[-1:]


def _index(rows: pd.DataFrame, known: pd.DataFrame, runs: pd.DataFrame, sft_runs: pd.DataFrame) -> dict[str, Any]:
    """What the page needs to list, filter and find responses; lists by response are in the order of the shards."""
    missing = set(rows["problem_id"]) - set(known.index)
    if missing:
        raise UserError(f"no problems table holds problem '{min(missing)}', which the traces answer")
    problem_ids = sorted(rows["problem_id"].unique())
    problems = known.loc[problem_ids, ["problem_type", "source", "problem", "answer"]]
    number = {problem: i for i, problem in enumerate(problem_ids)}
    steps = rows["step"].astype("Int64")
    block = pd.MultiIndex.from_frame(rows[SOURCE].assign(step=steps.fillna(-1))).to_flat_index()
    starts = [i for i in range(len(block)) if i == 0 or block[i] != block[i - 1]]
    if len({block[i] for i in starts}) < len(starts) or rows.duplicated(KEYS).any():
        raise UserError("two traces tables hold responses of the same model, run, stage, setting and step")
    sources = list(dict.fromkeys(block[i][:4] for i in starts))
    place = {source: i for i, source in enumerate(sources)}
    return {
        "responses": len(rows),
        "problems": problems.reset_index().to_numpy().tolist(),
        "sources": [{"id": "/".join(source), "label": _label(source)} for source in sources],
        # first response, source, step (null outside of training runs)
        "blocks": [[i, place[block[i][:4]], None if block[i][4] < 0 else int(block[i][4])] for i in starts],
        "problem": [number[p] for p in rows["problem_id"]],
        **{name: rows[name].astype(int).tolist() for name in ("sample", "tokens", *tables.COUNT_MODES)},
        "flags": sum(2**bit * rows[name].astype(int) for bit, name in enumerate(FLAGS)).tolist(),
        "views": list(_views(sources, runs, sft_runs)),
    }


def _label(source: tuple[str, ...]) -> str:
    model, run, stage, setting = source
    return f"{model}: {LABELS[stage](run, setting)}"


def _views(sources: list[tuple[str, ...]], runs: pd.DataFrame, sft_runs: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """The comparisons of the paper: which sources stand side by side at first."""
    place = {source: i for i, source in enumerate(sources)}

    def view(name: str, title: str, wanted: Iterable[tuple[str, ...]]) -> Iterator[dict[str, Any]]:
        columns = [place[source] for source in wanted if source in place][:MOST_COLUMNS]
        if len(columns) > 1:
            yield {"id": name, "title": title, "columns": columns}

    models = list(dict.fromkeys(source[0] for source in sources))
    for model in models:
        settings = [(model, "base", "section3", setting) for setting in GUIDANCE]
        yield from view(f"guidance/{model}", f"Section 3: four settings of guidance, {model}", settings)
    for model, setting in dict.fromkeys((s[0], s[3]) for s in sources if s[2] == "evaluation"):
        trained = [(model, run, "evaluation", setting) for run in ["base", *_strongest_sft(sources, model, sft_runs)]]
        yield from view(f"sft/{setting}/{model}", f"Section 4: before and after SFT, {model} on {setting}", trained)
    by = ["model", "family", "thinking", "problem_set"]
    groups = sorted(runs.groupby(by, sort=False), key=lambda group: -len(group[1]))  # what most runs are about first
    for (model, family, thinking, problem_set), rows in groups:
        arms, name = _arms(rows), f"{family}-{thinking}/{model}"
        title = f"Section 5: rollouts of GRPO and SDPO, {model} on {problem_set}"
        yield from view(f"training/{problem_set}/{name}", title, [(model, run, "training", run) for run in arms])
        for setting in dict.fromkeys(s[3] for s in sources if s[:3] in {(model, run, "evaluation") for run in arms}):
            trained = [(model, run, "evaluation", setting) for run in ["base", *arms]]
            title = f"Section 5: before and after training, {model} on {setting}"
            yield from view(f"evaluation/{setting}/{name}", title, trained)


def _strongest_sft(sources: list[tuple[str, ...]], model: str, sft_runs: pd.DataFrame) -> list[str]:
    """The runs of fine-tuning at the largest rate, unguided and guided."""
    own = sft_runs[(sft_runs["model"] == model) & sft_runs["run"].isin({source[1] for source in sources})]
    of_set = [own[own["data"] == name] for name in ("unguided", "guided")]
    return [same.loc[same["learning_rate"].idxmax(), "run"] for same in of_set if len(same)]


def _arms(runs: pd.DataFrame) -> list[str]:
    """GRPO, and SDPO with either context and with a moving teacher, on a whole problem set, each at its lowest rate."""
    whole = runs[runs["whole_set"]].sort_values(["learning_rate", "top_k", "seed"], ascending=[True, False, True])
    rate = whole["teacher_update_rate"].fillna(0)
    fixed = whole[(whole["method"] == "sdpo") & (rate == 0)]
    arms = [
        whole[whole["method"] == "grpo"],
        fixed[fixed["context"] == "solution"],
        fixed[fixed["context"] == "solution_without_thinking"],
        whole[(whole["method"] == "sdpo") & (rate > 0)],
    ]
    return [arm["run"].iloc[0] for arm in arms if len(arm)]


def _write_script(folder: Path, content: Any) -> str:
    """Write ``content`` as a script that hands it to the page; returns the file's name, which is its digest."""
    packed = gzip.compress(json.dumps(content, separators=(",", ":")).encode("ascii"), compresslevel=6, mtime=0)
    text = f'take("{base64.b64encode(packed).decode("ascii")}");\n'
    name = hashlib.sha256(text.encode("ascii")).hexdigest()[:DIGEST]
    with atomic_path(folder / f"{name}.js") as temporary:
        temporary.write_text(text, encoding="ascii")
    return name


def _read_script(path: Path) -> Any:
    """What `_write_script` wrote."""
    packed = path.read_text(encoding="ascii").partition('"')[2].partition('"')[0]
    return json.loads(gzip.decompress(base64.b64decode(packed)))
