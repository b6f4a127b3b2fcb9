"""Training metrics as TensorBoard's event files, after the fact."""

from pathlib import Path

from selfdistill import tables
from selfdistill.errors import UserError


def write(results: Path, out: Path) -> int:
    """Write every metric of every training run of a study, a folder `model/run` each, below ``out``; their number.

    `UserError` where the study has no training tables, or ``out`` is there already: TensorBoard would show both.
    """
    from torch.utils.tensorboard import SummaryWriter

    paths = [path for path in sorted((results / "training").glob("*/*.parquet")) if not path.stem.endswith(".seconds")]
    if not paths:
        raise UserError(f"{results / 'training'}: no training tables")
    if out.exists():
        raise UserError(f"{out} is there already; name a new folder")
    runs = 0
    for path in paths:
        for (model, run), rows in tables.read(path, tables.TRAINING_STEPS).groupby(["model", "run"]):
            with SummaryWriter(out / model / run) as writer:
                for metric, step, value in rows[["metric", "step", "value"]].itertuples(index=False):
                    writer.add_scalar(metric, value, step)
            runs += 1
    return runs
