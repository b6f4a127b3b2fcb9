"""The contexts and the entries of `evaluation.words` that statements name: some study has to define each.

One list of statements serves all studies, so that a name this study lacks is as it should be. One that no study has is
a slip, and would leave its statement without a verdict. Known are this study, those in config/ and those that ran.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from selfdistill.claims.statements import Claim, cells_of
from selfdistill.errors import UserError, nearest
from selfdistill.training.settings import CONTEXTS
from selfdistill.written import read_written

# Where studies are written down: those kept in this folder, and what those that ran have recorded.
STUDIES = ("config.yaml", "config/*.yaml", "results/*/config.yaml")
# Keys of a cell that hold such names: the section that defines them, and the names that every study has.
DEFINED_IN = {"context": ("contexts", CONTEXTS), "words": ("evaluation.words", ())}


def unknown_names(claims: Iterable[Claim], values: Mapping[str, Any]) -> Iterator[str]:
    """A sentence for each name in ``claims`` that neither this study's ``values`` nor another study's file defines."""
    used = {
        (f"claim '{claim.id}': tests.{number}: {key}", key, name)
        for claim in claims
        for number, test in enumerate(claim.tests)
        for cell in cells_of(test)
        for key in DEFINED_IN
        if (name := getattr(cell, key)) is not None
    }
    known = {key: list(usual) for key, (_, usual) in DEFINED_IN.items()}
    for study in itertools.chain([values], _others()):
        for key, (section, _) in DEFINED_IN.items():
            known[key] += _names(study, section)
        if all(name in known[key] for _, key, name in used):  # reading all studies would be half of a start
            return
    for place, key, name in sorted(used):
        if name not in known[key]:
            listed = ", ".join(dict.fromkeys(known[key])) or "none"
            where = f"in {DEFINED_IN[key][0]}{nearest(name, known[key])}"
            yield f"{place}: no study here has '{name}' {where}; known: {listed}"


def _others() -> Iterator[Any]:
    for file in sorted(file for pattern in STUDIES for file in Path().glob(pattern)):
        try:
            yield read_written(file)
        except UserError:  # told where that study is started
            continue


def _names(study: Any, section: str) -> list[str]:
    """The keys of a section, whatever else is wrong with a study."""
    found = study
    for part in section.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return [str(name) for name in found] if isinstance(found, Mapping) else []
