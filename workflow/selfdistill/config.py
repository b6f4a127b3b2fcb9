"""The configuration: sections of settings, each declared where it is used, and what only the workflow reads.

`config/README.md` and `workflow/schemas/config.schema.yaml` are generated from the declarations (`make docs`).
"""

import typing
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError, model_validator

from selfdistill.artifacts import VIEWED
from selfdistill.claims.statements import Role
from selfdistill.errors import UserError, nearest, shortened
from selfdistill.generation.contexts import GUIDANCE
from selfdistill.generation.requests import Extent, Sampling, Words
from selfdistill.generation.selection import SelectionSettings
from selfdistill.microcosm.presets import Pretraining
from selfdistill.models import ModelSource
from selfdistill.pages.reading_room import Limits
from selfdistill.problems.sets import SOURCE_KEYS, ProblemSet
from selfdistill.prompts import check_template
from selfdistill.seeds import clashes, each_seed
from selfdistill.settings import (
    Among,
    Count,
    Distinct,
    DistinctOrNone,
    Seed,
    annotation_of,
    as_json,
    choices,
    is_settings,
    key,
    keys,
    misread,
    sentences,
    settings,
    sweep,
    without_dropped,
)
from selfdistill.training import edited_sets
from selfdistill.training.methods import METHODS, SELF_TAUGHT
from selfdistill.training.settings import (
    CONTEXTS,
    RELEASED,
    TRAINED,
    Context,
    MethodName,
    OnPolicySettings,
    Rate,
    Run,
    SftSettings,
)
from selfdistill.training.sft_sets import Collection, SetSizes
from selfdistill.trial import Trial, reduced

Template = Annotated[str, Field(min_length=1, max_length=10_000), AfterValidator(check_template)]
# Names become parts of paths and of run ids.
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=64)]
# Keys that mean something for one source only, by section and source.
OF_SOURCE = {
    "models": {"microcosm": {"seed", "each_seed"}, "hub": {"repo", "revision"}, "folder": {"folder"}, "model": {"of"}},
    "problem_sets": SOURCE_KEYS,
}
OF_SELF_TAUGHT = ("context", "teacher_update_rate", "top_k")
DRAW_OF_MODEL = "seed"  # a draw of problems that is numbered as the base model is


@settings
class Model(ModelSource):
    """A base model: where it comes from, and how it is prompted and sampled."""

    of: str | None = key(None, doc="That other entry, for source `model`.")
    family: Name | None = key(
        None,
        doc="What is averaged in tables and figures: base models of several seeds; null is the name itself.",
    )
    seed: Seed = key(0, doc="Seed of the pre-training, for source `microcosm`.")
    each_seed: Distinct[Seed] | None = key(
        None,
        doc="Several seeds in place of one: the entry, and each that uses its weights, stands for the models "
        "`NAME_seed0`, ..., of one family; wherever its name is listed, all of them are meant.",
    )
    instruction: str = key(
        "Please reason step by step, and put your final answer within \\boxed{}.",
        doc="Line added below each problem; the microcosm has no words for it and leaves it empty.",
        paper="as the default (authors' change_math_prompts.py:22)",
        max_length=10_000,
    )
    system: str = key(
        "",
        doc="System turn before each user turn; none where it is empty.",
        paper="none; Chemistry: one that asks for <reasoning> and <answer> (SDPO's data)",
        max_length=10_000,
    )
    answer_in: Literal["box", "tag"] = key(
        "box",
        doc="Where a response has its answer: in its last `\\boxed{}` (`box`), or between its last `<answer>` and "
        "`</answer>` (`tag`).",
        paper="box; Chemistry: tag",
    )
    second_bos: bool = key(
        False,
        doc="Section 3, Section 4's data and evaluations: the tokenizer puts its BOS before the prompt, though the "
        "template has written one; training has one in any case.",
        paper="true for DeepSeek (vLLM is given rendered text)",
    )
    evaluate: Sampling | None = key(
        None,
        doc="How this model is sampled on benchmarks, where other than `sampling.evaluate`: a key that is left out is "
        "that one's.",
        paper="Qwen3-8B, thinking off: T 0.7, top-p 0.8 (authors' eval_examples.sh)",
    )
    enable_thinking: bool | None = key(
        None,
        doc="Passed to the chat template; null leaves the template's own default.",
        paper="Qwen3-8B: both; DeepSeek's template ignores it (Section 5)",
    )

    @model_validator(mode="after")
    def _other_entry_is_named(self) -> "Model":
        if self.source == "model" and self.of is None:
            raise ValueError("a model of source 'model' needs 'of', the entry whose weights it uses")
        return self


@settings
class Selection(SelectionSettings):
    """Section 3: problems of intermediate difficulty."""

    models: Distinct[str] = key(
        doc="Models that Section 3 is run on.", paper="DeepSeek-R1-Distill-Qwen-7B; Qwen3-8B (A.1.2)"
    )
    problem_set: str = key(doc="Problem set to select from, in file order.", paper="DAPO-Math-17k (Section 3)")


@settings
class Guidance:
    """Section 3: four levels of guidance."""

    samples: Count = key(8, doc="Responses per problem in each of the four settings.", paper="8 (authors' code)")
    parts: DistinctOrNone[Annotated[int, Field(ge=1, lt=100)]] = key(
        factory=list,
        doc="Further settings that show the beginning of s alone: so many of a hundred words of it.",
        paper="none",
    )
    information: bool = key(
        False,
        doc="Measure what each context tells of its responses: log p(y given x, c) - log p(y given x).",
        paper="I(y; c given x) is defined, and not measured",
    )
    alignment: bool = key(
        False,
        doc="Measure what a step along the gradients of GRPO and SDPO, on the unguided responses, does to success; the "
        "microcosm's alone.",
        paper="none",
    )


@settings
class Sft(SftSettings, Collection, SetSizes):
    """Section 4: off-policy self-distillation."""

    models: DistinctOrNone[str] = key(
        doc="Models that Section 4 is run on; without any, its tables and figures are left out.",
        paper="DeepSeek-R1-Distill-Qwen-7B (Section 4)",
    )
    learning_rates: Distinct[Rate] = key(doc="Grid; every rate is run on every data set.", paper="not published")
    edited: DistinctOrNone[Annotated[str, Among(edited_sets.NAMES)]] = key(
        factory=list,
        doc="Data sets with one thing changed (docs/beyond.md), run at every rate as well; the microcosm's alone.",
        paper="none",
    )


RunRow = sweep(Run, "RunRow", {"draw": DRAW_OF_MODEL})  # a list stands for a run with each member


@settings
class Released(Run):
    """A run that was trained elsewhere, of which a model is published: it is evaluated as the run's last checkpoint."""

    checkpoint: str = key(doc="Name of that model, an entry of `models`; `steps` says after how many steps.")

    @property
    def id(self) -> str:
        return Run.id.fget(self) + RELEASED


@settings
class OnPolicy(OnPolicySettings):
    """Sections 5 and 6: on-policy training."""

    runs: list[RunRow] = key(  # pyrefly: ignore[invalid-annotation]
        doc="The runs. A list, in any of their keys, stands for a run with each member."
    )
    released: list[Released] = key(
        factory=list,
        doc="Runs that were trained elsewhere: their published checkpoints are evaluated, with intervals and markers.",
        paper="eight checkpoints (beanie00 on the hub)",
    )
    benchmarks: dict[str, Distinct[str]] = key(
        doc="Benchmarks along training by problem set trained on: unseen types; null drops one. `trained` among them "
        "stands for the first problems that the run itself trains on.",
        paper="AIME24, AMC23 (Section 5)",
        min_length=1,
    )
    subsets: dict[str, Distinct[str]] = key(
        factory=dict,
        doc="By problem set trained on, problem sets that hold parts of it, one for each number of `problems`, their "
        "`size`: a run's D is the part of its size, not the first problems of the whole set. null drops a list.",
        paper="random, nested: the authors' seen_1x64, seen_8x8, ... (docs/data.md)",
    )
    evaluation_samples: Count = key(16, doc="Responses per problem and checkpoint.", paper="16")
    evaluation_problems: Count | None = key(
        None, doc="Only so many problems of each benchmark, in file order; null takes all.", paper="all"
    )
    evaluation_deep: Extent | None = key(
        None, doc="Of each benchmark, the first so many problems with more samples; null: all alike.", paper="all alike"
    )
    evaluation_trained: Extent = key(
        factory=lambda: Extent(32, 16), doc="How much of its own problems a run is evaluated on (`trained`)."
    )
    keep_checkpoints: bool = key(
        True,
        doc="Keep the models of these steps. `false` deletes them once they are evaluated: then another evaluation "
        "trains them again.",
    )
    window: Count = key(5, doc="Steps that one point of a training curve averages.", paper="1")
    mirrors: list[Literal["tensorboard", "trackio", "wandb"]] = key(
        factory=list, doc="Services that step metrics are also sent to; tables hold them in any case."
    )

    def _longest(self) -> int:
        own = [steps for row in self.runs for steps in (row.steps if isinstance(row.steps, list) else [row.steps])]
        return max((steps or self.steps for steps in own), default=self.steps)

    @model_validator(mode="after")
    def _some_run(self) -> "OnPolicy":
        if not self.runs and not self.released:
            raise ValueError("'runs' and 'released' are empty: expected a run")
        return self


@settings
class View:
    """The runs that a figure shows."""

    families: Distinct[str] = key(doc="Families of models shown.")
    thinking: Literal["on", "off"] = key("on", doc="Runs with thinking on or off.")
    problem_set: str = key("train", doc="Problem set trained on.")
    rates: dict[MethodName, Rate] = key(doc="Learning rate shown of each method.", min_length=1)
    top_k: Count = key(100, doc="Runs of SDPO with this top-k.")


@settings
class Narrow:
    """The runs that Figure 1a shows, as its view has them otherwise."""

    problem_set: str = key(doc="A problem set whose training and test problems are of the same types.")
    context: Context = key("solution", doc="SDPO's context.", paper="without thinking (SDPO's published runs)")
    teacher_update_rate: Annotated[float, Field(ge=0, le=1)] = key(
        0.0, doc="SDPO's runs whose teacher moves so much.", paper="0.05 (the same)"
    )


@settings
class Figures:
    """Which runs the figures of Sections 5 and 6 show."""

    narrow: Narrow | None = key(None, doc="Figure 1a: runs on a problem set of one type.")
    views: dict[Annotated[str, Among(VIEWED)], View] = key(
        factory=dict,
        doc="The runs that each figure shows, by figure (`fig_1`, `fig_3`, ...); one without a view is not drawn.",
        paper="3: DeepSeek-R1-Distill-Qwen-7B; 4: Qwen3-8B, thinking on; 5, 7, 8, D.1: Qwen3-8B, thinking off",
    )


@settings
class Evaluation:
    """Accuracy on unseen problems."""

    benchmarks: Distinct[str] = key(doc="Problem sets to evaluate on.", paper="AIME24, AIME25, AMC23, MATH500")
    samples: Count = key(16, doc="Responses per problem (avg@k).", paper="16 (authors' eval_examples.sh)")
    deep: Extent | None = key(
        None, doc="Of each benchmark, the first so many problems with more samples; null: all alike.", paper="all alike"
    )
    words: dict[Name, Words] = key(
        factory=dict,
        doc="Other ways to evaluate the models of Section 4 before any training, by name: kept from words, or held to "
        "them (docs/beyond.md).",
        paper="none",
    )


ROLES = (
    "guidance", "sft", "high_reasoning", "long_thinking", "no_thinking", "moving_teacher", "coverage", "chemistry",
    "instruct", "carrier",
)  # fmt: skip


@settings
class Statistics:
    confidence: float = key(0.95, doc="Level of every interval.", paper="none given", gt=0, lt=1)


@settings
class Claims:
    """The claims ledger."""

    roles: dict[Annotated[str, Among(ROLES)], Role | None] = key(
        factory=dict,
        doc="Which models play the paper's part in each kind of statement (`config/claims.yaml`); null: none does.",
        paper="DeepSeek-R1-Distill-Qwen-7B; Qwen3-8B, thinking on and off; Olmo-3-7B-Instruct",
    )


@settings
class Samplings:
    """How responses are sampled."""

    collect: Sampling = key(
        factory=Sampling,
        doc="Sections 3 and 4: selection, the four settings, SFT sets.",
        paper="T 0.6, top-p 0.95, top-k 20, 32,768",
    )
    train: Sampling = key(
        factory=Sampling, doc="Rollouts of on-policy training.", paper="T 1.0, top-p 1, top-k -1, 20,480 (Section 5)"
    )
    evaluate: Sampling = key(
        factory=Sampling, doc="Benchmarks.", paper="T 0.6, top-p 0.95, 38,912 (authors' eval_examples.sh)"
    )


@settings
class Config:
    """A study."""

    study: str = key(
        doc="Name of the study; everything is written to results/{study}.",
        pattern=r"^[a-z0-9][a-z0-9_-]*$",
        max_length=64,
    )
    note: str = key(
        "", doc="A sentence that stands above the study's claims ledger, such as what is still missing.", max_length=500
    )
    complete: bool = key(
        False,
        doc="This file says all: nothing of `config.yaml`, or of a file given before this one, is under it.",
    )
    laid_over: str = key(
        "",
        doc="The configuration file that this one is laid over; without that one below it, this one is refused.",
        max_length=500,
    )
    seed: Seed = key(0, doc="Seed of all sampling and training after pre-training.")
    engine: Literal["transformers", "vllm"] = key(
        "transformers", doc="What samples: transformers on a CPU, vLLM on GPUs.", paper="vLLM"
    )
    models: dict[Name, Model] = key(doc="Models by name; null drops one that a lower file defines.", min_length=1)
    pretraining: Pretraining = key(factory=Pretraining, doc="Pre-training of the microcosm's models.")
    problem_sets: dict[Name, ProblemSet] = key(doc="Problem sets by name; null drops one.", min_length=1)
    sampling: Samplings = key(factory=Samplings, doc="How responses are sampled.")
    selection: Selection = key(doc="Section 3: problems of intermediate difficulty.")
    guidance: Guidance = key(factory=Guidance, doc="Section 3: four levels of guidance.")
    contexts: dict[Context, Template] = key(
        factory=dict,
        doc="Contexts of your own by name: the user turn, with `{problem}` (as it is asked, with the instruction), "
        "`{solution}` (s, or the peer's response) and `{answer}` (the right one), each where you want it, or nowhere. "
        "Section 3 samples in each of them; `onpolicy.runs[].context` may name one.",
    )
    sft: Sft = key(doc="Section 4: off-policy self-distillation.")
    onpolicy: OnPolicy = key(doc="Sections 5 and 6: on-policy training.")
    figures: Figures = key(factory=Figures, doc="Which runs the figures of Sections 5 and 6 show.")
    evaluation: Evaluation = key(doc="Accuracy on unseen problems.")
    statistics: Statistics = key(factory=Statistics, doc="Uncertainty.")
    claims: Claims = key(factory=Claims, doc="The claims ledger.")
    reading_room: Limits = key(factory=Limits, doc="How many responses can be read in the reading room.")
    trial: Trial | None = key(
        None,
        doc="In place of the study, a trial of it: every kind of job once, on its own models, and small "
        "(`config/trial.yaml`).",
    )


def parse(values: dict[str, Any]) -> Config:
    """The validated configuration; `UserError` with one line, a sentence, for each fault."""
    sections, faults = read_sections(values)
    if faults:
        raise UserError("\n".join(faults))
    return Config(**sections)


def read_sections(values: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The validated sections (and keys) at the top that are without fault, and a sentence for each fault."""
    cleaned = without_dropped(values, Config)
    given = each_seed(cleaned)
    found = [(place, f"config: {'.'.join(map(str, place))}: {fault}") for place, fault in misread(given, Config)]
    for place, fault in [*_reserved(cleaned), *_unknown_names(given), *_of_other_methods(given)]:
        found.append((place.split("."), f"config: {place.replace('.[]', '')}: {fault}"))
    faults = [sentence for _, sentence in found]
    faulty = {str(place[0]) for place, _ in found if place}
    try:
        TypeAdapter(Config).validate_python(given)
    except ValidationError as error:
        faults = [*sentences(error, Config, "config"), *faults]
        faulty |= {str(problem["loc"][0]) for problem in error.errors() if problem["loc"]}
    sections = {name: _section(given, name) for name in keys(Config) if name not in faulty}
    if {"models", "sampling"} <= sections.keys():
        sections["models"] = _section(_evaluated(given, sections["sampling"].evaluate), "models")
    if not faults and sections["trial"] is not None:
        given = reduced(as_json(Config(**sections)))
        sections = {name: _section(given, name) for name in keys(Config)}
    return sections, faults


def _section(given: Mapping[str, Any], name: str) -> Any:
    declared = keys(Config)[name]
    if name not in given:
        return declared.get_default(call_default_factory=True)
    return _adapter(name).validate_python(given[name])


def _evaluated(given: Mapping[str, Any], shared: Sampling) -> dict[str, Any]:
    """``given`` with all keys in each model's own `evaluate`: what it leaves out is ``shared``."""
    models = {
        name: {**model, "evaluate": as_json(shared) | model["evaluate"]} if model.get("evaluate") is not None else model
        for name, model in given["models"].items()
    }
    return {**given, "models": models}


@cache
def _adapter(section: str) -> TypeAdapter[Any]:
    return TypeAdapter(annotation_of(keys(Config)[section]))


def without_other_sources(section: str, entry: Any) -> Any:
    """An entry of ``section`` without the keys that mean something for other sources only."""
    own = OF_SOURCE[section].get(str(entry.get("source"))) if isinstance(entry, Mapping) else None
    if own is None:
        return entry
    others = set().union(*OF_SOURCE[section].values()) - own
    return {name: value for name, value in entry.items() if name not in others}


def _of_other_methods(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """A place and a sentence for each key of a run that has no meaning for it."""
    listed = [(name, rows) for name in ("runs", "released") for rows in _at(values, ["onpolicy", name])]
    for place, row in ((f"onpolicy.{name}.{i}", row) for name, rows in listed for i, row in enumerate(_listed(rows))):
        if not isinstance(row, Mapping):
            continue
        if not set(SELF_TAUGHT) & set(_strings([row.get("method")])):
            for name in OF_SELF_TAUGHT:
                if row.get(name, None) not in (None, keys(Run)[name].default):
                    yield f"{place}.{name}", f"belongs to the method 'sdpo' (found {row[name]!r:.80})"
        if row.get("draw", 0) != 0 and row.get("problems") is None:
            yield f"{place}.draw", "is a draw of so many 'problems', which this run does not name"
        sizes = row.get("problems") if isinstance(row.get("problems"), list) else [row.get("problems")]
        if row.get("copies") not in (None, 1) and None not in sizes:
            yield f"{place}.copies", "are of a whole set; a run on so many 'problems' repeats them to fill a batch"


def _listed(rows: Any) -> list[Any]:
    return rows if isinstance(rows, list) else []


# Names beside those of settings of guidance that no context of one's own can have: of traces and of runs.
OTHER_SETTINGS = ("none", "nothink", "null", "rollouts", "selection", "sft_solution", "sft_unguided")
ALONG = "onpolicy.benchmarks.*"
# Places of a configuration that name entries of another part. "*" is any key of a table, "[]" any entry of a list.
_NAMES = (
    ("selection.models", "models"),
    ("sft.models", "selection.models"),
    ("selection.problem_set", "problem_sets"),
    ("evaluation.benchmarks", "problem_sets"),
    (ALONG, "problem_sets"),
    ("models.*.of", "models"),
    ("onpolicy.runs.[].model", "models"),
    ("onpolicy.runs.[].problem_set", "onpolicy.benchmarks"),
    ("onpolicy.released.[].model", "models"),
    ("onpolicy.released.[].checkpoint", "models"),
    ("onpolicy.released.[].problem_set", "onpolicy.benchmarks"),
    ("figures.narrow.problem_set", "onpolicy.benchmarks"),
    ("onpolicy.subsets", "onpolicy.benchmarks"),
    ("onpolicy.subsets.*", "problem_sets"),
)


def _reserved(written: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """A place and a sentence for each entry with a name that stands for something else."""
    if isinstance(written.get("problem_sets"), Mapping) and TRAINED in written["problem_sets"]:
        yield f"problem_sets.{TRAINED}", "is what a run trains on (onpolicy.benchmarks); the set needs another name"
    for name in _strings(_at(written, ["contexts"])):
        if name in (*GUIDANCE, *CONTEXTS, *METHODS, *OTHER_SETTINGS):
            yield f"contexts.{name}", "is the name of something else; the template needs another one"
    if isinstance(written.get("models"), Mapping):
        yield from clashes(written["models"])


def _unknown_names(values: Any) -> Iterator[tuple[str, str]]:
    """A place and a sentence for each name that stands for nothing, whatever else is wrong."""
    known_by = {place: _strings(_at(values, place.split("."))) for _, place in _NAMES}
    uses = [
        (place, name, known_by[source]) for place, source in _NAMES for name in _strings(_at(values, place.split(".")))
    ]
    uses += [
        ("onpolicy.benchmarks", name, known_by["problem_sets"])
        for name in _strings(_at(values, ["onpolicy", "benchmarks"]))
    ]
    known_contexts = [*CONTEXTS, *_strings(_at(values, ["contexts"]))]
    for place in ("onpolicy.runs.[].context", "figures.narrow.context", "claims.roles.*.context"):
        uses += [(place, name, known_contexts) for name in _strings(_at(values, place.split(".")))]
    for place, name, known in dict.fromkeys((place, name, tuple(known)) for place, name, known in uses):
        if known and name not in known and not (place == ALONG and name == TRAINED):
            yield place, shortened(f"unknown '{name}'{nearest(name, known)}; known: {', '.join(known)}")


def _at(values: Any, place: list[str]) -> list[Any]:
    """The values at a place (``*`` and ``[]`` match every entry); empty if a part is missing or of another type."""
    if not place:
        return [values]
    part, *rest = place
    if part == "*" and isinstance(values, Mapping):
        found: Iterable[Any] = values.values()
    elif part == "[]" and isinstance(values, list):
        found = values
    elif isinstance(values, Mapping) and part in values:
        found = [values[part]]
    else:
        found = []
    return [value for entry in found for value in _at(entry, rest)]


def _strings(found: list[Any]) -> list[str]:
    """Names among values: strings, those of lists, and the keys of tables."""
    listed = [entry for value in found for entry in (value if isinstance(value, list | dict) else [value])]
    return list(dict.fromkeys(entry for entry in listed if isinstance(entry, str)))


def schema() -> dict[str, Any]:
    """JSON schema of the configuration."""
    return TypeAdapter(Config).json_schema()


def document() -> str:
    """The page that lists every key."""
    head = (
        "# Configuration keys\n\nGenerated by `make docs`. `config.yaml` holds the default study; a file given\nwith "
        "`--configfile` is laid over it: dictionaries merge, lists replace, unknown keys fail. A model or problem set\n"
        "that names its `source` takes nothing from the entry below it, and null drops any named entry. A file that\n"
        "says `complete: true` stands alone; `selfdistill new-study` writes one for a model and data of yours.\n\n"
        "What is wrong with a configuration, `snakemake -n` says at once, a line for each fault, and no finished\nfile "
        "is touched. A local file of problems that is not there yet is a warning in a dry run, and stops a\nstart that "
        "reads it.\n\n"
    )
    return head + key_table()


# Sections of which a key that is left out is another section's.
LEFT_OUT = {"models.*.evaluate.": "sampling.evaluate"}


def key_table() -> str:
    """Markdown table of every key: default, meaning, the paper's value."""
    lines = ["| key | default | meaning | in the paper |", "|---|---|---|---|"]
    lines += [f"| `{name}` | {default} | {doc} | {paper} |" for name, default, doc, paper in _rows(Config, "")]
    return "\n".join(lines) + "\n"


def _rows(section: type, prefix: str) -> list[tuple[str, str, str, str]]:
    rows = []
    for name, declared in keys(section).items():
        inner, path = choices(declared.annotation)[0], f"{prefix}{name}"
        if typing.get_origin(inner) in (dict, list):
            several = ".*" if typing.get_origin(inner) is dict else "[]"
            inner, path = choices(typing.get_args(inner)[-1])[0], path + several
        doc, paper = declared.description or "", declared.json_schema_extra["paper"]
        if is_settings(inner):
            rows.append((path, "", doc, paper))
            rows += _rows(inner, f"{path}.")
        else:
            default = "required" if declared.is_required() else f"`{declared.get_default(call_default_factory=True)!r}`"
            default = f"`{LEFT_OUT[prefix]}.{name}`" if prefix in LEFT_OUT else default
            rows.append((path, default.replace("|", "\\|"), doc, paper))
    return rows
