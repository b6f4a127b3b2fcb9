"""SDPO with its divergence left out at some places: which places, and what the loss is."""

import random

import pytest
import torch
from selfdistill import models
from selfdistill.microcosm.documents import Mix, sample_problem, thought, visible
from selfdistill.microcosm.positions import Kind, kinds
from selfdistill.microcosm.reasoner import Reasoner
from selfdistill.training.protected import Clipped, elsewhere
from test_trainer import (
    aggregated,
    as_before,  # noqa: F401
    assert_equal,
    gradients,
    make_batch,
    make_trainer,
    sdpo_by_hand,
)

TEXT = (
    "<think> might be 40 : check d 40 = 3 no wait , x = 24 : d 24 = 0 ok a 24 = 4 ok so x = 24 . </think> "
    "The answer is \\boxed{ 24 }"
)
# o: other, d: decision, v: verification
PLACES = "o dd o o d vvvvv dd dd o o d vvvv vvvvv vvvvv ooooooo".replace(" ", "")
LETTERS = {"o": Kind.OTHER, "d": Kind.DECISION, "v": Kind.VERIFICATION}


def test_decisions_and_verification_are_told_by_their_place():
    words = TEXT.split()
    found = "".join(next(letter for letter, kind in LETTERS.items() if kind == each) for each in kinds(words))
    assert found == PLACES, list(zip(words, found, strict=True))
    # What was drawn makes no difference: a plain proposal stands where a hedged one could.
    plain = kinds("<think> x = 40 : d 40 = 3 no likely 24 .".split())
    assert plain == [0, 1, 1, 0, 0, 1, 2, 2, 2, 2, 1, 0, 0]


@pytest.mark.parametrize("thinking", [True, False])
def test_all_markers_of_the_reasoner_are_decisions(thinking):
    rng = random.Random(0)
    markers = {"wait", "hmm", "perhaps", "maybe", "actually", "alternatively", "seems", "might", "likely", "check"}
    for _ in range(100):
        trace = Reasoner(rng, sample_problem(rng, Mix())).run()
        words = (thought(trace) if thinking else visible(trace)).split()
        of_words = list(zip(words, kinds(words), strict=True))
        assert {kind for word, kind in of_words if word in markers} <= {Kind.DECISION}
        assert {kind for word, kind in of_words if word in ("ok", "no", "so")} <= {Kind.VERIFICATION}


def test_what_slips_has_kinds_as_well():
    assert len(kinds("wait wait : : 7 7 ok so so".split())) == 9 and kinds([]) == []


def test_elsewhere_are_as_many_tokens_of_about_as_much_divergence():
    draw = torch.Generator().manual_seed(0)
    divergence, dice = torch.rand(4, 200, generator=draw) ** 4, torch.rand(4, 200, generator=draw)
    spoken = torch.arange(200) < torch.tensor([[200], [150], [60], [0]])
    chosen = (torch.rand(4, 200, generator=draw) < 0.3) & spoken
    found = elsewhere(chosen, divergence, spoken, dice)
    assert not (found & ~spoken).any() and found.sum(1).tolist() == chosen.sum(1).tolist()
    assert not torch.equal(found, chosen)
    assert torch.equal(found, elsewhere(chosen, divergence, spoken, dice))
    removed, matched = ((divergence * each).sum(1)[:3] for each in (chosen, found))
    assert torch.allclose(removed, matched, rtol=0.25)
    # By tenths, not by chance: the places with the most divergence are matched by others with the most.
    most = divergence >= divergence.where(spoken, -1.0).topk(15, dim=1).values[:, -1:]
    few = elsewhere(most & spoken, divergence, spoken, dice)[:2]
    assert (divergence[:2] * few).sum() > 0.7 * (divergence[:2] * most[:2]).sum()


@pytest.mark.parametrize(
    ("method", "spared"),
    [("sdpo_sparing_decisions", {1}), ("sdpo_sparing_verification", {2}), ("sdpo_decisions_only", {0, 2})],
)
def test_the_loss_is_sdpos_without_the_spared_tokens(manifest, other, tmp_path, method, spared):
    """In the mean over all tokens of a response: what is left weighs as before."""
    trainer = make_trainer(tmp_path, manifest, method, teacher=other)
    batch = make_batch(trainer.model)
    batch["kinds"] = torch.arange(batch["completion_ids"].numel()).view(batch["completion_ids"].shape) % 3
    batch["dice"] = torch.rand(batch["kinds"].shape)
    found = trainer._compute_loss(trainer.model, batch)
    ours = gradients(found, trainer.model)
    student, teacher = models.load_model(manifest), models.load_model(other)
    per_row = [
        row * torch.tensor([kind not in spared for kind in of_row[: len(row)].tolist()])
        for row, of_row in zip(sdpo_by_hand(student, teacher, batch), batch["kinds"], strict=True)
    ]
    wanted = aggregated(per_row, batch, "authors")
    assert_equal(found, wanted, ours, gradients(wanted, student), gap=1e-6)
    assert trainer.totals["spared_divergence"][0] > 0


def test_a_clipped_divergence_pulls_no_further(manifest, other, tmp_path, monkeypatch):
    monkeypatch.setattr(Clipped, "MOST", 0.02)
    trainer = make_trainer(tmp_path, manifest, "sdpo_clipped", teacher=other)
    batch = make_batch(trainer.model)
    values = torch.tensor([[0.01, 0.5, 0.02]], requires_grad=True)
    counted = trainer.method.counted(values, batch)
    counted.sum().backward()
    assert counted.tolist() == [pytest.approx([0.01, 0.02, 0.02])] and values.grad.tolist()[0][:2] == [1, 0]
    whole = make_trainer(tmp_path, manifest, "sdpo", teacher=other)
    assert trainer._compute_loss(trainer.model, batch) < whole._compute_loss(whole.model, batch)


def test_what_is_spared_at_random_follows_from_seed_step_and_rollout_alone(manifest, tmp_path):
    trainer = make_trainer(tmp_path, manifest, "sdpo_sparing_like_verification")
    dice = trainer.method._dice(3, 7, 40)
    assert torch.equal(dice, trainer.method._dice(3, 7, 60)[:40])
    assert not torch.equal(dice, trainer.method._dice(3, 8, 40))
    assert not torch.equal(dice, trainer.method._dice(4, 7, 40))
