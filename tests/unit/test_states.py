"""Hidden states of responses: sequences laid end to end against one at a time and against a padded batch."""

import pytest
import torch
from selfdistill.training import states
from selfdistill.training.states import can_lie_end_to_end, response_states, without_padding
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel, Qwen3Config, Qwen3ForCausalLM

SIZES = {
    "vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "head_dim": 8, "intermediate_size": 48, "max_position_embeddings": 64,
}  # fmt: skip
PROMPTS, RESPONSES = (5, 1, 3, 4), (2, 6, 0, 9)
WIDTHS = (7, 12)  # padding in every row, before the prompts and behind the responses


def make_model(kind: str = "qwen3", **changes: object) -> PreTrainedModel:
    torch.manual_seed(0)
    config, model = {"qwen3": (Qwen3Config, Qwen3ForCausalLM), "llama": (LlamaConfig, LlamaForCausalLM)}[kind]
    return model(config(**SIZES | changes))


def make_batch() -> tuple[torch.Tensor, torch.Tensor]:
    ids = torch.randint(1, SIZES["vocab_size"], (4, sum(WIDTHS)), generator=torch.Generator().manual_seed(1))
    mask = torch.zeros_like(ids)
    for row, prompt, response in zip(mask, PROMPTS, RESPONSES, strict=True):
        row[WIDTHS[0] - prompt : WIDTHS[0] + response] = 1
    return ids * mask, mask


def gradients(model: PreTrainedModel) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """States of the batch, and the gradient of a function of those of responses."""
    ids, mask = make_batch()
    found, left = response_states(model, ids, mask, WIDTHS[1])
    seen = mask[:, WIDTHS[0] : WIDTHS[0] + left, None]
    (found.sin() * seen).sum().backward()
    return (found * seen).detach(), {name: weight.grad for name, weight in model.named_parameters()}


@pytest.mark.parametrize("kind", ["qwen3", "llama"])
def test_states_are_those_of_each_sequence_alone(kind: str):
    model, (ids, mask) = make_model(kind), make_batch()
    found, left = response_states(model, ids, mask, WIDTHS[1])
    assert can_lie_end_to_end(model) and left == max(RESPONSES) == found.size(1)
    for row, sequence, seen, prompt, response in zip(found, ids, mask, PROMPTS, RESPONSES, strict=True):
        alone = model.model(sequence[seen.bool()][None]).last_hidden_state[0]
        assert torch.allclose(row[:response], alone[prompt - 1 : prompt - 1 + response], rtol=0, atol=1e-6)
    assert model.config._attn_implementation == "sdpa"


@pytest.mark.parametrize("kind", ["qwen3", "qwen3 by its own layers", "llama"])
def test_states_and_gradients_equal_those_of_the_padded_batch(kind: str, monkeypatch: pytest.MonkeyPatch):
    kind, _, own_layers = kind.partition(" ")
    if own_layers:
        monkeypatch.setattr(states.qwen3, "supports", lambda model: False)
    ours, of_ours = gradients(make_model(kind))
    monkeypatch.setattr(states.qwen3, "supports", lambda model: False)
    monkeypatch.setattr(states, "can_lie_end_to_end", lambda model: False)
    padded, of_padded = gradients(make_model(kind))
    assert (ours - padded).abs().max() < 1e-6
    for name, gradient in of_padded.items():
        if gradient is not None:
            assert (of_ours[name] - gradient).abs().max() < 1e-5 * gradient.abs().max() + 1e-7, name


def test_no_padding_is_computed():
    model, (ids, mask) = make_model("llama"), make_batch()
    rows = []
    model.model.layers[0].mlp.register_forward_hook(lambda module, inputs, output: rows.append(inputs[0].shape[:2]))
    response_states(model, ids, mask, WIDTHS[1])
    assert rows == [(1, int(mask.sum()))]


def test_a_batch_of_empty_responses_keeps_one_column():
    model, (ids, mask) = make_model(), make_batch()
    mask[:, WIDTHS[0] :] = 0
    found, left = response_states(model, ids, mask, WIDTHS[1])
    assert left == 1 and found.shape == (4, 1, SIZES["hidden_size"]) and not found.any()


def test_models_that_attend_otherwise_are_given_a_padded_batch():
    assert can_lie_end_to_end(make_model())
    windows = {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 1}
    assert not can_lie_end_to_end(make_model(**windows))
    assert not can_lie_end_to_end(make_model(attn_implementation="eager"))
    recomputing = make_model()
    recomputing.gradient_checkpointing_enable()
    assert not can_lie_end_to_end(recomputing)
    ids, mask = make_batch()
    plain, recomputed = (response_states(model, ids, mask, WIDTHS[1])[0] for model in (make_model(), recomputing))
    seen = mask[:, WIDTHS[0] : WIDTHS[0] + max(RESPONSES), None]
    assert ((plain - recomputed) * seen).abs().max() < 1e-6


def test_padding_of_all_rows_is_cut_and_no_token_is():
    ids = torch.tensor([[0, 0, 5, 6, 7, 8, 0, 0, 0], [0, 9, 8, 7, 6, 5, 4, 0, 0]])
    cut, mask, left = without_padding(ids, ids > 0, 4)
    assert left == 2 and cut.tolist() == [[0, 5, 6, 7, 8, 0], [9, 8, 7, 6, 5, 4]] and mask.equal(cut > 0)
    whole = torch.arange(1, 7)[None]
    assert without_padding(whole, whole > 0, 2)[0].equal(whole)
    empty = torch.tensor([[0, 5, 6, 0, 0]])  # a response without a token keeps one column
    assert without_padding(empty, empty > 0, 2)[0].tolist() == [[5, 6, 0]]
