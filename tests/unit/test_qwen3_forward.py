"""Hidden states of sequences laid end to end, and their gradients, against transformers' own of one at a time."""

import copy

import pytest
import torch
from selfdistill.qwen3 import forward
from selfdistill.qwen3.forward import hidden_states, sequences_end_to_end, supports
from transformers import Qwen3Config, Qwen3ForCausalLM
from transformers.models.llama import LlamaConfig, LlamaForCausalLM

SMALL = {
    "vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "head_dim": 8, "intermediate_size": 48, "initializer_range": 0.2, "tie_word_embeddings": True,
}  # fmt: skip
LENGTHS = [7, 1, 33, 16, 2]
SHAPES = {
    "small": {},
    "one layer": {"num_hidden_layers": 1},
    "as many key heads": {"num_key_value_heads": 4},
    "one key head": {"num_key_value_heads": 1},
    "heads of 6": {"head_dim": 6, "hidden_size": 20, "intermediate_size": 27},
    "heads of 32": {"head_dim": 32, "hidden_size": 128, "intermediate_size": 384},
    "untied": {"tie_word_embeddings": False},
    "other constants": {"rms_norm_eps": 0.1, "rope_parameters": {"rope_type": "default", "rope_theta": 50.0}},
    "padding token": {"pad_token_id": 3},
}


def random_model(**options: object) -> Qwen3ForCausalLM:
    """All weights random, those of the norms too, which start as ones."""
    torch.manual_seed(1)
    model = Qwen3ForCausalLM(Qwen3Config(**SMALL | options))
    for name, weight in model.named_parameters():
        if "norm" in name:
            torch.nn.init.uniform_(weight, 0.5, 1.5)
    return model


def random_ids(lengths: list[int]) -> torch.Tensor:
    return torch.randint(0, SMALL["vocab_size"], (sum(lengths),), generator=torch.Generator().manual_seed(2))


def one_at_a_time(model: Qwen3ForCausalLM, ids: torch.Tensor, lengths: list[int]) -> torch.Tensor:
    return torch.cat(
        [model.model(sequence[None]).last_hidden_state[0] for sequence in ids.split(lengths) if len(sequence)]
    )


def gradients(model: Qwen3ForCausalLM, states: torch.Tensor) -> dict[str, torch.Tensor | None]:
    """Of a function that also reads the output weights, which are those of the embedding where they are tied."""
    model.zero_grad()
    logits = model.lm_head(states)
    (logits.sin() * torch.linspace(-1, 1, logits.numel(), dtype=logits.dtype).view_as(logits)).sum().backward()
    return {name: None if weight.grad is None else weight.grad.clone() for name, weight in model.named_parameters()}


def error(found: torch.Tensor, wanted: torch.Tensor) -> float:
    return ((found - wanted).norm() / wanted.norm()).item()


def assert_close(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    """A sequence of one token attends to itself whatever its query: that gradient is none but for rounding."""
    largest = max(gradient.abs().max() for gradient in theirs.values())
    for name, gradient in theirs.items():
        assert (ours[name] - gradient).abs().max() <= 1e-5 * largest, name


@pytest.mark.parametrize("options", SHAPES.values(), ids=SHAPES)
def test_states_and_gradients_are_those_of_transformers(options: dict):
    model, ids = random_model(**options), random_ids(LENGTHS)
    exact = copy.deepcopy(model).double()
    found, theirs, true = (
        hidden_states(model, ids, LENGTHS), one_at_a_time(model, ids, LENGTHS), one_at_a_time(exact, ids, LENGTHS),
    )  # fmt: skip
    assert true.std() > 0.1 and (found - theirs).abs().max() < 1e-5
    assert error(found, true) < 2 * error(theirs, true) + 1e-7
    ours, of_theirs, of_true = gradients(model, found), gradients(model, theirs), gradients(exact, true)
    for name, gradient in of_true.items():
        assert gradient.norm() > 0 and error(ours[name], of_theirs[name]) < 1e-5, name
        assert error(ours[name], gradient) < 3 * error(of_theirs[name], gradient) + 1e-6, name


@pytest.mark.parametrize(
    "lengths",
    [[1], [64], [65], [130, 129], [16] * 5, [3, 200, 1, 90, 47], [300, 0, 4]],
    ids=lambda lengths: str(lengths),
)
@pytest.mark.parametrize("group", [100, 768])
def test_lengths_within_and_beyond_blocks_and_groups(lengths: list[int], group: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(forward, "GROUP", group)
    model, ids = random_model(initializer_range=0.1), random_ids(lengths)
    found, wanted = hidden_states(model, ids, lengths), one_at_a_time(model, ids, lengths)
    assert (found - wanted).abs().max() < 1e-5
    ours, theirs = gradients(model, found), gradients(model, wanted)
    assert_close(ours, theirs)


@pytest.mark.parametrize(
    "with_gradient", [[True, False, True, False, True], [False] * 5, [True] * 5], ids=["some", "none", "all"]
)
def test_sequences_without_gradient_are_left_out_of_the_backward_pass(
    with_gradient: list[bool], monkeypatch: pytest.MonkeyPatch
):
    group_sizes = []
    layer_backward = forward._layer_backward
    monkeypatch.setattr(
        forward, "_layer_backward", lambda *given: group_sizes.append(given[1].tokens) or layer_backward(*given)
    )
    model, ids = random_model(tie_word_embeddings=False), random_ids(LENGTHS)
    found, wanted = hidden_states(model, ids, LENGTHS, with_gradient), one_at_a_time(model, ids, LENGTHS)
    assert (found - wanted).abs().max() < 1e-5
    read = torch.tensor(with_gradient).repeat_interleave(torch.tensor(LENGTHS))[:, None]
    ours, theirs = gradients(model, found * read), gradients(model, wanted * read)
    assert group_sizes == [tokens for tokens in [sum(read).item()] if tokens] * SMALL["num_hidden_layers"]
    assert_close(ours, theirs)


def test_a_gradient_that_was_not_announced_arrives():
    model, ids = random_model(), random_ids(LENGTHS)
    found = hidden_states(model, ids, LENGTHS, [True, False, False, True, False])
    assert_close(gradients(model, found), gradients(model, one_at_a_time(model, ids, LENGTHS)))


def test_large_scores_neither_overflow_nor_vanish():
    model, ids = random_model(), random_ids(LENGTHS)
    with torch.no_grad():
        for layer in model.model.layers:
            layer.self_attn.q_norm.weight.mul_(-30)
            layer.self_attn.k_norm.weight.mul_(30)
            layer.mlp.gate_proj.weight.mul_(60)
    exact = copy.deepcopy(model).double()
    found, true = hidden_states(model, ids, LENGTHS), one_at_a_time(exact, ids, LENGTHS)
    assert error(found, true) < 2 * error(one_at_a_time(model, ids, LENGTHS), true) + 1e-6
    assert all(gradient.isfinite().all() for gradient in gradients(model, found).values())


def test_two_calls_give_equal_bytes():
    model, ids = random_model(), random_ids(LENGTHS)
    states = [hidden_states(model, ids, LENGTHS) for _ in range(2)]
    first, second = (gradients(model, of_call) for of_call in states)
    assert states[0].equal(states[1]) and all(first[name].equal(second[name]) for name in first)


def test_without_gradients_states_are_the_same():
    model, ids = random_model(), random_ids(LENGTHS)
    wanted = hidden_states(model, ids, LENGTHS)
    with torch.no_grad():
        found = hidden_states(model, ids, LENGTHS)
    with torch.inference_mode():
        inferred = hidden_states(model, ids, LENGTHS)
    frozen = hidden_states(model.requires_grad_(False), ids, LENGTHS)
    assert not found.requires_grad and not frozen.requires_grad and wanted.requires_grad
    assert found.equal(wanted) and frozen.equal(wanted) and inferred.equal(wanted)


@pytest.mark.parametrize("trained", ["layers.1.", "q_norm", "embed_tokens", "up_proj", "model.norm"])
def test_frozen_parameters_get_no_gradient_and_the_others_theirs(trained: str):
    model, ids = random_model(tie_word_embeddings=False), random_ids(LENGTHS)
    everything = gradients(model, hidden_states(model, ids, LENGTHS))
    for name, weight in model.named_parameters():
        weight.requires_grad_(trained in name)
    found = gradients(model, hidden_states(model, ids, LENGTHS))
    for name, gradient in found.items():
        assert gradient.equal(everything[name]) if trained in name else gradient is None, name


def test_weights_that_change_before_the_backward_pass_are_noticed():
    model, ids = random_model(), random_ids(LENGTHS)
    states = hidden_states(model, ids, LENGTHS)
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        states.sum().backward()


def test_lengths_must_add_up_to_the_tokens():
    with pytest.raises(ValueError, match="sequences of 58 in all"):
        hidden_states(random_model(), random_ids(LENGTHS), [*LENGTHS[:-1], 1])


def test_no_tokens_have_no_states():
    assert hidden_states(random_model(), torch.tensor([], dtype=torch.long), []).shape == (0, SMALL["hidden_size"])


def test_the_models_own_call_reads_sequences_end_to_end():
    model, ids = random_model(), random_ids(LENGTHS)
    wanted = hidden_states(model, ids, LENGTHS)
    with sequences_end_to_end(model, LENGTHS):
        output = model(input_ids=ids[None], output_hidden_states=[-1], logits_to_keep=1, use_cache=False)
        positions = torch.arange(len(ids))[None]
        for options in (
            {"attention_mask": torch.ones_like(ids)[None]},
            {"position_ids": positions},
            {"use_cache": True},
        ):
            with pytest.raises(ValueError, match=f"without {next(iter(options))}"):
                model(input_ids=ids[None], **options)
    assert output.hidden_states[-1].equal(wanted[None])
    assert output.logits.shape == (1, 1, SMALL["vocab_size"])
    output.hidden_states[-1].sum().backward()
    assert model.model.layers[0].mlp.up_proj.weight.grad.any()


def test_the_models_forward_is_its_own_again_afterwards():
    model, ids = random_model(), random_ids([5])
    wanted = model(ids[None]).logits
    with pytest.raises(KeyError), sequences_end_to_end(model, [5]):
        raise KeyError
    assert "forward" not in vars(model.model) and model(ids[None]).logits.equal(wanted)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_a_plain_qwen3_is_supported_whatever_its_attention_code(attention: str):
    assert supports(random_model(attn_implementation=attention))


@pytest.mark.parametrize(
    "options",
    [
        {"attention_bias": True},
        {"attention_dropout": 0.1},
        {"hidden_act": "gelu"},
        {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}},
        {"use_sliding_window": True, "sliding_window": 6, "max_window_layers": 1},
    ],
    ids=lambda options: next(iter(options)),
)
def test_a_variant_that_computes_something_else_is_not_supported(options: dict):
    assert not supports(random_model(**options))


def test_other_models_precisions_and_ways_to_run_are_not_supported():
    shared = {key: SMALL[key] for key in SMALL if key != "head_dim"}
    assert not supports(LlamaForCausalLM(LlamaConfig(**shared)))
    assert not supports(random_model().to(torch.bfloat16))
    assert not supports(random_model().to(torch.float64))
    with torch.autocast("cpu", torch.bfloat16):
        assert not supports(random_model())
    recomputing = random_model()
    recomputing.gradient_checkpointing_enable()
    assert not supports(recomputing)

    class Changed(Qwen3ForCausalLM):
        pass

    assert not supports(Changed(Qwen3Config(**SMALL)))
