"""A model of another architecture with a tokenizer made by hand, and files of problems, through a whole study."""

import random

import pytest
import torch
from own_study import check_whole, whole_study
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

WORDS = ["wait", "so", "it", "is", "sum", "of", "and", "?", ".", *map(str, range(10))]
BOXES = [rf"\boxed{{{number}}}" for number in range(10)]
TEMPLATE = "{% for message in messages %}<ask> {{ message['content'] }} {% endfor %}<say> "
PROBLEMS = {f"sum of {a} and {b} ?": str(a + b) for a, b in ((1, 1), (2, 1), (3, 2), (4, 3))}
BENCHMARK = {f"sum of {a} and {b} ?": str(a + b) for a, b in ((1, 2), (2, 2))}


def tokenizer() -> PreTrainedTokenizerFast:
    """Words are what stands between spaces; what it does not know is <unk>."""
    vocabulary = {
        word: number for number, word in enumerate(["<pad>", "<end>", "<unk>", "<ask>", "<say>", *WORDS, *BOXES])
    }
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=made, eos_token="<end>", pad_token="<pad>", unk_token="<unk>", chat_template=TEMPLATE
    )


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    """A tiny Llama, trained for seconds to say a sum in a box, and often another number."""
    torch.manual_seed(0)
    rng, words = random.Random(0), tokenizer()
    config = LlamaConfig(
        vocab_size=len(words), hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        intermediate_size=64, max_position_embeddings=512, eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    model.generation_config = GenerationConfig(eos_token_id=words.eos_token_id, pad_token_id=words.pad_token_id)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(200):
        texts = []
        for _ in range(32):
            problem, answer = rng.choice([*PROBLEMS.items(), *BENCHMARK.items()])
            said = answer if rng.random() < 0.6 else str(rng.randrange(10))
            thought = rng.choice(["so it is", "wait so it is"])
            texts.append(f"<ask> {problem} <say> {thought} \\boxed{{{said}}} <end>")
        batch = words(texts, return_tensors="pt", padding=True, add_special_tokens=False)
        labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
        model(**batch, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    folder = tmp_path_factory.mktemp("llama") / "model"
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def test_a_llama_with_a_tokenizer_made_by_hand_goes_through_the_whole_study(llama, tmp_path):
    check_whole(whole_study(tmp_path / "project", llama, PROBLEMS, BENCHMARK, instruction="", tokens=8))
