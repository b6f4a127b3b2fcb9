"""A digest of exactly the code that an entry point reaches, so that reruns follow code and nothing else.

The digest covers the parsed definitions (functions, classes, constants) of this package that are reachable
from the entry point by name, at the level of single definitions: a comment, a docstring, formatting or a
definition that the stage never reaches leaves it unchanged; a changed constant changes it for the stages
that use that constant. It over-approximates where names cannot be followed (a module passed around as a
value counts whole), never the other way. Code is read, never imported or run.
"""

import ast
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

PACKAGE = "selfdistill"
PACKAGE_ROOT = Path(__file__).resolve().parent.parent
WHOLE_MODULE = "*"

# What a local name stands for: a definition of a module, or (symbol None) the module itself.
Target = tuple[str, str | None]


@dataclass
class _Module:
    """Top-level definitions of one source file, by the name that they bind."""

    definitions: dict[str, list[ast.stmt]] = field(default_factory=dict)
    imports: dict[str, Target] = field(default_factory=dict)
    loose: list[ast.stmt] = field(default_factory=list)  # binds no name: always counts


def code_digest(entry: str | Path) -> str:
    """16 hexadecimal digits for the code reachable from ``entry``.

    ``entry`` is ``"package.module:symbol"``, or the path of a script (all of its code counts). Raises
    LookupError when the entry does not exist.
    """
    start = _script_targets(entry) if isinstance(entry, Path) else [_parse_entry(entry)]
    digest = hashlib.sha256()
    for (module, symbol), text in sorted(_reachable(start).items()):
        digest.update(f"{module}:{symbol}\n{text}\n".encode())
    if isinstance(entry, Path):
        digest.update(_dump(ast.parse(entry.read_text(encoding="utf-8"))).encode())
    return digest.hexdigest()[:16]


def _parse_entry(entry: str) -> tuple[str, str]:
    module, _, symbol = entry.partition(":")
    if _source_file(module) is None or symbol not in _load(module).definitions:
        raise LookupError(f"no definition '{symbol}' in module '{module}'")
    return module, symbol


def _script_targets(path: Path) -> list[tuple[str, str]]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return list(_references(tree, _imports_of(tree), _Module()))


def _reachable(start: list[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Every definition reachable from ``start``, with its normalised source."""
    found: dict[tuple[str, str], str] = {}
    pending = list(start)
    while pending:
        key = pending.pop()
        if key in found:
            continue
        found[key], followed = _expand(*key)
        pending.extend(followed)
    return found


@cache  # stages share most of what they reach
def _expand(module_name: str, symbol: str) -> tuple[str, list[tuple[str, str]]]:
    """The normalised source of a definition, and the definitions that it names."""
    module = _load(module_name)
    if symbol == WHOLE_MODULE:
        statements = [s for group in module.definitions.values() for s in group] + module.loose
    else:
        statements = module.definitions.get(symbol, []) + module.loose
    followed: list[tuple[str, str]] = []
    if symbol in module.imports:  # a name that the module re-exports
        followed.append(_target_key(module.imports[symbol]))
    for statement in statements:
        imports = module.imports | _imports_of(statement)
        followed.extend(_references(statement, imports, module, module_name))
    return "\n".join(map(_dump, statements)), followed


def _references(
    tree: ast.AST, imports: dict[str, Target], module: _Module, module_name: str = ""
) -> Iterator[tuple[str, str]]:
    """The package's definitions that ``tree`` names."""
    qualified = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            target = imports.get(node.value.id)
            if target is not None and target[1] is None:
                qualified.add(node.value)
                yield _member(target[0], node.attr)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Name) or node in qualified:
            continue
        if node.id in imports:
            yield _target_key(imports[node.id])
        elif node.id in module.definitions:
            yield module_name, node.id


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
        names = _bound_names(statement)
        for name in names:
            module.definitions.setdefault(name, []).append(statement)
        if isinstance(statement, (ast.Import, ast.ImportFrom)):
            module.imports |= _imports_of(statement)
        elif not names and not _is_docstring(statement):
            module.loose.append(statement)
    return module


def _bound_names(statement: ast.stmt) -> list[str]:
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return [statement.name]
    if isinstance(statement, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
        return [n.id for n in ast.walk(statement) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
    if isinstance(statement, (ast.Import, ast.ImportFrom)) and not _imports_of(statement):
        return [(alias.asname or alias.name).partition(".")[0] for alias in statement.names]
    return []


def _is_docstring(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _dump(tree: ast.AST) -> str:
    """The tree as text, without positions and without strings that stand alone (docstrings)."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [s for s in body if not _is_docstring(s)]
    return ast.dump(tree)
