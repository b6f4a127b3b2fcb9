#!/usr/bin/env bash
# In double precision, transformers' eager attention makes NaN of every prompt that is padded on its left.
#
# Guess:   a model in float64 computes what it does in float32, with more digits, whatever its attention is called; a
#          padded prompt gets the logits that it gets alone.
# Seen:    with attn_implementation="eager" all logits of a row that is padded on its left are NaN, those of its real
#          tokens too; rows of full length are right. In float32 and bfloat16 both are right, and so they are in float64
#          with "sdpa". The mask holds the least float64, which the softmax, in float32, takes for minus infinity: a
#          padding token that sees nothing becomes 0 / 0, and the next layer multiplies it by 0.
# With:    transformers 5.23.0 (Qwen3, Qwen2, Llama, Mistral), torch 2.13.0
# Matters: float64 and eager attention are what one takes for a reference to check gradients against, and left padding is
#          what batches of prompts have. Padded on the right, or one at a time, the same model is right.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
install() { venv/bin/pip install -qq --disable-pip-version-check "$@"; }
install torch==2.13.0+cpu 2>/dev/null || install torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu
install transformers==5.23.0
export HF_HOME=$work/hf HF_HUB_OFFLINE=1

venv/bin/python - <<'PYTHON'
import torch
import transformers
from transformers import AutoModelForCausalLM, LlamaConfig, MistralConfig, Qwen2Config, Qwen3Config

print("transformers", transformers.__version__, "torch", torch.__version__)
SIZES = dict(vocab_size=32, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1)
SIZES |= dict(head_dim=8, intermediate_size=32, pad_token_id=0)
IDS = torch.tensor([[0, 0, 5, 6, 7], [1, 2, 3, 4, 5]])
SEEN = (IDS != 0).long()
for config in (Qwen3Config, Qwen2Config, LlamaConfig, MistralConfig):
    for attention in ("eager", "sdpa"):
        for dtype in (torch.float64, torch.float32, torch.bfloat16):
            torch.manual_seed(0)
            model = AutoModelForCausalLM.from_config(config(**SIZES), attn_implementation=attention).to(dtype).eval()
            positions = (SEEN.cumsum(1) - 1).clamp(min=0)
            with torch.no_grad():
                found = model(input_ids=IDS, attention_mask=SEEN, position_ids=positions).logits
                alone = model(input_ids=IDS[:1, 2:]).logits[0]
            lost = bool(found[0, 2:].isnan().all())
            print(config.__name__, attention, dtype, "NaN" if lost else "right")
            assert lost == (attention == "eager" and dtype == torch.float64)
            assert lost or torch.allclose(found[0, 2:], alone, atol=0.02)
            assert not found[1].isnan().any() and not alone.isnan().any()
PYTHON
