"""Sections 5 and 6: training by GRPO and SDPO, and the evaluation of checkpoints."""

from collections.abc import Sequence
from typing import Annotated, Any

from selfdistill import processes
from selfdistill.generation.requests import Sampling
from selfdistill.generation.sampler import Sampler
from selfdistill.parameters import (
    EnableThinking,
    Engine,
    Instruction,
    Manifest,
    Out,
    Problems,
    ProblemTables,
    Samples,
    StudyName,
    WorkDir,
)
from selfdistill.stages.registry import STEP, stage
from selfdistill.training.settings import OnPolicySettings, Run


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
    mirrors: Annotated[Sequence[str], "Services that step metrics are also sent to."] = (),
    engine: Engine = "transformers",
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
        tables.read(problems, "problems"),
        manifest=model,
        study=study,
        run=run,
        settings=settings,
        sampling=sampling,
        instruction=instruction,
        enable_thinking=enable_thinking,
        out_dir=out_models,
        work_dir=work_dir,
        mirrors=list(mirrors),
        engine=engine,
    )
    if processes.is_main():
        tables.write(rollouts, out_rollouts, "traces")
        tables.write(seconds, out_seconds, "training_steps")
        tables.write(steps, out_steps, "training_steps")
        checkpoints.discard(work_dir)


@stage(STEP)
def evaluate_checkpoints(
    *,
    benchmarks: ProblemTables,
    sampler: Sampler,
    samples: Samples,
    evaluation_problems: Annotated[int | None, "Only so many problems of each benchmark; without it, all."] = None,
    out: Out,
) -> None:
    """Sample the first problems of benchmarks with every model step-N in the folder that ``sampler`` names."""
    import pandas as pd

    from selfdistill import tables

    asked = {path.stem: tables.read(path, "problems")[:evaluation_problems] for path in benchmarks}
    labels = {"stage": "evaluation", "stream": "evaluation"}
    traces = [
        model.sample(questions, samples, step=step, setting=benchmark, **labels)
        for step, model in sampler.along_training()
        for benchmark, questions in asked.items()
    ]
    tables.write(pd.concat(traces), out, "traces")


@stage(STEP)
def list_runs(
    *,
    rows: Annotated[list[dict[str, Any]], "On-policy runs, as JSON."],
    sft_rows: Annotated[list[dict[str, Any]], "Fine-tuning runs, as JSON."],
    problem_sets: ProblemTables,
    out: Out,
    out_sft: Out,
) -> None:
    """Write the tables of all training runs, one row each."""
    import pandas as pd

    from selfdistill import tables

    sizes = {path.stem: len(tables.read(path, "problems")) for path in problem_sets}
    runs = [row | ({"problems": sizes[row["problem_set"]]} if row["whole_set"] else {}) for row in rows]
    frame = pd.DataFrame(runs).astype({"top_k": "Int32", "teacher_update_rate": "float64"})
    tables.write(frame, out, "runs")
    tables.write(pd.DataFrame(sft_rows), out_sft, "sft_runs")
