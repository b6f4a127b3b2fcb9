#!/usr/bin/env bash
# peft: an adapter that is loaded under a name that is there already has its own weights, and the strength of the one
# before.
#
# Guess:   load_adapter(path, "default") puts the adapter of that path in place of the one before; or refuses the name.
# Seen:    the weights are the new ones, and lora_alpha (and use_rslora) of the adapter before stay: an alpha of 64 has
#          the strength of 4, a sixteenth. All keys match, and there is no warning. After delete_adapter of the name, or
#          with PeftModel.from_pretrained on the same model again, the new strength holds.
# With:    peft 0.21.2, transformers 5.23.0, torch 2.13.0
# Matters: a loop that loads one run's adapter after another and evaluates it compares runs of different alpha at the
#          alpha of the first, and its outcome depends on the order.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
install() { venv/bin/pip install -qq --disable-pip-version-check "$@"; }
install torch==2.13.0+cpu 2>/dev/null || install torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu
install transformers==5.23.0 accelerate==1.15.0 peft==0.21.2
export HF_HOME=$work/hf HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1

venv/bin/python - <<'PYTHON'
import warnings

import peft
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import Qwen3Config, Qwen3ForCausalLM

print("peft", peft.__version__, "torch", torch.__version__)
small = dict(vocab_size=32, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1)
ids = torch.arange(8)[None]

def base():
    torch.manual_seed(0)
    return Qwen3ForCausalLM(Qwen3Config(**small, head_dim=8, intermediate_size=32)).eval()

def layer(model):
    return model.base_model.model.model.layers[0].self_attn.q_proj

def trained(path, seed, **options):
    model = get_peft_model(base(), LoraConfig(r=4, target_modules=["q_proj"], **options)).eval()
    torch.manual_seed(seed)
    torch.nn.init.normal_(layer(model).lora_B["default"].weight)
    model.save_pretrained(path)
    return layer(model).get_delta_weight("default").detach(), model(ids).logits.detach()

first_change, first = trained("first", 1, lora_alpha=4)
change, logits = trained("second", 2, lora_alpha=64)
rooted, _ = trained("third", 3, lora_alpha=4, use_rslora=True)

model = PeftModel.from_pretrained(base(), "first").eval()
assert torch.allclose(model(ids).logits, first)
with warnings.catch_warnings():
    warnings.simplefilter("error")
    print(model.load_adapter("second", "default"))
print("alpha of the file 64, of the model", model.peft_config["default"].lora_alpha)
got = layer(model).get_delta_weight("default").detach()
print("strength", round(float((got * change).sum() / change.square().sum()), 4), "of that which was trained")
assert torch.allclose(got * 16, change) and not torch.allclose(model(ids).logits, logits, atol=1e-4)
model.load_adapter("third", "default")
assert torch.allclose(layer(model).get_delta_weight("default") * 2, rooted)

model.delete_adapter("default")
model.load_adapter("second", "default")
model.set_adapter("default")
assert torch.allclose(layer(model).get_delta_weight("default"), change) and torch.allclose(model(ids).logits, logits)
one = base()
PeftModel.from_pretrained(one, "first")
assert torch.allclose(PeftModel.from_pretrained(one, "second").eval()(ids).logits, logits)
PYTHON
