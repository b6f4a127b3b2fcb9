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
    source: Literal["microcosm", "hub", "folder", "model"] = key(
        doc="`microcosm` (trained from scratch here), `hub` (Hugging Face repository), `folder` (saved model) or "
        "`model` (the weights of another entry, prompted otherwise)."
    )
    of: str | None = key(None, doc="That other entry, for source `model`.")
    family: str | None = key(
        None, doc="Models of one family are averaged in figures: base models of several seeds; null is the name itself."
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
    evaluate: Sampling | None = key(
        None,
        doc="How this model is sampled on benchmarks, where other than `sampling.evaluate`.",
        paper="Qwen3-8B, thinking off: T 0.7, top-p 0.8 (authors' eval_examples.sh)",
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
        if (self.source == "model") != (self.of is not None):
            raise ValueError("'of' belongs to source 'model', and to no other")
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


# A value, or a list that stands for one run with each of its members.
def _one_or_more(kind: Any) -> Any:
    return kind | Annotated[list[kind], Field(min_length=1)]


_Rate = Annotated[float, Field(gt=0)]
_Share = Annotated[float, Field(ge=0, le=1)]
_Count = Annotated[int, Field(gt=0)]
_Number = Annotated[int, Field(ge=0)]


class OnPolicyRun(Section):
    model: _one_or_more(str) = key(doc="Model or models; a list, here and below, stands for a run with each member.")
    method: _one_or_more(Literal["grpo", "sdpo"]) = key(doc="`grpo` or `sdpo`.", paper="both (Section 5)")
    learning_rate: _one_or_more(_Rate) = key(
        doc="Constant after warm-up.", paper="GRPO 1e-6, SDPO 1e-5 (authors' run_math_*.sh:42)"
    )
    context: _one_or_more(Literal["solution", "solution_without_thinking"]) = key(
        "solution", doc="SDPO's c: the peer's whole response, or what follows its thinking.", paper="both (Section 5)"
    )
    teacher_update_rate: _one_or_more(_Share) = key(
        0.0, doc="Share of the policy that enters SDPO's teacher per step; 0 keeps it fixed.", paper="0; 0.05 (5.4)"
    )
    top_k: _one_or_more(_Count) = key(
        100, doc="The student's likeliest tokens that SDPO's divergence tells apart.", paper="100 (run_math_sdpo.sh)"
    )
    problem_set: _one_or_more(str) = key("train", doc="Problem set to train on.", paper="DAPO-Math-17k; Chemistry")
    problems: _one_or_more(_Count | None) = key(
        None,
        doc="Size of D: train on so many problems of the set; null takes all.",
        paper="1, 8, 64, 128, 512, all (6.2)",
    )
    draw: _one_or_more(_Number) = key(0, doc="Which disjoint part of the set D is.", paper="one")
    seed: _one_or_more(_Number) = key(0, doc="Seed of rollouts and order of problems.", paper="one run each")
    batch_size: _one_or_more(_Count | None) = key(
        None, doc="Prompts per step, where other than `onpolicy.batch_size`.", paper="64 for small D"
    )


class OnPolicy(Section):
    runs: list[OnPolicyRun] = key(doc="The runs, sweeps included.")
    benchmarks: dict[str, list[str]] = key(
        doc="Benchmarks along training by problem set trained on: unseen types.", paper="AIME24, AMC23 (Section 5)"
    )
    evaluation_samples: int = key(16, doc="Responses per problem and checkpoint.", paper="16", gt=0)
    evaluation_problems: int | None = key(
        None, doc="Only so many problems of each benchmark, in file order; null takes all.", paper="all", gt=0
    )
    checkpoint_steps: list[_Count] = key(
        doc="Trainer steps after which the model is evaluated.", paper="every 10 (user.yaml:64-67)", min_length=1
    )
    keep_checkpoints: bool = key(
        False,
        doc="Keep the models of these steps. Once deleted, they are trained again when their evaluation changes.",
    )
    window: int = key(5, doc="Steps that one point of a training curve averages.", paper="1", gt=0)
    mirrors: list[Literal["tensorboard", "trackio", "wandb"]] = key(
        list, doc="Services that step metrics are also sent to; tables hold them in any case."
    )
    lora_rank: int = key(
        0,
        doc="Above 0: train low-rank adapters of this rank; SDPO's teacher is the model without them.",
        paper="0",
        ge=0,
    )
    steps: int = key(100, doc="Trainer steps.", paper="100", gt=0)
    batch_size: int = key(256, doc="Prompts per step.", paper="256 (run_math_*.sh:39-41)", gt=0)
    rollouts: int = key(8, doc="Responses per prompt: a group.", paper="8", gt=1)
    updates_per_step: int = key(2, doc="Optimizer updates per step.", paper="2 (mini-batch 128)", gt=0)
    micro_batch_size: int = key(1, doc="Sequences per forward pass and device.", gt=0)
    warmup_steps: int = key(10, doc="Trainer steps of linear warm-up.", paper="10", ge=0)
    weight_decay: float = key(0.01, doc="AdamW weight decay.", paper="0.01 (optim/fsdp.yaml)", ge=0)
    adam_beta1: float = key(0.9, doc="AdamW beta 1.", paper="0.9", ge=0, lt=1)
    adam_beta2: float = key(0.999, doc="AdamW beta 2.", paper="0.999", ge=0, lt=1)
    max_grad_norm: float = key(1.0, doc="Gradient clipping norm.", paper="1.0", gt=0)
    clip_low: float = key(0.2, doc="GRPO: ratio clipped below 1 minus this.", paper="0.2 (user.yaml:24-26)", gt=0)
    clip_high: float = key(0.28, doc="GRPO: ratio clipped above 1 plus this.", paper="0.28 (same)", gt=0)
    dual_clip: float = key(3.0, doc="GRPO: upper bound of the unclipped ratio.", paper="3 (actor.yaml)", gt=1)
    rollout_correction: float = key(
        2.0, doc="Truncation of the token weight trainer / engine.", paper="2.0 (sdpo.yaml:30-32)", gt=0
    )
    divergence_alpha: float = key(
        0.5,
        doc="SDPO: 0 KL(teacher, student), 1 KL(student, teacher), between: Jensen-Shannon.",
        paper="0.5",
        ge=0,
        le=1,
    )
    divergence_tail: bool = key(True, doc="SDPO: the mass outside the top-k is a category of its own.", paper="true")
    importance_clip: float = key(2.0, doc="SDPO: truncation of the token weight new / old.", paper="2.0", gt=0)
    success_threshold: float = key(0.5, doc="SDPO: reward from which a response may demonstrate.", paper="0.5", ge=0)
    demonstration: Literal["random", "first"] = key(
        "random", doc="SDPO: which successful peer demonstrates.", paper="first (ray_trainer.py:664-682)"
    )
    aggregation: Literal["authors", "token"] = key(
        "authors",
        doc="Mean over tokens within each response, then over responses; or over all tokens of an update.",
        paper="token by its configuration, authors by its effect (docs/deviations.md, 6)",
    )
    max_teacher_tokens: int = key(
        22_528,
        doc="SDPO: longest teacher prompt; a longer demonstration is cut.",
        paper="22,528 (actor.yaml:108)",
        gt=0,
    )


class View(Section):
    families: list[str] = key(doc="Families of models shown.", min_length=1)
    thinking: Literal["on", "off"] = key("on", doc="Runs with thinking on or off.")
    problem_set: str = key("train", doc="Problem set trained on.")
    rates: dict[Literal["grpo", "sdpo"], float] = key(doc="Learning rate shown of each method.")
    top_k: int = key(100, doc="Runs of SDPO with this top-k.", gt=0)


FIGURES = ("fig_1", "fig_3", "fig_4", "fig_5", "fig_6", "fig_7", "fig_8", "fig_d1", "fig_e")


class Figures(Section):
    narrow: str = key(doc="Figure 1a: a problem set whose training and test problems are of the same types.")
    views: dict[Literal[FIGURES], View] = key(
        doc="The runs that each figure shows, by figure (`fig_1`, `fig_3`, ...).",
        paper="3: DeepSeek-R1-Distill-Qwen-7B; 4: Qwen3-8B, thinking on; 5, 7, 8, D.1: Qwen3-8B, thinking off",
    )

    @model_validator(mode="after")
    def _all_figures(self) -> "Figures":
        missing = [name for name in FIGURES if name not in self.views]
        if missing:
            raise ValueError(f"'views' says nothing of {missing[0]}")
        return self


class Evaluation(Section):
    benchmarks: list[str] = key(
        doc="Problem sets to evaluate on.", paper="AIME24, AIME25, AMC23, MATH500", min_length=1
    )
    samples: int = key(16, doc="Responses per problem (avg@k).", paper="16 (authors' eval_examples.sh)", gt=0)


class ClaimRole(Section):
    family: str = key(doc="Family of models.")
    thinking: Literal["on", "off"] = key("on", doc="With thinking on or off.")
    problem_set: str = key("train", doc="Problem set trained on.")
    rates: dict[Literal["grpo", "sdpo"], list[_Rate]] = key(
        dict, doc="Learning rates tested of each method; each of SDPO's is a variant with a verdict of its own."
    )
    top_k: int = key(100, doc="Runs of SDPO with this top-k.", gt=0)
    hardest: str = key("hard", doc="The harder of the unseen benchmarks.", paper="AIME24")


ROLES = (
    "guidance", "sft", "high_reasoning", "long_thinking", "no_thinking", "moving_teacher", "coverage", "chemistry",
    "instruct",
)  # fmt: skip


class Claims(Section):
    roles: dict[Literal[ROLES], ClaimRole | None] = key(
        dict,
        doc="Which models play the paper's part in each kind of statement (`config/claims.yaml`); null: none does.",
        paper="DeepSeek-R1-Distill-Qwen-7B; Qwen3-8B, thinking on and off; Olmo-3-7B-Instruct",
    )


class Samplings(Section):
    collect: Sampling = key(
        Sampling,
        doc="Sections 3 and 4: selection, the four settings, SFT sets.",
        paper="T 0.6, top-p 0.95, top-k 20, 32,768",
    )
    train: Sampling = key(
        Sampling, doc="Rollouts of on-policy training.", paper="T 1.0, top-p 1, top-k -1, 20,480 (Section 5)"
    )
    evaluate: Sampling = key(Sampling, doc="Benchmarks.", paper="T 0.6, top-p 0.95, 38,912 (authors' eval_examples.sh)")


class Statistics(Section):
    confidence: float = key(0.95, doc="Level of every interval.", paper="none given", gt=0, lt=1)
    resamples: int = key(10_000, doc="Bootstrap resamples.", gt=0)
    seed: int = key(0, doc="Seed of the bootstrap.", ge=0)


class ReadingRoom(Section):
    problems: int = key(100, doc="Problems shown of each source and step, the first by their hash.", paper="none", gt=0)
    samples: int = key(16, doc="Responses shown to each, the first.", paper="none", gt=0)
    steps: int = key(30, doc="Steps shown of each training run, evenly spaced.", paper="none", gt=0)


class Config(Section):
    study: str = key(
        doc="Name of the study; everything is written to results/{study}.", pattern=r"^[a-z0-9][a-z0-9_-]*$"
    )
    seed: int = key(0, doc="Seed of all sampling and training after pre-training.", ge=0)
    engine: Literal["transformers", "vllm"] = key(
        "transformers", doc="What samples: transformers on a CPU, vLLM on GPUs.", paper="vLLM"
    )
    models: dict[Name, Model] = key(doc="Models by name; null drops one that a lower file defines.", min_length=1)
    pretraining: Pretraining = key(Pretraining, doc="Pre-training of the microcosm's models.")
    problem_sets: dict[Name, ProblemSet] = key(doc="Problem sets by name; null drops one.", min_length=1)
    sampling: Samplings = key(Samplings, doc="How responses are drawn.")
    selection: Selection = key(doc="Section 3: problems of intermediate difficulty.")
    guidance: Guidance = key(Guidance, doc="Section 3: four levels of guidance.")
    sft: Sft = key(doc="Section 4: off-policy self-distillation.")
    onpolicy: OnPolicy = key(doc="Sections 5 and 6: on-policy training.")
    figures: Figures = key(doc="Which runs the figures of Sections 5 and 6 show.")
    evaluation: Evaluation = key(doc="Accuracy on unseen problems.")
    statistics: Statistics = key(Statistics, doc="Uncertainty.")
    claims: Claims = key(Claims, doc="The claims ledger.")
    reading_room: ReadingRoom = key(ReadingRoom, doc="How many responses can be read in the reading room.")

    @model_validator(mode="after")
    def _names_exist(self) -> "Config":
        uses = [
            ("selection.models", self.selection.models, self.models),
            ("sft.models", self.sft.models, self.selection.models),
            ("selection.problem_set", [self.selection.problem_set], self.problem_sets),
            ("evaluation.benchmarks", self.evaluation.benchmarks, self.problem_sets),
            ("onpolicy.benchmarks", self.onpolicy.benchmarks, self.problem_sets),
            *[("onpolicy.benchmarks", names, self.problem_sets) for names in self.onpolicy.benchmarks.values()],
            ("models.*.of", [m.of for m in self.models.values() if m.of], self.models),
            *[("onpolicy.runs.model", _listed(run.model), self.models) for run in self.onpolicy.runs],
            *[
                ("onpolicy.runs.problem_set", _listed(run.problem_set), self.onpolicy.benchmarks)
                for run in self.onpolicy.runs
            ],
            ("figures.narrow", [self.figures.narrow], self.onpolicy.benchmarks),
        ]
        for where, names, known in uses:
            for name in names:
                if name not in known:
                    raise ValueError(f"{where}: unknown '{name}'{nearest(name, known)}; known: {', '.join(known)}")
        return self


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


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
        else:  # a dictionary of named entries or a list of them: dict[str, Entry], list[Entry]
            section = section.__args__[-1]
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
        if getattr(inner, "__origin__", None) in (dict, list):
            several = ".*" if inner.__origin__ is dict else "[]"
            inner, path = inner.__args__[-1], path + several
        if isinstance(inner, type) and issubclass(inner, Section):
            rows.append((path, "", field.description or "", field.json_schema_extra["paper"]))
            rows += _rows(inner, f"{path}.")
        else:
            default = "required" if field.is_required() else f"`{field.default!r}`".replace("|", "\\|")
            rows.append((path, default, field.description or "", field.json_schema_extra["paper"]))
    return rows
