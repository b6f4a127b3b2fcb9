#!/usr/bin/env bash
# transformers' Trainer logs the loss 0.0 for a run whose loss is NaN, and its train_loss gets smaller by that.
#
# Guess:   a run that has diverged shows NaN; or, since logging_nan_inf_filter is on by default, the mean of the valid
#          losses.
# Seen:    a window of steps that are all NaN has the loss 0.0. train_loss, the mean over all steps, counts them as 0
#          too: of a loss of 3.44 until step 2 of 6 it makes 1.15, the least of a comparison. With the filter off both
#          are NaN. The gradient's norm is NaN either way.
# With:    transformers 5.23.0, torch 2.13.0
# Matters: whoever compares rates or seeds by train_loss, or by the last loss logged, chooses what diverged; sooner is
#          better. That the valid losses' mean stands for NaN (the documentation) is so within a window that begins with
#          valid ones.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
install() { venv/bin/pip install -qq --disable-pip-version-check "$@"; }
install torch==2.13.0+cpu 2>/dev/null || install torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu
install transformers==5.23.0 datasets==5.2.0 accelerate==1.15.0
export HF_HOME=$work/hf HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1

venv/bin/python - <<'PYTHON' 2>log.txt || { cat log.txt; exit 1; }
import math

import torch
import transformers
from transformers import PrinterCallback, Qwen3Config, Qwen3ForCausalLM, Trainer, TrainingArguments

print("transformers", transformers.__version__, "torch", torch.__version__)
small = dict(vocab_size=32, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1)
rows = [{"input_ids": torch.arange(8) + n, "labels": torch.arange(8) + n} for n in range(12)]

class Diverging(Trainer):
    diverges_after = None

    def training_step(self, *arguments, **options):
        if self.state.global_step == self.diverges_after:
            with torch.no_grad():
                self.model.lm_head.weight.fill_(math.nan)
        return super().training_step(*arguments, **options)

def losses(after, **options):
    torch.manual_seed(0)
    model = Qwen3ForCausalLM(Qwen3Config(**small, head_dim=8, intermediate_size=32))
    arguments = TrainingArguments(
        "run", max_steps=6, per_device_train_batch_size=2, learning_rate=1e-4, logging_steps=2, save_strategy="no",
        report_to="none", use_cpu=True, disable_tqdm=True, **options)
    trainer = Diverging(model, arguments, train_dataset=rows)
    trainer.remove_callback(PrinterCallback)
    trainer.diverges_after = after
    train_loss = trainer.train().training_loss
    logged = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert [math.isnan(entry["grad_norm"]) for entry in logged] == [step > (after or 6) for step in (2, 4, 6)]
    return [round(entry["loss"], 2) for entry in logged], round(train_loss, 2)

def report(name, after, **options):
    logged, train_loss = losses(after, **options)
    print(f"{name}: logged {logged}, train_loss {train_loss}")
    return logged, train_loss

steady, steady_mean = report("never", None)
for after in (4, 2):
    logged, mean = report(f"NaN after step {after}", after)
    assert logged == steady[: after // 2] + [0.0] * (3 - after // 2)
    assert math.isclose(mean, sum(steady[: after // 2]) * 2 / 6, abs_tol=0.02) and mean < steady_mean
logged, mean = report("NaN after step 2, no filter", 2, logging_nan_inf_filter=False)
assert math.isnan(logged[1]) and math.isnan(mean)
PYTHON
