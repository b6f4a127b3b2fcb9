"""Sections 5 and 6: training by GRPO and SDPO, and the evaluation of checkpoints."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from selfdistill import processes
from selfdistill.generation.requests import Sampling
from selfdistill.generation.sampler import Asked, Sampler
from selfdistill.parameters import (
    AnswerIn,
    EnableThinking,
    Engine,
    Instruction,
    Manifest,
    Out,
    OwnProblems,
    Problems,
    ProblemTables,
    RunRows,
    StudyName,
    System,
    WorkDir,
)
from selfdistill.stages.registry import STEP, stage
from selfdistill.training.settings import TRAINED, OnPolicySettings, Run


@stage(STEP)
def train_onpolicy(
    *,
    problems: Problems,
    model: Manifest,
    study: StudyName,
    run: Run,
    settings: OnPolicySettings,
    sampling: Sampling,
    instruction: Instruction = "",
    enable_thinking: EnableThinking = None,
    system: System = "",
    answer_in: AnswerIn = "box",
    mirrors: Annotated[Sequence[str], "Services that step metrics are also sent to."] = (),
    engine: Engine = "transformers",
    template: Annotated[str | None, "Template of the run's context, where that is one of your own."] = None,
    work_dir: WorkDir,
    out_models: Annotated[Out, "Folder of the models along training."],
    out_steps: Out,
    out_seconds: Out,
    out_rollouts: Out,
) -> None:
    """Sections 5 and 6: train the model by GRPO or SDPO."""
    from selfdistill import tables
    from selfdistill.training import checkpoints
    from selfdistill.training.onpolicy import train_onpolicy as train

    steps, seconds, rollouts = train(
        tables.read(problems, tables.PROBLEMS),
        manifest=model,
        study=study,
        run=run,
        settings=settings,
        sampling=sampling,
        instruction=instruction,
        enable_thinking=enable_thinking,
        system=system,
        answer_in=answer_in,
        out_dir=out_models,
        work_dir=work_dir,
        mirrors=list(mirrors),
        engine=engine,
        template=template,
    )
    if processes.is_main():
        tables.write(rollouts, out_rollouts, tables.TRACES)
        tables.write(seconds, out_seconds, tables.TRAINING_STEPS)
        tables.write(steps, out_steps, tables.TRAINING_STEPS)
        checkpoints.discard(work_dir)


@stage(STEP)
def evaluate_checkpoints(
    *,
    benchmarks: ProblemTables,
    sampler: Sampler,
    asked: Asked,
    evaluation_problems: Annotated[int | None, "Only so many problems of each benchmark; without it, all."] = None,
    trained_on: Annotated[
        Path | None, "Table of problems that the run trained on, to evaluate it on these too."
    ] = None,
    own: Annotated[OwnProblems | None, "Which of them it did, as JSON."] = None,
    own_samples: Annotated[int, "Responses to each of those."] = 0,
    out: Out,
) -> None:
    """Sample the first problems of benchmarks with every model step-N in the folder that ``sampler`` names.

    With ``trained_on``, also the problems that the run trained on first, as the benchmark "trained".
    """
    import pandas as pd

    from selfdistill import tables
    from selfdistill.training.prompt_stream import trained_problems

    sets = [(path.stem, tables.read(path, tables.PROBLEMS)[:evaluation_problems], asked) for path in benchmarks]
    if trained_on is not None and own is not None:
        trained = trained_problems(tables.read(trained_on, tables.PROBLEMS), **own)
        sets.append((TRAINED, trained, Asked(own_samples)))
    traces = [
        model.evaluate(questions, extent, benchmark=benchmark, step=step)
        for step, model in sampler.along_training()
        for benchmark, questions, extent in sets
    ]
    tables.write(pd.concat(traces), out, tables.TRACES)


@stage(STEP)
def list_trained(
    *,
    problem_sets: ProblemTables,
    own: Annotated[dict[str, list[OwnProblems]], "By problem set, which of it each run trains on, as JSON."],
    out: Out,
) -> None:
    """List the problems that the runs of a model train on first, each once, for the model itself to be evaluated on."""
    import pandas as pd

    from selfdistill import tables
    from selfdistill.training.prompt_stream import trained_problems

    sets = {path.stem: tables.read(path, tables.PROBLEMS) for path in problem_sets}
    found = [trained_problems(sets[name], **run) for name, runs in own.items() for run in runs]
    together = pd.concat(found).drop_duplicates("problem_id", ignore_index=True)
    tables.write(together, out, tables.PROBLEMS)


@stage(STEP)
def list_runs(*, rows: RunRows, problem_sets: ProblemTables, out: Out) -> None:
    """Write the table of all on-policy runs, one row each."""
    from selfdistill import tables
    from selfdistill.analysis import arms

    tables.write(arms.run_table(rows, problem_sets), out, tables.RUNS)
