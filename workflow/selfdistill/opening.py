"""The study that a start of the workflow is about: its configuration read anew, and everything checked at once."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from selfdistill import checks
from selfdistill.claims.names import unknown_names
from selfdistill.claims.statements import Claim, Conflict, read_statements
from selfdistill.config import OF_SOURCE, Config, Model, ProblemSet, parse, read_sections, without_other_sources
from selfdistill.errors import UserError, shortened
from selfdistill.overlays import composed, laid_over
from selfdistill.settings import keys
from selfdistill.study import Study
from selfdistill.written import read_written

CLAIMS = Path("config/claims.yaml")
GIVEN = "--config"
BELOW = "laid_over"  # the key that names the file below
TEMPLATE = "__use_yte__"  # Snakemake would compute values from expressions in such a file


@dataclass(frozen=True)
class Start:
    """How the workflow was started.

    ``files`` are the configuration's, the lowest first, and ``given`` is what ``--config`` lays over them.
    ``own_environments``: jobs bring their packages (conda, a container). ``checked``: this is a job of a start in which
    everything was checked.
    """

    checkout: Path
    files: Sequence[Path] = ()
    given: Mapping[str, Any] | None = None
    own_environments: bool = False
    checked: bool = False


@dataclass(frozen=True)
class Opened:
    """A study without fault, the statements that its ledger lists, and what is unusual about it.

    ``values``: its configuration as it stands in the ``files``, those that count.
    """

    study: Study
    statements: list[Claim | Conflict]
    warnings: list[str]
    values: Mapping[str, Any]
    files: list[str]


def check_here() -> None:
    """`UserError` unless this is the folder of a checkout, where configuration, data and results lie."""
    if not Path("Snakefile").is_file():
        raise UserError(f"{Path.cwd()}: no Snakefile here; run this in the root of the repository")


def open_study(values: Mapping[str, Any], start: Start) -> Opened:
    """The study of a start; `UserError` with a line, a sentence, for each fault.

    ``values``: what Snakemake makes of its files, which counts where there is none, or one that cannot be read.
    """
    layers, faults = _layers(start)
    files = [name for name in layers if name != GIVEN]
    values = values if faults or not start.files else laid_over(layers.values())
    if start.checked:
        claims, conflicts = read_statements(CLAIMS)
        return Opened(Study(parse(values)), [*claims, *conflicts], [], values, files)
    if Path.cwd().resolve() != start.checkout.resolve():
        raise UserError(
            f"{Path.cwd()}: not the folder of the checkout, where configuration, data and results lie; start Snakemake "
            f"in {start.checkout}, without --directory"
        )
    sections, wrong = read_sections(values)
    faults += [*_of_other_sources(values), *wrong]
    try:
        claims, conflicts = read_statements(CLAIMS)
    except UserError as error:
        claims, conflicts, faults = [], [], [*faults, *str(error).splitlines()]
    unknown = [*checks.unknown_places([*claims, *conflicts]), *unknown_names(claims, values)]
    faults += [f"{CLAIMS}: {fault}" for fault in unknown]
    # Checks look at the sections that are sound.
    whole = Config(**sections) if sections.keys() == keys(Config).keys() else SimpleNamespace(**sections)
    study = Study(cast(Config, whole))
    faults += checks.faults_of(study, sections, claims, own_environments=start.own_environments)
    if faults:
        raise UserError("\n".join(dict.fromkeys(map(shortened, faults))))
    return Opened(study, [*claims, *conflicts], checks.warnings_of(study), values, files)


def headline(opened: Opened, start: Start) -> str:
    """The first line of a start: what is about to be studied, and which files say so."""
    study = opened.study
    files = ", ".join(opened.files) + (" and --config" if start.given else "")
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
    """What each file says, by its name, and what ``--config`` does; and a sentence for each fault of a file.

    A file that is `Config.complete` stands alone: those below it are left out. `UserError` for one without the file
    that it is laid over, which is a study of another kind.
    """
    layers: dict[str, Mapping[str, Any]] = {}
    faults: list[str] = []
    for place, file in enumerate(start.files):
        path = _shown(file)
        try:
            content = read_written(path)
        except UserError as error:
            faults += str(error).splitlines()
            continue
        if isinstance(content, Mapping) and isinstance(content.get("complete"), str):
            faults.append(f"{path}: complete: true or false, without quotes (found {content['complete']!r:.80})")
        if isinstance(content, Mapping) and content.get("complete") is True:
            layers.clear()
        if isinstance(content, Mapping):
            below = content.get(BELOW)
            if isinstance(below, str) and below:
                _check_below(below, path, start.files[:place], start.checkout)
                content = {name: value for name, value in content.items() if name != BELOW}
            layers[str(path)] = content
        if isinstance(content, Mapping) and TEMPLATE in content:
            faults.append(f"{path}: '{TEMPLATE}': a configuration holds plain values, no expressions")
    return layers | {GIVEN: start.given or {}}, faults


def _check_below(named: str, file: Path, below: Sequence[Path], checkout: Path) -> None:
    wanted = checkout / named
    if wanted in {path.absolute() for path in below}:
        return
    if not wanted.is_file():
        raise UserError(f"{file}: {BELOW}: no file '{named}' in {checkout}")
    profiles = [path.parent for path in sorted(checkout.glob("profiles/*/config.yaml"))]
    naming = [str(_shown(path)) for path in profiles if wanted in composed([str(path)], [])]
    raise UserError(
        f"{file}: is laid over {named}, which is not among the files before it: start with "
        + " or ".join([f"--configfile {named} {file}", *(f"--profile {name} --configfile {file}" for name in naming)])
    )


def _of_other_sources(values: Mapping[str, Any]) -> Iterator[str]:
    """A sentence for each key of a model or problem set that its source makes nothing of."""
    for section, sources in OF_SOURCE.items():
        entries = values.get(section)
        for name, entry in entries.items() if isinstance(entries, Mapping) else ():
            own = without_other_sources(section, entry)
            for key, value in entry.items() if isinstance(entry, Mapping) else ():
                if key not in own and value not in (None, _default(section, key)):
                    belongs = " or ".join(f"'{source}'" for source, theirs in sources.items() if key in theirs)
                    yield (
                        f"config: {section}.{name}.{key}: belongs to the source {belongs}, not to '{entry['source']}' "
                        f"(found {value!r:.80})"
                    )


def _default(section: str, key: str) -> Any:
    kind = {"models": Model, "problem_sets": ProblemSet}[section]
    return keys(kind)[key].default if key in keys(kind) else None
