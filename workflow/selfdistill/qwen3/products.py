"""Products of torch's matrices in the order of `kernels`, which is the same on every processor (CPU, float32)."""

from typing import Any

import torch
from torch.autograd.function import once_differentiable

from selfdistill.qwen3.kernels import add_outer, multiply, pack

# Numbers in a right factor. A larger one, such as the output layer of a published model, is left to torch, whose
# products need no packed copy of it.
LARGEST = 2**22


def are_ours(right: torch.Tensor) -> bool:
    """True if products with the matrix ``right`` are computed here."""
    return right.device.type == "cpu" and right.dtype == torch.float32 and right.numel() <= LARGEST


def product(left: torch.Tensor, right: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
    """Fill the contiguous ``out`` [N, M] with ``left`` [N, K] @ ``right`` [K, M]."""
    if are_ours(right):
        multiply(left.contiguous().numpy(), pack(right.numpy()), out.numpy(), False)
        return out
    return torch.mm(left, right, out=out)


def add_product(total: torch.Tensor, left: torch.Tensor, right: torch.Tensor) -> None:
    """Add ``left`` [N, K] @ ``right`` [K, M] to the contiguous ``total`` [N, M]. ``left`` may be transposed."""
    if left.T.is_contiguous() and not left.is_contiguous() and are_ours(total):
        add_outer(left.T.numpy(), right.contiguous().numpy(), total.numpy())
    elif left.is_contiguous() and are_ours(right):
        multiply(left.numpy(), pack(right.numpy()), total.numpy(), True)
    else:
        total.addmm_(left, right)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(states, weight)
        return product(states, weight.T, states.new_empty(len(states), len(weight)))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        states, weight = ctx.saved_tensors
        of_weight = torch.zeros_like(weight)
        add_product(of_weight, grad.contiguous().T, states)
        return product(grad, weight, torch.empty_like(states)), of_weight


def linear(states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """``states`` [..., K] @ ``weight`` [M, K].T, differentiable once."""
    flat = states.flatten(0, -2)
    found = _Linear.apply(flat, weight) if are_ours(weight) else flat @ weight.T
    return found.view(*states.shape[:-1], len(weight))
