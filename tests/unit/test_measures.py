"""What a study is shipped with in place of its responses: small, and all that its tables are made of."""

import contextlib
import json
import shutil
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from selfdistill import tables
from selfdistill.errors import UserError
from selfdistill.records import bundle, measures, provenance, verification

ROOT = Path("results/small")
RESPONSES = ["traces/m/unguided.parquet", "traces/m/rollouts/grpo.parquet", "evaluations/m/base/hard.parquet"]
OTHERS = {
    "problems/hard.parquet": "problems",
    "datasets/m/guided.parquet": "sft_examples",
    "information/m/solution.parquet": "information",
    "training/m/base.parquet": "training_steps",
}
# Only TensorBoard shows them, or they are made from the configuration.
ELSEWHERE = {
    "training/m/grpo.parquet": "training_steps",
    "training/m/base.seconds.parquet": "training_steps",
    "training/runs.parquet": "runs",
}


def rows(schema: str, number: int = 6, **own: object) -> pd.DataFrame:
    values = {
        "string": [f"row {i}" for i in range(number)],
        "bool": [i % 2 == 0 for i in range(number)],
        "double": [i / 7 for i in range(number)],
        "list": [[{"role": "user", "content": f"said {i}"}] for i in range(number)],
    }
    kinds = {field.name: str(field.type).partition("<")[0] for field in tables.KINDS[schema].schema}
    return pd.DataFrame({name: values.get(kind, range(number)) for name, kind in kinds.items()}).assign(**own)


def write(root: Path, place: str, schema: str, **own: object) -> None:
    tables.write(rows(schema, **own), root / place, tables.KINDS[schema])
    provenance.write_sidecar(
        root / place, command=["selfdistill", "made"], inputs={}, parameters={"seed": 0}, seconds=1
    )


@pytest.fixture
def shipped(tmp_path: Path) -> Path:
    """A tree as it is shipped: measures and records, no responses."""
    with contextlib.chdir(tmp_path):
        for place in RESPONSES:
            write(ROOT, place, "traces", word_wait=7)
        write(ROOT, "traces/m/selection.parquet", "traces")
        for place, schema in OTHERS.items():
            write(ROOT, place, schema)
        for place, schema in ELSEWHERE.items():
            write(ROOT, place, schema)
        tables.write(rows("summary"), ROOT / "tables/table_1.parquet", tables.SUMMARY)
        provenance.write_sidecar(
            ROOT / "tables/table_1.parquet",
            command=["selfdistill", "made"],
            inputs={"traces": ROOT / RESPONSES[0]},
            parameters={},
            seconds=1,
        )
        measures.pack(ROOT, ROOT)
        shutil.copytree(ROOT, "whole")
        for folder in measures.FOLDERS:
            for path in (ROOT / folder).rglob("*.parquet"):
                path.unlink(missing_ok=True)
        bundle.bundle(ROOT)
    return tmp_path / ROOT


def test_what_tables_read_comes_back_as_it_was_and_text_does_not(shipped: Path, tmp_path: Path):
    out = tmp_path / "results/again"
    assert measures.unpack(shipped, out) == len(RESPONSES) + 1 + len(OTHERS)
    for place in RESPONSES:
        whole = tables.whole(tmp_path / "whole" / place)
        assert tables.whole(out / place).equals(whole.select(tables.TRACES.reduced().names))
    for place, schema in OTHERS.items():
        kept = tables.whole(tmp_path / "whole" / place).select(tables.KINDS[schema].reduced().names)
        assert tables.whole(out / place).equals(kept)
    assert not any((out / place).exists() for place in ELSEWHERE)
    packed = b"".join(path.read_bytes() for path in (shipped / "measures" / "responses").iterdir())
    assert b"prompt_sha256" not in packed
    assert b"response\x00" not in packed


def test_solutions_keep_their_text(shipped: Path, tmp_path: Path):
    measures.unpack(shipped, tmp_path / "again")
    place = "traces/m/selection.parquet"
    assert tables.whole(tmp_path / "again" / place).equals(tables.whole(tmp_path / "whole" / place))


def test_counts_by_word_are_kept_where_they_differ(shipped: Path):
    packed = tables.whole(shipped / "measures/responses/m.parquet")
    assert set(packed["word_wait"].to_pylist()) == {7}
    assert "word_wait" not in tables.whole(shipped / "measures/traces.parquet").column_names


def test_both_trees_are_as_recorded(shipped: Path, tmp_path: Path):
    assert verification.verify(shipped) == []
    measures.unpack(shipped, tmp_path / "results/again")
    assert verification.verify(tmp_path / "results/again") == []


def test_a_table_made_of_the_whole_file_is_no_table_of_another_version(shipped: Path, tmp_path: Path):
    out = tmp_path / "results/again"
    measures.unpack(shipped, out)
    (out / "tables").mkdir()
    shutil.copy(shipped / "tables/table_1.parquet", out / "tables")
    assert verification.verify(out) == []
    content = json.loads(provenance.sidecar_path(out / RESPONSES[0]).read_text())
    whole = json.loads(provenance.sidecar_path(tmp_path / "whole" / RESPONSES[0]).read_text())
    assert content["whole"] == whole["sha256"] != content["sha256"]
    provenance.sidecar_path(out / RESPONSES[0]).unlink()
    write(out, RESPONSES[0], "traces", response_tokens=3)
    assert any("made from another version" in sentence for sentence in verification.verify(out))


def test_what_was_unpacked_is_packed_to_the_same_bytes(shipped: Path, tmp_path: Path):
    measures.unpack(shipped, tmp_path / "again")
    measures.pack(tmp_path / "again", tmp_path / "packed")
    first = {path.relative_to(shipped): path for path in (shipped / "measures").rglob("*.parquet")}
    assert len(first) == 6
    for place, path in first.items():
        assert (tmp_path / "packed" / place).read_bytes() == path.read_bytes()


def test_nothing_that_is_there_is_written_over(shipped: Path, tmp_path: Path):
    there = tmp_path / "again" / RESPONSES[-1]
    there.parent.mkdir(parents=True)
    there.write_text("mine")
    with pytest.raises(UserError, match=r"hard\.parquet: another table is there already"):
        measures.unpack(shipped, tmp_path / "again")
    assert [path.read_text() for path in (tmp_path / "again").rglob("*.parquet")] == ["mine"]


def test_a_folder_without_measures_or_responses_is_said_to_be_one(shipped: Path, tmp_path: Path):
    with pytest.raises(UserError, match="no measures"):
        measures.unpack(shipped / "tables", tmp_path / "again")
    with pytest.raises(UserError, match="no responses"):
        measures.pack(shipped / "tables", tmp_path / "packed")


def test_measures_without_a_record_are_refused(shipped: Path, tmp_path: Path):
    (shipped / bundle.BUNDLE).unlink()
    with pytest.raises(UserError, match="holds no record of"):
        measures.unpack(shipped, tmp_path / "again")


def test_a_place_outside_of_the_tree_is_refused(shipped: Path, tmp_path: Path):
    path = shipped / "measures/problems.parquet"
    table = tables.whole(path)
    pq.write_table(table.set_column(0, "file", pa.array(["../hard.parquet"] * len(table))), path)
    with pytest.raises(UserError, match="outside of the tree"):
        measures.unpack(shipped, tmp_path / "again")
    assert not (tmp_path / "hard.parquet").exists()


def test_base_models_of_several_machines_are_put_together(shipped: Path, tmp_path: Path):
    other = tmp_path / "elsewhere/results/small"
    other.mkdir(parents=True)
    with contextlib.chdir(tmp_path / "elsewhere"):
        write(ROOT, "evaluations/n/base/hard.parquet", "traces", model="n")
        write(ROOT, "problems/hard.parquet", "problems")
        measures.pack(ROOT, ROOT)
    out = tmp_path / "results/again"
    measures.unpack(shipped, out)
    assert measures.unpack(other, out) == 2
    assert {path.parent.parent.name for path in out.glob("evaluations/*/*/*.parquet")} == {"m", "n"}
    assert verification.verify(out) == []
    write(other, "problems/hard.parquet", "problems", answer="8")
    measures.pack(other, other)
    with pytest.raises(UserError, match=r"problems/hard\.parquet: another table is there already"):
        measures.unpack(other, out)
