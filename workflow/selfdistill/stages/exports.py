"""Results for other programs."""

from pathlib import Path
from typing import Annotated

from selfdistill.parameters import OutFolder, ResponseTable, ResultsFolder
from selfdistill.stages.registry import EXPORT, stage


@stage(EXPORT)
def export_inspect(results: ResultsFolder, *, traces: ResponseTable, out: OutFolder) -> None:
    """Write a table of responses as logs of Inspect, one per model and setting, into a folder."""
    from selfdistill.exports import inspect_log

    print("\n".join(map(str, inspect_log.write(results, traces, out))))


@stage(EXPORT)
def export_tensorboard(results: ResultsFolder, *, out: OutFolder) -> None:
    """Write the metrics of every training run into a folder that TensorBoard shows."""
    from selfdistill.exports import tensorboard

    print(f"{out}: {tensorboard.write(results, out)} runs; tensorboard --logdir {out}")


@stage(EXPORT)
def export_logbook(*, claims: Annotated[Path, "The claims ledger (claims.json)."], out: OutFolder) -> None:
    """Write a claims ledger as pages of Markdown: all verdicts at a glance, and a page for each statement."""
    import json

    from selfdistill.errors import UserError
    from selfdistill.exports import logbook

    try:
        content = json.loads(claims.read_bytes())
    except (OSError, ValueError) as error:
        raise UserError(f"{claims}: not to be read as JSON ({error})") from error
    print(f"{out / logbook.INDEX}: {logbook.write(content, out)} statements")


@stage(EXPORT)
def complete_report(
    report: Annotated[Path, "What `snakemake --report` wrote (zip)."], *, results: ResultsFolder
) -> None:
    """Put a study's reading room into its report, whose pages and pictures link to it."""
    from selfdistill.exports.report import add_room

    print(f"{report}: {add_room(report, results)} files of the reading room")
