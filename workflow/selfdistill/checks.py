"""What a study lacks or contradicts, found before any job: a sentence for each fault.

A check reads some sections of the configuration, and is made where these are sound. What a job would only say when its
old results are gone is asked here of the same functions.
"""

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from selfdistill.analysis.arms import ARM
from selfdistill.analysis.views import in_view
from selfdistill.artifacts import FIGURES, TABLES
from selfdistill.claims.statements import Cell, Claim, Conflict, Role, cells_of, role_of
from selfdistill.config import ROLES, Config, Model
from selfdistill.errors import UserError, nearest
from selfdistill.flags import Flags
from selfdistill.generation.requests import ALL_WORDS, HOTTEST, Sampling, check_engine
from selfdistill.generation.shards import BLOCK
from selfdistill.microcosm import world
from selfdistill.microcosm.vocabulary import VOCABULARY
from selfdistill.models import MANIFEST, check_cached
from selfdistill.problems import ProblemSet, is_unknown, pinned_revision
from selfdistill.problems.readers import KINDS, Rows, check_kind, kind_of, read_at_once
from selfdistill.problems.sets import check_first_rows
from selfdistill.saved_model import cached_folder, check_model, positions
from selfdistill.settings import keys
from selfdistill.study import Study
from selfdistill.training.edited_sets import names_of
from selfdistill.training.methods import OF_MICROCOSM, SDPO, SELF_TAUGHT, section_of
from selfdistill.training.settings import RELEASED, TRAINED, Run, check_mirrors, draw_part

SHIPPED = "reference"  # results that the repository holds
LONGEST_WORD = 100_000  # bytes of a command that one flag may take: Linux takes 128 KiB for the whole of it
USUAL_CONFIDENCE = 0.5  # below it, the share of intervals that miss is meant

# Rules whose jobs sample with the engine.
SAMPLING = {
    "select_borderline", "sample_guidance", "collect_correct", "evaluate_model", "train_onpolicy",
    "evaluate_checkpoints",
}  # fmt: skip

LOADING = SAMPLING | {"train_sft", "measure_information"}  # a model
# Rules that make the models of an on-policy run, or read them.
ALONG_TRAINING = ("train_onpolicy", "adopt_checkpoint", "evaluate_checkpoints")

TEACHERS = {False: "fixed", True: "moving"}  # by whether its update rate is above 0
# Where the models are listed that a test's responses are of.
WHOSE = {
    **dict.fromkeys(("guidance", "information", "alignment", "solutions"), "selection.models"),
    **dict.fromkeys(("sets", "sft"), "sft.models"),
    **dict.fromkeys(("training", "evaluation"), "onpolicy.runs"),
}

Faults = Iterator[str]


@dataclass(frozen=True)
class Check:
    """A check, with the sections of the configuration that it reads."""

    sections: tuple[str, ...]
    faults: Callable[[Study], Faults]


def faults_of(study: Study, sections: Iterable[str], claims: Iterable[Claim], *, own_environments: bool) -> list[str]:
    """A sentence for each fault of a study of which these ``sections`` are sound.

    ``own_environments``: jobs bring their packages, so that nothing is known of those.
    """
    checks = [
        *CHECKS,
        Check(("study", "models", "onpolicy", "evaluation", "claims"), lambda study: _roles(study, claims)),
        Check(("study", "models", "selection", "sft", "onpolicy", "claims"), lambda study: _roles_lack(study, claims)),
    ]
    if not own_environments:
        checks.append(Check(("onpolicy",), _mirrors))
    sound, found = set(sections), []
    for check in checks:
        if sound >= set(check.sections):
            found += [f"config: {fault}" for fault in _told(check.faults(study))]
    return list(dict.fromkeys(found))


def _told(faults: Faults) -> Faults:
    """``faults``, and the sentence that ends them where a library function refuses."""
    try:
        yield from faults
    except UserError as error:
        yield str(error).removeprefix("config: ")


def _refused(place: str, check: Callable[..., Any], *given: Any, **named: Any) -> Faults:
    """The sentence of a function that refuses what it is given."""
    sentence = _refusal(check, *given, **named)
    if sentence:
        yield f"{place}: {sentence}"


def _refusal(check: Callable[..., Any], *given: Any, **named: Any) -> str:
    try:
        check(*given, **named)
    except UserError as error:
        return str(error)
    return ""


# --- what is used -----------------------------------------------------------------------------------------------------


def warnings_of(study: Study) -> list[str]:
    """What is unusual, or must come right before a start: no reason to refuse a plan."""
    config = study.config
    found = [f"models.{name} is used nowhere" for name in config.models if name not in study.used_models]
    found += [
        f"problem_sets.{name} is used nowhere" for name in config.problem_sets if name not in study.used_problem_sets
    ]
    found += [
        f"models.{name}.{key}: the microcosm has no words for {given!r:.40}; leave it empty"
        for name, model in study.used_models.items()
        for key, given in (("instruction", model.instruction), ("system", model.system))
        if given and study.weights(name).source == "microcosm"
    ]
    found += [
        f"onpolicy.benchmarks.{name}: no run trains on it"
        for name in config.onpolicy.benchmarks
        if name not in {run.problem_set for run in study.runs.values()}
    ]
    shown = (figure for name, figure in FIGURES.items() if name not in study.figures)
    if undrawn := [figure.title for figure in shown if figure.source.there(study)]:
        found.append(f"figures.views: not drawn, as no view says what they show: {', '.join(undrawn)}")
    if config.figures.narrow is not None and "fig_1" not in study.figures:
        found.append("figures.narrow: shown by no figure, as Figure 1 has no view")
    if unfilled := [role for role in ROLES if role not in config.claims.roles]:
        found.append(f"claims.roles: no model has the role of {', '.join(unfilled)}; what is said of it is not tested")
    held_out = config.pretraining.held_out or world.EVALUATION_SIZE
    found += [
        f"problem_sets.{name}.size: of {problem_set.size} problems, pre-training may have seen all but the first "
        f"{held_out} (pretraining.held_out)"
        for name, problem_set in config.problem_sets.items()
        if name in study.benchmarks and problem_set.source == "microcosm" and (problem_set.size or 0) > held_out
    ]
    if config.statistics.confidence < USUAL_CONFIDENCE:
        found.append(
            f"statistics.confidence: {config.statistics.confidence:g} is the share of intervals that cover the value, "
            "not that of those that miss it; 0.95 is usual"
        )
    evaluated = {"sampling.evaluate": config.sampling.evaluate}
    evaluated |= {f"models.{name}.evaluate": model.evaluate for name, model in study.used_models.items()}
    for place, sampling in evaluated.items():
        if sampling is not None and sampling.temperature == 0 and config.evaluation.samples > 1:
            found.append(
                f"{place}.temperature: 0 draws one response {config.evaluation.samples} times (evaluation.samples)"
            )
    if not config.sft.models:
        unused = {"sft.edited": config.sft.edited, "evaluation.words": config.evaluation.words}
        found += [f"{place}: used nowhere, as sft.models names no model" for place, given in unused.items() if given]
    shortest = min((run.steps for run in study.trained.values()), default=config.onpolicy.warmup_steps)
    if shortest < config.onpolicy.warmup_steps:
        found.append(
            f"onpolicy.warmup_steps: {config.onpolicy.warmup_steps}, where a run has {shortest} steps and never "
            "reaches its learning rate"
        )
    sft_steps = -(-config.sft.responses * config.sft.epochs // config.sft.batch_size)
    if config.sft.models and sft_steps < config.sft.warmup_steps:
        found.append(
            f"sft.warmup_steps: {config.sft.warmup_steps}, where fine-tuning has {sft_steps} steps and never reaches "
            "its learning rate"
        )
    longest = config.sampling.collect.max_tokens
    if config.sft.models and config.sft.max_tokens < longest:
        found.append(
            f"sft.max_tokens: of prompt and response together, {config.sft.max_tokens} tokens are trained on; a "
            f"response alone may have {longest} (sampling.collect.max_tokens), and loses its end"
        )
    return [f"config: {told}" for told in found] + [
        *_unknown_commits(study, study.used_models),
        *(told for name in config.problem_sets for told in absent(study, name)),
    ]


def _unknown_commits(study: Study, models: Iterable[str]) -> Faults:
    """A sentence for those of ``models`` whose commits are yet to be looked up."""
    entries = [entry for entry in map(study.config.models.__getitem__, models) if entry.source == "hub"]
    repos = [str(entry.repo) for entry in entries if is_unknown(str(entry.repo), entry.revision)]
    if repos:
        yield (
            f"config/revisions.json: commits not known yet: {len(repos)}; where there is internet, "
            f"`selfdistill resolve-revisions --kind model --repos {' '.join(repos)} --lock config/revisions.json` "
            "looks them up"
        )


def absent(study: Study, problem_set: str) -> Faults:
    """A sentence where the file of a problem set is not there."""
    file = study.config.problem_sets[problem_set].file
    if file is not None and not file.exists():
        hint = "; ~ and $HOME are not replaced here" if str(file)[:1] in "~$" else ""
        there = file.parent.iterdir() if file.parent.is_dir() else []
        siblings = [str(path) for path in there if kind_of(path) in KINDS]
        yield f"config: problem_sets.{problem_set}.file: {file}: no such file{nearest(str(file), siblings)}{hint}"


def faults_at_start(
    study: Study, jobs: Iterable[tuple[str, Mapping[str, str]]], *, here: bool, keep_going: bool
) -> list[str]:
    """A sentence for each thing that the ``jobs`` of this start (rule, wildcards) lack.

    ``here``: they run on this machine. ``keep_going``: one that lacks its file holds up no other.
    """
    started = list(jobs)
    found = [
        told
        for rule, wildcards in started
        if rule == "load_problems" and not keep_going
        for told in absent(study, wildcards["problem_set"])
    ]
    registered = [wildcards["model"] for rule, wildcards in started if rule == "register_model"]
    found += _unknown_commits(study, registered)
    loaded = {study.base_of(wildcards["model"]) for rule, wildcards in started if rule in LOADING}
    loaded |= {run.checkpoint for run in study.released.values() if "adopt_checkpoint" in dict(started)}
    for name in sorted(loaded):
        found += _not_cached(study, name)
    found += _lost_models(study, started)
    if here and SAMPLING & {rule for rule, _ in started}:
        found += _refused("config: engine", check_engine, study.config.engine)
    return found


def _lost_models(study: Study, jobs: Iterable[tuple[str, Mapping[str, str]]]) -> Faults:
    """A sentence for each model that is to be evaluated along training, and that training left but is gone."""
    runs = [(rule, (wildcards["model"], wildcards["run"])) for rule, wildcards in jobs if rule in ALONG_TRAINING]
    made = {name for rule, name in runs if rule != "evaluate_checkpoints"}
    for name in [name for rule, name in runs if rule == "evaluate_checkpoints" and name not in made]:
        folder = study.checkpoints(*name)
        for step in study.evaluated_steps(study.runs[name]):
            if not Path(folder, f"step-{step}", MANIFEST).is_file():
                yield (
                    f"{folder}/step-{step}: missing, though it is to be evaluated; put it back, or delete {folder} and "
                    "start again, which trains the run anew"
                )


def _not_cached(study: Study, model: str) -> Faults:
    """A sentence where a model of the hub has not been fetched, and there is no hub."""
    entry = study.config.models[model]
    if entry.source == "hub" and not is_unknown(str(entry.repo), entry.revision):
        revision = pinned_revision(str(entry.repo), entry.revision)
        yield from _refused(f"config: models.{model}", check_cached, str(entry.repo), revision)


def check_profile(study: Study, processes: Mapping[str, Mapping[str, Any]]) -> None:
    """`UserError` for models of the microcosm under a profile that is made for GPU nodes.

    ``processes``: by training rule, what its accelerate configuration says.
    """
    several = sorted(rule for rule, settings in processes.items() if settings.get("distributed_type") == "FSDP")
    if study.pretrained and several:
        raise UserError(
            f"the profile trains on several GPUs ({', '.join(several)}: accelerate), the study '{study.config.study}' "
            f"tiny models on a CPU ({', '.join(study.pretrained)}): add --profile profiles/paper, or another study's "
            "configuration, or leave the profile out"
        )


# --- checks -----------------------------------------------------------------------------------------------------------


def _name(study: Study) -> Faults:
    if study.config.study == SHIPPED:
        yield f"study: '{SHIPPED}' is the name of the results that the repository holds; choose another"


def _circles(study: Study) -> Faults:
    models = study.config.models
    for name in models:
        seen, other = [name], models[name].of
        while other is not None and other not in seen:
            seen.append(other)
            other = models[other].of
        if other == name:
            yield f"models.{name}.of: leads back to itself ({' -> '.join([*seen, name])})"


def _twins(study: Study) -> Faults:
    """No two base models of a family have the same weights: they would be counted as independent."""
    config, models = study.config, study.used_models
    bases = [name for name, model in models.items() if model.source != "model"]
    for averaged in (bases, config.selection.models, config.sft.models):
        first: dict[tuple[str, ...], str] = {}
        for name in averaged:
            weights = _weights(study.weights(name))
            other = first.setdefault((*study.labels[name].values(), *weights), name)
            if other != name:
                again, like = (other, name) if models[other].source == "model" else (name, other)
                key = "of" if models[again].source == "model" else weights[0]
                yield (
                    f"models.{again}.{key}: the same weights as those of '{like}', of the same family; base models of "
                    "a family are averaged, and no two of them have the same weights"
                )


def _weights(model: Model) -> tuple[str, str]:
    """What tells weights apart, where they are not another model's: a key and its value."""
    if model.source == "microcosm":
        return "seed", str(model.seed)
    if model.source == "hub":
        return "repo", f"{model.repo}@{model.revision}"
    return "folder", os.path.realpath(model.folder or "")


def _models_there(study: Study) -> Faults:
    for name, model in study.used_models.items():
        if model.source == "hub" and not is_unknown(str(model.repo), model.revision):
            yield from _refused(f"models.{name}", pinned_revision, model.repo, model.revision)
        if model.folder is not None:
            yield from _refused(f"models.{name}.folder", check_model, model.folder)


def _problems_there(study: Study) -> Faults:
    for name, problem_set in study.config.problem_sets.items():
        place = f"problem_sets.{name}"
        if problem_set.source == "hub":
            yield from _refused(place, pinned_revision, problem_set.repo, problem_set.revision)
        if problem_set.source == "microcosm":
            yield from _refused(place, world.check_split, problem_set.split, problem_set.size)
        if problem_set.file is not None:
            yield from _refused(f"{place}.file", check_kind, problem_set.file)
            if Path(study.problems(name)).exists():  # what was made of it is lost by the attempt to read it again
                yield from (told.removeprefix("config: ") for told in absent(study, name))


def _sizes(study: Study) -> Faults:
    config, known = study.config, {}
    for name, problem_set in config.problem_sets.items():
        try:
            rows = _rows(problem_set)
        except UserError as error:
            yield f"problem_sets.{name}.file: {error}"
            continue
        known[name], size = _most(problem_set, rows), problem_set.size
        if rows is not None and size is not None and size > rows.number:
            yield f"problem_sets.{name}.size: {size} problems are asked for, {problem_set.file} has {rows.number} rows"
        elif rows is not None:
            exactly = size is not None and study.is_part(name)
            yield from _refused(f"problem_sets.{name}.file", check_first_rows, problem_set, rows, exactly=exactly)
    pool = known.get(config.selection.problem_set)
    if pool is not None and config.selection.target > pool:
        yield f"selection.target: {config.selection.target} problems are asked for, the set has {pool}"
    yield from _subsets(study)
    for (model, _), run in study.trained.items():
        size = known.get(run.problem_set)
        if run.problems is not None and size is not None and not study.parts_of(run.problem_set):
            place = f"onpolicy.runs: {model}"
            yield from _refused(place, draw_part, size, subset=run.problems, draw=run.draw)


def _subsets(study: Study) -> Faults:
    """Parts of a set are told apart by their sizes, and a run takes one that there is."""
    for whole, listed in study.config.onpolicy.subsets.items():
        sizes = [study.config.problem_sets[part].size for part in listed]
        for part, size in zip(listed, sizes, strict=True):
            if size is None:
                yield f"onpolicy.subsets.{whole}: problem_sets.{part}.size is missing, by which runs find '{part}'"
            elif sizes.count(size) > 1:
                yield f"onpolicy.subsets.{whole}: several parts have {size} problems, '{part}' is one"
    for (model, name), run in study.trained.items():
        parts, place = study.parts_of(run.problem_set), f"onpolicy.runs: {model}, {name}"
        if not parts or run.problems is None:
            continue
        if run.problems not in parts:
            known = f"onpolicy.subsets has {', '.join(map(str, parts))}"
            yield f"{place}: no part of '{run.problem_set}' has {run.problems} problems; {known}"
        elif run.draw:
            yield f"{place}: there is one part of {run.problems} problems (onpolicy.subsets), and no draw {run.draw}"


def _rows(problem_set: ProblemSet) -> Rows | None:
    """The rows of a set's file; None of one that is not there, or takes more than a moment."""
    there = problem_set.file is not None and problem_set.file.is_file() and kind_of(problem_set.file) in KINDS
    return read_at_once(problem_set.file) if there else None


def _most(problem_set: ProblemSet, rows: Rows | None) -> int | None:
    """The problems that a set can have at most; None where that is not known."""
    if problem_set.source == "microcosm":
        whole = world.SPLIT_SIZES.get(problem_set.split)
        of_default_size = problem_set.split in ("in_domain", "easy", "hard")
        return problem_set.size or (world.EVALUATION_SIZE if of_default_size else whole)
    counts = [count for count in (rows and rows.number, problem_set.size) if count is not None]
    return min(counts, default=None)


def _runs(study: Study) -> Faults:
    for (model, name), run in study.trained.items():
        place = f"onpolicy.runs: {model}, {name}"
        yield from _refused(place, _settings_fit, study, run)
        if run.method in OF_MICROCOSM and study.weights(model).source != "microcosm":
            yield f"{place}: the method '{run.method}' reads the microcosm's language, and '{model}' is no microcosm"
        if run.method in OF_MICROCOSM and study.config.pretraining.world != "standard":
            yield f"{place}: the method '{run.method}' reads the language of the world 'standard' (pretraining.world)"


def _collected(study: Study) -> Faults:
    """As many responses are drawn as the data sets of Section 4 need."""
    sft, problems = study.config.sft, study.config.selection.target
    if not sft.models:
        return
    if sft.per_problem > sft.max_draws:
        yield (
            f"sft.per_problem: {sft.per_problem} right responses to a problem are wanted, of {sft.max_draws} "
            "(sft.max_draws)"
        )
    most = min(sft.max_draws, sft.per_problem - 1 + BLOCK)  # a problem is drawn on in blocks, until it has enough
    if sft.at_least > problems * most:
        yield (
            f"sft.at_least: {sft.at_least} responses are needed; {problems} problems (selection.target) with up to "
            f"{most} each (sft.per_problem, sft.max_draws) give {problems * most} at most"
        )


def _edited(study: Study) -> Faults:
    """Edits read what the microcosm's reasoner writes."""
    if study.config.sft.edited:
        there = names_of(study.config.pretraining.world)
        for name in set(study.config.sft.edited).difference(there):
            kind = study.config.pretraining.world
            yield f"sft.edited: '{name}' is none of what the world '{kind}' has ({', '.join(there)})"
        for model in study.config.sft.models:
            if study.weights(model).source != "microcosm":
                yield f"sft.edited: model '{model}' is no microcosm: only the microcosm's responses can be edited"


def _aligned(study: Study) -> Faults:
    """Places are those of the microcosm's language, and the gradient of success needs responses that differ."""
    if not study.config.guidance.alignment:
        return
    for model in study.config.selection.models:
        if study.weights(model).source != "microcosm":
            yield f"guidance.alignment: model '{model}' is no microcosm: only the microcosm's language is taken apart"
    for place, samples in (
        ("evaluation", study.config.evaluation.samples),
        ("guidance", study.config.guidance.samples),
    ):
        if samples < 2:
            yield f"guidance.alignment: {place}.samples is {samples}; a gradient of success needs 2 or more"


def _released(study: Study) -> Faults:
    """A published checkpoint has weights of its own, and stands in for no run that is trained here."""
    shown: dict[tuple[str, str], str] = {}
    for (model, name), run in study.released.items():
        place, weights = f"onpolicy.released: {model}, {name}", _weights(study.weights(run.checkpoint))
        if study.config.models[run.checkpoint].source not in ("hub", "folder"):
            yield f"{place}: 'checkpoint' has to name a model of the source 'hub' or 'folder', not '{run.checkpoint}'"
        elif weights == _weights(study.weights(model)):
            yield f"{place}: '{run.checkpoint}' has the weights of the base model '{model}'"
        elif (other := shown.setdefault(weights, name)) != name:
            yield f"{place}: '{run.checkpoint}' has the weights that '{other}' has; two runs end in different ones"
        if (model, name.removesuffix(RELEASED)) in study.trained:
            yield f"{place}: the same run is trained here (onpolicy.runs); their numbers would be averaged"


def _equal_steps(study: Study) -> Faults:
    """Runs that are averaged have equally many steps."""
    rows, arms = study.run_rows(), {}
    runs = [run for _, run in sorted(study.runs.items())]
    for run, *arm in zip(runs, *(rows[name] for name in sorted(set(ARM) & set(rows))), strict=True):
        arms.setdefault(tuple(arm), {}).setdefault(run.steps, run)
    for by_steps in arms.values():
        if len(by_steps) > 1:
            one, other, *_ = by_steps.values()
            yield (
                f"onpolicy.runs: '{one.id}' has {one.steps} steps with '{one.model}' and {other.steps} "
                f"with '{other.model}'; runs that are averaged have equally many"
            )


def _settings_fit(study: Study, run: Run) -> None:
    """`UserError` for a run whose own batch or steps do not go with the settings of all."""
    study.onpolicy_settings(run)


def _mirrors(study: Study) -> Faults:
    refusal = _refusal(check_mirrors, study.config.onpolicy.mirrors)
    if refusal:
        yield refusal


def _trained_and_tested(study: Study) -> Faults:
    config = study.config
    for trained, tested in config.onpolicy.benchmarks.items():
        sets = [trained, *config.onpolicy.subsets.get(trained, [])]
        for name in tested:
            if name != TRAINED and any(_same(config.problem_sets, one, name) for one in sets):
                yield f"onpolicy.benchmarks.{trained}: '{name}' is the set trained on; a benchmark holds other problems"
    for name in config.evaluation.benchmarks:
        if _same(config.problem_sets, config.selection.problem_set, name):
            yield (
                f"evaluation.benchmarks: '{name}' is the set that Section 4's data are selected from "
                "(selection.problem_set); a benchmark holds other problems"
            )


def _tested_twice(study: Study) -> Faults:
    """Of two names for the same problems, a reader would take the second for other evidence."""
    config = study.config
    listed = {"evaluation.benchmarks": config.evaluation.benchmarks}
    listed |= {f"onpolicy.benchmarks.{trained}": tested for trained, tested in config.onpolicy.benchmarks.items()}
    for place, names in listed.items():
        for one, other in itertools.combinations((name for name in names if name != TRAINED), 2):
            read = [asdict(config.problem_sets[name]) | {"file": None} for name in (one, other)]
            if _same(config.problem_sets, one, other) and read[0] == read[1]:
                yield f"{place}: '{one}' and '{other}' are the same problems; name them once"


def _same(sets: Mapping[str, ProblemSet], one: str, other: str) -> bool:
    """Whether two entries are read from the same place."""
    return one == other or _place(sets[one]) == _place(sets[other])


def _place(problem_set: ProblemSet) -> tuple[str | None, ...]:
    """Where a set is read from: of a file, whatever links and dots lead there."""
    if problem_set.file is not None:
        return (os.path.realpath(problem_set.file),)
    return problem_set.source, problem_set.repo, problem_set.name, problem_set.split


def _views(study: Study) -> Faults:
    runs, refusals = study.run_table, {}
    for figure, view in study.config.figures.views.items():
        if view is None:
            continue
        place = f"figures.views.{figure}"
        unknown = [
            *_not_among(f"{place}.families", view.families, runs["family"]),
            *_not_among(f"{place}.problem_set", [view.problem_set], study.config.onpolicy.benchmarks),
            *_rates_not_among(place, {method: [rate] for method, rate in view.rates.items()}, runs),
        ]
        yield from unknown
        if figure == "fig_1" and study.config.figures.narrow is None:
            yield f"{place}: 'figures.narrow' is missing, which says what Figure 1a shows"
            continue
        for conditions in () if unknown else study.drawn(figure):
            asked = repr((view, conditions))  # most figures share a view
            if asked not in refusals:
                refusals[asked] = _refusal(in_view, runs, vars(view), **conditions)
            if refusals[asked]:
                yield f"{place}: {refusals[asked]}"


def _not_among(place: str, names: Iterable[str], known: Iterable[str]) -> Faults:
    listed = list(dict.fromkeys(known))
    for name in names:
        if name not in listed:
            yield f"{place}: unknown '{name}'{nearest(name, listed)}; known: {', '.join(listed)}"


def _rates_not_among(place: str, rates: Mapping[str, Iterable[float]], runs: pd.DataFrame) -> Faults:
    for method, asked in rates.items():
        trained = sorted(set(runs.loc[runs["method"] == method, "learning_rate"]))
        for rate in asked:
            if rate not in trained:
                known = ", ".join(f"{one:g}" for one in trained) or "none"
                yield f"{place}.rates.{method}: no run of '{method}' has the rate {rate:g}; rates of its runs: {known}"


def unknown_places(statements: Iterable[Claim | Conflict]) -> Faults:
    """A sentence for each figure or table that a statement is shown in and that there is not."""
    for each in statements:
        yield from _not_among(f"claim '{each.id}': shown_in", each.shown_in, [*FIGURES, *TABLES])


def _roles(study: Study, claims: Iterable[Claim]) -> Faults:
    roles, by_role = study.roles, {}
    for claim in claims:
        if claim.tests:
            yield from _refused("claims.roles", role_of, claim, roles)
            by_role.setdefault(claim.role, []).extend(claim.tests)
    runs, families = study.run_table, [label["family"] for label in study.labels.values()]
    for name, role in roles.items():
        if role is not None:
            place, tests = f"claims.roles.{name}", by_role.get(name, [])
            yield from _not_among(f"{place}.family", [role.family], families)
            yield from _rates_not_among(place, role.rates, runs)
            if any(test.of in ("training", "evaluation") for test in tests):
                yield from _not_among(f"{place}.problem_set", [role.problem_set], study.config.onpolicy.benchmarks)
            if any(test.benchmark in ("hardest", "hardest_against_others") for test in tests):
                yield from _not_among(f"{place}.hardest", [role.hardest], study.benchmarks)
            yield from _run_twins(place, role, {cell.method for test in tests for cell in cells_of(test)}, runs)
            yield from _lacks_runs(place, role, {cell.method for test in tests for cell in cells_of(test)}, runs)


def _run_twins(place: str, role: Role, methods: set[str | None], runs: pd.DataFrame) -> Faults:
    """A sentence for runs of a method that are tested, of which two differ in what no statement tells apart."""
    runs = runs[(runs["family"] == role.family) & (runs["problem_set"] == role.problem_set)]
    runs = runs[(runs["thinking"] == role.thinking) & runs["whole_set"]]
    for method in sorted(methods - {None, "base"}, key=str):
        own = runs[(runs["method"] == method) & runs["learning_rate"].isin(role.rates.get(section_of(method), []))]
        alike, key = ["model", "seed"], "rates"
        if method in SELF_TAUGHT:
            own = own[own["top_k"] == role.top_k].assign(moving=own["teacher_update_rate"] > 0)
            alike, key = [*alike, "learning_rate", "context", "moving"], "teacher"
        if own.duplicated(alike).any():
            _, one, other, *_ = ("", *own.loc[own.duplicated(alike, keep=False), "run"])
            yield f"{place}.{key}: its statements take one run of '{method}', and both '{one}' and '{other}' fit"


def _lacks_runs(place: str, role: Role, methods: set[str | None], runs: pd.DataFrame) -> Faults:
    """A sentence for each method that is tested and of which a role names no rate, or another top-k than any run's."""
    for method in sorted(methods - {None, "base"}, key=str):
        if section_of(method) not in role.rates:
            yield f"{place}.rates: its statements compare runs of '{method}', of which no rate is named"
    top_ks = sorted(set(runs.loc[runs["method"] == SDPO, "top_k"].dropna().astype(int)))
    if SDPO in methods and top_ks and role.top_k not in top_ks:
        yield f"{place}.top_k: no run of '{SDPO}' has top-k {role.top_k}; known: {', '.join(map(str, top_ks))}"


def _roles_lack(study: Study, claims: Iterable[Claim]) -> Faults:
    """A sentence for each thing that a role says of all its models, or runs, and that none of its family has."""
    for name, role in study.roles.items():
        if role is None:
            continue
        asked: dict[str, list[Cell]] = {}
        for test in (test for claim in claims if claim.role == name for test in claim.tests):
            asked.setdefault(WHOSE[test.of], []).extend(cells_of(test))
        runs = study.run_table
        runs = runs[(runs["family"] == role.family) & (runs["problem_set"] == role.problem_set)]
        yield from _lacks_thinking(f"claims.roles.{name}", role, asked, runs, study)
        yield from _lacks_taught(f"claims.roles.{name}", role, asked.get("onpolicy.runs", []), runs)


def _lacks_thinking(
    place: str, role: Role, asked: Mapping[str, Iterable[Cell]], runs: pd.DataFrame, study: Study
) -> Faults:
    """``asked``: the cells of the role's tests by where the models are listed that their responses are of."""
    modes = {"onpolicy.runs": set(runs["thinking"])}
    for where, models in (("selection.models", study.config.selection.models), ("sft.models", study.config.sft.models)):
        labels = [study.labels[name] for name in models]
        modes[where] = {one["thinking"] for one in labels if one["family"] == role.family}
    there = [where for where, cells in asked.items() if modes[where] and any(not cell.thinking for cell in cells)]
    if there and not any(role.thinking in modes[where] for where in there):
        yield f"{place}.thinking: no model of '{role.family}' in {' or '.join(there)} has thinking {role.thinking}"


def _lacks_taught(place: str, role: Role, cells: Iterable[Cell], runs: pd.DataFrame) -> Faults:
    """Of SDPO's context and teacher, where a test leaves them to the role."""
    taught = [cell for cell in cells if cell.method in SELF_TAUGHT]
    runs = runs[(runs["thinking"] == role.thinking) & runs["method"].isin(SELF_TAUGHT)]
    known = {"context": set(runs["context"]), "teacher": set((runs["teacher_update_rate"] > 0).map(TEACHERS.get))}
    for key, theirs in known.items():
        if any(getattr(cell, key) is None for cell in taught) and theirs and getattr(role, key) not in theirs:
            listed = ", ".join(sorted(theirs))
            yield f"{place}.{key}: no run of '{SDPO}' with '{getattr(role, key)}'; its family's have: {listed}"


def _commands(study: Study) -> Faults:
    flags = Flags(study)
    words = {"all keys together": flags.config(), "onpolicy.runs": flags.run_rows()}
    for what, word in words.items():
        size = len(word.encode())
        if size > LONGEST_WORD:
            yield f"{what}: {size:,} bytes in the command of a job, which has room for {LONGEST_WORD:,}"


def _temperatures(study: Study) -> Faults:
    config = study.config
    if config.sampling.train.top_k == 1:
        yield "sampling.train.top_k: 1 draws one response as often as there are rollouts; training needs more"
    if config.sampling.train.temperature == 0:
        yield "sampling.train.temperature: 0 draws one response as often as there are rollouts; training needs more"
    band = config.selection
    if config.sampling.collect.temperature == 0 and band.low > 0 and band.high < 1:
        yield f"sampling.collect.temperature: 0 solves a problem always or never, not in {band.low} to {band.high}"
    if config.engine != "vllm":
        return
    samplings = {f"sampling.{name}": getattr(config.sampling, name) for name in keys(type(config.sampling))}
    samplings |= {f"models.{name}.evaluate": model.evaluate for name, model in config.models.items() if model.evaluate}
    for place, sampling in samplings.items():
        if sampling.temperature > HOTTEST:
            yield f"{place}.temperature: vLLM takes temperatures up to {HOTTEST}, found {sampling.temperature:g}"


def _lengths(study: Study) -> Faults:
    """A response and the shortest prompt fit into its model."""
    for name in study.used_models:
        folder = _folder_of(study.weights(name))
        most = None if folder is None else positions(folder)
        for place, sampling in _samplings_of(study, name) if most is not None else ():
            if sampling.max_tokens >= most:
                yield (
                    f"{place}.max_tokens: {sampling.max_tokens} tokens of a response alone; '{name}' ({folder}) takes "
                    f"{most} of prompt and response (max_position_embeddings)"
                )


def _folder_of(model: Model) -> Path | None:
    """Where a model lies on this machine before anything is run: in its folder, or in the hub's cache."""
    repo, revision = str(model.repo), model.revision
    if model.source != "hub" or _refusal(pinned_revision, repo, revision):  # that is told where commits are checked
        return model.folder
    return cached_folder(repo, pinned_revision(repo, revision))


def _samplings_of(study: Study, model: str) -> Iterator[tuple[str, Sampling]]:
    """How a model is sampled, each with its place in the configuration."""
    config, trained = study.config, {name for name, _ in study.trained}
    if model in config.selection.models:
        yield "sampling.collect", config.sampling.collect
    if model in trained:
        yield "sampling.train", config.sampling.train
    if model in trained or model in config.sft.models:
        place = "sampling.evaluate" if config.models[model].evaluate is None else f"models.{model}.evaluate"
        yield place, study.evaluated_with(model)


def _extents(study: Study) -> Faults:
    """The first problems of a benchmark have more samples than the others, not fewer."""
    evaluation, onpolicy = study.config.evaluation, study.config.onpolicy
    for place, samples, deep in (
        ("evaluation.", evaluation.samples, evaluation.deep),
        ("onpolicy.evaluation_", onpolicy.evaluation_samples, onpolicy.evaluation_deep),
    ):
        if deep is not None and deep.samples < samples:
            yield f"{place}deep.samples: {deep.samples}, fewer than of the other problems, {samples} ({place}samples)"


def _words(study: Study) -> Faults:
    """What the engine can do, and what the microcosm's models can say."""
    microcosm = any(study.weights(model).source == "microcosm" for model in study.config.sft.models)
    known = {word.lower(): word for word in VOCABULARY}
    for name, words in study.config.evaluation.words.items():
        place = f"evaluation.words.{name}"
        if words == ALL_WORDS:
            yield f"{place}: neither 'bad' nor 'forced' words are given"
        if words.forced and study.config.engine == "vllm":
            yield f"{place}.forced: vLLM holds a model to no words; the engine transformers does"
        for key in ("bad", "forced") if microcosm else ():
            for word in getattr(words, key) or ():
                if word.lower() not in known:
                    yield f"{place}.{key}: the microcosm has no word '{word}'{nearest(word, known)}"


CHECKS = (
    Check(("study",), _name),
    Check(("models",), _circles),
    Check(("models", "selection", "sft", "onpolicy"), _models_there),
    Check(("models", "selection", "sft", "onpolicy"), _twins),
    Check(("study", "problem_sets"), _problems_there),
    Check(("problem_sets", "models", "selection", "onpolicy"), _sizes),
    Check(("models", "pretraining", "onpolicy"), _runs),
    Check(("selection", "sft"), _collected),
    Check(("models", "pretraining", "sft"), _edited),
    Check(("models", "selection", "guidance", "evaluation"), _aligned),
    Check(("models", "onpolicy"), _released),
    Check(("study", "models", "onpolicy"), _equal_steps),
    Check(("problem_sets", "selection", "onpolicy", "evaluation"), _trained_and_tested),
    Check(("problem_sets", "onpolicy", "evaluation"), _tested_twice),
    Check(("study", "models", "onpolicy", "figures"), _views),
    Check(("engine", "models", "sampling", "selection"), _temperatures),
    Check(("models", "sampling", "selection", "sft", "onpolicy"), _lengths),
    Check(("onpolicy", "evaluation"), _extents),
    Check(("engine", "models", "sft", "evaluation"), _words),
    Check(tuple(keys(Config)), _commands),
)
