#!/usr/bin/env bash
# TRL's moving teacher in a low-rank adapter follows with the square of its rate.
#
# Guess:   with teacher_update_rate 0.05 the teacher's change of a weight is the moving average of the student's, as it is
#          where all weights are trained: of a student that stays as it is, a share 1 - 0.95^n after n updates; and it
#          begins as the adapter does, with a random A and B = 0.
# Seen:    both factors of the teacher begin at 0 and are averaged apart, so that the share is (1 - 0.95^n)^2: 0.25 % in
#          place of 5 % after one update, 16 % in place of 40 % after ten, 41 % in place of 64 % after twenty.
# With:    trl 1.16.0 (PEFTAdapterEMACallback of SDPO and SDFT), peft 0.21.2, torch 2.13.0
# Matters: a run of some dozen steps has nearly the fixed teacher, and a rate compared between adapters and whole models
#          is not one rate. Averages that begin with the student's A as drawn lie near to those of the product.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
install() { venv/bin/pip install -qq --disable-pip-version-check "$@"; }
install torch==2.13.0+cpu 2>/dev/null || install torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu
install transformers==5.23.0 datasets==5.2.0 accelerate==1.15.0 peft==0.21.2
install --no-deps trl==1.16.0
export HF_HOME=$work/hf HF_HUB_OFFLINE=1

venv/bin/python - <<'PYTHON'
from importlib.metadata import version
from types import SimpleNamespace

import torch
from peft import LoraConfig, get_peft_model
from transformers import Qwen3Config, Qwen3ForCausalLM
from trl.experimental.sdft.teacher_sync import PEFTAdapterEMACallback as OfSdft
from trl.experimental.sdpo.teacher_sync import PEFTAdapterEMACallback as OfSdpo

print("trl", version("trl"), "peft", version("peft"), "torch", torch.__version__)
RATE = 0.05
small = dict(vocab_size=32, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1)
for callback_of in (OfSdft, OfSdpo):
    torch.manual_seed(0)
    base = Qwen3ForCausalLM(Qwen3Config(**small, head_dim=8, intermediate_size=32))
    model = get_peft_model(base, LoraConfig(r=4, target_modules=["q_proj"]))
    layer = model.base_model.model.model.layers[0].self_attn.q_proj
    callback = callback_of(model=model, update_rate=RATE)
    callback.on_train_begin(None, SimpleNamespace(global_step=0), None)
    torch.nn.init.normal_(layer.lora_B["default"].weight)  # the student, trained at once, and then as it is

    def change(adapter):
        return (layer.lora_B[adapter].weight @ layer.lora_A[adapter].weight).detach()

    student = change("default")
    assert student.norm() > 0 and change("teacher").norm() == 0
    for update in range(1, 21):
        callback.on_step_end(None, SimpleNamespace(global_step=update), None)
        assert torch.equal(change("default"), student)
        share = float((change("teacher") * student).sum() / student.square().sum())
        of_average = 1 - (1 - RATE) ** update
        assert abs(share - of_average**2) < 1e-4, (share, of_average)
        if update in (1, 10, 20):
            print(f"{callback_of.__module__}: {update} updates, share {share:.4f}, of an average {of_average:.4f}")
PYTHON
