"""Section 3 and evaluation: what models say."""

from pathlib import Path

from selfdistill.generation.sampler import Sampler


def select_borderline(
    *,
    problems: Path,
    sampler: Sampler,
    rollouts: int,
    low: float,
    high: float,
    target: int,
    batch: int,
    out_problems: Path,
    out_traces: Path,
) -> None:
    """Section 3: find the problems that the model solves in ``low`` to ``high`` of its rollouts."""
    from selfdistill import tables
    from selfdistill.generation import selection

    chosen, traces = selection.select_borderline(
        tables.read(problems, "problems"),
        lambda some: sampler.draw(some, rollouts, stage="selection", setting="unguided", stream="selection"),
        low=low,
        high=high,
        target=target,
        batch=batch,
    )
    tables.write(chosen, out_problems, "problems")
    tables.write(traces, out_traces, "traces")


def sample_guidance(
    *,
    setting: str,
    problems: Path,
    contexts: list[Path] = [],  # noqa: B006 (read only)
    sampler: Sampler,
    samples: int,
    out: Path,
) -> None:
    """Section 3: sample the selected problems in one setting of guidance."""
    from selfdistill import tables

    given = sampler.contexts(setting, [tables.read(path, "traces") for path in contexts])
    traces = sampler.draw(
        tables.read(problems, "problems"), samples, stage="section3", setting=setting, stream=setting, contexts=given
    )
    tables.write(traces, out, "traces")


def evaluate_model(
    *,
    problems: Path,
    sampler: Sampler,
    samples: int,
    benchmark: str,
    out: Path,
) -> None:
    """Sample every problem of one benchmark with one model."""
    from selfdistill import tables

    questions = tables.read(problems, "problems")
    traces = sampler.draw(questions, samples, stage="evaluation", setting=benchmark, stream="evaluation")
    tables.write(traces, out, "traces")
