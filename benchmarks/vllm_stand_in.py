"""What `authors.py` puts in the place of `vllm`: the authors' calls, answered by this package's CPU engine.

A response's seed comes from its prompt, its number and the name of the stream, as in the package's own stages, so equal
prompts give equal responses on both sides. Rows go to the engine in the stages' batches, so that neither side gains by
its batch size. Each call adds a line to a log: the tokens that it sampled.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path

STREAMS, LOG = "STAND_IN_STREAMS", "STAND_IN_LOG"  # environment: names of the streams, one per call; the log's path


@dataclass
class SamplingParams:
    """Defaults as in vLLM; an option that is not here raises, so that none is dropped unseen."""

    n: int = 1
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0  # 0 and -1 keep all
    max_tokens: int = 16


@dataclass
class CompletionOutput:
    text: str


@dataclass
class RequestOutput:
    prompt: str
    outputs: list[CompletionOutput]


class LLM:
    def __init__(
        self,
        model: str,
        *,
        tensor_parallel_size: int = 1,
        trust_remote_code: bool = False,
        gpu_memory_utilization: float = 0.9,
    ):
        import torch
        from selfdistill.generation.transformers_engine import TransformersEngine
        from selfdistill.models import MANIFEST

        torch.set_num_threads(1)
        self.engine = TransformersEngine(Path(model) / MANIFEST)
        self.streams = os.environ[STREAMS].split(",")
        self.calls = 0

    def generate(self, prompts: list[str], sampling_params: SamplingParams) -> list[RequestOutput]:
        from selfdistill.files import sha256_text
        from selfdistill.generation.requests import Row, Sampling, sample_seed
        from selfdistill.generation.shards import ROWS

        asked, stream = sampling_params, self.streams[min(self.calls, len(self.streams) - 1)]
        self.calls += 1
        tokenizer, rows = self.engine.tokenizer, []
        for prompt in prompts:
            ids = tuple(tokenizer(prompt, add_special_tokens=False)["input_ids"])
            digest = sha256_text(tokenizer.decode(ids))
            rows += [Row(ids, sample_seed(0, stream, digest, sample)) for sample in range(asked.n)]
        sampling = Sampling(asked.temperature, asked.top_p, max(asked.top_k, 0), asked.max_tokens)
        parts = [rows[first : first + ROWS] for first in range(0, len(rows), ROWS)]
        completions = [completion for part in parts for completion in self.engine.sample(part, sampling)]
        with open(os.environ[LOG], "a", encoding="utf-8") as log:
            log.write(json.dumps({"stream": stream, "tokens": sum(len(c.token_ids) for c in completions)}) + "\n")
        texts = [CompletionOutput(self.engine.decode(completion.token_ids)) for completion in completions]
        return [RequestOutput(prompt, texts[asked.n * i : asked.n * (i + 1)]) for i, prompt in enumerate(prompts)]
