"""Sampling of responses: `generate` takes `Prompt`s and a `Sampling`, and returns a table."""

from selfdistill.generation.requests import Prompt, Sampling, sample_seed
from selfdistill.generation.shards import generate

__all__ = ["Prompt", "Sampling", "generate", "sample_seed"]
