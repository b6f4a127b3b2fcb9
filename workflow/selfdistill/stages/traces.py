"""Section 3 and evaluation: what models say."""

from typing import Annotated

from selfdistill.generation.contexts import Guidance
from selfdistill.generation.sampler import Asked, Sampler
from selfdistill.generation.selection import SelectionSettings
from selfdistill.parameters import Contexts, Out, Problems, Samples, Setting
from selfdistill.stages.registry import STEP, stage


@stage(STEP)
def select_borderline(
    *, problems: Problems, sampler: Sampler, selection: SelectionSettings, out_problems: Out, out_traces: Out
) -> None:
    """Section 3: find the problems that the model solves in a given share of its rollouts."""
    from selfdistill import tables
    from selfdistill.generation.selection import select_borderline as select

    chosen, traces = select(
        tables.read(problems, "problems"),
        lambda some: sampler.sample(
            some, selection.rollouts, stage="selection", setting="unguided", stream="selection"
        ),
        selection,
    )
    tables.write(chosen, out_problems, "problems")
    tables.write(traces, out_traces, "traces")


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

    given = sampler.contexts(guidance, [tables.read(path, "traces") for path in contexts])
    traces = sampler.sample(
        tables.read(problems, "problems"), samples, stage="section3", setting=setting, stream=setting, contexts=given
    )
    tables.write(traces, out, "traces")


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

    traces = sampler.evaluate(tables.read(problems, "problems"), asked, benchmark=benchmark)
    tables.write(traces, out, "traces")
