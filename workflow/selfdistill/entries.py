"""Registries: tables from names to entry points, ``"selfdistill.module:symbol"``, imported when they are chosen.

The code digest counts a registry as nothing (`code_digest`), so that a new name reruns nothing; the rules add the
digest of what a job has chosen.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from selfdistill.errors import one_of


def load(what: str, name: str, registry: Mapping[str, str]) -> Any:
    """The object registered as ``name``; `UserError` with the nearest spelling if there is none. ``what``: its kind."""
    module, _, symbol = one_of(what, name, registry).partition(":")
    return getattr(import_module(module), symbol)
