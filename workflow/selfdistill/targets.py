"""What a start of the workflow may be asked for: Snakemake alone says of a misspelt target that no rule produces it."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from selfdistill.errors import nearest


def unknown_targets(workflow: Any, asked: Iterable[str], results: Path) -> list[str]:
    """A sentence for each file ``asked`` for that no rule of ``workflow`` makes.

    ``results``: the study's folder; a file of another study belongs to another start.
    """
    unknown = [file for file in sorted(asked) if not any(rule.is_producer(file) for rule in workflow.rules)]
    return [_sentence(workflow, file, results) for file in unknown]


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
    if "/" in file:
        allowed = {name: name for name in made if Path(name).parent == path.parent}
    else:
        allowed = {Path(name).stem: name for name in reversed(made)} | {rule.name: rule.name for rule in workflow.rules}
    gathering = sorted(rule.name for rule in workflow.rules if not rule.output and rule.name != "default")
    return (
        f"{file}: neither a rule nor a file of the study '{results.name}'{_hint(file, allowed)}; allowed are rules, "
        f"files below {results}/, and {', '.join(gathering)}"
    )


def _hint(file: str, allowed: Mapping[str, str]) -> str:
    """As `nearest`, with the file of an artifact that is called by its name alone."""
    hint = nearest(file, allowed)
    found = next((target for name, target in allowed.items() if hint == f" (did you mean '{name}'?)"), "")
    return f" (did you mean '{found}'?)" if found else ""
