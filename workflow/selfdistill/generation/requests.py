"""Requests to an engine, its results, and the seed of every sample. Imports no engine."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Protocol

from pydantic import model_validator

from selfdistill.errors import UserError
from selfdistill.files import sha256_text
from selfdistill.settings import Count, Distinct, Tokens, key, settings

COOLEST = 0.01  # temperature that is no division by nearly nothing; vLLM takes none below either
HOTTEST = 2  # temperature that vLLM takes
LARGEST_SEED = 2**63  # of torch's generators


@settings
class Sampling:
    """How tokens are sampled."""

    temperature: float = key(1.0, doc="Softmax temperature; 0 is greedy.", ge=0, le=100)
    top_p: float = key(1.0, doc="Nucleus mass kept.", gt=0, le=1)
    top_k: int = key(0, doc="Number of likeliest tokens kept; 0 keeps all.", ge=0, lt=2**31)
    max_tokens: Tokens = key(
        400, doc="Longest response, in tokens; one cut there has an answer only if its box was closed before."
    )

    @model_validator(mode="after")
    def _no_division_by_nearly_nothing(self) -> "Sampling":
        if 0 < self.temperature < COOLEST:
            raise ValueError(f"'temperature' ({self.temperature:g}) is below {COOLEST}; 0 is greedy")
        return self


@settings
class Words:
    """Words that a model is kept from, or held to, while it is sampled. Beyond the paper."""

    bad: Distinct[str] | None = key(
        None, doc="Words that are never sampled: tokens that are one of them, whatever their case and spaces."
    )
    forced: Distinct[str] | None = key(
        None, doc="Words of which one is sampled wherever the model gives them `forced_from` together (not by vLLM)."
    )
    forced_from: float | None = key(None, doc="That probability; none without `forced`.", gt=0, le=1)

    @model_validator(mode="after")
    def _consistent(self) -> "Words":
        if (self.forced is None) != (self.forced_from is None):
            raise ValueError("'forced' and 'forced_from' go together")
        both = set(self.bad or ()).intersection(self.forced or ())
        if both:
            raise ValueError(f"'{min(both)}' is among 'bad' and 'forced'")
        return self


ALL_WORDS = Words()
WORDED = "words-"  # begins the name, in place of a run's, of a base model that is sampled with other words


@settings
class Extent:
    """So many problems, the first ones, and so many responses to each."""

    problems: Count = key(doc="Problems, the first ones.")
    samples: Count = key(doc="Responses to each.")


@dataclass(frozen=True)
class Prompt:
    """One problem's prompt: its rendered ``text`` and ``token_ids``, and the number of the sample shown as context."""

    problem_id: str
    text: str
    token_ids: tuple[int, ...]
    context_sample: int | None = None
    shortened: bool = False  # the context was cut to make the prompt fit

    @property
    def sha256(self) -> str:
        return sha256_text(self.text)


@dataclass(frozen=True)
class Row:
    """One response to sample: prompt and seed."""

    token_ids: tuple[int, ...]
    seed: int


@dataclass(frozen=True)
class Completion:
    """A sampled response: its token ids without the end token, and ``"stop"`` or ``"length"``.

    ``logps`` holds, on request, the log-probability of every token under the distribution that it was sampled from, the
    end token's last. ``end_ids`` holds the end token (none for a response cut at its limit). ``seed`` is the seed that
    was used, if it is not the row's.
    """

    token_ids: list[int]
    finish_reason: str
    logps: list[float] | None = None
    end_ids: tuple[int, ...] = ()
    seed: int | None = None


class Engine(Protocol):
    """Samples a batch of rows. Equal batches give equal completions."""

    max_model_len: float  # tokens of prompt and response together

    def sample(self, rows: Sequence[Row], sampling: Sampling, words: Words) -> list[Completion]: ...

    def decode(self, token_ids: Sequence[int]) -> str: ...

    def close(self) -> None: ...


def check_engine(engine: str) -> None:
    """`UserError` for an engine that is not installed here."""
    if engine == "vllm" and find_spec("vllm") is None:
        raise UserError("the engine vllm needs vLLM, which is not installed here; envs/train.yaml has it")


def sample_seed(seed: int, stream: str, prompt_sha256: str, sample: int) -> int:
    """The seed (uint64) of one response; another ``stream`` gives other samples of the same prompt."""
    digest = hashlib.sha256(f"{seed}:{stream}:{prompt_sha256}:{sample}".encode()).digest()
    return int.from_bytes(digest[:8], "big")
