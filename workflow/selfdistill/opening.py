"""The study that a start of the workflow is about: its configuration read anew, and everything checked at once."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from selfdistill import checks
from selfdistill.claims.statements import Claim, Conflict, read_statements
from selfdistill.config import OF_SOURCE, Config, Model, ProblemSet, parse, read_sections, without_other_sources
from selfdistill.errors import UserError
from selfdistill.settings import keys
from selfdistill.study import Study
from selfdistill.written import read_written

CLAIMS = Path("config/claims.yaml")
TEMPLATE = "__use_yte__"  # Snakemake would compute values from expressions in such a file


@dataclass(frozen=True)
class Start:
    """How the workflow was started.

    ``files`` are the configuration's, the lowest first, and ``given`` is what ``--config`` lays over them.
    ``own_environments``: jobs bring their packages (conda, a container).
    """

    checkout: Path
    files: Sequence[Path] = ()
    given: Mapping[str, Any] | None = None
    own_environments: bool = False


@dataclass(frozen=True)
class Opened:
    """A study without fault, the statements that its ledger lists, and what is unusual about it."""

    study: Study
    statements: list[Claim | Conflict]
    warnings: list[str]


def open_study(values: Mapping[str, Any], start: Start | None) -> Opened:
    """The study of the merged configuration ``values``; `UserError` with a line, a sentence, for each fault.

    Without a ``start``, what does not lie in the values themselves is taken as checked.
    """
    if start is None:
        claims, conflicts = read_statements(CLAIMS)
        return Opened(Study(parse(values)), [*claims, *conflicts], [])
    if Path.cwd().resolve() != start.checkout.resolve():
        raise UserError(
            f"{Path.cwd()}: not the folder of the checkout, where configuration, data and results lie; start Snakemake "
            f"in {start.checkout}, without --directory"
        )
    layers, faults = _layers(start)
    sections, wrong = read_sections(values)
    faults += [*_of_other_sources(values, layers), *wrong]
    try:
        claims, conflicts = read_statements(CLAIMS)
    except UserError as error:
        claims, conflicts, faults = [], [], [*faults, *str(error).splitlines()]
    faults += [f"{CLAIMS}: {fault}" for fault in checks.unknown_places([*claims, *conflicts])]
    # Checks look at the sections that are sound.
    whole = Config(**sections) if sections.keys() == keys(Config).keys() else SimpleNamespace(**sections)
    study = Study(cast(Config, whole))
    faults += checks.faults_of(study, sections, claims, own_environments=start.own_environments)
    if faults:
        raise UserError("\n".join(dict.fromkeys(faults)))
    return Opened(study, [*claims, *conflicts], checks.warnings_of(study))


def headline(study: Study, start: Start) -> str:
    """The first line of a start: what is about to be studied, and which files say so."""
    files = ", ".join(map(str, map(_shown, start.files))) + (" and --config" if start.given else "")
    models = list(study.used_models)
    engine = "vLLM, on GPUs" if study.config.engine == "vllm" else study.config.engine
    return (
        f"Study '{study.config.study}', by {files}: {len(models)} model{'s' * (len(models) != 1)} "
        f"({', '.join(models)}), sampled with {engine}; {len(study.runs)} on-policy runs"
    )


def _shown(file: Path) -> Path:
    """A file as it is called from here."""
    return file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file


def _layers(start: Start) -> tuple[dict[str, Mapping[str, Any]], list[str]]:
    """What each file says, by its name, and what ``--config`` does; and a sentence for each fault of a file."""
    layers: dict[str, Mapping[str, Any]] = {}
    faults: list[str] = []
    for file in start.files:
        path = _shown(file)
        try:
            content = read_written(path)
        except UserError as error:
            faults += str(error).splitlines()
            continue
        if isinstance(content, Mapping):
            layers[str(path)] = content
        if isinstance(content, Mapping) and TEMPLATE in content:
            faults.append(f"{path}: '{TEMPLATE}': a configuration holds plain values, no expressions")
    return layers | {"--config": start.given or {}}, faults


def _of_other_sources(values: Mapping[str, Any], layers: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """A sentence for each key of a model or problem set that its source makes nothing of, or leaves in doubt.

    The second is one that a lower file gave together with another source, such as the size of the set that was there.
    """
    for section, sources in OF_SOURCE.items():
        entries = values.get(section)
        for name, entry in entries.items() if isinstance(entries, Mapping) else ():
            if isinstance(entry, Mapping) and str(entry.get("source")) in sources:
                parts = {layer: _entry(content, section, name) for layer, content in layers.items()}
                for key, fault in _misplaced(section, entry, parts):
                    yield f"config: {section}.{name}.{key}: {fault}"


def _misplaced(
    section: str, entry: Mapping[str, Any], parts: Mapping[str, Mapping[str, Any]]
) -> Iterator[tuple[str, str]]:
    """Keys of an entry that do not go with its source, each with its fault; ``parts``: what each layer says of it."""
    order = list(parts)
    since = _since(parts, entry["source"])
    own = without_other_sources(section, entry)
    for key, value in entry.items():
        said = [layer for layer in order if key in parts[layer]]
        if since is None or not said or value in (None, _default(section, key)):
            continue
        before = order.index(said[-1]) < order.index(since)
        if key not in own and not before:
            belongs = " or ".join(f"'{source}'" for source, theirs in OF_SOURCE[section].items() if key in theirs)
            yield key, f"belongs to the source {belongs}, not to '{entry['source']}' (found {value!r:.80})"
        elif key in own and key != "source" and before:
            yield (
                key,
                f"{said[-1]} says {value!r:.80} for another source than '{entry['source']}', which {since} names: it "
                "has to say this key as well",
            )


def _entry(layer: Mapping[str, Any], section: str, name: str) -> Mapping[str, Any]:
    entries = layer.get(section)
    entry = entries.get(name) if isinstance(entries, Mapping) else None
    return entry if isinstance(entry, Mapping) else {}


def _since(parts: Mapping[str, Mapping[str, Any]], source: str) -> str | None:
    """The layer from which on an entry is of its ``source``; None where no layer says so."""
    since = None
    for layer, part in parts.items():
        if "source" in part:
            since = (since or layer) if part["source"] == source else None
    return since


def _default(section: str, key: str) -> Any:
    kind = {"models": Model, "problem_sets": ProblemSet}[section]
    return keys(kind)[key].default if key in keys(kind) else None
