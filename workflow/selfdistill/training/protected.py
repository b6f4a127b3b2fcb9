"""SDPO (Hübotter et al. 2026, arXiv:2601.20802) with its divergence left out at some places of a response.

Is it the loss at markers that costs accuracy, or that at verification? A method here spares one of the two: there the
teacher pulls at nothing. Where a marker may stand counts, not the marker: to spare what was drawn would keep the push
away from plain words. Random places that hold as much divergence are the control. The mean over a response's tokens
stays over all of them, so that what is left weighs as before (docs/beyond.md; ours, not the paper's).

The places are those of the microcosm's language (`selfdistill.microcosm.positions`).
"""

from typing import ClassVar

import pandas as pd
import torch

from selfdistill.generation.requests import sample_seed
from selfdistill.microcosm.positions import Kind, kinds
from selfdistill.training.rollouts import Step
from selfdistill.training.sdpo import Sdpo

PARTS = 10  # of a response's tokens, by their divergence


class Sparing(Sdpo):
    """SDPO without divergence at ``spared`` kinds of places; or, as their control, ``at_random``: at as many others.

    A batch has besides ``kinds`` [B, T], of `Kind`, and ``dice`` [B, T], drawn evenly from 0 to 1.
    """

    # A mean over distilled tokens, in nats, as the divergence is.
    metrics = (*Sdpo.metrics, "spared_divergence")
    spared: ClassVar[tuple[Kind, ...]]
    at_random: ClassVar[bool] = False

    def extend(self, batch: dict[str, torch.Tensor], step: Step, rollouts: pd.DataFrame) -> None:
        super().extend(batch, step, rollouts)
        ids, tokenizer = batch["completion_ids"], self.trainer.processing_class
        places = [kinds(tokenizer.convert_ids_to_tokens(row)) for row in ids.tolist()]
        batch["kinds"] = torch.tensor(places, device=ids.device)
        dice = torch.stack([self._dice(step.number, place, ids.size(1)) for place in step.places])
        batch["dice"] = dice.to(ids.device)

    def _dice(self, step: int, place: int, tokens: int) -> torch.Tensor:
        """Of one rollout: the same however the step's rollouts are spread over processes."""
        seed = sample_seed(self.trainer.seed, "spared", str(place), step) % 2**63
        return torch.rand(tokens, generator=torch.Generator().manual_seed(seed))

    def counted(self, divergence: torch.Tensor, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        spoken, found = inputs["completion_mask"].bool(), divergence.detach()
        spared = torch.isin(inputs["kinds"], torch.tensor(self.spared, device=found.device)) & spoken
        if self.at_random:
            spared = elsewhere(spared, found, spoken, inputs["dice"])
        distilled = spoken.float() * inputs["distilled"].unsqueeze(1)
        self.trainer.note_mean("spared_divergence", found * spared, distilled)
        return divergence.masked_fill(spared, 0.0)


class SparingDecisions(Sparing):
    """At decisions nothing is learnt."""

    spared = (Kind.DECISION,)


class SparingVerification(Sparing):
    """At checks, and where the answer is accepted, nothing is learnt."""

    spared = (Kind.VERIFICATION,)


class DecisionsOnly(Sparing):
    """Nothing is learnt but at decisions."""

    spared = (Kind.OTHER, Kind.VERIFICATION)


class SparingLikeDecisions(SparingDecisions):
    """The control of `SparingDecisions`."""

    at_random = True


class SparingLikeVerification(SparingVerification):
    """The control of `SparingVerification`."""

    at_random = True


def elsewhere(chosen: torch.Tensor, divergence: torch.Tensor, spoken: torch.Tensor, dice: torch.Tensor) -> torch.Tensor:
    """As many tokens [B, T] as ``chosen`` of each row, at random places that hold about as much divergence.

    A row's spoken tokens are parted in ten by their divergence. From each tenth as many are taken as are chosen of it,
    those with the lowest ``dice``.
    """
    taken = torch.zeros_like(spoken)
    for row in range(len(spoken)):
        tokens = spoken[row].nonzero().squeeze(1)
        for part in tokens[divergence[row, tokens].argsort(stable=True)].tensor_split(PARTS):
            lowest = part[dice[row, part].argsort(stable=True)]
            taken[row, lowest[: int(chosen[row, part].sum())]] = True
    return taken


class Clipped(Sdpo):
    """SDPO whose divergence counts no further than to a bound at any one token, where its gradient ends."""

    # Nats: about five times the mean of a step in the microcosm. Between even mixtures no token has more than 0.69.
    MOST = 0.1

    def counted(self, divergence: torch.Tensor, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        return divergence.clamp(max=self.MOST)
