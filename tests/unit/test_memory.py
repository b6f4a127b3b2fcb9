"""The memory model counts parameters as the models' own code does, and the page shows its table."""

import pytest
import torch
from project import ROOT
from selfdistill.planning import memory
from selfdistill.planning.memory import SHAPES, need, sequences

QWEN2, QWEN3, OLMO3 = "Qwen2", "Qwen3", "Olmo3"
ARCHITECTURES = {
    "DeepSeek-R1-Distill-Qwen-1.5B": QWEN2,
    "DeepSeek-R1-Distill-Qwen-7B": QWEN2,
    "Qwen3-1.7B": QWEN3,
    "Qwen3-8B": QWEN3,
    "Olmo-3-7B-Instruct": OLMO3,
}


@pytest.mark.parametrize("name", SHAPES)
def test_parameters_are_those_of_a_model_without_weights(name: str):
    import transformers

    shape = SHAPES[name]
    sizes = {"hidden_size": shape.hidden, "intermediate_size": shape.intermediate, "num_hidden_layers": shape.layers}
    sizes |= {"num_attention_heads": shape.heads, "num_key_value_heads": shape.key_heads}
    sizes |= {"vocab_size": shape.vocabulary, "tie_word_embeddings": shape.tied}
    if ARCHITECTURES[name] == QWEN3:
        sizes["head_dim"] = shape.head
    config = getattr(transformers, f"{ARCHITECTURES[name]}Config")(**sizes)
    with torch.device("meta"):
        model = getattr(transformers, f"{ARCHITECTURES[name]}ForCausalLM")(config)
    assert sum(parameter.numel() for parameter in model.parameters()) == shape.parameters


def test_more_gpus_longer_responses_and_a_second_model():
    shape = SHAPES["Qwen3-8B"]
    four = need(shape, gpus=4, memory=80, tokens=20_480)
    eight = need(shape, gpus=8, memory=80, tokens=20_480)
    assert four.drawing - eight.drawing == pytest.approx(14 * shape.parameters / 8e9)
    assert need(shape, gpus=8, memory=80, tokens=6144).updating < eight.updating
    assert need(shape, gpus=8, memory=80, tokens=20_480, teacher=0).updating < eight.updating
    moving = need(shape, gpus=8, memory=80, tokens=20_480, teacher=memory.MOVING_TEACHER)
    assert moving.drawing - eight.drawing == pytest.approx(2 * shape.parameters / 8e9)


def test_a_day_fits_on_80_gb_and_with_less_for_vllm_on_40():
    """Decimal gigabytes, as the cards have them: an A100 of 40 GB and an H100 of 80."""
    day = {"gpus": 1, "tokens": 6144}
    small = SHAPES["DeepSeek-R1-Distill-Qwen-1.5B"]
    assert need(small, memory=85.0, **day).fits(85.0)
    assert not need(small, memory=42.5, **day).fits(42.5)
    assert need(small, memory=42.5, **day, vllm_memory=25).fits(42.5)


def test_a_model_whose_weights_fill_vllms_share_draws_nothing():
    assert sequences(SHAPES["Qwen3-8B"], memory=24, tokens=20_480) < 1
    assert not need(SHAPES["Qwen3-8B"], gpus=1, memory=80, tokens=6144).fits(80)


def test_the_page_shows_the_table():
    page = (ROOT / "docs" / "slurm.md").read_text(encoding="utf-8")
    assert "\n".join(memory.table()) in page
