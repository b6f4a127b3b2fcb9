"""YAML and JSON files that people write, read strictly: what YAML 1.1 silently takes for something else is refused."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from selfdistill.errors import UserError
from selfdistill.files import YAML_LOADER

# What JSON and YAML make, in double quotes, of the backslash before these letters; LaTeX's commands begin so.
_ESCAPES = {"\a": "a", "\b": "b", "\v": "v", "\f": "f", "\t": "t"}
_LOST = re.compile(r"[\a\b\v\f][a-z]{1,12}|\t(?:imes|ext\{|heta|frac)")
_KINDS = {"map", "seq", "str", "int", "float", "bool", "null", "merge", "timestamp"}
_DECIMAL = re.compile(r"[-+]?(0|[1-9][0-9_]*)")
DEEPEST = 50  # levels; a configuration has six


def read_written(path: Path) -> Any:
    """The value in a YAML or JSON file; `UserError` with the line, a sentence for each fault.

    Refused are keys that stand twice or are no text, whole numbers that are not plain decimals (017 would be 15, 1:30
    would be 90), dates, anchors that hold themselves, tags of other types, several documents, and text that is not
    UTF-8 or that no file can hold (NUL, half an emoji).
    """
    text = _text(path)
    try:
        return json.loads(text, object_pairs_hook=lambda pairs: _object(path, pairs))
    except (ValueError, RecursionError) as error:
        if isinstance(error, UserError):
            raise
    try:
        return _yaml(path, text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = " ".join(f"{error.problem or error.context}".split())
        hint = "; write the character itself" if "Unicode character escape" in reason else ""
        raise UserError(f"{_at(path, mark)}: {reason}{hint}") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path}: {' '.join(str(error).split())}") from None
    except (RecursionError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path}: not readable as YAML: {error}") from None


def read_keys(path: Path) -> dict[str, Any]:
    """`read_written` of a configuration; `UserError` where a file holds anything but keys and their values."""
    values = read_written(path)
    if not isinstance(values, dict):
        raise UserError(f"{path}: expected a configuration: keys and their values")
    return values


def read_recorded(path: Path) -> dict[str, Any]:
    """`read_keys` of the configuration that a study records beside its results; `UserError` where it names no study."""
    values = read_keys(path)
    if "study" not in values:
        raise UserError(f"{path}: expected the recorded configuration of a study, with its name under 'study'")
    return values


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None


def _object(path: Path, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    twice = [key for place, (key, _) in enumerate(pairs) if key in [other for other, _ in pairs[:place]]]
    if twice:
        raise UserError(f"{path}: the key '{twice[0]}' stands twice in one table")
    return dict(pairs)


def _yaml(path: Path, text: str) -> Any:
    _check_depth(path, text)
    loader = YAML_LOADER(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        faults = list(dict.fromkeys(_faults(path, node, set())))
        if faults:
            raise UserError("\n".join(faults))
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _check_depth(path: Path, text: str) -> None:
    """libyaml makes its nodes by recursion in C, without a limit of its own."""
    depth = 0
    for event in yaml.parse(text, Loader=YAML_LOADER):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise UserError(f"{_at(path, event.start_mark)}: nests deeper than {DEEPEST} levels")


def _faults(path: Path, node: yaml.Node, seen: set[int], above: tuple[int, ...] = ()) -> Iterator[str]:
    """A sentence for each fault in a node and below; nodes that were ``seen`` are not looked at again."""
    if id(node) in above:
        yield f"{_at(path, node.start_mark)}: the anchor here holds itself"
    elif id(node) not in seen:
        yield from _own_faults(path, node)
        below = node.value if isinstance(node, yaml.SequenceNode) else []
        if isinstance(node, yaml.MappingNode):
            below = [part for pair in node.value for part in pair]
        for part in below:
            yield from _faults(path, part, seen, (*above, id(node)))
        seen.add(id(node))


def _own_faults(path: Path, node: yaml.Node) -> Iterator[str]:
    at, kind = _at(path, node.start_mark), node.tag.removeprefix("tag:yaml.org,2002:")
    if kind not in _KINDS:
        yield f"{at}: the tag '{kind}' is not taken; plain texts, numbers, lists and tables are"
    if isinstance(node, yaml.MappingNode):
        yield from _key_faults(path, node)
    elif isinstance(node, yaml.ScalarNode):
        if kind == "int" and not _DECIMAL.fullmatch(node.value):
            yield f"{at}: YAML does not read {node.value} as a decimal number; write plain digits, or a text in quotes"
        if kind == "int" and len(node.value) > 100:
            yield f"{at}: a number of {len(node.value)} digits"
        if (kind == "float" and ":" in node.value) or kind == "timestamp":
            yield f"{at}: YAML reads {node.value} as a time; write plain digits, or a text in quotes"
        if kind == "str" and unwritable(node.value):
            yield f"{at}: a text with {unwritable(node.value)}"


def _key_faults(path: Path, node: yaml.MappingNode) -> Iterator[str]:
    keys: dict[str, int] = {}
    for key, _ in node.value:
        at, kind = _at(path, key.start_mark), key.tag.removeprefix("tag:yaml.org,2002:")
        if kind == "merge":
            continue
        if kind != "str" or not isinstance(key, yaml.ScalarNode):
            shown = f"'{key.value}'" if isinstance(key, yaml.ScalarNode) else "a list or a table"
            yield f"{at}: YAML does not read the key {shown} as a text; put it in quotes"
        elif key.value in keys:
            yield f"{at}: the key '{key.value}' stands twice in one table (first in line {keys[key.value]})"
        else:
            keys[key.value] = key.start_mark.line + 1


def unwritable(text: str) -> str:
    """Names the part of a text that no file or command can hold, or that nobody meant; empty if there is none."""
    if "\0" in text:
        return "a NUL character"
    if lost := lost_backslash(text):
        return lost
    half = next((letter for letter in text if "\ud800" <= letter <= "\udfff"), "")
    return f"half a character (\\u{ord(half):x}); write the character itself" if half else ""


def lost_backslash(text: str) -> str:
    """Names a character that double quotes made of a backslash, as ``\\b`` of ``\\boxed``; empty if there is none."""
    if not (found := _LOST.search(text)):
        return ""
    meant = "\\" + _ESCAPES[found[0][0]] + found[0][1:]
    return f"the control character {found[0][0]!r} for '{meant}'; in double quotes write '\\{meant}'"


def _at(path: Path, mark: yaml.Mark | None) -> str:
    return f"{path}" if mark is None else f"{path}, line {mark.line + 1}"
