"""Every number that shapes the microcosm's base models, in presets. Imports no torch."""

from dataclasses import dataclass, field, replace
from typing import Annotated

from pydantic import Field

from selfdistill.microcosm.documents import WORLDS, Mix
from selfdistill.microcosm.world import EVALUATION_SIZE, IN_DOMAIN_SIZE, NARROW_ANCHORS, NARROW_GROUP
from selfdistill.settings import Among, key, settings


@dataclass(frozen=True)
class PretrainingSettings:
    """Every number that shapes the base model; chosen on the base model's accuracy alone (docs/microcosm.md)."""

    mix: Mix = field(default_factory=Mix)
    hidden: int = 128
    layers: int = 4
    heads: int = 4  # of 32 dimensions; half as many key-value heads
    intermediate: int = 384
    fact_tokens: int = 800  # per step on facts, five tokens each
    fact_loss: float = 0.3  # facts are known when their moving-average loss (nats per value) is below this;
    fact_limit: int = 600  # or after so many steps
    check_steps: int = 250  # steps on checks
    steps: int = 1750  # steps on documents
    tokens: int = 1300  # per step on checks and documents
    muon_rate: float = 0.02  # matrices inside the blocks
    adamw_rate: float = 3e-3  # embedding and norms
    warmup: int = 60  # first steps on facts
    constant: float = 0.3  # share of the document steps before the linear decay
    final: float = 0.02  # learning rate at the end, as a share of its peak
    clip: float = 1.0  # norm of the gradient
    checkpoint_seconds: float = 5.0


_NARROW = Mix(letters=NARROW_GROUP, anchors=NARROW_ANCHORS, clue_counts=((1, 0.1), (2, 0.9)))


PRESETS = {
    "standard": PretrainingSettings(),
    # One letter group and one anchor: learns in half a minute to solve some problems of the narrow splits.
    "smoke": PretrainingSettings(mix=_NARROW, layers=2, fact_limit=150, check_steps=50, steps=250),
    # Runs through every code path and learns nothing.
    "tiny": PretrainingSettings(
        mix=_NARROW,
        hidden=32,
        layers=1,
        heads=2,
        intermediate=64,
        fact_tokens=400,
        fact_limit=3,
        check_steps=3,
        steps=6,
        tokens=400,
    ),
}


@settings
class Pretraining:
    """Pre-training of the microcosm's models."""

    preset: Annotated[str, Among(PRESETS)] = key(
        "standard", doc="Size of the microcosm's pre-training; the numbers stand in `microcosm/presets.py`."
    )
    world: Annotated[str, Among(WORLDS)] = key(
        "standard",
        doc="What its traces are like: in `carrier`, markers alone say which candidates fit (docs/worlds.md).",
    )
    held_out: Annotated[int, Field(ge=EVALUATION_SIZE, le=IN_DOMAIN_SIZE)] | None = key(
        None,
        doc="Problems of each benchmark, the first ones, that no pre-training document is about; null: "
        f"{EVALUATION_SIZE}.",
    )

    def chosen(self) -> PretrainingSettings:
        """The preset's numbers, for this world and with so many problems held out."""
        preset = PRESETS[self.preset]
        held_out = preset.mix.held_out if self.held_out is None else self.held_out
        return replace(preset, mix=replace(preset.mix, world=self.world, held_out=held_out))
