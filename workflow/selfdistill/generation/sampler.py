"""Samples and grades the responses of one model, for selection, guidance, SFT sets and evaluation alike."""

import logging
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import pandas as pd

from selfdistill import models
from selfdistill.generation import Sampling, first_words, generate, traces
from selfdistill.generation.contexts import Context, Guidance, build_prompts, contexts_for, opens_thinking
from selfdistill.generation.requests import ALL_WORDS, Prompt, Words
from selfdistill.generation.shards import BLOCK
from selfdistill.models import MANIFEST
from selfdistill.parameters import (
    AnswerIn,
    EnableThinking,
    Engine,
    Instruction,
    ModelName,
    Samples,
    Seed,
    StudyName,
    System,
    WorkDir,
    Workers,
)

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Asked:
    """How often a model is asked each problem of a benchmark."""

    samples: Samples
    deep_problems: Annotated[int, "So many first problems with more responses; 0: all have equally many."] = 0
    deep_samples: Annotated[int, "Responses to each of those."] = 0


@dataclass(frozen=True)
class Sampler:
    """How a model is prompted and sampled; `sample` gives rows of the traces table."""

    model: Annotated[Path, "Manifest of the model; of checkpoints, the folder that holds them."]
    model_name: ModelName
    study: StudyName
    sampling: Sampling
    seed: Seed
    work_dir: WorkDir
    run: Annotated[str, "Training run that made the model, written into every row."] = "base"
    instruction: Instruction = ""
    enable_thinking: EnableThinking = None
    system: System = ""
    answer_in: AnswerIn = "box"
    second_bos: Annotated[bool, "Whether the tokenizer puts its BOS before the template's own."] = False
    engine: Engine = "transformers"
    workers: Workers = 1
    words: Words = ALL_WORDS

    @cached_property
    def tokenizer(self) -> Any:
        return models.load_tokenizer(self.model)

    @cached_property
    def opened(self) -> bool:
        return opens_thinking(self.tokenizer, enable_thinking=self.enable_thinking)

    def along_training(self) -> list[tuple[int, "Sampler"]]:
        """The step and the sampler of every model step-N in the folder ``model``, in order."""
        found = {int(path.parent.name.removeprefix("step-")): path for path in self.model.glob(f"step-*/{MANIFEST}")}
        return [(step, replace(self, model=found[step])) for step in sorted(found)]

    def contexts(self, guidance: Guidance, providers: list[pd.DataFrame]) -> dict[str, Context] | None:
        """The context of each problem; ``providers``: the traces that it comes from."""
        provided = pd.concat(providers) if providers else None
        return contexts_for(guidance, provided, opened=self.opened)

    def sample(
        self,
        problems: pd.DataFrame,
        samples: int,
        *,
        stage: str,
        setting: str,
        stream: str,
        contexts: dict[str, Context] | None = None,
        first_sample: int = 0,
        step: int | None = None,
    ) -> pd.DataFrame:
        """Samples [first_sample, samples) of every problem, graded; another ``stream`` gives other samples."""
        generated = generate(
            self.prompts(problems, contexts),
            manifest=self.model,
            samples=samples,
            sampling=self.sampling,
            seed=self.seed,
            stream=stream,
            work_dir=self.work_dir,
            engine=self.engine,
            workers=self.workers,
            first_sample=first_sample,
            words=self.words,
        )
        found = traces.annotate(
            generated,
            problems,
            study=self.study,
            model=self.model_name,
            run=self.run,
            stage=stage,
            setting=setting,
            step=step,
            opened=self.opened,
            answer_in=self.answer_in,
            workers=self.workers,
        )
        place = "" if step is None else f" after step {step}"
        LOG.info("%s, %s%s, %s: %s", self.model_name, self.run, place, setting, first_words.shares(found))
        return found

    def evaluate(
        self, problems: pd.DataFrame, asked: Asked, *, benchmark: str, step: int | None = None
    ) -> pd.DataFrame:
        """The responses to a benchmark: to each problem ``samples``, to the first ``deep_problems`` more."""
        labels = {"stage": "evaluation", "setting": benchmark, "stream": "evaluation", "step": step}
        if not asked.deep_problems:
            return self.sample(problems, asked.samples, **labels)
        first, others = problems[: asked.deep_problems], problems[asked.deep_problems :]
        parts = [self.sample(first, asked.deep_samples, **labels), self.sample(others, asked.samples, **labels)]
        return pd.concat(parts, ignore_index=True)

    def sample_until_correct(
        self,
        problems: pd.DataFrame,
        per_problem: int,
        max_samples: int,
        *,
        stage: str,
        setting: str,
        contexts: dict[str, Context] | None = None,
    ) -> pd.DataFrame:
        """All samples up to ``per_problem`` correct ones of each problem, or ``max_samples``.

        The first samples are those of Section 3 (same stream), so they are read, not sampled again.
        """
        sampled: list[pd.DataFrame] = []
        wanting = problems
        for first in range(0, max_samples, BLOCK):
            last = min(first + BLOCK, max_samples)
            labels = {"stage": stage, "setting": setting, "stream": setting, "contexts": contexts}
            sampled.append(self.sample(wanting, last, first_sample=first, **labels))
            correct = pd.concat(sampled).groupby("problem_id")["correct"].sum()
            wanting = problems[problems["problem_id"].map(correct) < per_problem]
            if wanting.empty:
                break
        return pd.concat(sampled, ignore_index=True)

    def prompts(self, problems: pd.DataFrame, given: dict[str, Context] | None = None) -> list[Prompt]:
        """One prompt per problem, in order, with its context among ``given``."""
        return build_prompts(
            problems,
            self.tokenizer,
            instruction=self.instruction,
            contexts=given,
            enable_thinking=self.enable_thinking,
            system=self.system,
            second_bos=self.second_bos,
        )
