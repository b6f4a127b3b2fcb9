"""Why a job is pending, in words, from Snakemake's records.

Records hold a job's earlier parameters as values without names. A changed one is set beside the earlier value of its
kind that resembles it most.
"""

import ast
import json
import re
import shlex
from collections.abc import Iterator, Mapping
from difflib import SequenceMatcher
from typing import Any

from selfdistill.planning.dag import Job

MADE_WITH = re.compile(r"([0-9a-f]{16}(?: [0-9a-f]{16})*)(?:; (.*))?")  # digests of code; versions of packages
FLAGS = re.compile(r"\s*'?--")  # a flag with a space in its value is quoted whole
SHOWN = 60  # characters of a value


def changed_parameters(job: Job) -> dict[str, tuple[Any, Any]]:
    """Parameters that differ from the record: {name: (earlier value, value now)}; None where there is no such value."""
    earlier = [_value(text) for text in sorted(job.cause.before)]
    now = {name: value for name, value in job.params.items() if repr(value) in job.cause.now}
    changed: dict[str, tuple[Any, Any]] = {}
    for name, value in now.items():
        alike = [old for old in earlier if _kind(old) == _kind(value)]
        old = max(alike, key=lambda other: SequenceMatcher(None, repr(other), repr(value)).ratio(), default=None)
        if old is not None:
            earlier.remove(old)
        changed[name] = old, value
    return changed | {f"(dropped {number})": (old, None) for number, old in enumerate(earlier, 1)}


def _value(literal: str) -> Any:
    try:
        return ast.literal_eval(literal)
    except (ValueError, SyntaxError):  # "inf"
        return literal


def may_change_work(job: Job) -> bool:
    """Whether a job's changed parameters, its code's digest aside, may have changed how much there is to do.

    Flags come and go with versions of the program, where their default is what was done before; one with a number, such
    as a limit, may be a choice.
    """
    return any(_may_change_work(old, new) for name, (old, new) in changed_parameters(job).items() if name != "code")


def _may_change_work(old: Any, new: Any) -> bool:
    before, after = _parts(old), _parts(new)
    if before is None or after is None:
        return True
    differing = [(before.get(name), after.get(name)) for name in before | after if before.get(name) != after.get(name)]
    return any(None not in pair or re.search("[1-9]", f"{pair[0]}{pair[1]}") for pair in differing)


def _kind(value: Any) -> str:
    if isinstance(value, str):
        return "code" if MADE_WITH.fullmatch(value) else "flags" if FLAGS.match(value) else "text"
    return "number" if isinstance(value, int | float) else type(value).__name__


def difference(old: Any, new: Any) -> str:
    """What changed between two values of a parameter: only the flags or keys that differ, where they have such."""
    before, after = _parts(old), _parts(new)
    if before is None or after is None:
        return f"{_short(old)} -> {_short(new)}"
    names = [name for name in before | after if before.get(name) != after.get(name)]
    return ", ".join(f"{name} {_short(before.get(name))} -> {_short(after.get(name))}" for name in names)


def _parts(value: Any) -> dict[str, Any] | None:
    """A value's named parts: keys of a dictionary, or flags of a command line, tables among them by their keys."""
    if isinstance(value, dict):
        return _flat(value)
    if _kind(value) != "flags":
        return None
    parts: dict[str, Any] = {}
    name = ""
    for word in shlex.split(value):
        if word.startswith("--"):
            name, _, word = word.partition("=")
            parts[name] = ""
        parts[name] = f"{parts[name]} {word}".strip()
    tables = {name: json.loads(text) for name, text in parts.items() if text.startswith("{")}
    return {name: text for name, text in parts.items() if name not in tables} | _flat(
        {key: value for table in tables.values() for key, value in table.items()}
    )


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries as one, with dotted keys."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat


def _short(value: Any) -> str:
    text = "(none)" if value is None else str(value) or "(empty)"
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."


def in_words(job: Job, maker: Mapping[str, str], ever_made: bool) -> list[str]:
    """The causes of a pending job, one phrase each.

    ``maker``: the rule of each file that a job makes. ``ever_made``: the job has left a file or a benchmark.
    """
    cause = job.cause
    if cause.incomplete:
        return ["an earlier run was cut off while it wrote the output"]
    if not ever_made:
        return ["never made"]
    phrases = list(cause.otherwise)
    phrases += ["an output is not there any more"] if cause.missing else []
    if cause.deleted:
        phrases.append("a temporary output, deleted after use, is needed again")
    phrases += [_parameter(name, old, new, job) for name, (old, new) in changed_parameters(job).items()]
    if cause.rule_changed:
        phrases.append("the rule's command changed")
    if cause.inputs_changed:
        phrases.append("its list of inputs changed")
    if cause.software_changed:
        phrases.append("its software environment changed")
    phrases += [f"its input {name} is new" for name in cause.newer]
    makers = dict.fromkeys(maker.get(name, name) for name in cause.remade)
    if makers:
        phrases.append(f"inputs will be remade by {', '.join(makers)}")
    return phrases or ["it is asked for again"]


def _parameter(name: str, old: Any, new: Any, job: Job) -> str:
    if name == "code":
        return " and ".join(_made_with(old, new, job))
    return f"parameter `{name}` changed: {difference(old, new) or 'its flags are written otherwise'}"


def _made_with(old: Any, new: str, job: Job) -> Iterator[str]:
    """What differs between what a job was made with and would be now: its code, versions of packages."""
    before, after = (MADE_WITH.fullmatch(value or "") for value in (old, new))
    if recoded := before is None or after is None or before[1] != after[1]:
        yield f"the code of {job.rule} changed (digest {_short(before and before[1])} -> {_short(after and after[1])})"
    were, are = (_versions(found[2] if found else "") for found in (before, after))
    changed = [name for name in were | are if were.get(name) != are.get(name)] if were or not recoded else []
    if changed:
        told = (f"{name} {were.get(name, '(none)')} -> {are.get(name, '(none)')}" for name in changed)
        yield f"installed packages changed: {', '.join(told)}"


def _versions(text: str | None) -> dict[str, str]:
    return dict(entry.split(" ", 1) for entry in text.split(", ")) if text else {}
