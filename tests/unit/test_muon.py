"""Muon's steps are torch's, but for the precision that it orthogonalises in."""

import numpy as np
import pytest
import torch
from selfdistill.microcosm.muon import ITERATIONS, Muon, orthogonal
from torch.optim import _muon

SHAPES = [(128, 128), (64, 128), (384, 128), (128, 384), (20, 7), (7, 20)]


def in_float64(matrix: torch.Tensor) -> torch.Tensor:
    """The iteration as Keller Jordan writes it, without bfloat16."""
    wide = matrix.double() if matrix.size(0) <= matrix.size(1) else matrix.double().T
    wide = wide / wide.norm()
    for _ in range(ITERATIONS):
        gram = wide @ wide.T
        wide = _muon.DEFAULT_A * wide + (_muon.DEFAULT_B * gram + _muon.DEFAULT_C * gram @ gram) @ wide
    return wide if matrix.size(0) <= matrix.size(1) else wide.T


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_an_orthogonal_matrix_is_that_of_the_iteration_in_float64(shape: tuple[int, int]):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    found = torch.from_numpy(np.ascontiguousarray(orthogonal(matrix.numpy())))
    assert (found - in_float64(matrix)).abs().max() < 2e-5
    values = torch.linalg.svdvals(found)
    assert values.max() < 1.3 and ((values > 0.66) & (values < 1.25)).float().mean() > 0.9


def test_a_matrix_of_zeros_stays_one():
    assert not orthogonal(np.zeros((3, 5), np.float32)).any()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_steps_are_those_of_torch(shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(_muon, "_zeropower_via_newtonschulz", lambda matrix, *_: in_float64(matrix).float())
    generator = torch.Generator().manual_seed(0)
    ours = torch.nn.Parameter(torch.randn(shape, generator=generator))
    theirs = torch.nn.Parameter(ours.detach().clone())
    options = {"lr": 0.02, "momentum": 0.95, "weight_decay": 0.01}
    optimizers = Muon([ours], **options), torch.optim.Muon([theirs], **options)
    for _ in range(4):
        ours.grad = torch.randn(shape, generator=generator)
        theirs.grad = ours.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    assert (ours - theirs).abs().max() < 5e-6
