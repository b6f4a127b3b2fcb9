"""Where gradients point: against the gradients of single tokens, and success against all responses that there are."""

import itertools

import pandas as pd
import pytest
import torch
from selfdistill import models
from selfdistill.errors import UserError
from selfdistill.training import directions
from selfdistill.training.directions import Distilled, Responses, gains, success_gradient
from selfdistill.training.losses import topk_divergence
from selfdistill.training.settings import SdpoSettings
from tiny import save_tiny_model

PROMPTS = [(5, 6, 7), (5, 6, 7), (8, 9), (8, 9)]
TOKENS = [(8, 9, 10), (11,), (5, 6, 7, 8), (9, 9)]
CORRECT = [True, False, True, False]
TEACHERS = [(4, 4, 5, 6), None, (7,), (5, 6, 7, 8, 9)]
SETTINGS = SdpoSettings()


def responses() -> Responses:
    rows = pd.DataFrame({"model": "m", "problem_id": list("ppqq"), "sample": [0, 1, 0, 1], "correct": CORRECT})
    return Responses(rows, PROMPTS, TOKENS)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    found = models.load_model(save_tiny_model(tmp_path_factory.mktemp("tiny"))).eval()
    found.set_attn_implementation("eager")
    return found.double()


def direction_of(model, seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(own.shape, generator=generator, dtype=own.dtype) for name, own in model.named_parameters()
    }


def logits_of(model, prompt, tokens) -> torch.Tensor:
    return model(torch.tensor([[*prompt, *tokens]])).logits[0, len(prompt) - 1 : -1]


def logp_of(model, number: int) -> torch.Tensor:
    """Of each token of a response."""
    logps = logits_of(model, PROMPTS[number], TOKENS[number]).log_softmax(-1)
    return logps.gather(-1, torch.tensor(TOKENS[number])[:, None])[:, 0]


def losses_by_hand(model, number: int, loss) -> torch.Tensor | None:
    """The loss of each token of a response, times its weight in the whole."""
    if loss is None:
        found = -(0.5 if CORRECT[number] else -0.5) * logp_of(model, number)
    elif TEACHERS[number] is None:
        return None
    else:
        taught = logits_of(model, TEACHERS[number], TOKENS[number]).detach()
        student = logits_of(model, PROMPTS[number], TOKENS[number])
        found = topk_divergence(student, taught, k=5, alpha=0.5, tail=True)
    return found / len(TOKENS[number])


LOSSES = {"grpo": None, "sdpo": Distilled(TEACHERS, SETTINGS, 5)}


@pytest.mark.parametrize("tokens", [16, 1000], ids=["several batches", "one batch"])
@pytest.mark.parametrize("name_of_loss", LOSSES)
def test_the_gain_of_a_token_is_the_product_of_its_own_gradient(model, name_of_loss, tokens, monkeypatch):
    monkeypatch.setattr(directions, "TOKENS", tokens)
    towards = {name: direction_of(model, seed) for seed, name in enumerate(("one", "other"))}
    (found, length), loss = gains(model, responses(), LOSSES, towards)[name_of_loss], LOSSES[name_of_loss]
    parameters = dict(model.named_parameters())
    total = {name: torch.zeros_like(own) for name, own in parameters.items()}
    for number in range(len(TOKENS)):
        own = losses_by_hand(model, number, loss)
        if own is None:
            assert all(set(found[name][number]) == {0.0} for name in towards)
            continue
        for place, of_token in enumerate(own):
            gradient = torch.autograd.grad(of_token, list(parameters.values()), retain_graph=True)
            for name, direction in towards.items():
                along = sum((g * direction[key]).sum() for key, g in zip(parameters, gradient, strict=True))
                assert found[name][number][place] * length == pytest.approx(-100 * float(along), rel=1e-4, abs=1e-4)
            for key, g in zip(parameters, gradient, strict=True):
                total[key] += g / 2  # problems
    assert length == pytest.approx(float(sum(g.square().sum() for g in total.values()) ** 0.5), rel=1e-5)
    assert min(abs(gain) for gain in found["one"][0]) > 1e-3


def test_a_small_step_changes_what_its_gains_say(model):
    """Along the gradient of one response's log-probability, which stands in for success."""
    parameters = dict(model.named_parameters())
    direction = dict(
        zip(parameters, torch.autograd.grad(logp_of(model, 3).sum(), list(parameters.values())), strict=True)
    )
    found, length = gains(model, responses(), {"grpo": None}, {"one": direction})["grpo"]
    promised = sum(map(sum, found["one"])) / 2 / 100  # over problems, of points
    loss = sum(losses_by_hand(model, number, None).sum() for number in range(4)) / 2
    gradient = torch.autograd.grad(loss, list(parameters.values()))
    size, values = 1e-3, []
    with torch.no_grad():
        for sign in (1, -2, 1):  # ahead, behind, and back
            for own, g in zip(parameters.values(), gradient, strict=True):
                own -= sign * size * g / length
            values.append(float(logp_of(model, 3).sum()))
    assert (values[0] - values[1]) / (2 * size) == pytest.approx(promised, rel=1e-2)


def test_the_gradient_of_success_is_right_on_average(tmp_path):
    """Over all pairs of responses of one token, as often as they are drawn, where the share of right ones is known."""
    model = models.load_model(save_tiny_model(tmp_path)).eval()
    prompt = (5, 6, 7)
    drawn = logits_of(model, prompt, (0,))[0].topk(6).indices.tolist()
    right = set(drawn[::2])
    parameters = dict(model.named_parameters())
    shares = logits_of(model, prompt, (0,))[0][drawn].softmax(-1)  # of a model that says nothing else
    wanted = torch.autograd.grad(shares[::2].sum(), list(parameters.values()))
    mean = {name: torch.zeros_like(own) for name, own in parameters.items()}
    for (first, p), (second, q) in itertools.product(zip(drawn, shares.tolist(), strict=True), repeat=2):
        correct = [first in right, second in right]
        if correct[0] != correct[1]:  # else nothing is told
            rows = pd.DataFrame({"model": "m", "problem_id": "p", "sample": [0, 1], "correct": correct})
            # The normaliser of the whole vocabulary cancels between the two.
            for name, own in success_gradient(model, Responses(rows, [prompt] * 2, [(first,), (second,)])).items():
                mean[name] += p * q * own
    for name, own in zip(parameters, wanted, strict=True):
        torch.testing.assert_close(mean[name], own, rtol=1e-3, atol=1e-6)
    assert max(float(own.abs().max()) for own in wanted) > 1e-3


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"problem_id": list("pqrs")}, "success on 'easy' needs two responses to each problem; found one"),
        ({"correct": True}, "success on 'easy' is unknown: no problem has right and wrong responses"),
    ],
)
def test_what_says_nothing_of_success_is_refused(model, changed, sentence):
    given = responses()
    with pytest.raises(UserError, match=sentence):
        success_gradient(model, Responses(given.rows.assign(**changed), PROMPTS, TOKENS), "easy")


def test_a_loss_without_gradient_is_left_out(model):
    untaught = {"sdpo": Distilled([None] * 4, SETTINGS, 5)}
    assert gains(model, responses(), LOSSES | untaught, {"one": direction_of(model, 0)}).keys() == {"grpo"}
