"""A configuration for a model and data of one's own: complete, small, and checked before it is written."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import yaml

from selfdistill import checks
from selfdistill.claims.statements import read_claims
from selfdistill.config import Config, read_sections
from selfdistill.errors import UserError
from selfdistill.files import write_text
from selfdistill.opening import CLAIMS
from selfdistill.problems import ProblemSet, load_problem_set, pinned_revision
from selfdistill.problems.revisions import LOCKED
from selfdistill.saved_model import check_model, positions
from selfdistill.study import Study
from selfdistill.training.settings import TRAINED
from selfdistill.written import read_written

TRAIN = "train"
# Rates and sampling are the authors'; sizes are a start, for a machine with one GPU.
TEXT = """\
# A study of {what}. All keys: config/README.md.
# `snakemake --configfile {file} --dry-run` says what is run, `selfdistill plan --configfile {file}` how long it takes.
# Look at the lines that say EDIT.
study: {study}
complete: true    # nothing of config.yaml is under this file
engine: transformers    # EDIT: vllm on GPUs

models:
  {model}: {source}

problem_sets:
  train: {{source: file, file: {train}}}    # selected from (Section 3), trained on (5, 6)
{sets}

sampling:    # EDIT max_tokens: long enough for a whole response
  collect: {{temperature: 0.6, top_p: 0.95, top_k: 20, max_tokens: {tokens}}}
  train: {{temperature: 1.0, top_p: 1.0, top_k: 0, max_tokens: {tokens}}}
  evaluate: {{temperature: 0.6, top_p: 0.95, top_k: 0, max_tokens: {tokens}}}

selection: {{models: [{model}], problem_set: train, target: {target}, batch: {batch}}}    # EDIT target: problems

sft:
  models: [{model}]
  learning_rates: [1.0e-5]    # EDIT
  responses: {responses}
  at_least: {target}
  micro_batch_size: 1
  max_tokens: {longest}    # a prompt and a response of full length

evaluation: {{benchmarks: {benchmarks}}}

onpolicy:
  runs:    # EDIT rates, here the authors'
    - {{model: {model}, method: grpo, learning_rate: 1.0e-6}}
    - {{model: {model}, method: sdpo, learning_rate: 1.0e-5, context: [solution, solution_without_thinking]}}
  benchmarks: {{train: {benchmarks}}}
  steps: 100    # EDIT, with the steps that are evaluated
  checkpoint_steps: [50, 100]
  batch_size: 32    # EDIT: prompts per step; paper: 256

figures: {{views: {{fig_3: {{families: [{model}], rates: {{grpo: 1.0e-6, sdpo: 1.0e-5}}}}}}}}

claims:
  roles:
    guidance: {{family: {model}}}
    sft: {{family: {model}}}
    high_reasoning: {{family: {model}, rates: {{grpo: [1.0e-6], sdpo: [1.0e-5]}}, hardest: {hardest}}}
"""
MAX_TOKENS = 4096
PROMPT_TOKENS = 1024
MOST_TARGETS, RESPONSES = 100, 8  # problems of Section 3, and correct responses to each in Section 4; as the paper
SHARE = 4  # of the problems, so many times fewer are asked to be of intermediate difficulty


def text(model: str, problems: Path, benchmarks: Sequence[Path], file: Path) -> str:
    """The configuration that ``file`` is to hold.

    ``model``: a folder, or a repository of the hub, perhaps with its commit (``REPO@COMMIT``). ``problems``: a file of
    problems to train on, ``benchmarks``: files of problems to evaluate on. `UserError` for what is not there or not
    readable, and with a line for each fault of the study that comes of it.
    """
    study = _study(file)
    name, source = _model(model)
    sets = {_word(name): file for name, file in _named(benchmarks).items()}
    number = len(load_problem_set(ProblemSet(source="file", file=problems)))
    for benchmark in benchmarks:
        load_problem_set(ProblemSet(source="file", file=benchmark))
    tokens = min(MAX_TOKENS, (_positions(source) or 2 * MAX_TOKENS) // 2)
    target = max(1, min(MOST_TARGETS, number // SHARE))
    written = TEXT.format(
        what=" ".join(model.split()),
        file=file,
        study=_word(study),
        model=_word(name),
        source=_flow(source),
        train=json.dumps(str(problems), ensure_ascii=False),
        sets="\n".join(f"  {name}: {_flow({'source': 'file', 'file': str(path)})}" for name, path in sets.items()),
        tokens=tokens,
        longest=tokens + PROMPT_TOKENS,
        target=target,
        batch=min(128, number),
        responses=RESPONSES * target,
        benchmarks=f"[{', '.join(sets)}]",
        hardest=next(reversed(sets)),
    )
    _check(written)
    return written


def write(model: str, problems: Path, benchmarks: Sequence[Path], out: Path) -> None:
    """Write that configuration to ``out``, a new file."""
    if out.exists():
        raise UserError(f"{out}: is there already; --out names another file")
    write_text(out, text(model, problems, benchmarks, out))


def _check(written: str) -> None:
    """`UserError` with the faults that a start with this configuration would be refused for."""
    sections, faults = read_sections(yaml.safe_load(written))
    if not faults:
        study = Study(Config(**sections))
        faults = checks.faults_of(study, sections, read_claims(CLAIMS), own_environments=False)
    if faults:
        raise UserError("\n".join(faults))


def _study(file: Path) -> str:
    """The study's name, by the file that is to hold it: models of several folders may have one name.

    `UserError` where another study has that name, whose results this one would write over.
    """
    name = re.sub("[^a-z0-9_-]+", "-", file.stem.lower()).strip("-_")
    if not name:
        raise UserError(f"{file}: a study is called as its file, in letters from a to z; --out names another file")
    results = Path("results") / name
    taken = [results] if results.exists() else [path for path in _configurations(file) if _names(path, name)]
    if taken:
        raise UserError(f"{taken[0]}: a study '{name}' is there already; --out names another file, and by it the study")
    return name


def _configurations(file: Path) -> list[Path]:
    """The configurations of the checkout, and those beside ``file``."""
    return sorted({*Path().glob("*.yaml"), *Path("config").glob("*.yaml"), *file.parent.glob("*.yaml")})


def _names(path: Path, study: str) -> bool:
    """Whether a file is the configuration of a study of that name; one that cannot be read is none."""
    try:
        content = read_written(path)
    except UserError:
        return False
    return isinstance(content, Mapping) and content.get("study") == study


def _model(model: str) -> tuple[str, Mapping[str, str]]:
    """A name for the model, and its entry; what lies in a folder of this place is no repository."""
    if Path(model).parent.is_dir() or model.startswith((".", "/", "~")) or model.count("/") != 1:
        check_model(Path(model))
        return _name(Path(model).resolve().name), {"source": "folder", "folder": model}
    repo, _, commit = model.partition("@")
    pinned_revision(repo, commit or LOCKED)
    return _name(repo.partition("/")[2]), {"source": "hub", "repo": repo, "revision": commit or LOCKED}


def _positions(source: Mapping[str, str]) -> int | None:
    """Tokens that a saved model takes; None where that is not known here."""
    return positions(Path(source["folder"])) if "folder" in source else None


def _named(files: Iterable[Path]) -> dict[str, Path]:
    """Each file of problems by a name of its own."""
    found: dict[str, Path] = {}
    for file in files:
        name = _name(file.name.partition(".")[0])
        taken = {TRAIN, TRAINED, *found}
        found[name if name not in taken else f"{name}_{len(found) + 1}"] = file
    return found


def _name(given: str) -> str:
    """The name of a part of a study, which becomes part of paths."""
    name = re.sub("[^A-Za-z0-9._-]+", "_", given).strip("._-")[:48]
    return name if re.search("[A-Za-z]", name) else f"own_{name}".rstrip("_")


def _word(name: str) -> str:
    """A name as YAML; in quotes where it would be something else, as ``no`` and ``on`` are."""
    return name if yaml.safe_load(name) == name else json.dumps(name, ensure_ascii=False)


def _flow(entry: Mapping[str, str]) -> str:
    """An entry as YAML on one line; a text in quotes, which may hold anything."""
    return "{" + ", ".join(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in entry.items()) + "}"
