"""Section 3 and evaluation: what models say."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from selfdistill.generation import first_words
from selfdistill.generation.contexts import Guidance
from selfdistill.generation.sampler import Asked, Sampler
from selfdistill.generation.selection import SelectionSettings
from selfdistill.parameters import Contexts, Out, Problems, ResponseTable, Samples, Setting
from selfdistill.stages.registry import STEP, stage
from selfdistill.training.settings import SdpoSettings

if TYPE_CHECKING:
    import pandas as pd


GoOn = Annotated[bool, "Say what is wrong with a model's first responses, and go on: in a trial."]


@stage(STEP)
def select_borderline(
    *,
    problems: Problems,
    sampler: Sampler,
    selection: SelectionSettings,
    go_on: GoOn = False,
    out_problems: Out,
    out_traces: Out,
) -> None:
    """Section 3: find the problems that the model solves in a given share of its rollouts."""
    from selfdistill import tables
    from selfdistill.generation.selection import select_borderline as select

    pool = tables.read(problems, tables.PROBLEMS)

    def sample(some: "pd.DataFrame") -> "pd.DataFrame":
        found = sampler.sample(some, selection.rollouts, stage="selection", setting="unguided", stream="selection")
        if some.index[0] == pool.index[0]:  # the first batch says whether the model is worth the others
            with first_words.told(go_on):
                first_words.check_solved(found, some, max_tokens=sampler.sampling.max_tokens)
        return found

    chosen, traces = select(pool, sample, selection)
    tables.write(chosen, out_problems, tables.PROBLEMS)
    tables.write(traces, out_traces, tables.TRACES)


@stage(STEP)
def sample_guidance(
    *,
    setting: Setting,
    problems: Problems,
    guidance: Guidance,
    contexts: Contexts = (),
    sampler: Sampler,
    samples: Samples,
    out: Out,
) -> None:
    """Section 3: sample the selected problems in one setting of guidance."""
    from selfdistill import tables

    given = sampler.contexts(guidance, [tables.read(path, tables.TRACES) for path in contexts])
    traces = sampler.sample(
        tables.read(problems, tables.PROBLEMS),
        samples,
        stage="section3",
        setting=setting,
        stream=setting,
        contexts=given,
    )
    tables.write(traces, out, tables.TRACES)


@stage(STEP)
def measure_information(
    *,
    traces: ResponseTable,
    problems: Problems,
    guidance: Guidance,
    contexts: Contexts = (),
    sampler: Sampler,
    out: Out,
) -> None:
    """Section 3: measure what the context of a setting tells of its responses, by the model that wrote them."""
    from selfdistill import tables
    from selfdistill.training.likelihoods import likelihoods

    asked = tables.read(problems, tables.PROBLEMS)
    given = sampler.contexts(guidance, [tables.read(path, tables.TRACES) for path in contexts])
    prompts = sampler.prompts(asked, given), sampler.prompts(asked)
    responses = tables.read(
        traces, tables.TRACES, ["model", "setting", "problem_id", "sample", "response", "finish_reason"]
    )
    found = likelihoods(responses, *prompts, manifest=sampler.model, work_dir=sampler.work_dir)
    tables.write(found, out, tables.INFORMATION)


@stage(STEP)
def measure_alignment(
    *,
    traces: ResponseTable,
    problems: Problems,
    selection: Annotated[Path, "Table of the responses that selected the problems."],
    selected_from: Annotated[Path, "Table of the problems of these."],
    evaluations: Annotated[list[Path], "Tables of the model's responses to benchmarks."],
    benchmarks: Annotated[list[Path], "Tables of the problems of each."],
    sampler: Sampler,
    sdpo: SdpoSettings,
    top_k: Annotated[int, "Likeliest tokens that SDPO's divergence tells apart."],
    out: Out,
) -> None:
    """Measure what a step along the gradients of GRPO and SDPO does to success, at a base model."""
    from selfdistill import tables
    from selfdistill.training.alignment import measured

    def read(path: Path) -> "pd.DataFrame":
        columns = ["model", "setting", "problem_id", "sample", "response", "finish_reason", "correct"]
        return tables.read(path, tables.TRACES, columns)

    asked = [(read(path), tables.read(of, tables.PROBLEMS)) for path, of in zip(evaluations, benchmarks, strict=True)]
    drawn = read(selection), tables.read(selected_from, tables.PROBLEMS)
    own = read(traces), tables.read(problems, tables.PROBLEMS)
    tables.write(measured(own, drawn, asked, sampler=sampler, settings=sdpo, top_k=top_k), out, tables.ALIGNMENT)


@stage(STEP)
def evaluate_model(
    *,
    problems: Problems,
    sampler: Sampler,
    asked: Asked,
    benchmark: Annotated[str, "Name of the benchmark, written into every row."],
    out: Out,
) -> None:
    """Sample every problem of one benchmark with one model."""
    from selfdistill import tables

    traces = sampler.evaluate(tables.read(problems, tables.PROBLEMS), asked, benchmark=benchmark)
    tables.write(traces, out, tables.TRACES)


@stage(STEP)
def check_model(
    *,
    traces: ResponseTable,
    problems: Problems,
    max_tokens: Annotated[int, "Longest response, in tokens."],
    go_on: GoOn = False,
    out: Out,
) -> None:
    """Look at a base model's first evaluation: one that writes no answer in a box is not worth training."""
    from selfdistill import tables
    from selfdistill.files import write_text

    found = tables.read(traces, tables.TRACES)
    with first_words.told(go_on):
        first_words.check_boxed(found, max_tokens=max_tokens)
    with first_words.told(go_on=True):  # a benchmark may be too hard for a model that learns all the same
        first_words.check_solved(found, tables.read(problems, tables.PROBLEMS), max_tokens=max_tokens)
    write_text(out, f"{first_words.shares(found)}\n")
