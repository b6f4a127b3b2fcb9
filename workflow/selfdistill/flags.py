"""What the rules hand to each job: a study's settings as the flags of its stage, quoted for a shell."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from selfdistill.artifacts import Figure, settings_of
from selfdistill.cli import flag_word, words
from selfdistill.config import Model
from selfdistill.errors import UserError
from selfdistill.generation.requests import ALL_WORDS, Extent
from selfdistill.generation.selection import SelectionSettings
from selfdistill.models import ModelSource
from selfdistill.pages.stamp import PAPER_STUDY
from selfdistill.problems import pinned_revision
from selfdistill.settings import as_json, keys
from selfdistill.study import Study
from selfdistill.training.methods import METHODS, SDPO, sections_of
from selfdistill.training.settings import OWN, Run, SftSettings
from selfdistill.training.sft_sets import Collection, SetSizes

# Settings that a job takes as a resource: a matter of memory and speed, which reruns nothing.
MEMORY = ("micro_batch_size", "micro_batch_tokens", "vllm_memory")


@dataclass(frozen=True)
class Flags:
    """Flags of a study's jobs. A job's record holds them, so each gets only what decides its result."""

    study: Study

    # --- where models and problems come from --------------------------------------------------------------------------

    def problem_set(self, name: str) -> str:
        source = words("problem_set", _at_commit(self.study.config.problem_sets[name]))
        return f"{source} {_joined(exactly=self.study.is_part(name) or None)}".strip()

    def pretraining(self, model: str) -> str:
        place = _joined(seed=self.study.config.models[model].seed, work_dir=f"{self.study.work}/pretraining/{model}")
        return f"{words('pretraining', self.study.config.pretraining)} {place}"

    def model_source(self, model: str) -> str:
        return words("model", _at_commit(self.study.config.models[model]), ModelSource)

    # --- sampling -----------------------------------------------------------------------------------------------------

    def names(self, model: str) -> str:
        """The flags for study and model, which label a stage's outputs."""
        return _joined(study=self.study.config.study, model_name=model)

    def prompt(self, model: str) -> str:
        """How a model is asked, and where its answers stand; no flag for what it does not set."""
        entry = self.study.config.models[model]
        answer_in = None if entry.answer_in == keys(Model)["answer_in"].default else entry.answer_in
        told = {"enable_thinking": entry.enable_thinking, "system": entry.system or None, "answer_in": answer_in}
        return _joined(instruction=entry.instruction, **told)

    def instruction(self, model: str) -> str:
        return _joined(instruction=self.study.config.models[model].instruction)

    def sampler(self, model: str) -> str:
        """How a model is prompted and seeded, and where its finished shards lie."""
        config = self.study.config
        place = _joined(
            second_bos=config.models[model].second_bos or None,
            seed=config.seed,
            engine=config.engine,
            work_dir=f"{self.study.work}/traces",
        )
        return f"{self.prompt(model)} {self.names(model)} {place}"

    def collect(self) -> str:
        return words("sampling", self.study.config.sampling.collect)

    def guidance(self, setting: str) -> str:
        return words("guidance", self.study.guidance[setting])

    def evaluate(self, model: str) -> str:
        """How a model is sampled on benchmarks."""
        return words("sampling", self.study.evaluated_with(model))

    def word_rule(self, run: str) -> str:
        """The words that a base model is kept from or held to."""
        return words("words", self.study.worded.get(run, ALL_WORDS))

    def longest_evaluated(self, model: str) -> str:
        return _joined(max_tokens=self.study.evaluated_with(model).max_tokens)

    def go_on(self) -> str:
        """A trial's responses are cut before they answer."""
        return _joined(go_on=None if self.study.config.trial is None else True)

    def extent(self, benchmark: str) -> str:
        """How often a base or fine-tuned model is asked each problem of a benchmark."""
        samples, deep = self.study.extent(benchmark)
        return f"{_joined(samples=samples)} {_deep(deep)}".strip()

    def sdpo(self) -> str:
        """SDPO's settings where no run is trained, with the largest top-k of the study's runs."""
        runs = [run.top_k for run in self.study.runs.values() if run.method == SDPO and run.top_k]
        top_k = max(runs, default=keys(Run)["top_k"].default)
        return f"{words('sdpo', self.study.config.onpolicy.sdpo)} {_joined(top_k=top_k)}"

    def selection(self) -> str:
        return words("selection", self.study.config.selection, SelectionSettings)

    # --- training -----------------------------------------------------------------------------------------------------

    def collection(self) -> str:
        return words("collection", self.study.config.sft, Collection)

    def set_sizes(self) -> str:
        sft = self.study.config.sft
        of_trial = {} if self.study.config.trial is None else {"only_correct": False}
        return f"{words('sizes', sft, SetSizes)} {_joined(per_problem=sft.per_problem, **of_trial)}"

    def edited_set(self) -> str:
        return _joined(world=self.study.config.pretraining.world, seed=self.study.config.seed)

    def sft_run(self, run: str) -> str:
        return words("run", self.study.sft_runs[run])

    def sft_settings(self) -> str:
        return words("settings", self.study.config.sft, SftSettings, leave_out=MEMORY)

    def sft_training(self, model: str, run: str) -> str:
        """How a fine-tuning run is prompted and seeded, and where its checkpoints lie."""
        entry = self.study.config.models[model]
        told = {"enable_thinking": entry.enable_thinking, "system": entry.system or None}
        work_dir = f"{self.study.work}/training/{model}/{run}"
        return _joined(model_name=model, **told, seed=self.study.config.seed, work_dir=work_dir)

    def onpolicy_run(self, model: str, run: str) -> str:
        return words("run", self.study.runs[model, run], leave_out=OWN)

    def onpolicy_settings(self, model: str, run: str) -> str:
        """The shared settings and those that the run's own method reads: another method's do not touch it."""
        row = self.study.runs[model, run]
        others = METHODS.keys() - sections_of(row.method)
        return words("settings", self.study.onpolicy_settings(row), leave_out={*others, *MEMORY})

    def onpolicy_training(self, model: str, run: str) -> str:
        """How an on-policy run is prompted and sampled, and where its checkpoints lie."""
        config = self.study.config
        work_dir = f"{self.study.work}/training/{model}/{run}"
        template = config.contexts.get(self.study.runs[model, run].context)
        place = _joined(study=config.study, engine=config.engine, template=template, work_dir=work_dir)
        return f"{self.prompt(model)} {words('sampling', config.sampling.train)} {place}"

    def mirrors(self) -> str:
        mirrors = self.study.config.onpolicy.mirrors
        return shlex.join(["--mirrors", *mirrors]) if mirrors else ""

    def along_training(self, model: str, run: str) -> str:
        """How many problems a run is evaluated on, and how often each is asked; what says which are its own."""
        row, onpolicy = self.study.runs[model, run], self.study.config.onpolicy
        extent = _joined(samples=onpolicy.evaluation_samples, evaluation_problems=onpolicy.evaluation_problems)
        own = self.study.own_problems(row)
        trained = _joined(own=own, own_samples=None if own is None else onpolicy.evaluation_trained.samples)
        return " ".join(filter(None, [extent, _deep(onpolicy.evaluation_deep), trained]))

    def own_problems(self, model: str) -> str:
        """The flag that says which problems the runs of a model train on."""
        return _joined(own=self.study.own_problems_of(model))

    # --- tables, figures and claims -----------------------------------------------------------------------------------

    def confidence(self) -> str:
        return _joined(confidence=self.study.config.statistics.confidence)

    def window(self) -> str:
        return _joined(window=self.study.config.onpolicy.window)

    def run_rows(self) -> str:
        return _joined(rows=self.study.run_rows())

    def sft_rows(self) -> str:
        return _joined(rows=self.study.sft_rows())

    def shown_rows(self, figure: str) -> str:
        """The on-policy runs that a figure shows."""
        return _joined(rows=self.study.run_rows(self.study.shown_runs[figure]))

    def figure(self, figure: Figure) -> str:
        """What a figure asks of the configuration."""
        return _joined(settings=settings_of(figure, self.study), study=self.study.config.study)

    def models(self) -> str:
        labels, base_of = self.study.labels, self.study.base_of
        return _joined(models={name: {**labels[name], "base": base_of(name)} for name in self.study.used_models})

    def rollouts_per_prompt(self) -> str:
        return _joined(rollouts_per_prompt=self.study.config.onpolicy.rollouts)

    def roles(self) -> str:
        given = as_json(self.study.config.claims)["roles"]
        return _joined(roles={name: given.get(name) for name in self.study.roles})

    def scale(self) -> str:
        """At which scale the paper's statements are tested."""
        other = "paper" if self.study.config.study == PAPER_STUDY else "one GPU"
        return _joined(scale="microcosm" if self.study.pretrained else other)

    def note(self) -> str:
        return _joined(note=self.study.config.note or None)

    def trial(self, processes: Mapping[str, Mapping[str, Any]]) -> str:
        """What a trial is of; ``processes``: by training rule, what its accelerate configuration says."""
        config = self.study.config
        sharding = {
            rule: processes.get(rule, {}).get("distributed_type", "NO") for rule in ("train_sft", "train_onpolicy")
        }
        return _joined(study=config.study, engine=config.engine, sharding=sharding)

    def limits(self) -> str:
        return words("limits", self.study.config.reading_room)

    def config(self) -> str:
        return _joined(values=as_json(self.study.config))


def _deep(deep: Extent | None) -> str:
    return "" if deep is None else _joined(deep_problems=deep.problems, deep_samples=deep.samples)


def _joined(**values: object) -> str:
    """Flags of plain parameters; none for a value of None."""
    return shlex.join(flag_word(name, value) for name, value in values.items() if value is not None)


def _at_commit(source: Any) -> Any:
    """A model or problem set with the lock file's commit in place of ``locked``, so that a new one causes a rerun.

    One that is not in the lock file stays as it is: the stage that fetches it says what to do.
    """
    if source.source != "hub":
        return source
    try:
        revision = pinned_revision(source.repo, source.revision)
    except UserError:
        return source
    return replace(source, revision=revision)
