"""Muon, with every product in float32 and in the order of `qwen3.kernels`.

torch's own orthogonalises in bfloat16, whatever the precision of the parameters: it is slow where the processor has no
bfloat16, and rounds otherwise where it has. All else is as there (the coefficients are Keller Jordan's, his muon.py).
"""

import math
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from selfdistill.qwen3.kernels import orthogonalise

ITERATIONS = 5


class Muon(torch.optim.Optimizer):
    """Steps of matrices [m, n] along their momentum, made nearly orthogonal; larger for m > n, by the root of m / n."""

    def __init__(self, params: Iterable[Tensor], *, lr: float, momentum: float, weight_decay: float):
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for matrix in group["params"]:
                state = self.state[matrix]
                if not state:
                    state["momentum_buffer"] = torch.zeros_like(matrix)
                _update(matrix, state["momentum_buffer"], group)


def _update(matrix: Tensor, buffer: Tensor, group: dict[str, float]) -> None:
    """By Nesterov's momentum: ``buffer`` after, and the gradient once more."""
    gradient, weights, moved = matrix.grad.numpy(), matrix.numpy(), buffer.numpy()
    moved += np.float32(1 - group["momentum"]) * (gradient - moved)
    ahead = gradient + np.float32(group["momentum"]) * (moved - gradient)
    rate = group["lr"] * math.sqrt(max(1.0, matrix.size(0) / matrix.size(1)))
    weights *= np.float32(1 - group["lr"] * group["weight_decay"])
    weights -= np.float32(rate) * orthogonal(ahead)


def orthogonal(matrix: np.ndarray) -> np.ndarray:
    """The ``matrix`` [m, n], float32, with its singular values brought near 1: most lie within 0.68 and 1.2."""
    wide = np.ascontiguousarray(matrix.T if len(matrix) > matrix.shape[1] else matrix)
    wide = orthogonalise(wide, ITERATIONS)
    return wide.T if len(matrix) > matrix.shape[1] else wide
