"""The typed configuration: every key with its meaning, its default, and the paper's value where one exists.

Only the workflow reads it; stages receive plain values. `config/README.md` and
`workflow/schemas/config.schema.yaml` are generated from these classes (`make docs`).
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from selfdistill.errors import UserError, nearest


def key(default: Any = ..., *, doc: str, paper: str = "", **bounds: Any) -> Any:
    """A configuration key: ``doc`` is its meaning and unit, ``paper`` the paper's value and where it stands."""
    factory = {"default_factory": default} if callable(default) else {"default": default}
    return Field(description=doc, json_schema_extra={"paper": paper}, **factory, **bounds)


# Names become parts of paths and of run ids.
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Sampling(Section):
    temperature: float = key(1.0, doc="Softmax temperature; 0 is greedy.", ge=0)
    top_p: float = key(1.0, doc="Nucleus mass kept.", gt=0, le=1)
    top_k: int = key(0, doc="Number of likeliest tokens kept; 0 keeps all.", ge=0)
    max_tokens: int = key(
        400, doc="Longest response, in tokens; one cut there has an answer only if its box was closed before.", gt=0
    )


class Model(Section):
    source: Literal["microcosm", "hub", "folder"] = key(
        doc="`microcosm` (trained from scratch here), `hub` (Hugging Face repository) or `folder` (saved model)."
    )
    repo: str | None = key(None, doc="Hub repository, for source `hub`.")
    revision: str | None = key(None, doc="Its commit, 40 hexadecimal digits, or `locked` (config/revisions.json).")
    folder: Path | None = key(None, doc="Folder of a saved model with safetensors weights, for source `folder`.")
    seed: int = key(0, doc="Seed of the pre-training, for source `microcosm`.", ge=0)
    instruction: str = key(
        "Please reason step by step, and put your final answer within \\boxed{}.",
        doc="Line added below each problem; the microcosm has no words for it and leaves it empty.",
        paper="as the default (authors' change_math_prompts.py:22)",
    )
    enable_thinking: bool | None = key(
        None,
        doc="Passed to the chat template; null leaves the template's own default.",
        paper="Qwen3-8B: both; DeepSeek's template ignores it (Section 5)",
    )

    @model_validator(mode="after")
    def _source_has_its_keys(self) -> "Model":
        if self.source == "hub" and not (self.repo and self.revision):
            raise ValueError("a model of source 'hub' needs 'repo' and 'revision'")
        if self.source == "folder" and self.folder is None:
            raise ValueError("a model of source 'folder' needs 'folder'")
        return self


class Pretraining(Section):
    preset: Literal["standard", "smoke", "tiny"] = key(
        "standard", doc="Size of the microcosm's pre-training; the numbers stand in `microcosm/pretrain.py`."
    )


class ProblemSet(Section):
    source: Literal["microcosm", "file", "hub"] = key(doc="Where the problems come from.")
    split: str = key("train", doc="Split of the microcosm or of the hub data set.")
    size: int | None = key(None, doc="Number of problems kept, in file order; null keeps all.", gt=0)
    file: Path | None = key(None, doc="Parquet, JSONL or JSON file, for source `file`.")
    repo: str | None = key(None, doc="Hub repository, for source `hub`.")
    name: str | None = key(None, doc="Configuration name of the hub data set.")
    revision: str | None = key(None, doc="Its commit, 40 hexadecimal digits, or `locked` (config/revisions.json).")
    problem_column: str | None = key(None, doc="Column of the problem, where its name is not a usual one.")
    answer_column: str | None = key(None, doc="Column of the answer; dots reach into structures.")

    @model_validator(mode="after")
    def _source_has_its_keys(self) -> "ProblemSet":
        if self.source == "hub" and not (self.repo and self.revision):
            raise ValueError("a problem set of source 'hub' needs 'repo' and 'revision'")
        if self.source == "file" and self.file is None:
            raise ValueError("a problem set of source 'file' needs 'file'")
        return self


class Selection(Section):
    models: list[str] = key(
        doc="Models that Section 3 is run on.", paper="DeepSeek-R1-Distill-Qwen-7B; Qwen3-8B (A.1.2)", min_length=1
    )
    problem_set: str = key(doc="Problem set to select from, in file order.", paper="DAPO-Math-17k (Section 3)")
    rollouts: int = key(8, doc="Responses drawn per problem.", paper="8 (Section 3)", gt=0)
    low: float = key(0.125, doc="Lowest solve rate kept, inclusive.", paper="0.125 (Section 3)", ge=0, le=1)
    high: float = key(0.5, doc="Highest solve rate kept, inclusive.", paper="0.5 (Section 3)", ge=0, le=1)
    target: int = key(100, doc="Stop when this many problems are found.", paper="100 (Section 3)", gt=0)
    batch: int = key(128, doc="Problems drawn between two looks at the target.", paper="128 (authors' code)", gt=0)

    @model_validator(mode="after")
    def _bounds_in_order(self) -> "Selection":
        if self.low > self.high:
            raise ValueError(f"'low' ({self.low}) is above 'high' ({self.high})")
        return self


class Guidance(Section):
    samples: int = key(8, doc="Responses per problem in each of the four settings.", paper="8 (authors' code)", gt=0)


class Sft(Section):
    models: list[str] = key(
        doc="Models that Section 4 is run on.", paper="DeepSeek-R1-Distill-Qwen-7B (Section 4)", min_length=1
    )
    responses: int = key(800, doc="Correct responses in each data set.", paper="800 (Section 4)", gt=0)
    at_least: int = key(800, doc="Fewest responses to accept when a model solves too few.", gt=0)
    per_problem: int = key(8, doc="Correct responses wanted of each problem.", paper="100 problems x 8 = 800", gt=0)
    max_draws: int = key(64, doc="Most responses drawn per problem in search of correct ones.", gt=0)
    learning_rates: list[Annotated[float, Field(gt=0)]] = key(
        doc="Grid; every rate is run on every data set.", paper="not published", min_length=1
    )
    epochs: int = key(2, doc="Passes over the data set.", paper="not published", gt=0)
    batch_size: int = key(32, doc="Sequences per optimizer step, over all devices.", paper="not published", gt=0)
    micro_batch_size: int = key(4, doc="Sequences per forward pass; accumulation is derived from it.", gt=0)
    warmup_steps: int = key(5, doc="Steps of linear warm-up.", paper="not published", ge=0)
    weight_decay: float = key(0.0, doc="AdamW weight decay.", paper="not published", ge=0)
    max_grad_norm: float = key(1.0, doc="Gradient clipping norm.", paper="not published", gt=0)
    max_tokens: int = key(600, doc="Longest prompt and response together, in tokens.", paper="not published", gt=0)

    @model_validator(mode="after")
    def _bounds_in_order(self) -> "Sft":
        if self.at_least > self.responses:
            raise ValueError(f"'at_least' ({self.at_least}) is above 'responses' ({self.responses})")
        return self


class Evaluation(Section):
    benchmarks: list[str] = key(
        doc="Problem sets to evaluate on.", paper="AIME24, AIME25, AMC23, MATH500", min_length=1
    )
    samples: int = key(16, doc="Responses per problem (avg@k).", paper="16 (authors' eval_examples.sh)", gt=0)


class Samplings(Section):
    collect: Sampling = key(
        Sampling,
        doc="Sections 3 and 4: selection, the four settings, SFT sets.",
        paper="T 0.6, top-p 0.95, top-k 20, 32,768",
    )
    evaluate: Sampling = key(Sampling, doc="Benchmarks.", paper="T 0.6, top-p 0.95, 38,912 (authors' eval_examples.sh)")


class Statistics(Section):
    confidence: float = key(0.95, doc="Level of every interval.", paper="none given", gt=0, lt=1)
    resamples: int = key(10_000, doc="Bootstrap resamples.", gt=0)
    seed: int = key(0, doc="Seed of the bootstrap.", ge=0)


class Config(Section):
    study: str = key(
        doc="Name of the study; everything is written to results/{study}.", pattern=r"^[a-z0-9][a-z0-9_-]*$"
    )
    seed: int = key(0, doc="Seed of all sampling and training after pre-training.", ge=0)
    engine: Literal["transformers"] = key("transformers", doc="Engine that samples.")
    models: dict[Name, Model] = key(doc="Models by name; null drops one that a lower file defines.", min_length=1)
    pretraining: Pretraining = key(Pretraining, doc="Pre-training of the microcosm's models.")
    problem_sets: dict[Name, ProblemSet] = key(doc="Problem sets by name; null drops one.", min_length=1)
    sampling: Samplings = key(Samplings, doc="How responses are drawn.")
    selection: Selection = key(doc="Section 3: problems of intermediate difficulty.")
    guidance: Guidance = key(Guidance, doc="Section 3: four levels of guidance.")
    sft: Sft = key(doc="Section 4: off-policy self-distillation.")
    evaluation: Evaluation = key(doc="Accuracy on unseen problems.")
    statistics: Statistics = key(Statistics, doc="Uncertainty.")

    @model_validator(mode="after")
    def _names_exist(self) -> "Config":
        uses = [
            ("selection.models", self.selection.models, self.models),
            ("sft.models", self.sft.models, self.selection.models),
            ("selection.problem_set", [self.selection.problem_set], self.problem_sets),
            ("evaluation.benchmarks", self.evaluation.benchmarks, self.problem_sets),
        ]
        for where, names, known in uses:
            for name in names:
                if name not in known:
                    raise ValueError(f"{where}: unknown '{name}'{nearest(name, known)}; known: {', '.join(known)}")
        return self


def parse(values: dict[str, Any]) -> Config:
    """The validated configuration; `UserError` in one sentence for the first thing that is wrong."""
    kept = {
        section: {name: entry for name, entry in values[section].items() if entry is not None}
        for section in ("models", "problem_sets")
        if isinstance(values.get(section), dict)
    }
    try:
        return Config.model_validate({**values, **kept})
    except ValidationError as error:
        raise UserError(_explain(error.errors()[0])) from None


def _explain(problem: dict[str, Any]) -> str:
    place = ".".join(str(part) for part in problem["loc"]) or "the configuration"
    if problem["type"] == "extra_forbidden":
        known = _known_keys(problem["loc"][:-1])
        return f"config: unknown key '{place}'{nearest(str(problem['loc'][-1]), known)}; known here: {', '.join(known)}"
    if problem["type"] == "missing":
        return f"config: '{place}' is missing"
    found = "" if isinstance(problem["input"], dict) else f" (found {problem['input']!r:.80})"
    return f"config: {place}: {problem['msg'].removeprefix('Value error, ')}{found}"


def _known_keys(location: tuple[int | str, ...]) -> list[str]:
    section: Any = Config
    for part in location:
        if isinstance(section, type) and issubclass(section, Section):
            section = section.model_fields[str(part)].annotation
        else:  # a dictionary of named entries: dict[str, Entry]
            section = section.__args__[1]
    return list(section.model_fields)


def schema() -> dict[str, Any]:
    """JSON schema of the configuration."""
    return Config.model_json_schema()


def document() -> str:
    """The page that lists every key."""
    head = (
        "# Configuration keys\n\nGenerated by `make docs` from `workflow/selfdistill/config.py`. `config.yaml` holds "
        "the default study; a file given\nwith `--configfile` is laid over it: dictionaries merge, lists replace, "
        "unknown keys fail.\n\n"
    )
    return head + key_table()


def key_table() -> str:
    """Markdown table of every key: default, meaning, the paper's value."""
    lines = ["| key | default | meaning | in the paper |", "|---|---|---|---|"]
    lines += [f"| `{name}` | {default} | {doc} | {paper} |" for name, default, doc, paper in _rows(Config, "")]
    return "\n".join(lines) + "\n"


def _rows(section: type[Section], prefix: str) -> list[tuple[str, str, str, str]]:
    rows = []
    for name, field in section.model_fields.items():
        inner, path = field.annotation, f"{prefix}{name}"
        if getattr(inner, "__origin__", None) is dict:
            inner, path = inner.__args__[1], f"{path}.*"
        if isinstance(inner, type) and issubclass(inner, Section):
            rows.append((path, "", field.description or "", field.json_schema_extra["paper"]))
            rows += _rows(inner, f"{path}.")
        else:
            default = "required" if field.is_required() else f"`{field.default!r}`".replace("|", "\\|")
            rows.append((path, default, field.description or "", field.json_schema_extra["paper"]))
    return rows
