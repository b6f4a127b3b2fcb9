"""The decoding step written out for Qwen3 computes what transformers' own forward pass does."""

import pytest
import torch
from selfdistill import models
from selfdistill.generation.qwen3_step import Qwen3Step, supports
from selfdistill.generation.transformers_engine import GrowingLayer
from tiny import save_tiny_model
from transformers import DynamicCache, Qwen3Config, Qwen3ForCausalLM
from transformers.models.llama import LlamaConfig, LlamaForCausalLM

SMALL = {
    "vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2,
    "head_dim": 8, "intermediate_size": 48, "initializer_range": 0.2, "tie_word_embeddings": False,
}  # fmt: skip


def random_model(**options: object) -> Qwen3ForCausalLM:
    """All weights random, those of the norms too, which start as ones."""
    torch.manual_seed(1)
    model = Qwen3ForCausalLM(Qwen3Config(**SMALL | options)).eval()
    for name, weight in model.named_parameters():
        if "norm" in name:
            torch.nn.init.uniform_(weight, 0.5, 1.5)
    return model


@torch.inference_mode()
def largest_gap(model: Qwen3ForCausalLM, prompts: list[list[int]], steps: int) -> float:
    """Largest difference of logits over ``steps`` random tokens after ``prompts``, padded left where they differ."""
    width = max(map(len, prompts))
    ids = torch.tensor([[0] * (width - len(prompt)) + prompt for prompt in prompts])
    visible = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts]).bool()
    positions = (visible.cumsum(1) - 1).clamp(min=0)
    caches = [DynamicCache(config=model.config) for _ in range(2)]
    caches[0].layers = [GrowingLayer() for _ in caches[0].layers]
    for cache in caches:
        model(input_ids=ids, attention_mask=visible, position_ids=positions, past_key_values=cache)
    step_of, last, gaps = Qwen3Step(model), positions[:, -1], []
    for tokens in torch.randint(1, model.config.vocab_size, (steps, len(prompts))):
        last = last + 1
        visible = torch.cat([visible, visible.new_ones(len(prompts), 1)], dim=1)
        mask = None if visible.all() else visible[:, None, None, :]
        found = step_of(tokens, last, caches[0].layers, mask)
        wanted = model(
            input_ids=tokens[:, None], attention_mask=visible, position_ids=last[:, None], past_key_values=caches[1]
        ).logits[:, -1]
        assert found.shape == wanted.shape and wanted.std() > 0.1  # logits that say something
        gaps.append((found - wanted).abs().max().item())
    return max(gaps)


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("kv_heads", [4, 2, 1], ids=["MHA", "GQA", "MQA"])
@pytest.mark.parametrize("prompts", [[[3, 4, 5], [6, 7, 8]], [[3, 4, 5, 6, 7, 8], [9], [10, 11, 12]]], ids=len)
def test_logits_equal_those_of_transformers_with_its_cache(tied: bool, kv_heads: int, prompts: list[list[int]]):
    model = random_model(num_key_value_heads=kv_heads, tie_word_embeddings=tied)
    assert largest_gap(model, prompts, steps=5) < 1e-5


def test_logits_agree_beyond_the_first_growth_of_the_cache():
    assert largest_gap(random_model(), [[3, 4, 5], [6]], steps=70) < 1e-5


def test_logits_agree_for_a_width_of_heads_that_is_no_share_of_the_models_width():
    model = random_model(head_dim=6, rope_parameters={"rope_type": "default", "rope_theta": 50.0}, rms_norm_eps=0.1)
    assert largest_gap(model, [[3, 4, 5], [6]], steps=5) < 1e-5


def test_joined_weights_are_those_of_the_time_when_they_were_joined():
    model = random_model()
    before = Qwen3Step(model)
    with torch.no_grad():
        model.model.layers[0].self_attn.q_proj.weight.add_(1)
    assert not torch.equal(before.layers[0][1], Qwen3Step(model).layers[0][1])


def test_a_plain_qwen3_is_supported(tmp_path):
    assert supports(random_model())
    assert supports(models.load_model(save_tiny_model(tmp_path)))


@pytest.mark.parametrize(
    "options",
    [
        {"attention_bias": True},
        {"hidden_act": "gelu"},
        {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}},
        {"use_sliding_window": True, "sliding_window": 6, "max_window_layers": 1},
    ],
    ids=lambda options: next(iter(options)),
)
def test_a_variant_that_computes_something_else_is_not_supported(options: dict):
    assert not supports(random_model(**options))


def test_other_models_precisions_and_attention_code_are_not_supported():
    shared = {key: SMALL[key] for key in SMALL if key != "head_dim"}
    assert not supports(LlamaForCausalLM(LlamaConfig(**shared)))
    assert not supports(random_model().to(torch.bfloat16))
    assert not supports(random_model().to(torch.float64))
    eager = random_model()
    eager.set_attn_implementation("eager")
    assert not supports(eager)

    class Changed(Qwen3ForCausalLM):
        pass

    assert not supports(Changed(Qwen3Config(**SMALL)))
