"""What a study runs and where its files lie: read by the rules, by the plan, and by whatever asks a results folder.

Imports nothing heavy; the workflow calls it while it builds the graph.
"""

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from selfdistill.analysis import words
from selfdistill.artifacts import FIGURES, TABLES, VIEWED, Figure, Table
from selfdistill.claims.statements import Role
from selfdistill.config import DRAW_OF_MODEL, ROLES, Config, Model, Released
from selfdistill.errors import UserError
from selfdistill.generation.contexts import GUIDANCE, Guidance, parts_of_solution, templated
from selfdistill.generation.requests import WORDED, Extent, Sampling, Words
from selfdistill.models import model_files
from selfdistill.settings import keys
from selfdistill.training.settings import OWN, TRAINED, OnPolicySettings, Run, SftRun

BASE = "base"  # the run of a model that nothing was trained on
SFT_SETS = ("unguided", "guided", "unguided_unfiltered")
# Settings of which correct responses are collected for the data sets of Section 4.
COLLECTED = ("unguided", "solution")


@dataclass(frozen=True)
class Study:
    """A configuration's models, runs and files. Paths are relative to the checkout; names may be wildcards."""

    config: Config
    example_set = "guided"  # whose model Figure 2 shows

    # --- what is run ------------------------------------------------------------------------------------------------

    @cached_property
    def runs(self) -> dict[tuple[str, str], Run]:
        """On-policy runs by model and id, each with its batch size and steps; `UserError` where two have one name.

        Those that were trained elsewhere are `Released`.
        """
        found: dict[tuple[str, str], Run] = {}
        for row in self.config.onpolicy.runs:
            listed = [value if isinstance(value, list) else [value] for value in vars(row).values()]
            for values in itertools.product(*listed):
                given = dict(zip(keys(Run), values, strict=True))
                if given["draw"] == DRAW_OF_MODEL:
                    given["draw"] = self.weights(given["model"]).seed
                self._add(Run(**given), found)
        for row in self.config.onpolicy.released:
            self._add(row, found)
        return found

    def _add(self, row: Run, found: dict[tuple[str, str], Run]) -> None:
        """A run among those ``found``, with its own batch size and steps, or those of all."""
        run = row.plain()
        run = replace(run, **{name: getattr(run, name) or getattr(self.config.onpolicy, name) for name in OWN})
        other = found.setdefault((run.model, run.id), run)
        if run != other:
            differ = next(name for name in vars(run) if getattr(run, name) != getattr(other, name))
            raise UserError(
                f"config: onpolicy.runs: two runs of '{run.model}' are called '{run.id}': they differ in "
                f"'{differ}' ({getattr(other, differ)} and {getattr(run, differ)}), which no name shows"
            )

    @cached_property
    def trained(self) -> dict[tuple[str, str], Run]:
        """The on-policy runs that are trained here."""
        return {key: run for key, run in self.runs.items() if not isinstance(run, Released)}

    @cached_property
    def released(self) -> dict[tuple[str, str], Released]:
        """The runs that were trained elsewhere."""
        return {key: run for key, run in self.runs.items() if isinstance(run, Released)}

    @cached_property
    def sft_runs(self) -> dict[str, SftRun]:
        """Fine-tuning runs by id: each data set at each rate, the same for every model of Section 4."""
        sets = SFT_SETS if self.config.trial is None else (self.example_set,)
        runs = [
            SftRun(data, rate) for data in (*sets, *self.config.sft.edited) for rate in self.config.sft.learning_rates
        ]
        return {run.id: run for run in runs}

    @cached_property
    def worded(self) -> dict[str, Words]:
        """How base models are evaluated with other words, by the name that stands in place of a run's."""
        return {f"{WORDED}{name}": words for name, words in self.config.evaluation.words.items()}

    def sft_runs_on(self, sets: Iterable[str] = SFT_SETS) -> list[str]:
        """Those on the paper's data sets, or on ``sets``, by id."""
        return [name for name, run in self.sft_runs.items() if run.data in sets]

    def onpolicy_settings(self, run: Run) -> OnPolicySettings:
        """What a run is trained with: the study's settings, at the run's own batch size and steps."""
        shared = {name: getattr(self.config.onpolicy, name) for name in keys(OnPolicySettings)}
        own = {name: getattr(run, name) for name in OWN}
        return OnPolicySettings(**shared | own | {"checkpoint_steps": self.evaluated_steps(run)})

    def evaluated_steps(self, run: Run) -> list[int]:
        """The steps after which a run is evaluated: those of all that it reaches; `UserError` where it reaches none."""
        if isinstance(run, Released):
            return [run.steps]
        asked = self.config.onpolicy.checkpoint_steps
        reached = [step for step in asked if step <= run.steps]
        if not reached:
            listed = ", ".join(map(str, sorted(asked)))
            raise UserError(f"a run of {run.steps} steps reaches none of onpolicy.checkpoint_steps ({listed})")
        return reached

    def weights(self, model: str) -> Model:
        """The entry whose weights a model uses: itself, or another."""
        return self.config.models[self.base_of(model)]

    def evaluated_with(self, model: str) -> Sampling:
        """How a model is sampled on benchmarks."""
        return self.config.models[model].evaluate or self.config.sampling.evaluate

    def models(self, *sources: str) -> list[str]:
        """Models of one of the ``sources``, in the configuration's order."""
        return [name for name, model in self.config.models.items() if model.source in sources]

    @cached_property
    def used_models(self) -> dict[str, Model]:
        """The models that something is run on, and those whose weights they share, by name."""
        models = self.config.models
        used = {*self.config.selection.models, *self.config.sft.models, *(model for model, _ in self.runs)}
        used |= {run.checkpoint for run in self.released.values()}
        while shared := {of for name in used if (of := models[name].of) is not None} - used:
            used |= shared
        return {name: model for name, model in sorted(models.items()) if name in used}

    @property
    def pretrained(self) -> list[str]:
        """The models that are trained here from scratch."""
        return [name for name, model in self.used_models.items() if model.source == "microcosm"]

    @cached_property
    def used_problem_sets(self) -> list[str]:
        """The problem sets that something is run on."""
        used = {self.config.selection.problem_set, *self.benchmarks, *self.config.onpolicy.benchmarks}
        used |= {self.read_from(run) for run in self.trained.values()}
        return [name for name in self.config.problem_sets if name in used]

    @cached_property
    def labels(self) -> dict[str, dict[str, str]]:
        """Labels of each model: its family (averaged in figures), and whether it thinks ("on" or "off")."""
        return {
            name: {
                "family": model.family or name,
                "thinking": "off" if model.enable_thinking is False else "on",
            }
            for name, model in self.config.models.items()
        }

    def base_of(self, model: str) -> str:
        """The base model of a model: the entry whose weights it uses, or itself; of a circle of entries, any."""
        passed = [model]
        while (other := self.config.models[passed[-1]].of) is not None and other not in passed:
            passed.append(other)
        return passed[-1]

    @cached_property
    def benchmarks(self) -> list[str]:
        """Every problem set that a model is evaluated on."""
        along = itertools.chain(*self.config.onpolicy.benchmarks.values())
        return [name for name in dict.fromkeys([*self.config.evaluation.benchmarks, *along]) if name != TRAINED]

    def benchmarks_of(self, run: Run) -> list[str]:
        """The problem sets that an on-policy run is evaluated on, perhaps with its own problems (`TRAINED`)."""
        return self.config.onpolicy.benchmarks[run.problem_set]

    def read_from(self, run: Run) -> str:
        """The problem set that holds a run's problems: the whole set, or the part of it that is of the run's size."""
        return self.parts_of(run.problem_set).get(run.problems, run.problem_set)

    def parts_of(self, problem_set: str) -> dict[int | None, str]:
        """The sets that hold parts of a problem set, by size."""
        listed = self.config.onpolicy.subsets.get(problem_set, [])
        return {self.config.problem_sets[name].size: name for name in listed}

    def is_part(self, problem_set: str) -> bool:
        """Whether a set is a part of another, of just its size."""
        return any(problem_set in listed for listed in self.config.onpolicy.subsets.values())

    def sets_of(self, run: Run) -> list[str]:
        """The problem sets among what a run is evaluated on."""
        return [name for name in self.benchmarks_of(run) if name != TRAINED]

    def own_problems(self, run: Run) -> dict[str, int | None] | None:
        """Arguments of `prompt_stream.trained_problems`: which problems a run trains on first.

        None where it is not evaluated on them.
        """
        if TRAINED not in self.benchmarks_of(run):
            return None
        at_most = self.config.onpolicy.evaluation_trained.problems
        named = {"subset": run.problems, "draw": run.draw, "seed": run.seed}
        return named | {name: getattr(run, name) for name in OWN} | {"at_most": at_most}

    def own_problems_of(self, model: str) -> dict[str, list[dict[str, int | None]]]:
        """`own_problems` of all runs of a model, by problem set: the base model is evaluated on them too."""
        found: dict[str, list[dict[str, int | None]]] = {}
        for run in self.runs.values():
            own = self.own_problems(run) if run.model == model else None
            if own is not None and own not in found.setdefault(self.read_from(run), []):
                found[self.read_from(run)].append(own)
        return found

    def extent(self, benchmark: str) -> tuple[int, Extent | None]:
        """Responses of a base or fine-tuned model to each problem, and which first ones have more of them."""
        if benchmark == TRAINED:
            return self.config.onpolicy.evaluation_trained.samples, None
        return self.config.evaluation.samples, self.config.evaluation.deep

    @cached_property
    def guidance(self) -> dict[str, Guidance]:
        """Section 3's settings: the paper's, and one for each part of s and each template of the configuration.

        In a trial one without context and one with, which may come from a wrong response.
        """
        if self.config.trial is not None:
            return {name: replace(GUIDANCE[name], choose="first") for name in ("unguided", "solution")}
        own = {name: templated(template) for name, template in self.config.contexts.items()}
        return GUIDANCE | parts_of_solution(self.config.guidance.parts) | own

    @property
    def roles(self) -> dict[str, Role | None]:
        """Who has which of the paper's roles; None where nobody is named."""
        return {name: self.config.claims.roles.get(name) for name in ROLES}

    @property
    def tested_settings(self) -> list[str]:
        """Section 3's settings that statements are about."""
        return [setting for setting in self.guidance if setting in words.GUIDANCE and words.GUIDANCE[setting].in_paper]

    @property
    def example(self) -> dict[str, str]:
        """Figure 2: a response of the base model, and one of the model that guided fine-tuning changed most."""
        strongest = max(self.config.sft.learning_rates)
        return {
            "model": self.config.sft.models[0],
            "run": SftRun(self.example_set, strongest).id,
            "benchmark": self.config.evaluation.benchmarks[-1],
        }

    @cached_property
    def figures(self) -> dict[str, Figure]:
        """The figures that are drawn, by name: of what is run, with a view in the configuration if they need one."""
        views = self.config.figures.views
        return {
            name: figure
            for name, figure in FIGURES.items()
            if figure.source.there(self) and (name in views or name not in VIEWED)
        }

    @cached_property
    def tables(self) -> dict[str, Table]:
        """The tables of what is run, by name."""
        return {name: table for name, table in TABLES.items() if table.there(self)}

    def drawn(self, figure: str) -> list[Mapping[str, Any]]:
        """What ``figure`` draws of its view, as conditions of `analysis.views.in_view`."""
        from selfdistill.analysis.views import drawn

        return list(drawn(figure, self.config.figures.narrow))

    @cached_property
    def shown_runs(self) -> dict[str, list[Run]]:
        """By figure with a view, the on-policy runs that it shows; `UserError` where there are none."""
        import pandas as pd

        from selfdistill.analysis.views import in_view

        found = {}
        for figure, view in self.config.figures.views.items():
            shown = [in_view(self.run_table, vars(view), **conditions) for conditions in self.drawn(figure)]
            names = dict.fromkeys(pd.concat(shown)[["model", "run"]].itertuples(index=False, name=None))
            found[figure] = [self.runs[name] for name in sorted(names)]
        return found

    # --- rows of its tables -------------------------------------------------------------------------------------------

    def run_rows(self, shown: Iterable[Run] | None = None) -> dict[str, list[Any]]:
        """On-policy runs by column of the `runs` schema, but for the number of problems of a whole set: null.

        ``shown``: only these runs, in this order.
        """
        # In which order they are configured reruns nothing.
        runs = [run for _, run in sorted(self.runs.items())] if shown is None else list(shown)
        return {
            **{name: [getattr(run, name) for run in runs] for name in keys(Run) if name not in OWN},
            "study": [self.config.study for _ in runs],
            "run": [run.id for run in runs],
            **{label: [self.labels[run.model][label] for run in runs] for label in ("family", "thinking")},
            "context": [run.context or "none" for run in runs],
            "whole_set": [run.problems is None for run in runs],
        }

    @cached_property
    def run_table(self) -> Any:
        """`run_rows` as a pandas table, of objects: comparing a few texts takes Arrow four times as long."""
        import pandas as pd

        return pd.DataFrame(self.run_rows(), dtype=object)

    def sft_rows(self) -> list[dict[str, Any]]:
        """Fine-tuning runs in the `sft_runs` schema."""
        return [
            {"study": self.config.study, "model": model, "run": name, **vars(run)}
            for model in self.config.sft.models
            for name, run in self.sft_runs.items()
        ]

    # --- where its files lie ------------------------------------------------------------------------------------------

    @property
    def results(self) -> str:
        """Declared outputs."""
        return f"results/{self.config.study}"

    @property
    def work(self) -> str:
        """Shards and checkpoints: apart, because Snakemake deletes the declared outputs of a job that failed."""
        return f"work/{self.config.study}"

    @property
    def logs(self) -> str:
        """Logs and benchmark files."""
        return f"logs/{self.config.study}"

    def problems(self, problem_set: str) -> str:
        return f"{self.results}/problems/{problem_set}.parquet"

    def asked(self, model: str, benchmark: str) -> str:
        """The problems of a benchmark; a model has its own ones that its runs train on."""
        return self.problems(f"{model}/{TRAINED}" if benchmark == TRAINED else benchmark)

    def problem_files(self, problem_set: str) -> list[str]:
        """The user's own file that a problem set is read from; none that is not there: the stage says so."""
        file = self.config.problem_sets[problem_set].file
        return [str(file)] if file is not None and file.is_file() else []

    def borderline(self, model: str) -> str:
        """The problems that Section 3 selects."""
        return f"{self.results}/problems/{model}/borderline.parquet"

    def manifest(self, model: str, run: str = BASE) -> str:
        return f"{self.results}/models/{model}/{run}/manifest.json"

    def model_files(self, model: str) -> list[str]:
        """The user's own files of a model from a folder; none of a folder that is not there: the stage says so."""
        folder = self.config.models[model].folder
        return [] if folder is None else list(map(str, model_files(folder)))

    def checkpoints(self, model: str, run: str) -> str:
        """The folder of an on-policy run's models."""
        return f"{self.results}/models/{model}/{run}"

    def traces(self, model: str, setting: str) -> str:
        """Responses in a setting of guidance, or those that selected the problems ("selection")."""
        return f"{self.results}/traces/{model}/{setting}.parquet"

    def information(self, model: str, setting: str) -> str:
        """What a setting's context tells of its responses."""
        return f"{self.results}/information/{model}/{setting}.parquet"

    @property
    def informed_settings(self) -> list[str]:
        """Section 3's settings of which that is measured: those with a context, if any."""
        asked = self.config.guidance.information
        return [setting for setting, guidance in self.guidance.items() if asked and guidance.provided_by is not None]

    def all_information(self, settings: Iterable[str] | None = None) -> list[str]:
        """What is measured of all settings, or only of those among ``settings``."""
        wanted = self.informed_settings if settings is None else settings
        names = [setting for setting in self.informed_settings if setting in wanted]
        return [self.information(model, setting) for model in self.config.selection.models for setting in names]

    def alignment(self, model: str) -> str:
        """Where the gradients of GRPO and SDPO point at a model."""
        return f"{self.results}/alignment/{model}/unguided.parquet"

    @property
    def all_alignments(self) -> list[str]:
        return [self.alignment(model) for model in self.config.selection.models if self.config.guidance.alignment]

    def contexts(self, model: str, setting: str) -> list[str]:
        """The traces that provide a setting's context; none for unguided generation."""
        provider = self.guidance[setting].provided_by
        return [] if provider is None else [self.traces(model, provider)]

    def collected(self, model: str, setting: str) -> str:
        """Responses collected for the data sets of Section 4."""
        return self.traces(model, f"sft_{setting}")

    def rollouts(self, model: str, run: str) -> str:
        return f"{self.results}/traces/{model}/rollouts/{run}.parquet"

    def dataset(self, model: str, data: str) -> str:
        return f"{self.results}/datasets/{model}/{data}.parquet"

    def training(self, model: str, run: str) -> str:
        """Metrics of every step."""
        return f"{self.results}/training/{model}/{run}.parquet"

    def evaluation(self, model: str, run: str, benchmark: str) -> str:
        return f"{self.results}/evaluations/{model}/{run}/{benchmark}.parquet"

    def evaluated(self, model: str, run: str) -> str:
        """The manifest of what `evaluation` samples: other words are asked of the base model."""
        return self.manifest(model, BASE if run in self.worded else run)

    def along_training(self, model: str, run: str) -> str:
        """Evaluations of an on-policy run's checkpoints."""
        return self.evaluation(model, run, "along_training")

    def first_look(self, model: str) -> str:
        """The benchmark that a base model is looked at on before any run trains it."""
        names = [name for run in self.runs.values() if run.model == model for name in self.benchmarks_of(run)]
        return next((name for name in names if name != TRAINED), TRAINED)

    def checked(self, model: str) -> str:
        """What was seen there."""
        return f"{self.results}/evaluations/{model}/{BASE}/first_words.md"

    @property
    def runs_table(self) -> str:
        return f"{self.results}/training/runs.parquet"

    @property
    def sft_runs_table(self) -> str:
        return f"{self.results}/training/sft_runs.parquet"

    @property
    def curves(self) -> str:
        return f"{self.results}/curves.parquet"

    def figure_curves(self, figure: str) -> str:
        """The curves of the runs that a figure shows."""
        return f"{self.results}/curves/{figure}.parquet"

    def table(self, name: str, kind: str = "parquet") -> str:
        return f"{self.results}/tables/{name}.{kind}"

    def figure(self, name: str, kind: str) -> str:
        return f"{self.results}/figures/{name}.{kind}"

    def ledger(self, kind: str = "parquet") -> str:
        return f"{self.results}/claims/ledger.{kind}"

    @property
    def effects(self) -> str:
        """The effects of each base model behind the claims ledger."""
        return f"{self.results}/claims/effects.parquet"

    @property
    def trial(self) -> str:
        """What a trial has proved."""
        return f"{self.results}/trial.md"

    # --- groups of them -----------------------------------------------------------------------------------------------

    def guidance_traces(self, settings: Iterable[str] | None = None) -> list[str]:
        """Traces of Section 3: all settings of guidance, or only ``settings``."""
        names = self.guidance if settings is None else list(settings)
        return [self.traces(model, setting) for model in self.config.selection.models for setting in names]

    def sft_evaluations(self, sets: Iterable[str] | None = None) -> list[str]:
        """Section 4: the base models and every fine-tuned one (or those of these data sets), on every benchmark."""
        chosen = [*self.sft_runs] if sets is None else self.sft_runs_on(sets)
        return [
            self.evaluation(model, run, benchmark)
            for model in self.config.sft.models
            for run in (BASE, *chosen)
            for benchmark in self.config.evaluation.benchmarks
        ]

    def worded_evaluations(self, *, base: bool = False) -> list[str]:
        """The base models of Section 4 with other words (after themselves, as they like: ``base``), by benchmark."""
        return [
            self.evaluation(model, run, benchmark)
            for model in self.config.sft.models
            for run in (*([BASE] if base else []), *self.worded)
            for benchmark in self.config.evaluation.benchmarks
        ]

    def all_rollouts(self, figure: str | None = None) -> list[str]:
        """Rollouts of all on-policy runs trained here, or of those that a figure shows."""
        return [self.rollouts(run.model, run.id) for run in self._of(figure) if (run.model, run.id) in self.trained]

    def run_evaluations(self, figure: str | None = None) -> list[str]:
        return [self.along_training(run.model, run.id) for run in self._of(figure)]

    def base_evaluations(self, figure: str | None = None) -> list[str]:
        """The base models' evaluations that those of on-policy runs are set against."""
        compared = [(run.model, name) for run in self._of(figure) for name in self.benchmarks_of(run)]
        return [self.evaluation(model, BASE, benchmark) for model, benchmark in dict.fromkeys(compared)]

    @cached_property
    def all_traces(self) -> list[str]:
        """Everything that a model said."""
        collected = [self.collected(model, setting) for model in self.config.sft.models for setting in COLLECTED]
        said = [*self.guidance_traces(["selection", *self.guidance]), *collected, *self.sft_evaluations()]
        said += [*self.worded_evaluations(), *self.all_rollouts(), *self.run_evaluations(), *self.base_evaluations()]
        return sorted(set(said))

    @cached_property
    def measured(self) -> dict[str, list[str]]:
        """By base model, what the analysis needs of it and of the models that share its weights: their `measures`."""
        tuned = [self.training(model, run) for model in self.config.sft.models for run in self.sft_runs]
        sets = [self.dataset(model, data) for model in self.config.sft.models for data in SFT_SETS]
        pretrained = [self.training(model, BASE) for model in self.pretrained]
        found: dict[str, list[str]] = {}
        for file in [*self.all_traces, *self.all_information(), *self.all_alignments, *sets, *tuned, *pretrained]:
            _, model, *_ = file.removeprefix(f"{self.results}/").split("/")  # below a folder for each kind
            found.setdefault(self.base_of(model), []).append(file)
        return found

    def trained_sets(self, figure: str) -> list[str]:
        """The problem sets that the runs of a figure train on."""
        return [self.problems(name) for name in dict.fromkeys(run.problem_set for run in self._of(figure))]

    def _of(self, figure: str | None) -> Iterable[Run]:
        return self.runs.values() if figure is None else self.shown_runs[figure]
