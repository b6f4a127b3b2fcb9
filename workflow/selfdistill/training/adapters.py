"""Low-rank adapters in place of all weights (LoRA; Hu et al. 2022, arXiv:2106.09685), for a GPU with little memory."""

from pathlib import Path

import torch
from peft import LoraConfig
from transformers import PreTrainedModel

from selfdistill import models


def low_rank(rank: int) -> LoraConfig | None:
    """Adapters of ``rank`` on all linear layers but the output's, scaled by 2, as is usual; none for 0."""
    if not rank:
        return None
    return LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM")


def load_model(manifest: Path, rank: int) -> PreTrainedModel:
    """The model to train: in float32, but below adapters on a GPU, where it stays as it is, in bfloat16."""
    return models.load_model(manifest, dtype="bfloat16" if rank and torch.cuda.is_available() else "float32")
