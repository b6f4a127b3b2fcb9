"""A tiny random Qwen3 with the microcosm's tokenizer, saved with its manifest: what the tests of sampling share."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import torch
import transformers
from safetensors.torch import save_file
from selfdistill import models
from selfdistill.generation import Prompt
from selfdistill.microcosm.tokenizer import build_tokenizer
from selfdistill.microcosm.vocabulary import VOCABULARY
from transformers import GenerationConfig, PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM


def save_tiny_model(
    folder: Path, *, seed: int = 0, opens_thinking: bool = False, kind: str = "Qwen3", **options: object
) -> Path:
    """Save the model to ``folder``; the path of its manifest. ``options`` go to its configuration, of another ``kind``
    too.
    """
    torch.manual_seed(seed)
    tokenizer = build_tokenizer(opens_thinking=opens_thinking)
    settings = {
        "vocab_size": len(VOCABULARY), "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 8, "intermediate_size": 64, "tie_word_embeddings": True,
        "initializer_range": 0.3, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id,
    }  # fmt: skip
    configuration = getattr(transformers, f"{kind}Config")(**settings | options)
    model = getattr(transformers, f"{kind}ForCausalLM")(configuration)
    model.generation_config = GenerationConfig(eos_token_id=model.config.eos_token_id, pad_token_id=0)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    models.save_manifest(folder)
    return folder / models.MANIFEST


def save_heads(folder: Path, **config: object) -> Path:
    """Save to ``folder`` what is looked at of a saved model, without one that writes anything; the folder."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "qwen3", **config}))
    (folder / "tokenizer.json").write_text("{}")
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": "{{ messages }}"}))
    save_file({"a.weight": torch.zeros(2, 3)}, folder / "model.safetensors")
    return folder


def prompt_of(tokenizer: PreTrainedTokenizerFast, text: str, problem_id: str | None = None) -> Prompt:
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    return Prompt(problem_id or hashlib.sha256(text.encode()).hexdigest()[:16], tokenizer.decode(ids), tuple(ids))


def problems_of(texts: Sequence[str], answer: str = "7") -> pd.DataFrame:
    """A problem set (schema `problems`) of the given texts."""
    return pd.DataFrame(
        {
            "problem_id": [hashlib.sha256(text.encode()).hexdigest()[:16] for text in texts],
            "position": range(len(texts)),
            "problem": list(texts),
            "answer": answer,
            "source": "test",
            "problem_type": "test",
        }
    )


def random_qwen3(**options: object) -> Qwen3ForCausalLM:
    """Of three layers; all weights random, those of the norms too, which start as ones. ``options`` as above."""
    torch.manual_seed(1)
    settings = {
        "vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 8, "intermediate_size": 48, "initializer_range": 0.2,
        "tie_word_embeddings": False,
    }  # fmt: skip
    model = Qwen3ForCausalLM(Qwen3Config(**settings | options)).eval()
    for name, weight in model.named_parameters():
        if "norm" in name:
            torch.nn.init.uniform_(weight, 0.5, 1.5)
    return model
