"""Manifests: what they refuse, what their fingerprint covers, and that pickled weights are never read."""

import json
import os
import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import save_file
from selfdistill import files, models
from selfdistill.errors import UserError
from selfdistill.saved_model import check_model, positions
from tiny import save_heads, save_tiny_model


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    return save_tiny_model(tmp_path / "model")


@pytest.fixture(params=["files", "folder"])
def either(request: pytest.FixtureRequest, manifest: Path, tmp_path: Path) -> Path:
    """A manifest beside its model, or one elsewhere that points to the model's folder."""
    if request.param == "files":
        return manifest
    models.save_folder_manifest(tmp_path / "elsewhere.json", manifest.parent)
    return tmp_path / "elsewhere.json"


def flip_last_byte(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def change(manifest: Path, **entries: object) -> None:
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | entries))


class TestLoading:
    def test_gives_back_the_saved_weights_and_tokenizer(self, either: Path, tmp_path: Path):
        model, tokenizer = models.load_model(either), models.load_tokenizer(either)
        again = models.load_model(save_tiny_model(tmp_path / "again"))
        for one, other in zip(model.parameters(), again.parameters(), strict=True):
            assert torch.equal(one, other) and one.dtype == torch.float32
        assert tokenizer.eos_token == "<|im_end|>" and len(tokenizer) == model.config.vocab_size

    @pytest.mark.parametrize("load", [models.load_model, models.load_tokenizer])
    def test_refuses_changed_weights(self, either: Path, manifest: Path, load):
        flip_last_byte(manifest.parent / "model.safetensors")
        with pytest.raises(UserError, match=rf"model\.safetensors: differs from what {either} lists"):
            load(either)

    def test_refuses_a_missing_file(self, either: Path, manifest: Path):
        (manifest.parent / "config.json").unlink()
        with pytest.raises(UserError, match=rf"config\.json: missing, though {either} lists it"):
            models.load_model(either)

    def test_reads_a_large_file_only_when_it_is_newer_than_the_manifest(
        self, manifest: Path, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(files, "ALWAYS_READ", 100)
        weights = manifest.parent / "model.safetensors"
        flip_last_byte(weights)
        for newer in (-1, 1):
            time = manifest.stat().st_mtime_ns + newer
            os.utime(weights, ns=(time, time))
            if newer < 0:
                models.load_model(manifest)
                continue
            with pytest.raises(UserError, match="differs"):
                models.load_model(manifest)
        with weights.open("ab") as file:
            file.write(b"x")
        os.utime(weights, (0, 0))
        with pytest.raises(UserError, match="differs"):
            models.load_model(manifest)

    @pytest.mark.parametrize("damage", [flip_last_byte, Path.unlink])
    def test_the_remedy_deletes_no_file_of_a_user(self, manifest: Path, tmp_path: Path, damage):
        """What is named for deletion was written by the workflow, which makes it again."""
        along = save_tiny_model(tmp_path / "run/step-2")
        models.save_folder_manifest(tmp_path / "registered.json", manifest.parent)
        (tmp_path / "shared").mkdir()
        models.save_shared_manifest(tmp_path / "shared/manifest.json", manifest)
        damage(manifest.parent / "config.json")
        damage(along.parent / "config.json")
        told = {
            manifest: manifest,
            along: tmp_path / "run",
            tmp_path / "registered.json": tmp_path / "registered.json",
            tmp_path / "shared/manifest.json": manifest,
        }
        for loaded, deleted in told.items():
            with pytest.raises(UserError) as error:
                models.load_model(loaded)
            named = Path(re.search(r"delete (\S+) and run the workflow again", str(error.value))[1])
            assert named.resolve() == deleted
            assert ("put back" in str(error.value)) == (loaded.name == "registered.json")

    def test_never_unpickles(self, manifest: Path, tmp_path: Path):
        """A pickle beside the weights is not opened, and one instead of the weights is refused."""
        folder, witness = manifest.parent, tmp_path / "witness"
        (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Witness(witness)))
        models.save_manifest(folder)
        assert "pytorch_model.bin" not in json.loads(manifest.read_text())["files"]
        models.load_model(manifest)
        (folder / "model.safetensors").unlink()
        with pytest.raises(UserError, match="no safetensors weights found"):
            models.save_manifest(folder)
        change(manifest, files={}, fingerprint=files.sha256_text("[]"))
        with pytest.raises(OSError, match="safetensors"):
            models.load_model(manifest)
        assert not witness.exists()

    def test_runs_no_code_from_the_model(self, manifest: Path, tmp_path: Path):
        folder, witness = manifest.parent, tmp_path / "witness"
        (folder / "custom.py").write_text(f"open({str(witness)!r}, 'w')\n")
        config = json.loads((folder / "config.json").read_text())
        config |= {
            "model_type": "custom",
            "auto_map": {"AutoModelForCausalLM": "custom.Model", "AutoConfig": "custom.C"},
        }
        (folder / "config.json").write_text(json.dumps(config))
        models.save_manifest(folder)
        with pytest.raises(ValueError, match="trust_remote_code"):
            models.load_model(manifest)
        assert not witness.exists()


class Witness:
    """Unpickling it creates a file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


class TestFingerprint:
    def test_changes_with_a_byte_of_the_weights(self, manifest: Path, tmp_path: Path):
        elsewhere = tmp_path / "elsewhere.json"
        models.save_folder_manifest(elsewhere, manifest.parent)
        before = models.fingerprint(manifest), models.fingerprint(elsewhere)
        flip_last_byte(manifest.parent / "model.safetensors")
        models.save_manifest(manifest.parent)
        models.save_folder_manifest(elsewhere, manifest.parent)
        assert models.fingerprint(manifest) != before[0] and models.fingerprint(elsewhere) != before[1]

    @pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "chat_template.jinja", "generation_config.json"])
    def test_changes_with_what_decides_samples(self, manifest: Path, name: str):
        before = models.fingerprint(manifest)
        with (manifest.parent / name).open("a") as file:
            file.write(" ")
        models.save_manifest(manifest.parent)
        assert models.fingerprint(manifest) != before

    def test_is_that_of_the_content_and_not_of_place_or_sidecars(self, manifest: Path, tmp_path: Path):
        other = save_tiny_model(tmp_path / "elsewhere")
        (other.parent / "manifest.json.provenance.json").write_text("{}")
        models.save_manifest(other.parent)
        assert models.fingerprint(other) == models.fingerprint(manifest)
        assert other.read_bytes() == manifest.read_bytes()

    def test_of_the_hub_is_that_of_repository_and_commit(self, tmp_path: Path):
        for i, (repo, digit) in enumerate([("a/b", "0"), ("a/b", "1"), ("a/c", "0")]):
            models.save_hub_manifest(tmp_path / f"{i}.json", repo, digit * 40)
        assert len({models.fingerprint(tmp_path / f"{i}.json") for i in range(3)}) == 3
        assert models.location(tmp_path / "1.json") == ("a/b", {"revision": "1" * 40})


class TestRefusals:
    @pytest.mark.parametrize("revision", ["main", "abc", "g" * 40, "A" * 40, "0" * 41, "0" * 39, ""])
    def test_a_revision_that_is_no_commit(self, tmp_path: Path, revision: str):
        with pytest.raises(UserError, match=f"a/b: revision '{revision}' is not a commit of 40 hexadecimal digits"):
            models.save_hub_manifest(tmp_path / "manifest.json", "a/b", revision)
        assert not (tmp_path / "manifest.json").exists()

    def test_a_revision_changed_by_hand(self, tmp_path: Path):
        models.save_hub_manifest(tmp_path / "manifest.json", "a/b", "0" * 40)
        change(tmp_path / "manifest.json", revision="main")
        with pytest.raises(UserError, match="revision 'main' is not a commit"):
            models.load_model(tmp_path / "manifest.json")

    def test_a_folder_without_safetensors(self, tmp_path: Path):
        (tmp_path / "pytorch_model.bin").write_bytes(b"")
        (tmp_path / "config.json").write_text("{}")
        for save in (models.save_manifest, lambda folder: models.save_folder_manifest(tmp_path / "m.json", folder)):
            with pytest.raises(UserError, match=f"{tmp_path}: no safetensors weights found"):
                save(tmp_path)
        assert not (tmp_path / "manifest.json").exists() and not (tmp_path / "m.json").exists()

    def test_a_missing_folder(self, tmp_path: Path):
        with pytest.raises(UserError, match="nowhere: no such folder"):
            models.save_folder_manifest(tmp_path / "m.json", tmp_path / "nowhere")

    def test_a_missing_manifest(self, tmp_path: Path):
        with pytest.raises(UserError, match="no such model manifest"):
            models.fingerprint(tmp_path / "manifest.json")

    @pytest.mark.parametrize(
        ("content", "told"),
        [
            (b'{"kind": "files",\n oops', r"not valid JSON \(line 2\)"),
            (b"", r"not valid JSON \(line 1\)"),
            (b"\xff\xfe\x00", "not a text file"),
            (b"[]", "not a model manifest"),
            (b"null", "not a model manifest"),
            (b'{"kind": "pickle", "fingerprint": "x"}', "not a model manifest"),
            (b'{"kind": ["files"], "fingerprint": "x"}', "not a model manifest"),
            (b'{"kind": "files", "fingerprint": "x"}', "not a model manifest"),
            (b'{"kind": "hub", "fingerprint": "x", "repo": "a/b"}', "not a model manifest"),
            (b'{"kind": "files", "fingerprint": "x", "files": {"a": {"bytes": 1}}}', "its 'bytes' and 'sha256'"),
            (b'{"kind": "files", "fingerprint": "x", "files": ["a"]}', "its 'bytes' and 'sha256'"),
        ],
    )
    def test_what_is_no_manifest(self, tmp_path: Path, content: bytes, told: str):
        (tmp_path / "manifest.json").write_bytes(content)
        with pytest.raises(UserError, match=told) as error:
            models.load_model(tmp_path / "manifest.json")
        assert str(tmp_path / "manifest.json") in str(error.value) and "\n" not in str(error.value)

    @pytest.mark.parametrize("name", ["files", "hub"])
    def test_a_manifest_with_one_changed_digit(self, manifest: Path, tmp_path: Path, name: str):
        models.save_hub_manifest(tmp_path / "hub.json", "a/b", "0" * 40)
        changed = manifest if name == "files" else tmp_path / "hub.json"
        text = changed.read_text()
        digests = [text.rindex(digit) for digit in re.findall(r"[0-9a-f]{40,}", text)]
        for place in digests:
            other = "1" if text[place] == "0" else "0"
            changed.write_text(text[:place] + other + text[place + 1 :])
            with pytest.raises(UserError, match=rf"fingerprint does not follow .*; delete {changed} and run"):
                models.load_model(changed)
        assert len(digests) > 1


def test_a_model_that_shares_weights_is_found_wherever_the_tree_stands(tmp_path):
    base = tmp_path / "here" / "base"
    base.mkdir(parents=True)
    (base / "model.safetensors").write_bytes(b"weights")
    models.save_manifest(base)
    shared = tmp_path / "here" / "other" / "base" / "manifest.json"
    models.save_shared_manifest(shared, base / "manifest.json")
    assert models.fingerprint(shared) == models.fingerprint(base / "manifest.json")
    (tmp_path / "here").rename(tmp_path / "there")
    moved = tmp_path / "there"
    assert models.location(moved / "other" / "base" / "manifest.json")[0].endswith("base/../../base")


def test_a_model_that_shares_a_published_one_is_that_one(tmp_path):
    models.save_hub_manifest(tmp_path / "hub.json", "who/what", "0" * 40)
    models.save_shared_manifest(tmp_path / "shared.json", tmp_path / "hub.json")
    assert models.read_manifest(tmp_path / "shared.json") == models.read_manifest(tmp_path / "hub.json")


def text(name: str, content: str | bytes) -> Callable[[Path], object]:
    """Writes a file of a model."""
    return lambda folder: (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())


def without(*names: str) -> Callable[[Path], None]:
    def remove(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return remove


def both(*changes: Callable[[Path], object]) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        for each in changes:
            each(folder)

    return change


def tensors(**shapes: tuple[int, ...]) -> Callable[[Path], None]:
    return lambda folder: save_file(
        {name.replace("_", "."): torch.zeros(shape) for name, shape in shapes.items()}, folder / "model.safetensors"
    )


def sharded(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-1.safetensors")
    parts = {"a.weight": "model-1.safetensors", "b.weight": "model-2.safetensors"}
    text("model.safetensors.index.json", json.dumps({"weight_map": parts}))(folder)


def cut(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-5])


def cut_in_the_head(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:20])


def settings(**keys: object) -> Callable[[Path], object]:
    return text("tokenizer_config.json", json.dumps(keys))


POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 15231233024\n"
NO_TEMPLATE = "no chat template (expected chat_template.jinja, or the key in tokenizer_config.json)"
NOT_WHOLE = {
    "an adapter": (
        both(without("config.json", "model.safetensors"), text("adapter_config.json", "{}")),
        "an adapter (adapter_config.json), not a whole model; merge it into its model first",
    ),
    "an adapter in safetensors": (
        both(
            lambda folder: (folder / "model.safetensors").rename(folder / "adapter_model.safetensors"),
            text("adapter_config.json", "{}"),
        ),
        "an adapter (adapter_config.json), not a whole model",
    ),
    "no configuration": (without("config.json"), "no config.json (expected a model as transformers saves it)"),
    "a configuration that is cut": (text("config.json", '{"model_type":\n'), "/config.json: not valid JSON (line 2)"),
    "a configuration that is a list": (text("config.json", "[]"), "/config.json: no JSON object"),
    "own code": (
        text("config.json", json.dumps({"model_type": "qwen3x", "auto_map": {"AutoConfig": "a.B"}})),
        "/config.json: models with own code (auto_map) are not run, and transformers has none for 'qwen3x'",
    ),
    "no tokenizer": (
        without("tokenizer.json"),
        "no tokenizer (expected tokenizer.json, or a vocabulary such as tokenizer.model)",
    ),
    "a tokenizer that is cut": (text("tokenizer.json", '{"a": '), "/tokenizer.json: not valid JSON (line 1)"),
    "no template": (settings(), NO_TEMPLATE),
    "no settings of the tokenizer": (without("tokenizer_config.json"), NO_TEMPLATE),
    "null for a template": (settings(chat_template=None), NO_TEMPLATE),
    "an empty template": (settings(chat_template=" "), NO_TEMPLATE),
    "an empty file of a template": (text("chat_template.jinja", "\n"), NO_TEMPLATE),
    "no default among templates": (settings(chat_template=[{"name": "tool", "template": "{{ 1 }}"}]), NO_TEMPLATE),
    "settings in Latin-1": (
        text("tokenizer_config.json", b'{"chat_template": "\xe9"}'),
        "/tokenizer_config.json: not UTF-8 text (byte 19)",
    ),
    "a missing shard": (
        sharded,
        "of 2 files of weights in model.safetensors.index.json, 1 missing: model-2.safetensors",
    ),
    "a missing index": (
        lambda folder: (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors"),
        "neither model.safetensors nor model.safetensors.index.json, which names the files of weights",
    ),
    "an index of nothing": (
        both(sharded, text("model.safetensors.index.json", "{}")),
        "model.safetensors.index.json: no 'weight_map' from weights to their files",
    ),
    "weights that were not fetched": (
        text("model.safetensors", POINTER),
        "/model.safetensors: a pointer of Git LFS, not the file itself; `git lfs pull` fetches it",
    ),
    "a tokenizer that was not fetched": (text("tokenizer.json", POINTER), "/tokenizer.json: a pointer of Git LFS"),
    "a broken link": (
        both(without("model.safetensors"), lambda folder: (folder / "model.safetensors").symlink_to("gone")),
        "/model.safetensors: a link to a file that is not there",
    ),
    "an empty file of weights": (text("model.safetensors", ""), "no safetensors file, or one that is cut (0 bytes)"),
    "pickled weights by another name": (text("model.safetensors", pickle.dumps([1] * 99)), "no safetensors file"),
    "weights cut in their head": (cut_in_the_head, "/model.safetensors: no safetensors file, or one that is cut (20"),
    "weights that are cut": (cut, "/model.safetensors: not whole: "),
    "no tensor": (tensors(), "/model.safetensors: holds no weights"),
    "a tensor of nothing": (
        tensors(a_weight=(0,), b_bias=(1,)),
        "/model.safetensors: 'a.weight' holds no number; save the model again with its weights gathered",
    ),
}
WHOLE = {
    "as saved": lambda folder: None,
    "a template in a file": both(without("tokenizer_config.json"), text("chat_template.jinja", "{{ messages }}")),
    "templates with names": settings(chat_template=[{"name": "default", "template": "{{ messages }}"}]),
    "two shards": both(sharded, lambda f: shutil.copy(f / "model-1.safetensors", f / "model-2.safetensors")),
    "own code for a kind that is known": text("config.json", '{"model_type": "qwen3", "auto_map": {}}'),
    "a vocabulary alone": both(without("tokenizer.json"), text("tokenizer.model", "words")),
    "an adapter within": text("adapter_config.json", "{}"),
    "what is not the model's": both(
        text("notes.txt", b"\xe9"), text("trainer_state.json", "{"), text("a.bin", POINTER)
    ),
    "a bias of nothing": tensors(a_weight=(2,), b_bias=(0,)),
}


@pytest.mark.parametrize("case", NOT_WHOLE)
def test_a_folder_that_holds_no_whole_model_is_refused(case, tmp_path: Path):
    folder = save_heads(tmp_path / "model")
    damage, told = NOT_WHOLE[case]
    damage(folder)
    with pytest.raises(UserError) as error:
        check_model(folder)
    assert told in str(error.value) and str(error.value).startswith(str(folder)) and "\n" not in str(error.value)


@pytest.mark.parametrize("case", WHOLE)
def test_a_folder_that_holds_a_whole_model_is_taken(case, tmp_path: Path):
    folder = save_heads(tmp_path / "model")
    WHOLE[case](folder)
    check_model(folder)


def test_a_model_that_was_saved_is_whole_and_weights_are_not_read(manifest: Path):
    check_model(manifest.parent)
    flip_last_byte(manifest.parent / "model.safetensors")
    check_model(manifest.parent)


def test_what_lies_beside_a_model_is_not_the_model(manifest: Path, tmp_path: Path):
    """Notes, and what a training leaves, make no other model of it: nothing runs again."""
    registered, folder = tmp_path / "m.json", manifest.parent
    models.save_folder_manifest(registered, folder)
    before = registered.read_bytes()
    assert json.loads(before)["files"] == json.loads(manifest.read_text())["files"]  # all that transformers saves
    for name in ("notes.txt", "trainer_state.json", "all_results.json", "eval_results.json", "train_args.json"):
        (folder / name).write_text("{}")
    models.save_folder_manifest(registered, folder)
    assert registered.read_bytes() == before
    (folder / "added_tokens.json").write_text("{}")
    models.save_folder_manifest(registered, folder)
    assert registered.read_bytes() != before


def test_every_file_that_a_tokenizer_reads_is_the_models(tmp_path: Path):
    sources = Path(transformers.__file__).parent
    named = [r'"\w+_file": "([\w.-]+)"', r'(?:FILE|NAME) = "([\w.-]+)"']
    found = {
        name
        for path in [*sources.glob("tokenization*.py"), *sources.glob("models/*/tokenization*.py")]
        for pattern in named
        for name in re.findall(pattern, path.read_text(encoding="utf-8"))
    }
    assert {"tokenizer.json", "merges.txt", "tiktoken.model", "tokenizer_config.json"} <= found and len(found) > 20
    for name in found:
        (tmp_path / name).write_text("")
    assert found == {path.name for path in models.model_files(tmp_path)}


REPO, COMMIT = "who/what", "0" * 40


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub, on a machine that must not ask it; the folder of one repository at one commit."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.file_download.constants.HF_HUB_CACHE", str(tmp_path))
    folder = tmp_path / "models--who--what" / "snapshots" / COMMIT
    folder.mkdir(parents=True)
    return folder


class TestTheHubsCache:
    def test_names_the_first_file_that_is_missing_and_what_fetches_it(self, cache: Path):
        told = r"who/what@0+: config\.json is not in the hub's cache .* `selfdistill prefetch .* --repos who/what`"
        with pytest.raises(UserError, match=told):
            models.check_cached(REPO, COMMIT)

    def test_asks_for_every_shard(self, cache: Path):
        (cache / "config.json").write_text("{}")
        weights = {"a": "model-1.safetensors", "b": "model-2.safetensors"}
        (cache / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weights}))
        (cache / "model-1.safetensors").touch()
        with pytest.raises(UserError, match=r"model-2\.safetensors is not in the hub's cache"):
            models.check_cached(REPO, COMMIT)
        (cache / "model-2.safetensors").touch()
        models.check_cached(REPO, COMMIT)

    def test_the_folder_of_a_commit_is_found_without_a_branch_that_leads_to_it(self, cache: Path, tmp_path: Path):
        """As it lies there after it was fetched by its commit."""
        for name in ("config.json", "model.safetensors"):
            (cache / name).write_text("{}")
        models.save_hub_manifest(tmp_path / "manifest.json", REPO, COMMIT)
        assert models.folder_of(tmp_path / "manifest.json") == cache

    def test_is_asked_by_whatever_loads_a_model(self, cache: Path, tmp_path: Path):
        models.save_hub_manifest(tmp_path / "manifest.json", REPO, COMMIT)
        with pytest.raises(UserError, match="selfdistill prefetch"):
            models.load_tokenizer(tmp_path / "manifest.json")


@pytest.mark.parametrize(
    ("config", "found"),
    [
        ('{"max_position_embeddings": 512}', 512),
        ('{"max_position_embeddings": 512, "rope_scaling": null}', 512),
        ('{"max_position_embeddings": 512, "rope_parameters": {"rope_type": "default", "rope_theta": 1e6}}', 512),
        ('{"max_position_embeddings": 512, "rope_scaling": {"type": "yarn", "factor": 4}}', None),
        ('{"max_position_embeddings": 512, "rope_parameters": {"full": {"rope_type": "yarn"}}}', None),
        ('{"max_position_embeddings": "many"}', None),
        ("{}", None),
        ("[]", None),
        ("{", None),
        (None, None),
    ],
)
def test_how_far_a_model_reaches_is_known_where_its_positions_are_plain(config, found, tmp_path):
    if config is not None:
        (tmp_path / "config.json").write_text(config)
    assert positions(tmp_path) == found
