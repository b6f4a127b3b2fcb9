"""Files appear whole or not at all, and say where they come from, each beside itself or all in one file."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest
from project import ROOT
from selfdistill import cli, files
from selfdistill.errors import UserError
from selfdistill.records import bundle, measures, provenance


def test_atomic_path_leaves_nothing_behind_on_an_error(tmp_path):
    target = tmp_path / "file"
    target.write_text("old")
    with pytest.raises(RuntimeError), files.atomic_path(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_two_writers_of_one_file_use_different_temporary_names(tmp_path):
    with files.atomic_path(tmp_path / "f") as first, files.atomic_path(tmp_path / "f") as second:
        assert first != second
        first.write_text("1")
        second.write_text("2")
    assert (tmp_path / "f").read_text() == "1"


def test_an_interrupt_leaves_nothing_behind_either(tmp_path):
    with pytest.raises(KeyboardInterrupt), files.atomic_path(tmp_path / "file") as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


def test_folders_are_made_and_a_reader_never_sees_half_a_file(tmp_path):
    target = tmp_path / "a" / "b"
    texts = {letter * 200_000 for letter in "xyz"}
    seen, stop = set(), threading.Event()

    def watch():
        while not stop.is_set():
            if target.exists():
                seen.add(target.read_text())

    watcher = threading.Thread(target=watch)
    watcher.start()
    for text in [*texts] * 5:
        files.write_text(target, text)
    stop.set()
    watcher.join()
    assert seen <= texts
    assert list(target.parent.iterdir()) == [target]


def test_digests_are_those_of_hashlib(tmp_path):
    (tmp_path / "f").write_bytes("wäit".encode())
    wanted = hashlib.sha256("wäit".encode()).hexdigest()
    assert files.sha256_file(tmp_path / "f") == files.sha256_text("wäit") == wanted
    assert files.sha256_text("\ud800") != files.sha256_text("\ud801")  # lone surrogates of bad samples


@dataclass(frozen=True)
class Settings:
    temperature: float
    manifest: Path


def test_a_sidecar_says_what_made_the_file(tmp_path):
    out, source = tmp_path / "out.md", tmp_path / "in.md"
    out.write_text("out")
    source.write_text("in")
    provenance.write_sidecar(
        out,
        command=["selfdistill", "stage"],
        inputs={"source": source},
        parameters={"rollouts": 8, "settings": Settings(0.6, Path("m.json")), "size": None},
        seconds=1.23456,
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.md", "out.md", "out.md.provenance.json"]
    record = json.loads(provenance.sidecar_path(out).read_text())
    assert record["file"] == "out.md" and record["sha256"] == files.sha256_text("out")
    assert record["inputs"] == {"source": {"path": str(source), "sha256": files.sha256_text("in")}}
    settings = {"settings.temperature": 0.6, "settings.manifest": "m.json"}
    assert record["parameters"] == {"rollouts": 8, **settings, "size": None}
    assert record["seconds"] == 1.235 and record["finished"].endswith("Z")
    assert set(record["packages"]) == set(provenance.RECORDED_PACKAGES)


def test_a_package_that_is_not_there_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "RECORDED_PACKAGES", ("pyarrow", "no-such-package"))
    (tmp_path / "out").touch()
    provenance.write_sidecar(tmp_path / "out", command=[], inputs={}, parameters={}, seconds=0)
    record = json.loads(provenance.sidecar_path(tmp_path / "out").read_text())
    assert record["packages"]["no-such-package"] == "not installed"
    assert record["packages"]["pyarrow"][0].isdigit()


def write(path: Path, text: str, **parameters: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    source = {"source": path}
    provenance.write_sidecar(path, command=["selfdistill", "x"], inputs=source, parameters=parameters, seconds=1)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Files whose order in the tree is not that of their writing, one with a record of much that is unusual."""
    root = tmp_path / "study"
    for place in ("tables/b.md", "tables/a.md", "a-b/c.md", "a/c.md", "top.md"):
        write(root / place, place)
    write(root / "models/m/ß.json", "ß", words='a "quoted" line\n\u2028 wäit \ud800', numbers=[0.1, 1e-300, None, True])
    return root


def sidecars_of(root: Path) -> dict[str, dict]:
    """Place of each recorded file, and its sidecar's content, read without the code under test."""
    found = sorted(root.rglob("*.provenance.json"))
    return {str(p.relative_to(root)).removesuffix(".provenance.json"): json.loads(p.read_text()) for p in found}


def contents(root: Path) -> dict[str, dict]:
    return {place: record.content for place, record in bundle.Records(root).all().items()}


def test_a_bundle_holds_every_record_whole_and_in_the_order_of_places(tree: Path, capsys: pytest.CaptureFixture[str]):
    before, data = sidecars_of(tree), {p: p.read_bytes() for p in tree.rglob("*") if p.suffix == ".md"}
    assert contents(tree) == before and len(before) == 6
    assert cli.main(["bundle-provenance", str(tree)]) == 0
    assert f"{tree}/provenance.jsonl: 6 records" in capsys.readouterr().out
    assert sidecars_of(tree) == {} and contents(tree) == before
    lines = [json.loads(line) for line in (tree / "provenance.jsonl").read_text().splitlines()]
    assert [line["path"] for line in lines] == sorted(before)
    assert all({"path": line["path"], "left_out": False, **before[line["path"]]} == line for line in lines)
    assert all(path.read_bytes() == kept for path, kept in data.items())


def test_a_sidecar_that_a_later_job_wrote_wins_and_is_bundled_too(tree: Path):
    bundle.bundle(tree)
    first = (tree / "provenance.jsonl").read_bytes()
    assert bundle.bundle(tree) == 6 and (tree / "provenance.jsonl").read_bytes() == first
    write(tree / "a/c.md", "changed")
    write(tree / "z.md", "new")
    for _ in range(2):
        records = bundle.Records(tree)
        assert records.of(tree / "a/c.md").sha256 == files.sha256_text("changed")
        assert records.of(tree / "tables/a.md").sha256 == files.sha256_text("tables/a.md")
        assert records.of(tree / "tables/none.md") is None and records.of(tree.parent / "top.md") is None
        assert len(records.all()) == len(records.places()) == 7
        bundle.bundle(tree)
    assert sidecars_of(tree) == {}


def test_links_to_folders_are_followed_and_those_that_lead_back_are_not(tree: Path, tmp_path: Path):
    before = contents(tree)
    for folder in ("models", "a"):
        (tree / folder).rename(tmp_path / folder)
        (tree / folder).symlink_to(tmp_path / folder)
    (tmp_path / "models" / "back").symlink_to(tree)
    (tree / "gone").symlink_to(tmp_path / "nowhere")
    found = sorted(str(path.relative_to(tree)) for path in files.all_below(tree, ".md"))
    assert found == ["a-b/c.md", "a/c.md", "tables/a.md", "tables/b.md", "top.md"]
    assert contents(tree) == before
    assert bundle.bundle(tree) == len(before) and contents(tree) == before
    assert not list(files.all_below(tree, provenance.SIDECAR))


def test_nothing_is_bundled_where_a_record_is_damaged_or_none_is(tree: Path, tmp_path: Path):
    damaged = tree / "a/c.md.provenance.json"
    damaged.write_text("{}")
    with pytest.raises(UserError, match=r"a/c\.md\.provenance\.json: not a provenance record"):
        bundle.bundle(tree)
    assert damaged.exists() and len(sidecars_of(tree)) == 6 and not (tree / "provenance.jsonl").exists()
    (tmp_path / "empty").mkdir()
    for place in ("empty", "nowhere"):
        with pytest.raises(UserError, match=f"{place}: no records"):
            bundle.bundle(tmp_path / place)
    assert not (tmp_path / "empty/provenance.jsonl").exists()


@pytest.mark.parametrize("form", ["as jobs leave it", "as it is shipped"])
@pytest.mark.parametrize("command", ["bundle-provenance", "verify", "diff"])
def test_a_folder_of_studies_and_a_part_of_one_are_told_from_a_study(command, form, tree: Path, tmp_path, capsys):
    """The records of each stay where they are."""
    shutil.copytree(tree, tree.parent / "more" / "other")
    if form == "as it is shipped":
        bundle.bundle(tree)
    (tmp_path / "config.yaml").write_text("study: microcosm")  # as in a checkout
    (tmp_path / "models").mkdir()
    before = files_of(tmp_path)
    two = f"not a study, but a folder with some in it: {tmp_path}/more/other, {tree}\n"
    for folder, told in ((tmp_path, two), (tree / "tables", f"not a study, but a part of one: {tree}\n")):
        assert cli.main([command, str(folder), *([str(tree)] if command == "diff" else [])]) == 2
        assert capsys.readouterr().err == f"selfdistill: {folder}: {told}"
    assert files_of(tmp_path) == before


def test_make_reference_gives_the_shipped_form_byte_for_byte(tmp_path: Path):
    shipped, study = ROOT / "results/reference/microcosm", tmp_path / "results/microcosm"
    shutil.copytree(shipped, study, ignore=shutil.ignore_patterns("measures", "provenance.jsonl"))
    measures.unpack(shipped, study)  # responses, as far as the shipped form holds them
    (study / "provenance.jsonl").write_bytes((shipped / "provenance.jsonl").read_bytes())
    for line in (study / "provenance.jsonl").read_text().splitlines():  # as jobs leave them
        content = json.loads(line)
        sidecar = provenance.sidecar_path(study / content.pop("path"))
        content.pop("left_out")
        sidecar.parent.mkdir(parents=True, exist_ok=True)
        sidecar.write_text(json.dumps(content, indent=2))
    (study / "provenance.jsonl").unlink()
    write(study / "reading_room/index.html", "")
    (study / "models/microcosm/base/model.safetensors").write_bytes(b"not shipped")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    subprocess.run(
        ["make", "-f", ROOT / "Makefile", "--assume-old", "env", "reference"],
        cwd=tmp_path,
        env=os.environ | {"PATH": path, "PYTHONPATH": str(ROOT / "workflow")},
        check=True,
    )
    made = tmp_path / "results/reference/microcosm"
    assert made_of_results(files_of(made)) == made_of_results(files_of(shipped))
    assert all(any(folder.iterdir()) for folder in made.rglob("*") if folder.is_dir())


def made_of_results(files: dict[str, bytes]) -> dict[str, bytes]:
    """Without the reading room, which is made from texts that are not here, and records of what was made just now."""
    kept = {name: held for name, held in files.items() if not name.startswith("reading_room/")}
    lines = kept["provenance.jsonl"].splitlines(keepends=True)
    new = (b'{"path": "reading_room/', b'{"path": "measures/')
    return kept | {"provenance.jsonl": b"".join(line for line in lines if not line.startswith(new))}


def files_of(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_every_record_names_the_machine_and_what_it_computed_with(tmp_path):
    """In a process that has numpy and torch, as training has."""
    code = (
        "import numpy, torch; from pathlib import Path; from selfdistill.records import provenance; "
        f"path = Path({str(tmp_path / 'f')!r}); path.write_text('x'); "
        "provenance.write_sidecar(path, command=['selfdistill', 's'], inputs={}, parameters={}, seconds=1)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    machine = json.loads(provenance.sidecar_path(tmp_path / "f").read_text())["machine"]
    assert machine["processor"] and isinstance(machine["instruction_sets"], str)
    assert {"torch", "numpy"} <= machine["in_use"].keys()
    assert machine["in_use"].keys() & {"MKL", "OpenBLAS"}  # a BLAS, by the name of its code for this processor
    assert "thread" in machine["in_use"]["torch"]
