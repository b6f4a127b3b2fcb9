#!/usr/bin/env bash
# In transformers' Trainer the loss in evaluation depends on how many rows are in a batch, the loss in training does
# not.
#
# Guess:   since the loss is divided by the number of tokens that count, eval_loss is the mean over the tokens of the
#          set, as the training loss is over the tokens of a step, however they are divided into batches.
# Seen:    each batch's mean over its tokens counts by its number of rows. For one long row and three short ones,
#          eval_loss is 2.60 in batches of 1, 2.75 in batches of 2 and 2.99, the mean over the tokens, in one of 4. The
#          training loss is 2.99 for 4 rows, 2 times 2 and 4 times 1. Batches of 3 have another value for another order
#          of the rows. Besides, eval_loss has label_smoothing_factor in it.
# With:    transformers 5.23.0, torch 2.13.0
# Matters: eval_loss, its exponential as perplexity, and the checkpoint that is best by it change with the memory of the
#          machine, and with the order of the rows.
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
rows = [[1] * length + [n % 31 + 1 for n in range(length)] for length in (2, 20, 2, 3)]

def collate(batch):
    width = max(map(len, batch))
    padded = {"input_ids": 0, "labels": -100, "attention_mask": 0}
    given = {"input_ids": lambda row: row, "labels": lambda row: row, "attention_mask": lambda row: [1] * len(row)}
    filled = {key: [given[key](row) + [fill] * (width - len(row)) for row in batch] for key, fill in padded.items()}
    return {key: torch.tensor(rows) for key, rows in filled.items()}

def trainer(rows=rows, **options):
    torch.manual_seed(0)
    model = Qwen3ForCausalLM(Qwen3Config(**small, head_dim=8, intermediate_size=32))
    with torch.no_grad():
        model.lm_head.weight.mul_(20)
    arguments = TrainingArguments("run", report_to="none", use_cpu=True, disable_tqdm=True, save_strategy="no",
                                  learning_rate=0.0, max_steps=1, **options)
    result = Trainer(model, arguments, train_dataset=rows, eval_dataset=rows, data_collator=collate)
    result.remove_callback(PrinterCallback)
    return result

def evaluated(*arguments, **options):
    return trainer(*arguments, **options).evaluate()["eval_loss"]

model = trainer().model.eval()
total = sum(
    torch.nn.functional.cross_entropy(model(torch.tensor([row])).logits[0, :-1], torch.tensor(row[1:]), reduction="sum")
    for row in rows).item()
right = total / sum(len(row) - 1 for row in rows)
print(f"mean over the tokens {right:.4f}")
trained = {}
for b in (4, 2, 1):
    divided = trainer(per_device_train_batch_size=b, gradient_accumulation_steps=4 // b)
    trained[f"{b} x {4 // b}"] = divided.train().training_loss
print("training", {batch: round(loss, 4) for batch, loss in trained.items()})
assert all(math.isclose(loss, right, abs_tol=1e-4) for loss in trained.values())
losses = {b: evaluated(per_device_eval_batch_size=b) for b in (4, 2, 1)}
other = evaluated(rows[1:] + rows[:1], per_device_eval_batch_size=3)
same = evaluated(rows, per_device_eval_batch_size=3)
print("evaluation", {batch: round(loss, 4) for batch, loss in losses.items()})
print("evaluation, batches of 3, two orders", round(same, 4), round(other, 4))
assert math.isclose(losses[4], right, abs_tol=1e-4)
assert min(abs(losses[2] - right), abs(losses[1] - right), abs(losses[1] - losses[2])) > 0.05
assert abs(same - other) > 0.005
smoothed = evaluated(per_device_eval_batch_size=4, label_smoothing_factor=0.3)
print("evaluation, smoothed labels", round(smoothed, 4))
assert abs(smoothed - right) > 0.05
PYTHON
