"""Weights that FSDP2 shards over processes: gathered for what needs them whole, and placed back."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.distributed.tensor import DTensor, Partial, distribute_tensor
from transformers import PreTrainedModel


def output_layer(model: PreTrainedModel) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The output layer's weight [V, H] and bias [V]; of a sharded model gathered, gradients averaged over processes."""
    layer = model.get_output_embeddings()
    return _gathered(layer.weight), None if layer.bias is None else _gathered(layer.bias)


def _gathered(weight: torch.Tensor) -> torch.Tensor:
    if not isinstance(weight, DTensor):
        return weight
    value = weight.full_tensor(grad_placements=[Partial()] * weight.device_mesh.ndim)
    return _MeanGradient.apply(value, weight.device_mesh.size())


class _MeanGradient(torch.autograd.Function):
    """The identity, with a gradient that becomes the mean over processes when it is summed over them."""

    @staticmethod
    def forward(ctx: Any, value: torch.Tensor, processes: int) -> torch.Tensor:
        ctx.processes = processes
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        return gradient / ctx.processes, None


def whole(weight: torch.Tensor) -> torch.Tensor:
    """``weight``; a sharded one gathered, in every process. All of them have to call this together."""
    return weight.full_tensor() if isinstance(weight, DTensor) else weight


def placed_like(value: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """The whole tensor ``value`` on the device of ``weight``, and sharded as it is."""
    value = value.to(weight.device)
    if not isinstance(weight, DTensor):
        return value
    return distribute_tensor(value, weight.device_mesh, weight.placements)


def own_weights(model: PreTrainedModel) -> Iterator[tuple[str, torch.Tensor]]:
    """Parameters by name, without gradient: of a sharded model this process's share; tied ones once."""
    return ((name, parameter.data) for name, parameter in model.named_parameters())


@contextmanager
def holding(model: PreTrainedModel, weights: dict[str, torch.Tensor]) -> Iterator[None]:
    """Within, the parameters of ``model`` that ``weights`` names have its values; their own come back afterwards."""
    named = [(weight, weights[name]) for name, weight in own_weights(model) if name in weights]
    own = [weight.clone() for weight, _ in named]
    try:
        for weight, other in named:
            weight.copy_(other)
        yield
    finally:
        for (weight, _), value in zip(named, own, strict=True):
            weight.copy_(value)
