"""Base models: pre-trained here, registered, or shared."""

from pathlib import Path


def pretrain_model(
    *, preset: str, seed: int, model_name: str, workers: int = 2, work_dir: Path, out: Path, out_steps: Path
) -> None:
    """Pre-train a model of the microcosm from scratch."""
    from selfdistill import models, tables
    from selfdistill.microcosm.pretrain import PRESETS, pretrain

    settings = _one_of("pre-training preset", preset, PRESETS)
    steps = pretrain(out.parent, work_dir, seed=seed, settings=settings, workers=workers)
    tables.write(steps.assign(model=model_name), out_steps, "training_steps")
    models.save_manifest(out.parent)


def register_model(
    *,
    source: str,
    repo: str | None = None,
    revision: str | None = None,
    folder: Path | None = None,
    out: Path,
) -> None:
    """Write the manifest of a published model, or of one saved in a folder."""
    from selfdistill import models
    from selfdistill.problems import pinned_revision

    if source == "hub":
        models.save_hub_manifest(out, repo, pinned_revision(repo, revision))
    else:
        models.save_folder_manifest(out, folder)


def share_model(*, model: Path, out: Path) -> None:
    """Write a manifest for the weights beside another manifest."""
    from selfdistill import models

    models.save_shared_manifest(out, model)


def _one_of(what: str, name: str, known: dict):
    from selfdistill.errors import UserError, nearest

    if name not in known:
        raise UserError(f"unknown {what} '{name}'{nearest(name, known)}; known: {', '.join(known)}")
    return known[name]
