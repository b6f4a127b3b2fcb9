"""The manifest of a model: its kind, the place of its weights, and a fingerprint of their bytes.

A manifest is the declared output of the stage that makes a model. The weights are beside it (kind ``files``), in
another folder (``folder``) or in the hub's cache (``hub``). Weights are read from safetensors only, and no code from a
repository is run.
"""

import json
import os
import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

from pydantic import model_validator

from selfdistill.errors import UserError
from selfdistill.files import is_as_recorded, sha256_file, sha256_text, write_text
from selfdistill.settings import REPO, key, settings

MANIFEST = "manifest.json"
SUFFIXES = (".json", ".safetensors", ".jinja", ".txt", ".model")
# Names of what a tokenizer's words are read from; each may be all that there is.
VOCABULARIES = (
    "tokenizer.json", "tokenizer.*.json", "*.model", "tokenizer.model.*", "tekken*.json", "*.tiktoken", "*.tokenizer",
    "*vocab*.json", "vocab*.txt", "dict.txt", "byte_maps.json",
)  # fmt: skip
# Names of all that may decide what a saved model writes; other files beside it are its owner's.
MODEL_FILES = (
    *VOCABULARIES, "*.safetensors", "*.safetensors.index.json", "*.jinja", "chat_template.json", "config.json",
    "config.*.json", "generation_config.json", "adapter_config.json", "*quant*config.json", "tokenizer_config.json",
    "special_tokens_map.json", "added_tokens.json", "merges.txt", "bpe.codes", "normalizer.json", "emoji.json",
    "word_shape.json", "word_pronunciation.json",
)  # fmt: skip
KEYS = {  # that a manifest needs, by its kind
    "files": {"files", "fingerprint"},
    "folder": {"folder", "files", "fingerprint"},
    "hub": {"repo", "revision", "fingerprint"},
}
REVISION = re.compile(r"[0-9a-f]{40}")


@settings
class ModelSource:
    """Where a base model comes from."""

    source: Literal["microcosm", "hub", "folder", "model"] = key(
        doc="`microcosm` (trained from scratch here), `hub` (Hugging Face repository), `folder` (saved model) or "
        "`model` (the weights of another entry, prompted otherwise)."
    )
    repo: str | None = key(None, doc="Hub repository, for source `hub`.", pattern=REPO)
    revision: str | None = key(None, doc="Its commit, 40 hexadecimal digits, or `locked` (config/revisions.json).")
    folder: Path | None = key(None, doc="Folder of a saved model with safetensors weights, for source `folder`.")

    @model_validator(mode="after")
    def _source_has_its_keys(self) -> "ModelSource":
        if self.source == "hub" and not (self.repo and self.revision):
            raise ValueError("a model of source 'hub' needs 'repo' and 'revision'")
        if self.source == "folder" and self.folder is None:
            raise ValueError("a model of source 'folder' needs 'folder'")
        return self


def save_manifest(folder: Path) -> None:
    """Write the manifest of the model saved in ``folder``: file names, sizes, SHA-256 and a fingerprint of all."""
    check_folder(folder)
    _write(folder / MANIFEST, {"kind": "files", **_contents(folder)})


def save_folder_manifest(manifest: Path, folder: Path) -> None:
    """Write a manifest for a saved model that stays in ``folder``."""
    check_folder(folder)
    files = {path.name: {"bytes": path.stat().st_size, "sha256": sha256_file(path)} for path in model_files(folder)}
    found = {"files": files, "fingerprint": _fingerprint_of(files)}
    _write(manifest, {"kind": "folder", "folder": str(folder.resolve()), **found})


def check_folder(folder: Path) -> None:
    """`UserError` unless ``folder`` holds a model with safetensors weights."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder (expected a saved model with safetensors weights)")
    if not any(path.suffix == ".safetensors" for path in files_of(folder)):
        raise UserError(f"{folder}: no safetensors weights found (pickled weights are not read)")


def save_shared_manifest(manifest: Path, other: Path) -> None:
    """Write a manifest for the weights of the manifest ``other``, with a relative path to those beside it."""
    content = read_manifest(other)
    if content["kind"] != "files":
        _write(manifest, content)
        return
    folder = os.path.relpath(other.parent.resolve(), manifest.parent.resolve())
    _write(manifest, {"kind": "folder", "folder": folder, **_contents(other.parent)})


def files_of(folder: Path) -> list[Path]:
    """The files of a model saved in ``folder``: weights, configuration, tokenizer; none where there is no folder."""
    return [
        path
        for path in (sorted(folder.iterdir()) if folder.is_dir() else [])
        if path.suffix in SUFFIXES and path.name != MANIFEST and not path.name.endswith(".provenance.json")
    ]


def model_files(folder: Path) -> list[Path]:
    """The files in ``folder`` that are a saved model, by their names: not notes, or a log of its training.

    None where there is no folder.
    """
    there = sorted(folder.iterdir()) if folder.is_dir() else []
    return [path for path in there if is_called(path.name, MODEL_FILES)]


def is_called(name: str, patterns: Iterable[str]) -> bool:
    """Whether a file's name is one of these, in which * stands for anything."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _contents(folder: Path) -> dict[str, Any]:
    files = {path.name: {"bytes": path.stat().st_size, "sha256": sha256_file(path)} for path in files_of(folder)}
    return {"files": files, "fingerprint": _fingerprint_of(files)}


def _fingerprint_of(files: dict[str, dict[str, Any]]) -> str:
    return sha256_text(json.dumps([[name, entry["sha256"]] for name, entry in files.items()]))


def save_hub_manifest(manifest: Path, repo: str, revision: str) -> None:
    """Write a manifest for a hub repository at a commit of 40 hexadecimal digits."""
    _check_revision(repo, revision)
    identity = _fingerprint_of_commit(repo, revision)
    _write(manifest, {"kind": "hub", "repo": repo, "revision": revision, "fingerprint": identity})


def _fingerprint_of_commit(repo: str, revision: str) -> str:
    return sha256_text(f"{repo}@{revision}")


def fetch(repo: str, revision: str) -> Path:
    """Download weights, configuration and tokenizer of a hub repository at a commit into the hub's cache.

    Files in the cache are not fetched again. Returns the folder in the cache.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError

    _check_revision(repo, revision)
    patterns = [f"*{suffix}" for suffix in SUFFIXES]
    try:
        # Subfolders hold the same weights in other formats.
        return Path(snapshot_download(repo, revision=revision, allow_patterns=patterns, ignore_patterns=["*/*"]))
    except GatedRepoError:
        raise UserError(
            f"{repo} is gated: accept its terms on the hub, and set HF_TOKEN to a token of that account"
        ) from None
    except Exception as error:  # no connection, no such repository or commit, disk full: no common base class
        reason = str(error).strip().partition("\n")[0]
        raise UserError(f"{repo}@{revision[:12]} cannot be fetched: {type(error).__name__}: {reason}") from error


def check_cached(repo: str, revision: str) -> None:
    """`UserError` where weights of a hub repository are not in the hub's cache and must not be fetched now."""
    from huggingface_hub import constants, try_to_load_from_cache

    def found(name: str) -> str | None:
        path = try_to_load_from_cache(repo, name, revision=revision)
        return path if isinstance(path, str) else None

    if not constants.HF_HUB_OFFLINE:
        return
    index = found("model.safetensors.index.json")
    shards = set(json.loads(Path(index).read_text())["weight_map"].values()) if index else {"model.safetensors"}
    missing = [name for name in ("config.json", *sorted(shards)) if found(name) is None]
    if missing:
        raise UserError(
            f"{repo}@{revision[:12]}: {missing[0]} is not in the hub's cache ({constants.HF_HUB_CACHE}), and "
            "HF_HUB_OFFLINE is set; where there is internet, "
            f"`selfdistill prefetch --lock config/revisions.json --repos {repo}` fetches it"
        )


def _check_revision(repo: str, revision: str) -> None:
    if not REVISION.fullmatch(revision):
        raise UserError(f"{repo}: revision '{revision}' is not a commit of 40 hexadecimal digits")


def fingerprint(manifest: Path) -> str:
    """64 hexadecimal digits that change with any byte of the model."""
    return read_manifest(manifest)["fingerprint"]


def read_manifest(manifest: Path) -> dict[str, Any]:
    """The manifest's content; `UserError` when it is missing, damaged or not one of ours."""
    try:
        content = json.loads(Path(manifest).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{manifest}: no such model manifest") from None
    except json.JSONDecodeError as error:
        raise UserError(f"{manifest}: not valid JSON (line {error.lineno}); {_again(manifest)}") from None
    except UnicodeDecodeError:
        raise UserError(f"{manifest}: not a text file (expected a model manifest in JSON)") from None
    keys = KEYS.get(str(content.get("kind")), set()) if isinstance(content, dict) else set()
    if not keys or not keys <= content.keys():
        kinds = "; ".join(f"{kind}: {', '.join(sorted(needed))}" for kind, needed in KEYS.items())
        raise UserError(f"{manifest}: not a model manifest (expected 'kind' and what it needs: {kinds})")
    if content["kind"] == "hub":
        _check_revision(content["repo"], content["revision"])
        follows = _fingerprint_of_commit(content["repo"], content["revision"])
    else:
        follows = _fingerprint_of(_listed(content["files"], manifest))
    if content["fingerprint"] != follows:
        raise UserError(f"{manifest}: its fingerprint does not follow from what it lists; {_again(manifest)}")
    return content


def _listed(files: Any, manifest: Path) -> dict[str, dict[str, Any]]:
    entries = list(files.values()) if isinstance(files, dict) else [None]
    if not all(isinstance(entry, dict) and {"bytes", "sha256"} <= entry.keys() for entry in entries):
        raise UserError(f"{manifest}: not every file has its 'bytes' and 'sha256'; {_again(manifest)}")
    return files


def is_along_training(manifest: Path) -> bool:
    """Whether a model is one of those that a training run leaves in folders step-N, to be evaluated."""
    return re.fullmatch(r"step-\d+", Path(manifest).parent.name) is not None


def _again(manifest: Path) -> str:
    """How a manifest comes to be made again. Those along a training run are outputs of the run as a whole."""
    wanted = Path(manifest).parents[1] if is_along_training(manifest) else manifest
    return f"delete {wanted} and run the workflow again, which makes it again"


def load_model(manifest: Path, *, dtype: str = "float32") -> Any:
    """The causal language model that ``manifest`` describes, on the CPU."""
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()  # of reading weights; downloads keep theirs
    place, options = location(manifest)
    return AutoModelForCausalLM.from_pretrained(
        place, dtype=dtype, use_safetensors=True, trust_remote_code=False, **options
    )


def config(manifest: Path) -> Any:
    """The configuration of the model at ``manifest``."""
    from transformers import AutoConfig

    place, options = location(manifest)
    return AutoConfig.from_pretrained(place, trust_remote_code=False, **options)


def generation_config(manifest: Path) -> Any:
    """The generation configuration of the model at ``manifest``; we use its end tokens only."""
    from transformers import GenerationConfig

    place, options = location(manifest)
    try:
        return GenerationConfig.from_pretrained(place, **options)
    except OSError:
        return GenerationConfig.from_model_config(config(manifest))


def end_ids(generation: Any, tokenizer_end: int | None) -> set[int]:
    """The tokens that end a response: those of a model's generation configuration, and the tokenizer's."""
    configured = generation.eos_token_id
    listed = configured if isinstance(configured, list) else [configured]
    return {token for token in [*listed, tokenizer_end] if token is not None}


def load_tokenizer(manifest: Path) -> Any:
    """The tokenizer of the model at ``manifest``."""
    from transformers import AutoTokenizer

    place, options = location(manifest)
    return AutoTokenizer.from_pretrained(place, trust_remote_code=False, **options)


def location(manifest: Path) -> tuple[str, dict[str, str]]:
    """The place of the files for ``from_pretrained``: a folder, checked against the manifest, or a hub repository.

    Also its options: the commit of a hub repository. Files of a folder are checked as `files.is_as_recorded` says:
    their sizes always, the content of large ones only where they are newer than the manifest.
    """
    content = read_manifest(manifest)
    if content["kind"] == "hub":
        check_cached(content["repo"], content["revision"])
        return content["repo"], {"revision": content["revision"]}
    folder = Path(manifest).parent / content.get("folder", ".")  # an absolute path stays as it is
    recorded = Path(manifest).stat().st_mtime_ns
    for name, entry in content["files"].items():
        path = folder / name
        if not is_as_recorded(path, entry["sha256"], entry["bytes"], recorded):
            found = f"differs from what {manifest} lists" if path.is_file() else f"missing, though {manifest} lists it"
            raise UserError(f"{path}: {found}; {_remedy(content, folder, manifest)}")
    return str(folder), {}


def modified(manifest: Path) -> dict[str, int]:
    """When each file of a model that stays in a user's own folder was modified, by name, in nanoseconds.

    None of other models.
    """
    content = read_manifest(manifest)
    folder = Path(content.get("folder", "."))
    there = {name: folder / name for name in content["files"]} if folder.is_absolute() else {}
    return {name: path.stat().st_mtime_ns for name, path in there.items() if path.is_file()}


def folder_of(manifest: Path) -> Path:
    """The folder that `location` means; of a hub repository that of its commit in the hub's cache."""
    place, options = location(manifest)
    return fetch(place, options["revision"]) if options else Path(place)


def is_whole(manifest: Path) -> bool:
    """Whether a manifest and the files that it lists are there, as `location` checks them."""
    try:
        location(manifest)
    except UserError:
        return False
    return True


def _remedy(content: dict[str, Any], folder: Path, manifest: Path) -> str:
    """What helps when files are not what the manifest lists. Nobody is told to delete files of their own."""
    if Path(content.get("folder", ".")).is_absolute():
        return f"put back the file, or delete {manifest} and run the workflow again, which registers the model anew"
    return _again(folder / MANIFEST)


def _write(manifest: Path, content: dict[str, Any]) -> None:
    write_text(manifest, json.dumps(content, indent=2) + "\n")
