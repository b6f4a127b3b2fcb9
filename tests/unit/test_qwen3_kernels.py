"""Kernels add up in the order that their plain forms write, in every process, compiled or loaded from the cache."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from kernel_digests import OTHER_PROCESSOR, SAMPLE, TRAIN, Compiled, digests
from selfdistill.qwen3 import kernels, products
from selfdistill.qwen3.products import linear


def test_kernels_from_the_cache_round_as_those_just_compiled(elsewhere: Compiled, tmp_path: Path):
    cache = shutil.copytree(elsewhere.cache, tmp_path / "cache")
    files = sorted(cache.rglob("*.nbc"))
    (just_compiled,) = elsewhere.digests
    assert len(files) > 10 and len(just_compiled) == 13
    assert digests(cache, SAMPLE, TRAIN, **OTHER_PROCESSOR) == just_compiled
    assert sorted(cache.rglob("*.nbc")) == files


def test_kernels_round_alike_whichever_are_compiled_first_which_come_from_the_cache_and_for_which_processor(
    elsewhere: Compiled, here: Compiled
):
    trained, both = here.digests  # of a process that compiled these, and of one that found them in the cache
    assert [both] == elsewhere.digests
    assert set(trained) < set(both)


RANDOM = np.random.default_rng(0)


def numbers(*shape: int) -> np.ndarray:
    return RANDOM.standard_normal(shape, np.float32)


@pytest.mark.parametrize("rows", [0, 1, 2, 3, 5, 6, 11, 64])
@pytest.mark.parametrize(("depth", "columns"), [(1, 1), (5, 16), (33, 70), (40, 64), (16, 166), (7, 130)])
def test_products_add_up_in_the_written_order(rows: int, depth: int, columns: int):
    left, right, before = numbers(rows, depth), numbers(depth, columns), numbers(rows, columns)
    found = before.copy()
    kernels.multiply(left, kernels.pack(right), found, True)
    assert np.array_equal(found, kernels.plain_product(left, right, before))
    kernels.multiply(left, kernels.pack(right), found, False)
    assert np.array_equal(found, kernels.plain_product(left, right, np.zeros_like(before)))
    assert np.allclose(found, left.astype(np.float64) @ right, atol=1e-5)


@pytest.mark.parametrize("tokens", [1, 63, 64, 200])
@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (6, 16), (17, 70), (40, 128), (7, 3)])
def test_outer_products_add_up_token_after_token(tokens: int, rows: int, columns: int):
    left, right, before = numbers(tokens, rows), numbers(tokens, columns), numbers(rows, columns)
    found = before.copy()
    kernels.add_outer(left, right, found)
    assert np.array_equal(found, kernels.plain_product(left.T, right, before))


@pytest.mark.parametrize("size", [1, 15, 16, 17, 128, 131])
def test_a_norm_divides_by_a_sum_in_the_written_order(size: int):
    x = numbers(3, size)
    normed, scales = np.empty_like(x), np.empty(3, np.float32)
    kernels.rms_norm(x, np.ones(size, np.float32), 0.0, normed, scales)
    squares = np.array([kernels.plain_dot(row, row) for row in x], np.float32)
    assert np.array_equal(scales, np.float32(1) / np.sqrt(squares / np.float32(size)))


def test_torchs_matrices_are_multiplied_in_that_order_and_large_ones_by_torch(monkeypatch: pytest.MonkeyPatch):
    states, weight = (
        torch.from_numpy(numbers(2, 5, 20)).requires_grad_(),
        torch.from_numpy(numbers(30, 20)).requires_grad_(),
    )
    slope = torch.from_numpy(numbers(2, 5, 30))
    found = linear(states, weight)
    ours = torch.autograd.grad(found, (states, weight), slope)
    plain = kernels.plain_product(
        states.detach().flatten(0, 1).numpy(), weight.detach().numpy().T, np.zeros((10, 30), np.float32)
    )
    assert np.array_equal(found.detach().flatten(0, 1).numpy(), plain)
    monkeypatch.setattr(products, "LARGEST", 30 * 20 - 1)
    monkeypatch.delattr(products, "multiply")
    by_torch = linear(states, weight)
    theirs = torch.autograd.grad(by_torch, (states, weight), slope)
    for mine, other in zip((found, *ours), (by_torch, *theirs), strict=True):
        assert torch.allclose(mine, other, atol=1e-5)
