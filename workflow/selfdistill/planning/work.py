"""How much work a job is: tokens drawn, rolled out and trained, and what it leaves on disk.

Follows from the configuration and the job's wildcards alone; lengths of responses are expectations (config/costs.yaml).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from selfdistill import study, tables
from selfdistill.generation.contexts import GUIDANCE
from selfdistill.generation.requests import Extent, Sampling
from selfdistill.planning.assumptions import Assumptions
from selfdistill.planning.dag import Job
from selfdistill.planning.ranges import ZERO, Range, exactly, total
from selfdistill.problems.readers import read_at_once
from selfdistill.study import BASE
from selfdistill.training.edited_sets import source_of
from selfdistill.training.methods import section_of, sections_of
from selfdistill.training.settings import TRAINED, Run

Wildcards = Mapping[str, str]
GIGABYTE = 1e9


@dataclass(frozen=True)
class Work:
    """Tokens by what is done with them, and gigabytes kept. Trained are tokens times passes (config/costs.yaml)."""

    drawn: Range = ZERO
    rolled_out: Range = ZERO
    sft: Range = ZERO
    onpolicy: Range = ZERO
    kept: Range = ZERO
    length: Range = ZERO  # tokens of one response
    share: float = 1.0  # of the rule's seconds
    size: float = 1.0  # of the model, over that which the rates are stated for
    slower: float = 1.0  # at drawing, than by its size
    models: int = 1  # loaded one after the other

    @property
    def tokens(self) -> Range:
        return self.drawn + self.rolled_out

    @property
    def trained(self) -> Range:
        return self.sft + self.onpolicy


@dataclass(frozen=True)
class Study(study.Study):
    """A study with what is assumed about its models; ``root`` is where its results lie."""

    assumed: Assumptions
    root: Path = Path()

    def problem_count(self, problem_set: str, at_most: int | None = None) -> Range:
        """Problems in a set: as configured, else as loaded, else as its file has rows, else as published."""
        loaded = self.root / self.problems(problem_set)
        size = self.config.problem_sets[problem_set].size
        if size is not None:
            found = exactly(size)
        elif loaded.is_file():
            found = exactly(tables.rows(loaded, tables.PROBLEMS))
        elif (listed := self._listed(problem_set)) is not None:
            found = exactly(listed)
        else:
            found = self.assumed.known_size(problem_set)
        return found if at_most is None else found.map(lambda number: min(number, at_most))

    def _listed(self, problem_set: str) -> int | None:
        """Rows of a set's file, where that is there."""
        file = self.config.problem_sets[problem_set].file
        rows = read_at_once(file) if file is not None and file.is_file() else None
        return None if rows is None else rows.number

    def own_count(self, run: Run) -> int:
        """Problems that a run trains on and is evaluated on."""
        trained = run.problems or run.steps * run.batch_size
        return min(trained, self.config.onpolicy.evaluation_trained.problems)

    def trained_apart(self, model: str) -> list[Run]:
        """The runs of a model that are evaluated on their own problems, one of those with the same ones."""
        runs = [run for run in self.runs.values() if run.model == model and self.own_problems(run) is not None]
        return list({(run.problem_set, run.problems, run.draw, run.seed): run for run in runs}.values())

    def length(self, what: str, model: str, sampling: Sampling) -> Range:
        """Expected tokens of a response, which is cut where ``sampling`` says."""
        expected = self.assumed.length(what, self.config.models[model].enable_thinking is not False)
        return expected.map(lambda tokens: min(tokens, sampling.max_tokens))

    def parameters(self, model: str) -> float:
        return self.assumed.parameters(self.weights(model).repo)

    def responses_on_disk(self, tokens: Range) -> Range:
        return tokens * self.assumed.number("bytes_per_token") * (1 / GIGABYTE)

    def weights_on_disk(self, model: str) -> Range:
        return self.assumed.number("bytes_per_parameter") * (self.parameters(model) / GIGABYTE)


def work_of(rule: str, wildcards: Wildcards, study: Study) -> Work:
    """The work of a job; none for a rule that neither samples nor trains."""
    if rule not in RULES:
        return Work()
    model = wildcards["model"]
    size = study.parameters(model) / study.assumed.default_parameters
    return replace(RULES[rule](wildcards, study), size=size, slower=study.assumed.slower(study.weights(model).repo))


def gpus_of(job: Job, study: Study) -> int:
    """GPUs that a job holds: as its profile says, else as the table does for jobs that sample or train."""
    work = work_of(job.rule, job.wildcards, study)
    needed = study.assumed.gpus if work.tokens.high + work.trained.high else 0
    return int(job.resources.get("gpu", needed))


def expected_seconds(rule: str, work: Work, study: Study, devices: int, start: Range | None = None) -> Range:
    """Wall clock of a job by the table alone, its tokens divided among ``devices`` (cores or GPUs).

    ``start``: seconds beside the tokens for each of the job's models, in place of the table's for the whole job.
    """
    rates = study.assumed
    busy = (work.drawn / rates.rate("draw") + work.rolled_out / rates.rate("rollout")) * work.slower
    busy += work.sft / rates.rate("sft") + work.onpolicy / rates.rate("onpolicy")
    beside = rates.seconds(rule) * work.share if start is None else start * work.models
    return beside + busy * (work.size / devices)


def _drawn(responses: Range, length: Range, study: Study) -> Work:
    tokens = responses * length
    return Work(drawn=tokens, kept=study.responses_on_disk(tokens), length=length)


def _select_borderline(wildcards: Wildcards, study: Study) -> Work:
    """Whole batches, until the share of suitable problems gives the target."""
    wanted = study.config.selection
    asked = (exactly(wanted.target) / study.assumed.number("borderline")).map(
        lambda number: wanted.batch * -(-number // wanted.batch)
    )
    size = study.problem_count(wanted.problem_set)
    asked = Range(*(min(a, b) for a, b in zip(_bounds(asked), _bounds(size), strict=True)))
    return _drawn(asked * wanted.rollouts, _collected("selection", wildcards, study), study)


def _collected(what: str, wildcards: Wildcards, study: Study) -> Range:
    """Expected tokens of a response of Sections 3 and 4."""
    return study.length(what, wildcards["model"], study.config.sampling.collect)


def _bounds(value: Range) -> tuple[float, float, float]:
    return value.low, value.typical, value.high


def _sample_guidance(wildcards: Wildcards, study: Study) -> Work:
    responses = exactly(study.config.selection.target * study.config.guidance.samples)
    setting = wildcards["setting"] if wildcards["setting"] in GUIDANCE else "solution"
    return _drawn(responses, _collected(setting, wildcards, study), study)


def _measure_information(wildcards: Wildcards, study: Study) -> Work:
    """Two readings of each response, one of them behind a context; a reading is a third of a pass."""
    responses = exactly(study.config.selection.target * study.config.guidance.samples)
    setting = wildcards["setting"] if wildcards["setting"] in GUIDANCE else "solution"
    own, shown = (_collected(what, wildcards, study) for what in (setting, "selection"))
    return Work(sft=(own * 2 + shown) * responses / exactly(3), length=own + shown)


def _collect_correct(wildcards: Wildcards, study: Study) -> Work:
    """As many draws as give the wanted number of correct ones, at most `max_draws`; Section 3 shares the first."""
    sft, setting, shared = study.config.sft, wildcards["setting"], study.config.guidance.samples
    draws = (exactly(sft.per_problem) / study.assumed.number("score", setting)).map(
        lambda number: max(0, min(number, sft.max_draws) - shared)
    )
    length = _collected(f"collect_{setting}", wildcards, study)
    return _drawn(draws * study.config.selection.target, length, study)


def _train_sft(wildcards: Wildcards, study: Study) -> Work:
    sft, model = study.config.sft, wildcards["model"]
    data = source_of(study.sft_runs[wildcards["run"]].data)
    length = _collected(f"data_{data}", wildcards, study).map(lambda tokens: min(tokens, sft.max_tokens))
    return Work(sft=length * (sft.responses * sft.epochs), kept=study.weights_on_disk(model), length=length)


def _evaluate_model(wildcards: Wildcards, study: Study) -> Work:
    run, benchmark = wildcards["run"], wildcards["benchmark"]
    told = BASE if run == BASE or run in study.worded else f"sft_{source_of(study.sft_runs[run].data)}"
    length = study.length(told, wildcards["model"], study.evaluated_with(wildcards["model"]))
    samples, deep = study.extent(benchmark)
    if benchmark == TRAINED:
        number = exactly(sum(study.own_count(run) for run in study.trained_apart(wildcards["model"])))
    else:
        number = study.problem_count(benchmark)
    return _drawn(_asked(number, samples, deep), length, study)


def _asked(problems: Range, samples: int, deep: Extent | None) -> Range:
    """Responses to so many problems, of which the first may have more than others."""
    many = deep or Extent(1, samples)
    return problems.map(lambda number: samples * number + (many.samples - samples) * min(many.problems, number))


def _method(run: Run) -> str:
    return "sdpo_nothink" if run.context == "solution_without_thinking" else section_of(run.method)


def _train_onpolicy(wildcards: Wildcards, study: Study) -> Work:
    """Every rollout is drawn once and trained on once, with the passes that the method's loss asks for."""
    run, config = study.runs[wildcards["model"], wildcards["run"]], study.config.onpolicy
    length = study.length(_method(run), run.model, study.config.sampling.train)
    tokens = length * (run.steps * run.batch_size * config.rollouts)
    kept = study.responses_on_disk(tokens)
    if config.keep_checkpoints:
        kept += study.weights_on_disk(run.model) * len(study.evaluated_steps(run))
    trained = tokens * total(study.assumed.number("passes", section) for section in sorted(sections_of(run.method)))
    share = (1 + len(study.evaluated_steps(run))) / (1 + study.assumed.checkpoints)  # the start counts as one of them
    return Work(rolled_out=tokens, onpolicy=trained, kept=kept, length=length, share=share)


def _evaluate_checkpoints(wildcards: Wildcards, study: Study) -> Work:
    run, config = study.runs[wildcards["model"], wildcards["run"]], study.config.onpolicy
    numbers = (study.problem_count(name, config.evaluation_problems) for name in study.sets_of(run))
    asked = total(_asked(number, config.evaluation_samples, config.evaluation_deep) for number in numbers)
    if study.own_problems(run) is not None:
        asked += exactly(study.own_count(run) * config.evaluation_trained.samples)
    length = study.length(f"along_{_method(run)}", run.model, study.evaluated_with(run.model))
    steps = len(study.evaluated_steps(run))
    return replace(_drawn(asked * steps, length, study), models=steps, share=steps / study.assumed.checkpoints)


def _pretrain_model(wildcards: Wildcards, study: Study) -> Work:
    share = study.assumed.number("preset", study.config.pretraining.preset).typical
    return Work(share=share, kept=study.weights_on_disk(wildcards["model"]))


# Rules that sample or train; all others cost the seconds that config/costs.yaml gives them.
RULES: dict[str, Callable[[Wildcards, Study], Work]] = {
    "pretrain_model": _pretrain_model,
    "select_borderline": _select_borderline,
    "sample_guidance": _sample_guidance,
    "measure_information": _measure_information,
    "collect_correct": _collect_correct,
    "train_sft": _train_sft,
    "evaluate_model": _evaluate_model,
    "train_onpolicy": _train_onpolicy,
    "evaluate_checkpoints": _evaluate_checkpoints,
}
