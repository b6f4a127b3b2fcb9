"""SDPO (Hübotter et al. 2026, arXiv:2601.20802) with its divergence left out at some places of a response.

Is it the loss at markers that costs accuracy, or that at verification? A method here spares one of the two: there the
teacher pulls at nothing. Where a marker may stand counts, not the marker: to spare what was drawn would keep the push
away from plain words. Other places that hold as much divergence are the control. The mean over a response's tokens
stays over all of them, so that what is left weighs as before (docs/beyond.md; ours, not the paper's).

The places are those of the microcosm's language (`selfdistill.microcosm.positions`).
"""

import random
from typing import ClassVar

import pandas as pd
import torch

from selfdistill.generation.requests import sample_seed
from selfdistill.microcosm.positions import Kind, kinds
from selfdistill.training.rollouts import Step
from selfdistill.training.sdpo import Sdpo


class Sparing(Sdpo):
    """SDPO without divergence at ``spared`` kinds of places; or, as their control, at ``others`` that hold as much.

    A batch has besides ``kinds`` [B, T], of `Kind`, and ``die`` [B], drawn evenly from 0 to 1.
    """

    # A mean over distilled tokens, in nats, as the divergence is.
    metrics = (*Sdpo.metrics, "spared_divergence")
    spared: ClassVar[tuple[Kind, ...]]
    others: ClassVar[bool] = False

    def extend(self, batch: dict[str, torch.Tensor], step: Step, rollouts: pd.DataFrame) -> None:
        super().extend(batch, step, rollouts)
        ids, tokenizer = batch["completion_ids"], self.trainer.processing_class
        places = [kinds(tokenizer.convert_ids_to_tokens(row)) for row in ids.tolist()]
        batch["kinds"] = torch.tensor(places, device=ids.device)
        batch["die"] = torch.tensor([self._die(step.number, place) for place in step.places], device=ids.device)

    def _die(self, step: int, place: int) -> float:
        """Of one rollout: the same however the step's rollouts are spread over processes."""
        return random.Random(sample_seed(self.trainer.seed, "spared", str(place), step)).random()

    def counted(self, divergence: torch.Tensor, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        spoken, found = inputs["completion_mask"].bool(), divergence.detach()
        spared = torch.isin(inputs["kinds"], torch.tensor(self.spared, device=found.device)) & spoken
        if self.others:
            spared = elsewhere(spared, found, spoken, inputs["die"])
        distilled = spoken.float() * inputs["distilled"].unsqueeze(1)
        self.trainer.note_mean("spared_divergence", found * spared, distilled)
        return divergence.masked_fill(spared, 0.0)


class SparingDecisions(Sparing):
    """At decisions nothing is learnt."""

    spared = (Kind.DECISION,)


class SparingVerification(Sparing):
    """At checks, and where the answer is accepted, nothing is learnt; nor what is checked first."""

    spared = (Kind.VERIFICATION,)


class DecisionsOnly(Sparing):
    """Nothing is learnt but at decisions."""

    spared = (Kind.OTHER, Kind.VERIFICATION)


class SparingLikeDecisions(SparingDecisions):
    """The control of `SparingDecisions`."""

    others = True


class SparingLikeVerification(SparingVerification):
    """The control of `SparingVerification`."""

    others = True


def elsewhere(chosen: torch.Tensor, divergence: torch.Tensor, spoken: torch.Tensor, die: torch.Tensor) -> torch.Tensor:
    """Tokens [B, T] that are not ``chosen`` and are expected to hold as much of each row's divergence as those do.

    A row's other spoken tokens, in the order of their divergence, are all taken with the same chance: what the chosen
    hold over what the others hold, or 1 where that is less. Of neighbours in this order every so manieth is taken
    (systematic sampling), from a start that ``die`` [B] gives: so what is taken varies little, whatever the start.
    """
    taken = torch.zeros_like(spoken)
    for row, start in enumerate(die.tolist()):
        others = (spoken[row] & ~chosen[row]).nonzero().squeeze(1)
        wanted, held = (divergence[row, places].double().sum() for places in (chosen[row], others))
        chance = float(wanted / held) if wanted < held else 1.0
        steps = torch.arange(len(others) + 1, dtype=torch.float64, device=others.device) * chance + start
        in_order = others[divergence[row, others].argsort(stable=True)]
        taken[row, in_order[steps.floor().diff() > 0]] = True
    return taken


class Clipped(Sdpo):
    """SDPO whose divergence counts no further than to a bound at any one token, where its gradient ends."""

    # Nats: about five times the mean of a step in the microcosm. Between even mixtures no token has more than 0.69.
    MOST = 0.1

    def counted(self, divergence: torch.Tensor, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        return divergence.clamp(max=self.MOST)
