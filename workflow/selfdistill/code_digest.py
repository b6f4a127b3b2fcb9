"""A digest of exactly the code that an entry point reaches, so that reruns follow code and nothing else.

The digest covers the parsed definitions (functions, classes, constants) of this package that are reachable
from the entry point by name, at the level of single definitions. These leave it unchanged: a comment, a docstring,
formatting, a flag's help, a setting's meaning and paper value, a definition that the stage never reaches, and the
place where a definition lives. A changed constant changes it for the stages that use that constant. It
over-approximates where names cannot be followed (a module passed around as a value counts whole), with one exception:
a registry, a dictionary from names to entry points ("selfdistill.module:symbol"), counts as nothing, so that a new name
reruns nothing. Whoever loads from a registry adds the digest of what it has chosen. Code is read, never imported or
run.

Following the code takes longer than the rest of a start of the workflow, so what was found is kept beside Python's
byte code, for the sources as they are: one changed byte of the package, and all is followed anew.
"""

import ast
import copy
import hashlib
import json
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from selfdistill.files import sha256_text, write_text

PACKAGE = "selfdistill"
PACKAGE_ROOT = Path(__file__).resolve().parent.parent
WHOLE_MODULE = "*"
SCRIPT = "<script>"
LOOSE = ""  # a module's statements that bind no name
# Arguments of a setting's declaration that only readers see.
TOLD = {"key": ("doc", "paper")}
# Fields of nodes that say nothing of what is run.
UNSAID = ("ctx", "type_comment", "kind")
# Fields of nodes that older Pythons do not have: left out where they are empty, so that all Pythons give one digest.
LATER = ("type_params",)
# Import statements of other packages, as a normalised source holds them: `import x.y`, `from x.y import z`.
IMPORTED = re.compile(r"Import\(names=\[alias\(name='(\w+)|ImportFrom\(module='(\w+)[^']*', names=")

# Where digests are kept, in the package.
KEPT = "__pycache__/code_digests.json"

# The target of a local name: a definition in a module, or (symbol None) the module itself.
Target = tuple[str, str | None]


@dataclass
class _Module:
    """Top-level definitions of one source file, by the name that they bind."""

    definitions: dict[str, list[ast.stmt]] = field(default_factory=dict)
    imports: dict[str, Target] = field(default_factory=dict)
    loose: list[ast.stmt] = field(default_factory=list)  # binds no name: counts with each definition of the module


def code_digest(*entries: str | Path) -> str:
    """16 hexadecimal digits for the code reachable from ``entries``.

    An entry is ``"package.module:symbol"``, or the path of a script (all of its code counts). The symbol may be one
    that the module re-exports. Raises LookupError when an entry does not exist.
    """
    return _found(*entries)[0]


def packages(*entries: str | Path) -> set[str]:
    """The packages of others that code reachable from ``entries`` imports, by their import names."""
    return set(_found(*entries)[1]) - sys.stdlib_module_names


@cache  # asked for both the digest and the packages
def _found(*entries: str | Path) -> tuple[str, list[str]]:
    """The digest, and all packages that are imported."""
    name = "\n".join(sha256_text(entry.read_text("utf-8")) if isinstance(entry, Path) else entry for entry in entries)
    kept = _kept()
    if name not in kept:
        digest, imported = hashlib.sha256(), set()
        for symbol, text in _texts(*entries):
            digest.update(f"{symbol}\n{text}\n".encode())
            imported |= {found[1] or found[2] for found in IMPORTED.finditer(text)}
        kept[name] = digest.hexdigest()[:16], sorted(imported)
        _keep(kept)
    return kept[name]


@cache
def _kept() -> dict[str, tuple[str, list[str]]]:
    """What was found for entries in the sources as they are now."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        told = json.loads((PACKAGE_ROOT / PACKAGE / KEPT).read_text(encoding="utf-8"))
        if told["sources"] == _sources():
            return {name: (str(digest), list(map(str, imported))) for name, (digest, imported) in told["found"].items()}
    return {}


def _keep(found: Mapping[str, tuple[str, list[str]]]) -> None:
    with suppress(OSError):  # a package that its user cannot write to
        write_text(PACKAGE_ROOT / PACKAGE / KEPT, json.dumps({"sources": _sources(), "found": found}))


@cache
def _sources() -> str:
    """A digest of the package's sources, byte by byte, with their names."""
    digest, package = hashlib.sha256(), PACKAGE_ROOT / PACKAGE
    for path in sorted(package.rglob("*.py")):
        source = path.read_bytes()
        digest.update(f"{path.relative_to(package)} {len(source)}\n".encode() + source)
    return digest.hexdigest()


def _texts(*entries: str | Path) -> list[tuple[str, str]]:
    """Symbols and normalised sources of all that is reached, without modules: what is moved stays what it is."""
    start, texts = [], set()
    for entry in entries:
        if isinstance(entry, Path):
            script = ast.parse(entry.read_text(encoding="utf-8"))
            start += _references(script, _imports_of(script), _Module())
            texts.add((SCRIPT, _normalised(script, _imports_of(script))))
        else:
            start.append(_parse_entry(entry))
    texts |= {(symbol, text) for (_, symbol), text in reachable(start).items() if text}
    return sorted(texts)


def reachable(start: list[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Every (module, symbol) reachable from ``start``, with its normalised source."""
    found: dict[tuple[str, str], str] = {}
    pending = list(start)
    while pending:
        key = pending.pop()
        if key in found:
            continue
        found[key], followed = _expand(*key)
        pending.extend(followed)
    return found


def _parse_entry(entry: str) -> tuple[str, str]:
    module, _, symbol = entry.partition(":")
    if _source_file(module) is None or not {symbol} & (_load(module).definitions.keys() | _load(module).imports.keys()):
        raise LookupError(f"no definition '{symbol}' in module '{module}'")
    return module, symbol


@cache  # stages share most of what they reach
def _expand(module_name: str, symbol: str) -> tuple[str, list[tuple[str, str]]]:
    """The normalised source of a definition, and the definitions that it names."""
    module = _load(module_name)
    if symbol == WHOLE_MODULE:
        return "", [(module_name, name) for name in module.definitions] + [(module_name, LOOSE)]
    if symbol in module.imports:  # a name that the module re-exports
        return "", [_target_key(module.imports[symbol])]
    statements = module.loose if symbol == LOOSE else module.definitions.get(symbol, [])
    followed: list[tuple[str, str]] = [(module_name, LOOSE)] if statements else []
    texts = []
    for statement in statements:
        imports = module.imports | _imports_of(statement)
        followed.extend(_references(statement, imports, module, module_name))
        texts.append(_normalised(statement, imports))
    return "\n".join(texts), followed


def _references(
    tree: ast.AST, imports: dict[str, Target], module: _Module, module_name: str = ""
) -> Iterator[tuple[str, str]]:
    """The package's definitions that ``tree`` names."""
    qualified, nodes = set(), list(ast.walk(tree))
    for node in nodes:
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            target = imports.get(node.value.id)
            if target is not None and target[1] is None:
                qualified.add(node.value)
                yield _member(target[0], node.attr)
    for node in nodes:
        if not isinstance(node, ast.Name) or node in qualified:
            continue
        if node.id in imports:
            yield _target_key(imports[node.id])
        elif node.id in module.definitions:
            yield module_name, node.id


@cache  # asks the disk
def _member(module: str, attribute: str) -> tuple[str, str]:
    submodule = f"{module}.{attribute}"
    return (submodule, WHOLE_MODULE) if _source_file(submodule) else (module, attribute)


def _target_key(target: Target) -> tuple[str, str]:
    module, symbol = target
    return module, WHOLE_MODULE if symbol is None else symbol


def _imports_of(tree: ast.AST) -> dict[str, Target]:
    """Local names that import statements in ``tree`` bind to this package's modules and definitions."""
    bound: dict[str, Target] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and _in_package(node.module):
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}"
                is_module = _source_file(submodule) is not None
                bound[alias.asname or alias.name] = (submodule, None) if is_module else (node.module, alias.name)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if _in_package(alias.name):
                    bound[alias.asname or alias.name.partition(".")[0]] = (alias.name, None)
    return bound


def _in_package(module: str | None) -> bool:
    return module is not None and (module == PACKAGE or module.startswith(f"{PACKAGE}."))


@cache
def _source_file(module: str) -> Path | None:
    base = PACKAGE_ROOT.joinpath(*module.split("."))
    for candidate in (base.with_suffix(".py"), base / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


@cache
def _load(module_name: str) -> _Module:
    source = _source_file(module_name)
    if source is None:
        raise LookupError(f"no module '{module_name}' in {PACKAGE_ROOT}")
    module = _Module()
    for statement in ast.parse(source.read_text(encoding="utf-8")).body:
        if isinstance(statement, (ast.Import, ast.ImportFrom)):
            ours = _imports_of(statement)
            module.imports |= ours
            for alias in [] if ours else statement.names:
                module.definitions.setdefault(_bound_by(alias), []).append(_single_import(statement, alias))
            continue
        names = _bound_names(statement)
        for name in names:
            module.definitions.setdefault(name, []).extend([] if _is_registry(statement) else [statement])
        if not names and not _is_docstring(statement):
            module.loose.append(statement)
    return module


def _bound_names(statement: ast.stmt) -> list[str]:
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return [statement.name]
    if isinstance(statement, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        return [node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)]
    return []


def _is_registry(statement: ast.stmt) -> bool:
    value = getattr(statement, "value", None)
    return isinstance(value, ast.Dict) and bool(value.values) and all(map(_is_entry, value.values))


def _is_entry(node: ast.expr) -> bool:
    if not _is_text(node):
        return False
    module, colon, _ = node.value.partition(":")
    return bool(colon) and _in_package(module)


def _bound_by(alias: ast.alias) -> str:
    return alias.asname or alias.name.partition(".")[0]


def _single_import(statement: ast.Import | ast.ImportFrom, alias: ast.alias) -> ast.stmt:
    """The import of one of the statement's names: which others stand beside it says nothing of the one."""
    single = copy.copy(statement)
    single.names = [alias]
    return single


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _is_docstring(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _normalised(tree: ast.AST, imports: Mapping[str, Target]) -> str:
    """The tree as text, without positions, docstrings and places of definitions.

    ``imports``: the package's modules and definitions by the names that they have here. Definitions are called by their
    own name, however they were imported, and what only readers see is dropped.
    """
    return _Text(imports).of(tree)


class _Text:
    """A tree written out; a method for each kind of node that is not written as it stands."""

    def __init__(self, imports: Mapping[str, Target]):
        self.imports = imports

    def of(self, node: Any) -> str:
        if isinstance(node, list):
            return f"[{', '.join(filter(None, map(self.of, node)))}]"
        if not isinstance(node, ast.AST):
            return repr(node)
        return getattr(self, f"of_{type(node).__name__}", self._plain)(node)

    def _plain(self, node: ast.AST) -> str:
        said = {name: getattr(node, name) for name in node._fields if name not in UNSAID}
        fields = (f"{name}={self.of(value)}" for name, value in said.items() if value or name not in LATER)
        return f"{type(node).__name__}({', '.join(fields)})"

    def of_Import(self, node: ast.Import | ast.ImportFrom) -> str:
        return "" if _imports_of(node) else self._plain(node)

    of_ImportFrom = of_Import

    def of_Expr(self, node: ast.Expr) -> str:
        return "" if _is_docstring(node) else self._plain(node)

    def of_Attribute(self, node: ast.Attribute) -> str:
        if isinstance(node.value, ast.Name) and node.value.id in self.imports:
            module, symbol = self.imports[node.value.id]
            if symbol is None:
                return f"Name({_member(module, node.attr)[1]})"
        return self._plain(node)

    def of_Name(self, node: ast.Name) -> str:
        _, symbol = self.imports.get(node.id, ("", node.id))
        return f"Name({WHOLE_MODULE if symbol is None else symbol})"

    def of_Subscript(self, node: ast.Subscript) -> str:
        if isinstance(node.value, ast.Name) and node.value.id == "Annotated" and isinstance(node.slice, ast.Tuple):
            return f"Annotated{self.of([part for part in node.slice.elts if not _is_text(part)])}"
        return self._plain(node)

    def of_Call(self, node: ast.Call) -> str:
        told = TOLD.get(node.func.id, ()) if isinstance(node.func, ast.Name) else ()
        named = [keyword for keyword in node.keywords if keyword.arg not in told]
        return f"Call({self.of(node.func)}, {self.of(node.args)}, {self.of(named)})"
