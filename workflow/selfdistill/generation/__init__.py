"""Sampling: what is asked for (`Sampling`, `Prompt`) and the one function that draws it (`generate`)."""

from selfdistill.generation.requests import Prompt, Sampling, sample_seed
from selfdistill.generation.shards import generate

__all__ = ["Prompt", "Sampling", "generate", "sample_seed"]
