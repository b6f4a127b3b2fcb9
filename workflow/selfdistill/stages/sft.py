"""Section 4: data sets of responses, and fine-tuning on them."""

from pathlib import Path

from selfdistill import processes
from selfdistill.generation.sampler import Sampler
from selfdistill.training.settings import SftSettings


def collect_correct(
    *,
    setting: str,
    problems: Path,
    contexts: list[Path] = [],  # noqa: B006 (read only)
    sampler: Sampler,
    per_problem: int,
    max_draws: int,
    out: Path,
) -> None:
    """Section 4: draw on, until every problem has ``per_problem`` correct responses or ``max_draws`` samples."""
    from selfdistill import tables

    given = sampler.contexts(setting, [tables.read(path, "traces") for path in contexts])
    traces = sampler.draw_until_correct(
        tables.read(problems, "problems"), per_problem, max_draws, stage="sft", setting=setting, contexts=given
    )
    tables.write(traces, out, "traces")


def build_sft_sets(
    *,
    problems: Path,
    unguided: Path,
    guided: Path,
    responses: int,
    at_least: int,
    per_problem: int,
    instruction: str = "",
    study: str,
    model_name: str,
    out_unguided: Path,
    out_guided: Path,
    out_unfiltered: Path,
    out_card: Path,
) -> None:
    """Section 4: build D_ug, D_sg and the unfiltered unguided set, with their data card."""
    from selfdistill import tables
    from selfdistill.files import write_text
    from selfdistill.training import sft_sets

    asked = tables.read(problems, "problems")
    sets = sft_sets.build_sft_sets(
        tables.read(unguided, "traces"),
        tables.read(guided, "traces"),
        asked,
        responses=responses,
        at_least=at_least,
        per_problem=per_problem,
        instruction=instruction,
    )
    for name, path in zip(sft_sets.SETS, (out_unguided, out_guided, out_unfiltered), strict=True):
        tables.write(sets[name], path, "sft_examples")
    write_text(out_card, sft_sets.data_card(sets, study=study, model=model_name, sources=asked["source"]))


def train_sft(
    *,
    examples: Path,
    model: Path,
    model_name: str,
    run: str,
    settings: SftSettings,
    enable_thinking: bool | None = None,
    seed: int,
    work_dir: Path,
    out: Path,
    out_steps: Path,
) -> None:
    """Section 4: fine-tune the model on one data set at one learning rate."""
    from selfdistill import tables
    from selfdistill.training import checkpoints
    from selfdistill.training.sft import train_sft as train

    steps = train(
        tables.read(examples, "sft_examples"),
        manifest=model,
        out_dir=out.parent,
        work_dir=work_dir,
        model_name=model_name,
        run=run,
        settings=settings,
        enable_thinking=enable_thinking,
        seed=seed,
    )
    if processes.is_main():
        tables.write(steps, out_steps, "training_steps")
        checkpoints.discard(work_dir)
