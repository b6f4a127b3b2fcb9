"""Base models: pre-trained here, registered, or shared."""

from pathlib import Path

from selfdistill.microcosm.presets import Pretraining
from selfdistill.models import ModelSource
from selfdistill.parameters import Manifest, ModelName, Out, Seed, WorkDir, Workers
from selfdistill.stages.registry import STEP, stage


@stage(STEP)
def pretrain_model(
    *,
    pretraining: Pretraining,
    seed: Seed,
    model_name: ModelName,
    workers: Workers = 2,
    work_dir: WorkDir,
    out: Out,
    out_steps: Out,
) -> None:
    """Pre-train a model of the microcosm from scratch."""
    from selfdistill import models, tables
    from selfdistill.microcosm.pretrain import pretrain

    steps = pretrain(out.parent, work_dir, seed=seed, settings=pretraining.chosen(), workers=workers)
    tables.write(steps.assign(model=model_name), out_steps, tables.TRAINING_STEPS)
    models.save_manifest(out.parent)


@stage(STEP)
def share_model(*, model: Manifest, out: Out) -> None:
    """Write a manifest for the weights beside another manifest."""
    from selfdistill import models

    models.save_shared_manifest(out, model)


@stage(STEP)
def register_model(*, model: ModelSource, out: Out) -> None:
    """Write the manifest of a published model, or of one saved in a folder."""
    from selfdistill import models
    from selfdistill.problems import pinned_revision

    if model.source == "hub":
        repo = str(model.repo)
        models.save_hub_manifest(out, repo, pinned_revision(repo, model.revision))
    else:
        models.save_folder_manifest(out, Path(str(model.folder)))
