"""`verify` finds every damage to every kind of file of a results tree, by the file's name."""

import contextlib
import json
import random
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from damages import RESULTS, Damage, cut, damages, flip, undone
from selfdistill import files, models, tables
from selfdistill.claims.ledger import judged
from selfdistill.figures import plotting
from selfdistill.pages import reading_room
from selfdistill.records import bundle, provenance, verification
from selfdistill.records.provenance import SIDECAR
from tiny import save_tiny_model

TABLES = {
    "problems/train.parquet": "problems",
    "problems/m/borderline.parquet": "problems",
    "traces/m/unguided.parquet": "traces",
    "traces/m/rollouts/grpo.parquet": "traces",
    "datasets/m/guided.parquet": "sft_examples",
    "training/m/base.parquet": "training_steps",
    "training/m/grpo.seconds.parquet": "training_steps",
    "training/runs.parquet": "runs",
    "evaluations/m/base/train.parquet": "traces",
    "evaluations/m/grpo/along_training.parquet": "traces",
    "curves.parquet": "curves",
    "claims/effects.parquet": "effects",
    "tables/table_1.parquet": "summary",
}
TEXTS = [
    "datasets/m/README.md", "tables/table_1.md", "tables/table_1.csv", "tables/table_1.tex", "claims/ledger.md",
    "claims/ledger.html", "claims/front.html", "claims/claims.json", "config.yaml", "figures/fig_2.html",
]  # fmt: skip


def record(root: Path, place: str, *inputs: str) -> None:
    provenance.write_sidecar(
        root / place,
        command=["selfdistill", "made", place],
        inputs={name: root / name for name in inputs},
        parameters={"rate": 1e-5, "word": "ä"},
        seconds=1,
    )


def rows_of(schema: str, number: int = 8) -> pd.DataFrame:
    """Rows that differ, of any schema."""
    values = {
        "string": [f"row {i}" for i in range(number)],
        "bool": [True] * number,
        "double": [i / 7 for i in range(number)],
        "list": [[{"role": "user", "content": f"{i}"}] for i in range(number)],
    }
    kinds = {field.name: str(field.type).partition("<")[0] for field in tables.KINDS[schema].schema}
    return pd.DataFrame({name: values.get(kind, range(number)) for name, kind in kinds.items()})


def ledger() -> pd.DataFrame:
    """Statements whose verdicts follow from one test each."""
    rows = rows_of("ledger").assign(variant="", benchmark="", part="", same_as="", primary=False, models=16)
    return judged(rows.assign(p_for=0.001, p_against=0.999, p_within=1.0, files=[[]] * len(rows)))[rows.columns]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small results tree with a file of every kind, written by what writes them in a study."""
    folder, root = tmp_path_factory.mktemp("study"), Path("results/small")
    with contextlib.chdir(folder):  # recorded are places in a study's folder
        write_tree(root)
    return folder / root


def write_tree(root: Path) -> None:
    for place, schema in TABLES.items():
        tables.write(rows_of(schema), root / place, tables.KINDS[schema])
    tables.write(ledger(), root / "claims/ledger.parquet", tables.LEDGER)
    for place in TEXTS:
        files.write_text(root / place, "a text with 3 numbers: 1, 2\n" * 20)
    save_tiny_model(root / "models/m/base")
    save_tiny_model(root / "models/m/sft-guided", seed=1)
    save_tiny_model(root / "models/m/grpo/step-2", seed=2)  # not recorded by itself
    models.save_shared_manifest(root / "models/off/base/manifest.json", root / "models/m/base/manifest.json")
    figure = plt.figure()
    images = [root / f"figures/fig_3.{kind}" for kind in ("png", "svg", "pdf", "csv")]
    (root / "figures").mkdir(exist_ok=True)
    plotting.save(figure, images, '{"study": "small"}', pd.DataFrame({"value": [1, 2, 3]}))
    plt.close(figure)
    data = root / "reading_room/data"
    data.mkdir(parents=True)
    shards = [(reading_room._write_script(data, [[f"response {i}", None, None]]), i) for i in range(2)]
    index = reading_room._write_script(data, {"shards": shards})
    files.write_text(root / "reading_room/index.html", f'<script src="data/{index}.js"></script>\n')
    recorded = [*TABLES, *TEXTS, "claims/ledger.parquet", "reading_room/index.html"]
    recorded += [f"models/{model}/manifest.json" for model in ("m/base", "m/sft-guided", "off/base")]
    for place in [*recorded, *(f"figures/{image.name}" for image in images)]:
        record(root, place, *(["curves.parquet"] if place.startswith("figures/") else []))


@pytest.fixture(params=["sidecars", "bundle"])
def tree(request: pytest.FixtureRequest, whole: Path, tmp_path: Path) -> Path:
    """A copy, in both forms: as jobs leave it, and as it is shared."""
    copy = tmp_path / "small"
    shutil.copytree(whole, copy)
    if request.param == "bundle":
        bundle.bundle(copy)
    return copy


def test_folders_that_are_links_are_verified_and_counted_like_others(tree: Path, tmp_path: Path):
    counted = verification.counts(tree)
    for folder in ("models", "tables", "traces/m"):
        moved = tmp_path / folder.replace("/", "-")
        (tree / folder).rename(moved)
        (tree / folder).symlink_to(moved)
    assert verification.verify(tree) == [] and verification.counts(tree) == counted
    for place in ("models/m/base/model.safetensors", "tables/table_1.md", "traces/m/unguided.parquet"):
        kept = (tree / place).read_bytes()
        flip(tree / place)
        assert any(place.removeprefix("models/") in told for told in verification.verify(tree)), place
        (tree / place).write_bytes(kept)


def test_every_damage_to_every_kind_of_file_is_found_by_name(tree: Path):
    assert verification.verify(tree) == []
    tried = damages(tree)
    in_one_file = not list(tree.rglob(f"*{SIDECAR}"))
    left = RESULTS.keys() - {damage.kind for damage in tried}
    assert left == ({"record", "record of a model"} if in_one_file else {"bundle"})
    missed = [damage.name for damage in tried if not found_by_name(tree, damage)]
    assert missed == (["deleted: provenance.jsonl"] if in_one_file else [])  # of which nothing is left to tell
    assert verification.verify(tree) == []


def found_by_name(tree: Path, damage: Damage) -> bool:
    with undone(damage):
        said = verification.verify(tree)
        # Where a record is deleted, what it was the record of is told.
        name = str(damage.path.relative_to(tree))
        name = name if damage.path.exists() else name.removesuffix(SIDECAR)
        return any(name in sentence for sentence in said)


def test_any_single_bit_is_found_by_name(tree: Path):
    chance = random.Random(0)
    paths = sorted(path for path in tree.rglob("*") if path.is_file())
    for _ in range(60):
        path = chance.choice(paths)
        bit = chance.randrange(path.stat().st_size * 8)
        assert found_by_name(tree, Damage(f"bit {bit}", "", path, partial(flip, bit=bit))), (path, bit)


def test_a_bit_in_a_record_is_found_where_the_same_content_is_written_otherwise(whole: Path, tmp_path: Path):
    """An exponent in capitals is the same number: not what was written all the same."""
    tree = tmp_path / "small"
    shutil.copytree(whole, tree)
    sidecar = provenance.sidecar_path(tree / "tables/table_1.md")
    changed = sidecar.read_text().replace("1e-05", "1E-05")
    assert json.loads(changed) == json.loads(sidecar.read_text())
    sidecar.write_text(changed)
    assert verification.verify(tree)[0] == f"{sidecar}: a provenance record that was changed"


def test_everything_else_is_checked_when_several_files_are_damaged(tree: Path):
    places = ["claims/ledger.parquet", "figures/fig_3.png", "models/m/base/tokenizer.json", "problems/train.parquet"]
    for place in places:
        cut(tree / place)
    found = verification.verify(tree)
    assert all(any(place in sentence for sentence in found) for place in places)


@pytest.fixture
def live(whole: Path, tmp_path: Path) -> Iterator[Path]:
    copy = tmp_path / "small"
    shutil.copytree(whole, copy)
    assert verification.verify(copy) == []
    yield copy


def test_models_along_training_may_be_gone_but_not_be_damaged(live: Path):
    """They are deleted once they are evaluated, unless the configuration keeps them."""
    flip(live / "models/m/grpo/step-2/model.safetensors")
    place = "models/m/grpo/step-2"
    assert verification.verify(live) == [f"{place}/model.safetensors: differs from what {place}/manifest.json lists"]
    shutil.rmtree(live / "models/m/grpo")
    assert verification.verify(live) == []


def test_models_along_training_that_were_exchanged_or_lost_are_missed_by_what_was_made_from_them(live: Path):
    first, second = (f"models/m/grpo/step-{step}/manifest.json" for step in (1, 2))
    save_tiny_model((live / first).parent, seed=3)
    along = "evaluations/m/grpo/along_training.parquet"
    (live.parent / "results").symlink_to(live.parent)
    with contextlib.chdir(live.parent):
        record(Path("results/small"), along, first, second)
    assert verification.verify(live) == []
    (live / first).parent.rename(live / "aside")
    (live / second).parent.rename((live / first).parent)
    (live / "aside").rename((live / second).parent)
    assert verification.verify(live) == [f"{along}: made from another version of {name}" for name in (first, second)]
    shutil.rmtree((live / first).parent)
    assert f"{first}: missing, with its record; files made from it: 1" in verification.verify(live)
    shutil.rmtree(live / "models/m/grpo")
    assert verification.verify(live) == []


def test_what_is_gone_together_with_its_record_is_missed_by_what_was_made_from_it(live: Path):
    for name in ("curves.parquet", f"curves.parquet{SIDECAR}"):
        (live / name).unlink()
    assert verification.verify(live) == ["curves.parquet: missing, with its record; files made from it: 5"]


def test_a_users_own_files_are_not_found_fault_with(live: Path):
    for place in ("notes.md", "report.zip", "mine/numbers.csv", "figures/notes.txt"):
        files.write_text(live / place, "mine")
    assert verification.verify(live) == []


def test_the_users_model_is_compared_with_its_manifest_while_it_is_there(live: Path, tmp_path: Path):
    own = save_tiny_model(tmp_path / "own").parent
    manifest = live / "models/own/base/manifest.json"
    models.save_folder_manifest(manifest, own)
    record(live, "models/own/base/manifest.json")
    assert verification.verify(live) == []
    flip(own / "config.json")
    told = f"{own}/config.json: differs from what models/own/base/manifest.json lists"
    assert verification.verify(live) == [told]
    shutil.rmtree(own)
    assert verification.verify(live) == []
