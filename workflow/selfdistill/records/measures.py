"""What a study's tables and ledger are made of, without what models wrote: a tenth of it, small enough to be shipped.

`pack` gathers the tables that rules of analysis read: responses as their lengths, marks and marker counts, one file
for each model; problems, data sets, losses and runs, one file for each kind. Problems' solutions keep their text, since
the ledger reads it (setting "selection"). `unpack` puts them back in their places, each with the record of the table it
was: then tables, figures and the ledger can be made again where nothing was ever sampled. Base models that were trained
on several machines are put together so: each machine packs its own, and one unpacks them all.
"""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from selfdistill import tables
from selfdistill.errors import UserError
from selfdistill.files import all_below, sha256_file, write_text
from selfdistill.records.bundle import BUNDLE, Record, Records, lines
from selfdistill.records.provenance import sealed, sidecar_path, write_sidecar
from selfdistill.tables import MARKER_COLUMNS

MEASURES = "measures"
LISTS = ("runs", "sft_runs")  # kinds of tables that hold nothing but the configuration's rows, and are made from it
FOLDERS = ("problems", "traces", "information", "alignment", "datasets", "training", "evaluations")
SMALLEST = 19  # of zstd's levels, at a usual memory
RESPONSES, FILE = "responses", "file"
WORDS = dict(zip(MARKER_COLUMNS["word"], MARKER_COLUMNS["substring"], strict=True))


def pack(results: Path, out: Path) -> int:
    """Gather the tables of the study in ``results`` in the tree ``out``, with their records; returns how many they are.

    `UserError` where there is no response, or a table without a record.
    """
    records = Records(results).all()
    gathered: dict[str, dict[str, pa.Table]] = {}
    for path in _tables(results):
        place = path.relative_to(results)
        kind, table = _reduced(path)
        if kind.name in LISTS:
            continue
        if str(place) not in records:
            raise UserError(f"{path}: no record of where it comes from")
        target = f"{RESPONSES}/{place.parts[1]}" if table.schema == tables.TRACES.reduced() else kind.name
        gathered.setdefault(target, {})[str(place)] = table
    if not any(target.startswith(RESPONSES) for target in gathered):
        raise UserError(f"{results}: no responses to take measures of")
    for target, parts in gathered.items():
        path = out / MEASURES / f"{target}.parquet"
        tables.store(_joined(parts), path, level=SMALLEST)
        command = ["selfdistill", "pack-measures", str(results), "--out", str(out)]
        write_sidecar(path, command=command, inputs={}, parameters={"results": str(results)}, seconds=0)
    known = records | Records(out).all()  # of what they were made from, too
    write_text(out / BUNDLE, lines(known, absent=[place for place in known if not (out / place).is_file()]))
    return sum(map(len, gathered.values()))


def unpack(tree: Path, out: Path) -> int:
    """Put the tables that were packed in the tree ``tree`` into the results folder ``out``; returns how many.

    The tree's records go with them, so that a number leads down to seeds as before. `UserError` where another table is
    there, where ``tree`` holds no measures, or one has no record in it; then nothing is written.
    """
    packed = sorted(all_below(tree / MEASURES, ".parquet"))
    if not packed:
        raise UserError(f"{tree}: no measures (expected a folder that `selfdistill pack-measures` wrote)")
    records, there = Records(tree).all(), Records(out).all()
    places = {place: path for path in packed for place in _places(path)}
    for place, path in places.items():
        if place not in records:
            raise UserError(f"{tree}: holds no record of {place}, whose measures are in {path}")
        if (out / place).exists() and (place not in there or _held(there[place]) != _held(records[place])):
            raise UserError(f"{out / place}: another table is there already")
    for path in packed:
        for place, table in _parts(path, [place for place, holder in places.items() if holder == path]):
            if (out / place).exists():
                continue
            tables.store(table, out / place)
            write_text(sidecar_path(out / place), _record(records[place].content, out / place))
    known = records | there
    write_text(out / BUNDLE, lines(known, absent=known))
    return len(places)


def _held(record: Record) -> str | None:
    """The SHA-256 of a table as it was made, with its text."""
    return record.whole or record.sha256


def is_packed(columns: pa.Schema) -> bool:
    """Whether a file with these columns is one that `pack` writes."""
    if columns.names[:1] != [FILE]:
        return False
    own = pa.schema([field for field in columns if field.name != FILE])
    wordless = [_wordless(kind) for kind in (tables.TRACES.schema, tables.TRACES.reduced())]
    return own in wordless or tables.kind_of(own) is not None


def _wordless(columns: pa.Schema) -> pa.Schema:
    return pa.schema([field for field in columns if field.name not in WORDS])


def _tables(results: Path) -> Iterator[Path]:
    """The tables that analysis reads, but those of problems' training that only TensorBoard shows."""
    trained = {path.relative_to(results / "traces") for path in results.glob("traces/*/rollouts/*.parquet")}
    shown_elsewhere = {Path(path.parts[0]) / path.name for path in trained}
    for folder in FOLDERS:
        for path in sorted(all_below(results / folder, ".parquet")):
            place = path.relative_to(results / folder)
            if folder != "training" or (place not in shown_elsewhere and not path.stem.endswith(".seconds")):
                yield path


def _reduced(path: Path) -> tuple[tables.Kind, pa.Table]:
    """A table without its text, and its kind."""
    table = tables.whole(path)
    kind = tables.kind_of(table.schema)
    if kind is None:
        raise UserError(f"{path}: its columns are those of no known table")
    if kind == tables.TRACES and path.stem == "selection":
        return kind, table
    return kind, table.select(kind.reduced().names)


def _joined(parts: dict[str, pa.Table]) -> pa.Table:
    """Tables of one kind below one another, each row with its file; the counts by word only where they differ."""
    named = [
        part.add_column(0, FILE, pa.array([place] * len(part), pa.string()).dictionary_encode())
        for place, part in parts.items()
    ]
    table = pa.concat_tables(named).unify_dictionaries()
    table = table.set_column(0, FILE, table.column(FILE).cast(pa.string()))
    if all(word in table.column_names and table[word].equals(table[other]) for word, other in WORDS.items()):
        return table.drop_columns(list(WORDS))
    return table


def _places(path: Path) -> list[str]:
    """The files whose measures are in ``path``, by their places."""
    table = tables.whole(path)
    if not is_packed(table.schema):
        raise UserError(f"{path}: not a file of measures")
    places = pc.unique(table[FILE]).to_pylist()
    for place in places:
        if Path(place).is_absolute() or ".." in Path(place).parts:
            raise UserError(f"{path}: the path '{place}' lies outside of the tree")
    return places


def _parts(path: Path, places: list[str]) -> Iterator[tuple[str, pa.Table]]:
    """What `_joined` joined: the tables of ``places``."""
    table = tables.whole(path)
    for word, other in WORDS.items():
        if other in table.column_names and word not in table.column_names:
            table = table.append_column(tables.TRACES.schema.field(word), table[other])
    for place in places:
        yield place, table.filter(pc.equal(table[FILE], place)).drop_columns([FILE]).combine_chunks()


def _record(content: dict, path: Path) -> str:
    """The record of a table whose text is gone, sealed: what the whole one held stays in it."""
    whole = content.get("whole", content["sha256"])
    return sealed(content | {"sha256": sha256_file(path), "bytes": path.stat().st_size, "whole": whole})
