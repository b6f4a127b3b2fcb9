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
PLACES = "o dd o o v vvvvv dd dd o o v vvvv vvvvv vvvvv ooooooo".replace(" ", "")
LETTERS = {"o": Kind.OTHER, "d": Kind.DECISION, "v": Kind.VERIFICATION}


def test_decisions_and_verification_are_told_by_their_place():
    words = TEXT.split()
    found = "".join(next(letter for letter, kind in LETTERS.items() if kind == each) for each in kinds(words))
    assert found == PLACES, list(zip(words, found, strict=True))
    # What was drawn makes no difference: a plain proposal stands where a hedged one could.
    plain = kinds("<think> x = 40 : d 40 = 3 no likely 24 .".split())
    assert plain == [0, 1, 1, 0, 0, 2, 2, 2, 2, 2, 1, 0, 0]


def test_where_a_guided_response_leaves_verification_out_is_no_decision():
    """It checks the anchor and accepts: it parts from an unguided one at what is checked first."""
    unguided, guided = "<think> x = 24 : d 24 = 0 ok".split(), "<think> x = 24 : m8 24 = 0 ok".split()
    (parted,) = (place for place, (a, b) in enumerate(zip(unguided, guided, strict=True)) if a != b)
    assert kinds(unguided)[parted] == kinds(guided)[parted] == Kind.VERIFICATION


@pytest.mark.parametrize("thinking", [True, False])
def test_all_markers_of_the_reasoner_but_check_are_decisions(thinking):
    rng = random.Random(0)
    markers = {"wait", "hmm", "perhaps", "maybe", "actually", "alternatively", "seems", "might", "likely"}
    for _ in range(100):
        trace = Reasoner(rng, sample_problem(rng, Mix())).run()
        words = (thought(trace) if thinking else visible(trace)).split()
        of_words = list(zip(words, kinds(words), strict=True))
        assert {kind for word, kind in of_words if word in markers} <= {Kind.DECISION}
        assert {kind for word, kind in of_words if word in ("check", "ok", "no", "so")} <= {Kind.VERIFICATION}


def test_what_slips_has_kinds_as_well():
    assert len(kinds("wait wait : : 7 7 ok so so".split())) == 9 and kinds([]) == []


def test_elsewhere_are_other_tokens_that_hold_as_much_divergence():
    draw = torch.Generator().manual_seed(0)
    divergence = torch.rand(4, 200, generator=draw) ** 4
    spoken = torch.arange(200) < torch.tensor([[200], [150], [60], [0]])
    chosen = (torch.rand(4, 200, generator=draw) < 0.3) & spoken
    times = torch.zeros(4, 200)
    starts = (torch.arange(500) + 0.5) / 500
    for start in starts:
        found = elsewhere(chosen, divergence, spoken, start.expand(4))
        assert not (found & ~spoken).any() and not (found & chosen).any()
        removed, matched = ((divergence * each).sum(1)[:3] for each in (chosen, found))
        assert torch.allclose(removed, matched, rtol=0.2)
        times += found
    # Over all starts every other token is taken with one chance, which makes the divergence equal on average.
    assert torch.allclose((divergence * times).sum(1) / len(starts), (divergence * chosen).sum(1), rtol=0.01)
    for row in range(3):
        assert (times[row, spoken[row] & ~chosen[row]] / len(starts)).std() < 0.002


def test_elsewhere_is_everywhere_where_all_others_hold_less():
    divergence = torch.tensor([[0.5, 0.1, 0.0, 0.2], [0.5, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    chosen, spoken = torch.tensor([[True, False, False, False]] * 3), torch.ones(3, 4, dtype=torch.bool)
    spoken[0, 2] = False
    found = elsewhere(chosen, divergence, spoken, torch.tensor([0.999, 0.0, 0.5]))
    assert found.tolist() == [[False, True, False, True], [False, True, True, True], [False, True, True, True]]


@pytest.mark.parametrize(
    ("method", "spared"),
    [("sdpo_sparing_decisions", {1}), ("sdpo_sparing_verification", {2}), ("sdpo_decisions_only", {0, 2})],
)
def test_the_loss_is_sdpos_without_the_spared_tokens(manifest, other, tmp_path, method, spared):
    """In the mean over all tokens of a response: what is left weighs as before."""
    trainer = make_trainer(tmp_path, manifest, method, teacher=other)
    batch = make_batch(trainer.model)
    batch["kinds"] = torch.arange(batch["completion_ids"].numel()).view(batch["completion_ids"].shape) % 3
    batch["die"] = torch.rand(len(batch["kinds"]))
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
    dice = [trainer.method._die(step, place) for step, place in ((3, 7), (3, 7), (3, 8), (4, 7))]
    assert dice[0] == dice[1] and len(set(dice)) == 3 and all(0 <= die < 1 for die in dice)
