"""Sections 5 and 6: training by GRPO and SDPO, and the evaluation of checkpoints."""

from pathlib import Path

from selfdistill import processes
from selfdistill.generation.requests import Sampling
from selfdistill.generation.sampler import Sampler
from selfdistill.training.settings import Arm, OnPolicySettings


def train_onpolicy(
    *,
    problems: Path,
    model: Path,
    study: str,
    model_name: str,
    run: str,
    arm: Arm,
    settings: OnPolicySettings,
    sampling: Sampling,
    instruction: str = "",
    enable_thinking: bool | None = None,
    seed: int,
    mirrors: list[str] = [],  # noqa: B006 (read only)
    engine: str = "transformers",
    work_dir: Path,
    out_models: Path,
    out_steps: Path,
    out_seconds: Path,
    out_rollouts: Path,
) -> None:
    """Sections 5 and 6: train the model by GRPO or SDPO."""
    from selfdistill import tables
    from selfdistill.training import checkpoints
    from selfdistill.training.onpolicy import train_onpolicy as train

    steps, seconds, rollouts = train(
        tables.read(problems, "problems"),
        manifest=model,
        study=study,
        model_name=model_name,
        run=run,
        arm=arm,
        settings=settings,
        sampling=sampling,
        instruction=instruction,
        enable_thinking=enable_thinking,
        seed=seed,
        out_dir=out_models,
        work_dir=work_dir,
        mirrors=mirrors,
        engine=engine,
    )
    if processes.is_main():
        tables.write(rollouts, out_rollouts, "traces")
        tables.write(seconds, out_seconds, "training_steps")
        tables.write(steps, out_steps, "training_steps")
        checkpoints.discard(work_dir)


def evaluate_checkpoints(
    *,
    benchmarks: list[Path],
    sampler: Sampler,
    samples: int,
    evaluation_problems: int | None = None,
    out: Path,
) -> None:
    """Sample the first problems of benchmarks with every model step-N in the folder that ``sampler`` names."""
    import pandas as pd

    from selfdistill import tables

    asked = {path.stem: tables.read(path, "problems")[:evaluation_problems] for path in benchmarks}
    labels = {"stage": "evaluation", "stream": "evaluation"}
    traces = [
        model.draw(questions, samples, step=step, setting=benchmark, **labels)
        for step, model in sampler.along_training()
        for benchmark, questions in asked.items()
    ]
    tables.write(pd.concat(traces), out, "traces")


def list_runs(
    *, rows: str, study: str, families: list[str], thinking: list[str], problem_sets: list[Path], out: Path
) -> None:
    """Write the table of on-policy runs from their rows (JSON), and name=value pairs of every model."""
    import json

    from selfdistill import runs, tables

    table = runs.table(
        [runs.Run(**row) for row in json.loads(rows)],
        study=study,
        families=dict(pair.split("=", 1) for pair in families),
        thinking=dict(pair.split("=", 1) for pair in thinking),
        sizes={path.stem: len(tables.read(path, "problems")) for path in problem_sets},
    )
    tables.write(table, out, "runs")
