"""Section 4: data sets of responses, and fine-tuning on them."""

from pathlib import Path
from typing import Annotated, Any

from selfdistill import processes
from selfdistill.generation.contexts import Guidance
from selfdistill.generation.sampler import Sampler
from selfdistill.parameters import (
    Contexts,
    EnableThinking,
    Examples,
    Instruction,
    Manifest,
    ModelName,
    Out,
    Problems,
    ResponseTable,
    Seed,
    Setting,
    StudyName,
    System,
    WorkDir,
)
from selfdistill.stages.registry import STEP, stage
from selfdistill.training.settings import SftRun, SftSettings
from selfdistill.training.sft_sets import Collection, SetSizes


@stage(STEP)
def collect_correct(
    *,
    setting: Setting,
    problems: Problems,
    guidance: Guidance,
    contexts: Contexts = (),
    sampler: Sampler,
    collection: Collection,
    out: Out,
) -> None:
    """Section 4: sample on, until every problem has its correct responses or the most samples were taken."""
    from selfdistill import tables

    given = sampler.contexts(guidance, [tables.read(path, tables.TRACES) for path in contexts])
    traces = sampler.sample_until_correct(
        tables.read(problems, tables.PROBLEMS),
        collection.per_problem,
        collection.max_draws,
        stage="sft",
        setting=setting,
        contexts=given,
    )
    tables.write(traces, out, tables.TRACES)


@stage(STEP)
def build_sft_sets(
    *,
    problems: Problems,
    unguided: ResponseTable,
    guided: ResponseTable,
    sizes: SetSizes,
    per_problem: Annotated[int, "Correct responses of each problem."],
    only_correct: Annotated[bool, "Whether wrong responses are left out; in a trial they are taken."] = True,
    instruction: Instruction = "",
    study: StudyName,
    model_name: ModelName,
    out_unguided: Out,
    out_guided: Out,
    out_unfiltered: Out,
    out_card: Out,
) -> None:
    """Section 4: build D_ug, D_sg and the unfiltered unguided set, with their data card."""
    from selfdistill import tables
    from selfdistill.files import write_text
    from selfdistill.training import sft_sets

    asked = tables.read(problems, tables.PROBLEMS)
    sets = sft_sets.build_sft_sets(
        tables.read(unguided, tables.TRACES),
        tables.read(guided, tables.TRACES),
        asked,
        sizes=sizes,
        per_problem=per_problem,
        only_correct=only_correct,
        instruction=instruction,
    )
    for name, path in zip(sft_sets.SETS, (out_unguided, out_guided, out_unfiltered), strict=True):
        tables.write(sets[name], path, tables.SFT_EXAMPLES)
    write_text(out_card, sft_sets.data_card(sets, study=study, model=model_name, sources=asked["source"]))


@stage(STEP)
def build_edited_set(
    *,
    unguided: Annotated[Path, "The set D_ug."],
    guided: Annotated[Path, "The set D_sg."],
    name: Annotated[str, "The set to make."],
    world: Annotated[str, "The world that its responses are of."] = "standard",
    seed: Seed,
    out: Out,
) -> None:
    """Beyond the paper: make a set that differs from D_ug or D_sg by one thing."""
    from selfdistill import tables
    from selfdistill.training.edited_sets import edited_set

    made = edited_set(
        *(tables.read(path, tables.SFT_EXAMPLES) for path in (unguided, guided)), name, seed=seed, kind=world
    )
    tables.write(made, out, tables.SFT_EXAMPLES)


@stage(STEP)
def train_sft(
    *,
    examples: Examples,
    model: Manifest,
    model_name: ModelName,
    run: SftRun,
    settings: SftSettings,
    enable_thinking: EnableThinking = None,
    system: System = "",
    seed: Seed,
    work_dir: WorkDir,
    out: Out,
    out_steps: Out,
) -> None:
    """Section 4: fine-tune the model on one data set at one learning rate."""
    from selfdistill import tables
    from selfdistill.training import checkpoints
    from selfdistill.training.sft import train_sft as train

    steps = train(
        tables.read(examples, tables.SFT_EXAMPLES),
        manifest=model,
        out_dir=out.parent,
        work_dir=work_dir,
        model_name=model_name,
        run=run,
        settings=settings,
        enable_thinking=enable_thinking,
        system=system,
        seed=seed,
    )
    if processes.is_main():
        tables.write(steps, out_steps, tables.TRAINING_STEPS)
        checkpoints.discard(work_dir)


@stage(STEP)
def list_sft_runs(*, rows: Annotated[list[dict[str, Any]], "Fine-tuning runs, as JSON."], out: Out) -> None:
    """Write the table of all fine-tuning runs, one row each."""
    import pandas as pd

    from selfdistill import tables

    tables.write(pd.DataFrame(rows, columns=tables.SFT_RUNS.columns), out, tables.SFT_RUNS)
