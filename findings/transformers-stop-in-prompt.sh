#!/usr/bin/env bash
# transformers' stop strings may begin in the prompt, and min_new_tokens does not hold them back.
#
# Guess:   a stop string is looked for in what is generated, and only once there are min_new_tokens tokens.
# Seen:    with the stop string "\n\n" and a prompt that ends with a line feed, a generated line feed is the whole
#          answer; with "##" and a prompt that ends with "#", so is "#". A prompt that has the whole stop string in it
#          is fine. With min_new_tokens=5, the stop string ends the text after two tokens.
# With:    transformers 5.23.0, torch 2.13.0, tokenizers 0.23.3
# Matters: prompts end with "Answer:\n" or open a line with "#": the answers are empty, by the prompt's last character,
#          and count as wrong.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
install() { venv/bin/pip install -qq --disable-pip-version-check "$@"; }
install torch==2.13.0+cpu 2>/dev/null || install torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu
install transformers==5.23.0 tokenizers==0.23.3
export HF_HOME=$work/hf HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1

venv/bin/python - <<'PYTHON' 2>log.txt || { cat log.txt; exit 1; }
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LogitsProcessor, PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

print("transformers", transformers.__version__, "torch", torch.__version__)
letters = sorted(pre_tokenizers.ByteLevel.alphabet())
core = Tokenizer(models.BPE(vocab={"<end>": 0} | {letter: n + 1 for n, letter in enumerate(letters)}, merges=[]))
core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
core.decoder = decoders.ByteLevel()
tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<end>")
small = dict(vocab_size=300, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1)
model = Qwen3ForCausalLM(Qwen3Config(**small, head_dim=8, intermediate_size=32)).eval()

class Says(LogitsProcessor):
    def __init__(self, text, start):
        self.tokens, self.start = tokenizer(text).input_ids, start

    def __call__(self, input_ids, scores):
        forced = torch.full_like(scores, -1e9)
        forced[:, self.tokens[input_ids.shape[1] - self.start]] = 0
        return forced

def answer(prompt, text, **options):
    """What comes of a model that would say the text."""
    ids = tokenizer(prompt, return_tensors="pt").input_ids
    length = ids.shape[1]
    out = model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=len(text), do_sample=False, eos_token_id=0,
        pad_token_id=0, tokenizer=tokenizer, logits_processor=[Says(text, length)], **options)
    said = tokenizer.decode(out[0, length:])
    print(f"prompt {prompt!r:14} says {text!r:12} {options}: {said!r}")
    return said

assert answer("Answer:", "\nyes", stop_strings=["\n\n"]) == "\nyes"
assert answer("Answer:\n", "\nyes", stop_strings=["\n\n"]) == "\n"
assert answer("Answer:\n\n", "yes", stop_strings=["\n\n"]) == "yes"
assert answer("#", "# Step 1", stop_strings=["##"]) == "#"
assert answer("Answer:", "a\nyes it is", stop_strings=["\n"], min_new_tokens=5) == "a\n"
assert answer("Answer:", "a\nyes it is", stop_strings=["\n"], min_new_tokens=5) == answer(
    "Answer:", "a\nyes it is", stop_strings=["\n"])
PYTHON
