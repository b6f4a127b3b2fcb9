"""Hidden states of responses: sequences laid end to end against one at a time and against a padded batch."""

import pytest
import torch
import transformers
from selfdistill.training import states
from selfdistill.training.states import can_lie_end_to_end, computing_again, padded, response_states, without_padding
from torch.utils.checkpoint import CheckpointError
from transformers import PreTrainedModel

SIZES = {
    "vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "head_dim": 8, "intermediate_size": 48, "max_position_embeddings": 64,
}  # fmt: skip
PROMPTS, RESPONSES = (5, 1, 3, 4), (2, 6, 0, 9)
WIDTHS = (7, 12)  # padding in every row, before the prompts and behind the responses


def make_model(kind: str = "Qwen3", **changes: object) -> PreTrainedModel:
    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(**SIZES | changes)
    return getattr(transformers, f"{kind}ForCausalLM")(config)


def make_batch() -> tuple[torch.Tensor, torch.Tensor]:
    ids = torch.randint(1, SIZES["vocab_size"], (4, sum(WIDTHS)), generator=torch.Generator().manual_seed(1))
    mask = torch.zeros_like(ids)
    for row, prompt, response in zip(mask, PROMPTS, RESPONSES, strict=True):
        row[WIDTHS[0] - prompt : WIDTHS[0] + response] = 1
    return ids * mask, mask


def gradients(model: PreTrainedModel) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """States of the batch's responses, and the gradient of a function of them."""
    ids, mask = make_batch()
    with computing_again(model):
        found = response_states(model, ids, mask, WIDTHS[1])
        found.sin().sum().backward()
    return found.detach(), {name: weight.grad for name, weight in model.named_parameters()}


def assert_equal(ours: tuple, theirs: tuple, within: float = 2e-6) -> None:
    (found, of_found), (wanted, of_wanted) = ours, theirs
    assert found.shape == (sum(RESPONSES), SIZES["hidden_size"]) and (found - wanted).abs().max() < within
    for name, gradient in of_wanted.items():
        if gradient is not None:
            assert (of_found[name] - gradient).abs().max() < 10 * within * (gradient.abs().max() + 1e-2), name


WINDOW = {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 1}
KINDS = [("Qwen3", {}), ("Qwen2", {}), ("Llama", {}), ("Qwen2", WINDOW), ("Qwen3", WINDOW | {"sliding_window": 20}),
         ("Olmo3", {"sliding_window": 3, "layer_types": ["sliding_attention", "full_attention"]})]  # fmt: skip


@pytest.mark.parametrize(("kind", "changes"), KINDS)
def test_states_are_those_of_each_sequence_alone(kind: str, changes: dict):
    model, (ids, mask) = make_model(kind, **changes), make_batch()
    found = response_states(model, ids, mask, WIDTHS[1])
    assert can_lie_end_to_end(model)
    rows = found.split(RESPONSES)
    for row, sequence, seen, prompt, response in zip(rows, ids, mask, PROMPTS, RESPONSES, strict=True):
        alone = model.model(sequence[seen.bool()][None]).last_hidden_state[0]
        assert torch.allclose(row, alone[prompt - 1 : prompt - 1 + response], rtol=0, atol=2e-6)
    assert model.config._attn_implementation == "sdpa"


@pytest.mark.parametrize("own_layers", [False, True])
@pytest.mark.parametrize(("kind", "changes"), KINDS)
def test_states_and_gradients_equal_those_of_the_padded_batch(
    kind: str, changes: dict, own_layers: bool, monkeypatch: pytest.MonkeyPatch
):
    if own_layers:  # of a plain Qwen3 too
        monkeypatch.setattr(states.qwen3, "supports", lambda model: False)
    ours = gradients(make_model(kind, **changes))
    monkeypatch.setattr(states, "can_lie_end_to_end", lambda model: False)
    assert_equal(ours, gradients(make_model(kind, **changes)))


@pytest.mark.parametrize(("kind", "changes"), KINDS)
def test_in_double_precision_they_are_equal_to_many_more_digits(
    kind: str, changes: dict, monkeypatch: pytest.MonkeyPatch
):
    ours = gradients(make_model(kind, **changes).double())
    monkeypatch.setattr(states, "can_lie_end_to_end", lambda model: False)
    assert_equal(ours, gradients(make_model(kind, **changes).double()), within=1e-14)


@pytest.mark.parametrize(("kind", "changes"), KINDS)
def test_layers_that_are_computed_again_attend_as_before(kind: str, changes: dict):
    recomputing = make_model(kind, **changes)
    recomputing.gradient_checkpointing_enable({"use_reentrant": False})
    assert can_lie_end_to_end(recomputing)
    calls = []
    recomputing.model.layers[0].mlp.register_forward_pre_hook(lambda *_: calls.append(1))
    assert_equal(gradients(recomputing.train()), gradients(make_model(kind, **changes)))
    assert len(calls) == 2 and recomputing.config._attn_implementation == "sdpa"


@pytest.mark.parametrize(("kind", "changes"), KINDS)
def test_meanwhile_a_padded_batch_is_read_as_ever(kind: str, changes: dict):
    model, (ids, mask) = make_model(kind, **changes), make_batch()
    mask = mask.flip(1)  # padded on the right, where positions begin at 0
    plain = model(ids, attention_mask=mask, use_cache=False).logits
    with computing_again(model):
        meanwhile = model(ids, attention_mask=mask, use_cache=False).logits
        alone = model(ids, use_cache=False).logits
    assert torch.equal(plain, meanwhile) and torch.equal(alone, model(ids, use_cache=False).logits)


def test_layers_that_are_computed_again_by_another_attention_are_found_out():
    model, (ids, mask) = make_model("Qwen2").train(), make_batch()
    model.gradient_checkpointing_enable({"use_reentrant": False})
    found = response_states(model, ids, mask, WIDTHS[1])
    with pytest.raises(CheckpointError):
        found.sum().backward()


def test_no_padding_is_computed():
    model, (ids, mask) = make_model("Llama"), make_batch()
    rows = []
    model.model.layers[0].mlp.register_forward_hook(lambda module, inputs, output: rows.append(inputs[0].shape[:2]))
    response_states(model, ids, mask, WIDTHS[1])
    assert rows == [(1, int(mask.sum()))]


@pytest.mark.parametrize("kind", ["Qwen3", "Qwen2"])
def test_a_batch_of_empty_responses_has_no_states(kind: str):
    model, (ids, mask) = make_model(kind), make_batch()
    mask[:, WIDTHS[0] :] = 0
    found = response_states(model, ids, mask, WIDTHS[1])
    assert found.shape == (0, SIZES["hidden_size"]) and found.requires_grad


def test_models_that_attend_otherwise_are_given_a_padded_batch():
    others = [make_model("Qwen2", attn_implementation="eager"), make_model("Mistral", sliding_window=4),
              make_model("Qwen3Next", layer_types=["linear_attention", "full_attention"])]  # fmt: skip
    assert not any(map(can_lie_end_to_end, others))
    ids, mask = make_batch()
    plain, eager = (response_states(model, ids, mask, WIDTHS[1]) for model in (make_model("Qwen2"), others[0]))
    assert (plain - eager).abs().max() < 1e-6


def test_values_of_tokens_are_put_where_they_were():
    seen = torch.tensor([[1, 1, 0], [0, 0, 0], [1, 1, 1]])
    values = torch.arange(1.0, 6.0, requires_grad=True)
    found = padded(values, seen)
    assert found.tolist() == [[1, 2, 0], [0, 0, 0], [3, 4, 5]]
    (found * found).sum().backward()
    assert values.grad.tolist() == [2, 4, 6, 8, 10]


def test_padding_of_all_rows_is_cut_and_no_token_is():
    ids = torch.tensor([[0, 0, 5, 6, 7, 8, 0, 0, 0], [0, 9, 8, 7, 6, 5, 4, 0, 0]])
    cut, mask, left = without_padding(ids, ids > 0, 4)
    assert left == 2 and cut.tolist() == [[0, 5, 6, 7, 8, 0], [9, 8, 7, 6, 5, 4]] and mask.equal(cut > 0)
    whole = torch.arange(1, 7)[None]
    assert without_padding(whole, whole > 0, 2)[0].equal(whole)
    empty = torch.tensor([[0, 5, 6, 0, 0]])  # a response without a token keeps one column
    assert without_padding(empty, empty > 0, 2)[0].tolist() == [[5, 6, 0]]
