"""Files appear whole or not at all, and say where they come from."""

import hashlib
import json
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest
from selfdistill import files
from selfdistill.records import provenance


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
    settings = {"temperature": 0.6, "manifest": "m.json"}
    assert record["parameters"] == {"rollouts": 8, "settings": settings, "size": None}
    assert record["seconds"] == 1.235 and record["finished"].endswith("Z")
    assert set(record["packages"]) == set(provenance.RECORDED_PACKAGES)


def test_a_package_that_is_not_there_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "RECORDED_PACKAGES", ("pyarrow", "no-such-package"))
    (tmp_path / "out").touch()
    provenance.write_sidecar(tmp_path / "out", command=[], inputs={}, parameters={}, seconds=0)
    record = json.loads(provenance.sidecar_path(tmp_path / "out").read_text())
    assert record["packages"]["no-such-package"] == "not installed"
    assert record["packages"]["pyarrow"][0].isdigit()
