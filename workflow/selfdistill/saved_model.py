"""Whether a folder holds a whole model, told in a moment: of weights only the heads of their files are read."""

import json
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from selfdistill.errors import UserError
from selfdistill.models import VOCABULARIES, check_folder, is_called, model_files

CONFIG, TOKENIZER, WEIGHTS = "config.json", "tokenizer_config.json", "model.safetensors"
INDEX, ADAPTER, TEMPLATE = f"{WEIGHTS}.index.json", "adapter_config.json", "chat_template.jinja"
POINTER = b"version https://git-lfs"  # how a file of Git LFS begins that was not fetched
LONGEST_HEAD = 100_000_000  # bytes; safetensors takes no more


def check_model(folder: Path) -> None:
    """`UserError` unless ``folder`` holds a model with its weights, its tokenizer and a chat template."""
    there = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if ADAPTER in there and not {WEIGHTS, INDEX} & there:
        raise UserError(f"{folder}: an adapter ({ADAPTER}), not a whole model; merge it into its model first")
    check_folder(folder)
    for path in model_files(folder):
        _check_fetched(path)
    config = _object(folder / CONFIG)
    _check_code(folder / CONFIG, config)
    _check_tokenizer(folder, there)
    for path in _weights(folder, config):
        _check_weights(path)


def positions(folder: Path) -> int | None:
    """Tokens of prompt and response that the model in ``folder`` was made for.

    None where its config.json does not say so, or has its positions rescaled: then how far they reach is the engine's.
    """
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        scaling = config.get("rope_scaling") or config.get("rope_parameters") or {}
        parts = [scaling, *(part for part in scaling.values() if isinstance(part, dict))]  # perhaps by kind of layer
        kinds = {part.get("rope_type", part.get("type")) for part in parts}
        most = config.get("max_position_embeddings")
    except (OSError, ValueError, AttributeError):
        return None
    return most if isinstance(most, int) and kinds <= {None, "default"} else None


def cached_folder(repo: str, revision: str) -> Path | None:
    """Where the hub's cache holds the configuration of a model, if it does; the hub is not asked."""
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(repo, CONFIG, revision=revision)
    return Path(path).parent if isinstance(path, str) else None


def _check_fetched(path: Path) -> None:
    if not path.exists():
        raise UserError(f"{path}: a link to a file that is not there")
    with path.open("rb") as file:
        if file.read(len(POINTER)) == POINTER:
            raise UserError(f"{path}: a pointer of Git LFS, not the file itself; `git lfs pull` fetches it")


def _object(path: Path) -> dict[str, Any]:
    """What a JSON file of a model says."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path.parent}: no {path.name} (expected a model as transformers saves it)") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text (byte {error.start})") from None
    except json.JSONDecodeError as error:
        raise UserError(f"{path}: not valid JSON (line {error.lineno})") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: no JSON object")
    return content


def _check_code(path: Path, config: Mapping[str, Any]) -> None:
    """No code from a model is run: one that brings its own has to be of a kind that transformers knows."""
    kind = config.get("model_type")
    if "auto_map" in config and not _is_known(str(kind)):
        raise UserError(f"{path}: models with own code (auto_map) are not run, and transformers has none for '{kind}'")


def _is_known(kind: str) -> bool:
    """Whether transformers lists a kind of model. Its list is read as text: to import it takes seconds."""
    package = find_spec("transformers")
    listed = Path(str(package.origin)).parent / "models" / "auto" / "modeling_auto.py" if package else None
    return listed is None or not listed.is_file() or f'"{kind}"' in listed.read_text(encoding="utf-8")


def _check_tokenizer(folder: Path, there: set[str]) -> None:
    if not any(is_called(name, VOCABULARIES) for name in there):
        raise UserError(f"{folder}: no tokenizer (expected tokenizer.json, or a vocabulary such as tokenizer.model)")
    if "tokenizer.json" in there:
        _object(folder / "tokenizer.json")
    settings = _object(folder / TOKENIZER) if TOKENIZER in there else {}
    if not _has_template(folder / TEMPLATE, settings.get("chat_template")):
        raise UserError(f"{folder}: no chat template (expected {TEMPLATE}, or the key in {TOKENIZER})")


def _has_template(file: Path, given: Any) -> bool:
    """Whether there is a template, which every prompt is rendered by; of several with names it is the default."""
    if file.is_file():
        return bool(file.read_bytes().strip())
    if isinstance(given, list):
        given = {each.get("name"): each.get("template") for each in given if isinstance(each, dict)}
    chosen = given.get("default") if isinstance(given, dict) else given
    return isinstance(chosen, str) and bool(chosen.strip())


def _weights(folder: Path, config: Mapping[str, Any]) -> list[Path]:
    """The files that transformers loads weights from, in its order of looking for them."""
    named = config.get("transformers_weights") or (WEIGHTS if (folder / WEIGHTS).exists() else INDEX)
    if not (folder / named).exists():
        raise UserError(f"{folder}: neither {WEIGHTS} nor {INDEX}, which names the files of weights")
    if not named.endswith(".index.json"):
        return [folder / named]
    shards = _object(folder / named).get("weight_map")
    if not isinstance(shards, dict) or not shards or not all(isinstance(name, str) for name in shards.values()):
        raise UserError(f"{folder / named}: no 'weight_map' from weights to their files")
    parts = [folder / name for name in sorted(set(shards.values()))]
    missing = [path.name for path in parts if not path.is_file()]
    if missing:
        raise UserError(f"{folder}: of {len(parts)} files of weights in {named}, {len(missing)} missing: {missing[0]}")
    return parts


def _check_weights(path: Path) -> None:
    """`UserError` for a file of weights whose head is damaged, that is cut, or that holds no weights."""
    size = path.stat().st_size
    try:
        start, tensors = _head(path)
        end = start + max((entry["data_offsets"][1] for entry in tensors.values()), default=0)
        empty = [name for name, entry in tensors.items() if name.endswith(".weight") and 0 in entry["shape"]]
    except (ValueError, LookupError, TypeError, AttributeError):
        raise UserError(f"{path}: no safetensors file, or one that is cut ({size:,} bytes)") from None
    if not tensors:
        raise UserError(f"{path}: holds no weights")
    if size != end:
        raise UserError(f"{path}: not whole: {size:,} bytes, where its head tells of {end:,}")
    if empty:
        raise UserError(f"{path}: '{empty[0]}' holds no number; save the model again with its weights gathered")


def _head(path: Path) -> tuple[int, dict[str, Any]]:
    """Where the numbers begin in a safetensors file, and its tensors by name; ValueError for another file."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 0 < length <= LONGEST_HEAD:
            raise ValueError(f"a head of {length} bytes")
        head = json.loads(file.read(length))
    return 8 + length, {name: entry for name, entry in head.items() if name != "__metadata__"}
