"""What a start of the workflow may be asked for: Snakemake alone says of a misspelt target that no rule produces it."""

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from selfdistill.errors import closest, nearest


def unknown_targets(
    workflow: Any, asked: Iterable[str], results: Path, names: Mapping[str, Collection[str]]
) -> list[str]:
    """A sentence for each file ``asked`` for that no rule of ``workflow`` makes.

    ``results``: the study's folder; a file of another study belongs to another start. ``names``: what the study has, by
    wildcard.
    """
    found = []
    for file in sorted(asked):
        makers = [rule for rule in workflow.rules if rule.is_producer(file)]
        wrong = [_unknown_name(rule.get_wildcards(file), names) for rule in makers]
        if not makers:
            found.append(_sentence(workflow, file, results))
        elif all(wrong):
            found.append(f"{file}: the study '{results.name}' has no {wrong[0]}")
    return found


def _unknown_name(wildcards: Mapping[str, str], names: Mapping[str, Collection[str]]) -> str:
    """The first wildcard that is none of its names, with the nearest of them."""
    unknown = ((kind, name) for kind, name in wildcards.items() if name not in names.get(kind, (name,)))
    return next((f"{kind} '{name}'{nearest(name, names[kind])}" for kind, name in unknown), "")


def _sentence(workflow: Any, file: str, results: Path) -> str:
    made = [str(name) for name in workflow.get_rule("all").input]
    if Path(file).is_dir() or any(Path(name).is_relative_to(file) for name in made):
        return f"{file}: a folder; name a file in it, or a rule"
    path = Path(file)
    if path.parts[:1] == results.parts[:1] and len(path.parts) > 1 and path.parts[1] != results.name:
        return (
            f"{file}: this start is of the study '{results.name}'; a file of another one needs the --configfile or "
            "--profile that names that study"
        )
    if "/" in file:  # else a rule, or an artifact by its name
        allowed = {name: name for name in made if Path(name).parent == path.parent}
    else:
        allowed = {Path(name).stem: name for name in reversed(made)} | {rule.name: rule.name for rule in workflow.rules}
    found = closest(file, allowed)
    hint = "" if found is None else f" (did you mean '{allowed[found]}'?)"
    gathering = sorted(rule.name for rule in workflow.rules if not rule.output and rule.name != "default")
    return (
        f"{file}: neither a rule nor a file of the study '{results.name}'{hint}; allowed are rules, "
        f"files below {results}/, and {', '.join(gathering)}"
    )
