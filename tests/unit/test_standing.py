"""What a start of the workflow finds edited, cut or gone since it was recorded."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from damages import cut, flip
from selfdistill import files, models
from selfdistill.pages import reading_room
from selfdistill.records import bundle, provenance, standing

MODEL, PAGE = "models/m/base/manifest.json", standing.ROOM


def record(path: Path, models: dict[str, Path] | None = None) -> None:
    provenance.write_sidecar(path, command=["selfdistill", "x"], inputs={}, parameters={}, seconds=1, along=models)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A table, a model and a page with data, each with its record."""
    root = tmp_path / "study"
    files.write_text(root / "tables/a.md", "a table")
    for name in ("model.safetensors", "tokenizer.json"):
        files.write_text((root / MODEL).with_name(name), "0" * 1000)
    models.save_manifest((root / MODEL).parent)
    data = root / "reading_room/data"
    data.mkdir(parents=True)
    shard = reading_room._write_script(data, [["a response", None, None]])
    index = reading_room._write_script(data, {"shards": [(shard, 0)]})
    files.write_text(root / PAGE, f'<script src="data/{index}.js"></script>')
    for place in ("tables/a.md", MODEL, PAGE):
        record(root / place)
    return root


def places(root: Path) -> list[str]:
    return [str(path.relative_to(root)) for path in standing.changed_since_recorded(root)]


@pytest.mark.parametrize("damage", [flip, cut, Path.unlink])
def test_every_change_is_told_by_the_recorded_file(tree: Path, damage: Callable[[Path], None]):
    assert places(tree) == []
    data = sorted((tree / "reading_room/data").iterdir())
    by_file = {tree / "tables/a.md": "tables/a.md", tree / MODEL: MODEL, tree / PAGE: PAGE}
    by_file |= {(tree / MODEL).with_name("model.safetensors"): MODEL, **dict.fromkeys(data, PAGE)}
    assert len(data) == 2
    for path, told in by_file.items():
        kept = path.read_bytes()
        damage(path)
        assert places(tree) == [told], path
        path.write_bytes(kept)
    assert places(tree) == []


def test_models_of_a_training_run_may_be_gone_but_be_no_others(tree: Path):
    run = tree / "models/m/grpo"
    manifests = {}
    for step in (1, 2):
        folder = run / f"step-{step}"
        files.write_text(folder / "model.safetensors", str(step) * 1000)
        models.save_manifest(folder)
        manifests[folder.name] = folder / "manifest.json"
    record(tree / "tables/a.md", models=manifests)
    assert places(tree) == []
    flip(run / "step-1/model.safetensors")
    assert places(tree) == ["models/m/grpo"]
    flip(run / "step-1/model.safetensors")
    (run / "step-1").rename(run / "aside")
    assert places(tree) == []
    (run / "step-2").rename(run / "step-1")
    assert places(tree) == ["models/m/grpo"]
    shutil.rmtree(run)
    assert places(tree) == []


def test_a_large_file_is_read_only_when_it_is_newer_than_its_record(tree: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(files, "ALWAYS_READ", 999)
    weights = (tree / MODEL).with_name("model.safetensors")
    flip(weights)
    assert places(tree) == []
    os.utime(weights, (0, 2**33))
    assert places(tree) == [MODEL]


def test_records_that_cannot_be_read_or_that_stand_in_a_bundle_say_nothing(tree: Path):
    cut(provenance.sidecar_path(tree / "tables/a.md"))
    cut(tree / "tables/a.md")
    assert places(tree) == []
    record(tree / "tables/a.md")
    bundle.bundle(tree)
    (tree / "tables/a.md").unlink()
    assert places(tree) == []


def test_a_record_of_an_earlier_version_is_compared_by_the_digest(tree: Path):
    """Without a size and without a digest of itself."""
    sidecar = provenance.sidecar_path(tree / "tables/a.md")
    content = json.loads(sidecar.read_text())
    sidecar.write_text(json.dumps({k: v for k, v in content.items() if k not in ("bytes", provenance.SEAL)}))
    assert places(tree) == []
    flip(tree / "tables/a.md")
    assert places(tree) == ["tables/a.md"]


def test_a_users_own_model_in_the_place_of_another_is_told_though_it_is_older(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "ALWAYS_READ", 999)
    root, own = tmp_path / "study", tmp_path / "own"
    weights, manifest = own / "model.safetensors", root / MODEL
    files.write_text(weights, "0" * 1000)
    files.write_text(own / "tokenizer.json", "{}")
    models.save_folder_manifest(manifest, own)
    record(manifest)
    assert places(root) == []
    kept, when = weights.read_text(), weights.stat().st_mtime_ns
    weights.write_text("1" * 1000)  # a checkpoint of the same shape
    os.utime(weights, (0, 0))
    assert places(root) == [MODEL]
    weights.write_text(kept)
    assert places(root) == []  # what was registered, at whatever time
    os.utime(weights, ns=(when, when))
    monkeypatch.setattr(files, "sha256_file", lambda path: {}[path])
    monkeypatch.setattr(standing, "is_as_recorded", only(weights, standing.is_as_recorded))
    assert places(root) == []  # and not read where its time is the recorded one
    weights.unlink()
    assert places(root) == []  # which the stage that reads it tells


def only(path: Path, check: Callable[..., bool]) -> Callable[..., bool]:
    """Of this file alone; all others are as they were."""
    return lambda other, *expected: check(other, *expected) if other == path else True


def test_what_lies_behind_a_link_to_a_folder_is_told(tree: Path, tmp_path: Path):
    for folder in ("models", "tables"):
        (tree / folder).rename(tmp_path / folder)
        (tree / folder).symlink_to(tmp_path / folder)
    (tmp_path / "models" / "back").symlink_to(tree)
    assert places(tree) == []
    for path, told in (((tree / MODEL).with_name("model.safetensors"), MODEL), (tree / "tables/a.md", "tables/a.md")):
        kept = path.read_bytes()
        flip(path)
        assert places(tree) == [told]
        path.write_bytes(kept)
