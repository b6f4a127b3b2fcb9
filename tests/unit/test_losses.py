"""Divergence and log-probabilities against references, in values and gradients, without ever holding all logits."""

import math
import weakref
from unittest.mock import patch

import pytest
import torch
from selfdistill.errors import UserError
from selfdistill.training import losses
from selfdistill.training.losses import aggregate, distillation_terms, token_logps, topk_divergence, truncated_ratio
from torch.utils._python_dispatch import TorchDispatchMode
from trl.experimental.sdpo.loss_utils import apply_importance_sampling_clipping, compute_topk_self_distillation_loss

VOCABULARY = 11
CASES = [(k, alpha, tail) for k in (1, 5, VOCABULARY) for alpha in (0.0, 0.3, 0.5, 1.0) for tail in (True, False)]


def logits(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return 2 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def by_hand(student: list[float], teacher: list[float], k: int, alpha: float, tail: bool) -> float:
    """One token, from the definition: probabilities, categories, sum p log p/q."""

    def softmax(values: list[float]) -> list[float]:
        powers = [math.exp(value) for value in values]
        return [power / sum(powers) for power in powers]

    p, q = softmax(student), softmax(teacher)
    support = sorted(range(len(p)), key=lambda token: -p[token])[:k]
    p_kept, q_kept = [p[token] for token in support], [q[token] for token in support]
    if tail:
        p_kept, q_kept = ([*kept, 1 - sum(kept)] for kept in (p_kept, q_kept))
    else:
        p_kept, q_kept = ([value / sum(kept) for value in kept] for kept in (p_kept, q_kept))
    mixed = [(1 - alpha) * a + alpha * b for a, b in zip(p_kept, q_kept, strict=True)]

    def kl(first: list[float], second: list[float]) -> float:
        return sum(a * math.log(a / b) for a, b in zip(first, second, strict=True) if a > 0)

    if alpha == 0:
        return kl(q_kept, p_kept)
    if alpha == 1:
        return kl(p_kept, q_kept)
    return (1 - alpha) * kl(p_kept, mixed) + alpha * kl(q_kept, mixed)


@pytest.mark.parametrize(("k", "alpha", "tail"), [case for case in CASES if not (case[0] == VOCABULARY and case[2])])
@pytest.mark.parametrize(("dtype", "within"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_the_divergence_follows_its_definition(k, alpha, tail, dtype, within):
    student, teacher = logits(2, 3, VOCABULARY), logits(2, 3, VOCABULARY, seed=1)
    found = topk_divergence(student.to(dtype), teacher.to(dtype), k=k, alpha=alpha, tail=tail)
    rows = zip(student.flatten(0, 1).tolist(), teacher.flatten(0, 1).tolist(), strict=True)
    expected = torch.tensor([by_hand(*row, k, alpha, tail) for row in rows], dtype=torch.float64).view(2, 3)
    assert (found.double() - expected).abs().max() < within


@pytest.mark.parametrize(("k", "alpha", "tail"), CASES)
def test_values_and_gradients_are_trls(k, alpha, tail):
    student, teacher = logits(2, 4, VOCABULARY).requires_grad_(), logits(2, 4, VOCABULARY, seed=1)
    mask = torch.tensor([[1, 1, 1, 0], [0, 0, 0, 0]])
    theirs = compute_topk_self_distillation_loss(
        student, teacher, distillation_topk=k, distillation_alpha=alpha, distillation_add_tail=tail
    )
    ours = topk_divergence(student, teacher, k=k, alpha=alpha, tail=tail)
    assert torch.allclose(ours, theirs, rtol=0, atol=1e-9)
    gradients = [torch.autograd.grad((values * mask).sum(), student)[0] for values in (ours, theirs)]
    assert torch.allclose(*gradients, rtol=0, atol=1e-9)
    assert (gradients[0][0, :3].abs().max() > 0) == (k > 1 or tail)  # one category alone cannot diverge
    assert gradients[0][1].abs().max() == 0


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_the_gradient_is_that_of_the_function(alpha):
    student, teacher = logits(1, 3, VOCABULARY).requires_grad_(), logits(1, 3, VOCABULARY, seed=1)
    assert torch.autograd.gradcheck(lambda x: topk_divergence(x, teacher, k=5, alpha=alpha, tail=True), (student,))


def test_equal_distributions_do_not_diverge_and_others_do():
    student = logits(1, 5, VOCABULARY)
    shifted = student + 3.0  # the same distribution
    for k, alpha, tail in CASES:
        assert topk_divergence(student, shifted, k=k, alpha=alpha, tail=tail).abs().max() < 1e-6
    assert topk_divergence(student, logits(1, 5, VOCABULARY, seed=1), k=5, alpha=0.5, tail=True).min() > 0


def test_no_gradient_reaches_the_teacher():
    teacher = logits(1, 2, VOCABULARY, seed=1).requires_grad_()
    student = logits(1, 2, VOCABULARY).requires_grad_()
    topk_divergence(student, teacher, k=5, alpha=0.5, tail=True).sum().backward()
    assert teacher.grad is None
    assert student.grad is not None


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("tail", [True, False])
def test_extreme_logits_stay_finite(alpha, tail):
    certain = torch.full((1, 2, VOCABULARY), -1e4)
    certain[..., 0] = 1e4
    for student, teacher in [(certain, certain), (certain, -certain), (logits(1, 2, VOCABULARY).float(), certain)]:
        student = student.clone().requires_grad_()
        divergence = topk_divergence(student, teacher, k=3, alpha=alpha, tail=tail)
        divergence.sum().backward()
        assert divergence.isfinite().all()
        assert student.grad.isfinite().all()


def test_half_precision_is_computed_in_single():
    student, teacher = logits(1, 3, VOCABULARY).bfloat16(), logits(1, 3, VOCABULARY, seed=1).bfloat16()
    found = topk_divergence(student, teacher, k=5, alpha=0.5, tail=True)
    assert found.dtype == torch.float32
    assert torch.allclose(found, topk_divergence(student.float(), teacher.float(), k=5, alpha=0.5, tail=True))


def divergence_in_chunks(student: torch.Tensor, teacher: torch.Tensor, weight: torch.Tensor, **options) -> torch.Tensor:
    """`topk_divergence` [B, T] from hidden states and output weight."""
    ids = torch.zeros(student.shape[:2], dtype=torch.long)
    return distillation_terms(student, teacher, weight, ids, **options)[0]


@pytest.mark.parametrize(("dtype", "within"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
@pytest.mark.parametrize("k", [5, VOCABULARY + 4])
@pytest.mark.parametrize("chunk", [4, 7, 100])
@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("tied", [True, False])
def test_from_hidden_states_it_is_the_same(tied, biased, chunk, k, dtype, within):
    hidden, taught = (logits(2, 6, 8, seed=seed, dtype=dtype).div(4).requires_grad_() for seed in (0, 1))
    weight = logits(VOCABULARY, 8, seed=2, dtype=dtype).requires_grad_()
    bias = logits(VOCABULARY, seed=3, dtype=dtype).requires_grad_()
    other = {"teacher_weight": logits(VOCABULARY, 8, seed=4, dtype=dtype),
             "teacher_bias": logits(VOCABULARY, seed=5, dtype=dtype)}  # fmt: skip
    other = {} if tied else other
    options = {"k": k, "alpha": 0.5, "tail": True}
    found = divergence_in_chunks(
        hidden, taught, weight, bias=bias if biased else None, temperature=0.7, chunk_tokens=chunk, **other, **options
    )
    own = (hidden @ weight.T + (bias if biased else 0)) / 0.7
    theirs = (taught @ other.get("teacher_weight", weight).T + other.get("teacher_bias", 0)) / 0.7
    expected = topk_divergence(own, theirs, **options)
    assert torch.allclose(found, expected, rtol=0, atol=within)
    upon = [hidden, weight, bias] if biased else [hidden, weight]
    weights = logits(2, 6, seed=6, dtype=dtype) * torch.tensor([[1, 1, 1, 1, 0, 0], [0, 0, 0, 0, 0, 0]])
    for ours, plain in zip(
        torch.autograd.grad((found * weights).sum(), upon),
        torch.autograd.grad((expected * weights).sum(), upon),
        strict=True,
    ):
        assert torch.allclose(ours, plain, rtol=0, atol=10 * within)
        assert ours.dtype == dtype and ours.abs().max() > 1e-2
    assert taught.grad is None


def test_log_probabilities_and_entropy_come_along():
    hidden, weight = logits(2, 6, 8), logits(VOCABULARY, 8, seed=2)
    ids = torch.arange(12).view(2, 6) % VOCABULARY
    _, sampled, entropy = distillation_terms(
        hidden.requires_grad_(), logits(2, 6, 8, seed=1), weight, ids, k=5, alpha=0.5, tail=True, temperature=2.0,
        chunk_tokens=5,
    )  # fmt: skip
    expected = torch.distributions.Categorical(logits=hidden @ weight.T / 2.0)
    assert torch.allclose(sampled, expected.log_prob(ids))
    assert torch.allclose(entropy, expected.entropy())
    assert not sampled.requires_grad and not entropy.requires_grad


@pytest.mark.parametrize(("dtype", "within"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
@pytest.mark.parametrize("chunk", [1, 5, 100])
@pytest.mark.parametrize("biased", [True, False])
def test_log_probabilities_from_hidden_states_are_those_of_all_logits(biased, chunk, dtype, within):
    hidden = logits(2, 6, 8, dtype=dtype).div(4).requires_grad_()
    weight = logits(VOCABULARY, 8, seed=2, dtype=dtype).requires_grad_()
    bias = logits(VOCABULARY, seed=3, dtype=dtype).requires_grad_() if biased else None
    ids = (torch.arange(24).view(2, 12) % VOCABULARY)[:, :6]  # not contiguous, as a batch's responses
    found, entropy = token_logps(hidden, weight, ids, bias=bias, temperature=0.7, chunk_tokens=chunk)
    expected = torch.distributions.Categorical(logits=torch.nn.functional.linear(hidden, weight, bias) / 0.7)
    assert torch.allclose(found, expected.log_prob(ids), rtol=0, atol=within)
    assert torch.allclose(entropy, expected.entropy(), rtol=0, atol=within)
    assert found.requires_grad and not entropy.requires_grad
    weights = logits(2, 6, seed=6, dtype=dtype) * torch.tensor([[1, 1, 1, 1, 0, 0], [1, 1, 0, 0, 0, 0]])
    upon = [hidden, weight, bias] if biased else [hidden, weight]
    for ours, plain in zip(
        torch.autograd.grad((found * weights).sum(), upon),
        torch.autograd.grad((expected.log_prob(ids) * weights).sum(), upon),
        strict=True,
    ):
        assert torch.allclose(ours, plain, rtol=0, atol=10 * within)


def test_a_frozen_output_layer_gets_no_gradient_and_the_states_the_same():
    weight, ids = logits(VOCABULARY, 8, seed=2), torch.arange(6)[None]
    found = []
    for trained in (True, False):
        hidden = logits(1, 6, 8).requires_grad_()
        frozen = weight.clone().requires_grad_(trained)
        token_logps(hidden, frozen, ids, chunk_tokens=4)[0].sum().backward()
        assert (frozen.grad is not None) == trained
        found.append(hidden.grad)
    assert torch.equal(*found)


@pytest.mark.parametrize("chunk", [7, 300])
@pytest.mark.parametrize("kept", [torch.float32, torch.bfloat16])
def test_products_in_half_precision_are_added_up_over_chunks_in_single(kept, chunk):
    """Under autocast (parameters ``kept`` in float32) and with bfloat16 throughout."""
    states, taught = (logits(1, 300, 16, seed=seed).div(2).to(kept).requires_grad_() for seed in (0, 1))
    weight = logits(500, 16, seed=2).to(kept).requires_grad_()
    options = {"k": 20, "alpha": 0.5, "tail": True}
    with torch.autocast("cpu", torch.bfloat16, enabled=kept == torch.float32):
        found = divergence_in_chunks(states, taught, weight, chunk_tokens=chunk, **options)
    rounded = [x.detach().bfloat16().double().requires_grad_() for x in (states, taught, weight)]
    plain = topk_divergence(
        *((rounded[i] @ rounded[2].T).bfloat16().double() for i in (0, 1)), **options
    )  # the logits rounded, all else exact
    assert found.dtype == torch.float32 and torch.allclose(found.double(), plain, rtol=0, atol=1e-3)
    ours = torch.autograd.grad(found.sum(), (states, weight))
    exact = torch.autograd.grad(plain.sum(), (rounded[0], rounded[2]))
    for gradient, wanted in zip(ours, exact, strict=True):
        assert gradient.dtype == kept
        assert (gradient - wanted).norm() < 5e-3 * wanted.norm()  # a unit in the last place of bfloat16 is 8e-3


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_pieces_of_a_chunk_give_what_a_chunk_at_once_gives(dtype):
    states, taught = (logits(2, 6, 8, seed=seed).to(dtype).requires_grad_() for seed in (0, 1))
    weight = logits(VOCABULARY, 8, seed=2).to(dtype).requires_grad_()
    ids = torch.arange(12).view(2, 6) % VOCABULARY
    found = []
    for piece in (1, 2 * VOCABULARY, 1000 * VOCABULARY):
        with patch.dict(losses.PIECE_LOGITS, cpu=piece):
            numbers = distillation_terms(
                states, taught, weight, ids, k=5, alpha=0.5, tail=True, temperature=0.7, chunk_tokens=5
            )
            found.append([*numbers, *torch.autograd.grad(numbers[0].sum(), (states, weight))])
    for pieces in found[:-1]:
        for ours, at_once in zip(pieces, found[-1], strict=True):
            assert torch.allclose(ours, at_once, rtol=1e-12 if dtype == torch.float64 else 1e-5, atol=1e-15)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("biased", [True, False])
def test_parts_of_the_vocabulary_give_the_gradients_of_the_whole(dtype, biased):
    states, taught = (logits(1, 12, 8, seed=seed).to(dtype).requires_grad_() for seed in (0, 1))
    weight = logits(VOCABULARY, 8, seed=2).to(dtype).requires_grad_()
    bias = logits(VOCABULARY, seed=3).to(dtype).requires_grad_() if biased else None
    upon, found = [states, weight, bias] if biased else [states, weight], []
    for size in (VOCABULARY, 4, 1):
        with patch.dict(losses.PART_ENTRIES, cpu=size):
            numbers = divergence_in_chunks(
                states, taught, weight, bias=bias, k=5, alpha=0.5, tail=True, temperature=0.7, chunk_tokens=5
            )
            found.append(torch.autograd.grad(numbers.sum(), upon))
    for parts in found[1:]:
        for ours, whole in zip(parts, found[0], strict=True):
            gap = (ours - whole).abs().max() / whole.abs().max()
            assert ours.dtype == dtype and gap < (1e-12 if dtype == torch.float64 else 2e-2)


def test_without_tokens_there_are_no_numbers_and_gradients_of_zero():
    hidden, weight = logits(2, 0, 8).requires_grad_(), logits(VOCABULARY, 8, seed=2).requires_grad_()
    numbers = distillation_terms(
        hidden, hidden.detach(), weight, torch.zeros(2, 0, dtype=torch.long), k=5, alpha=0.5, tail=True
    )
    assert [column.shape for column in numbers] == 3 * [(2, 0)]
    of_hidden, of_weight = torch.autograd.grad(numbers[0].sum(), (hidden, weight))
    assert of_hidden.shape == hidden.shape and of_weight.abs().max() == 0


class Largest(TorchDispatchMode):
    """Remembers the size of the largest tensor that is made."""

    numel = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(tensor, torch.Tensor):
                self.numel = max(self.numel, tensor.numel())
        return result


TOKENS, MANY = 64, 500


def plain_divergence(hidden: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return topk_divergence(hidden @ weight.T, hidden.detach() @ weight.T, k=5, alpha=0.5, tail=True)


def chunked_divergence(hidden: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return divergence_in_chunks(hidden, hidden.detach(), weight, k=5, alpha=0.5, tail=True, chunk_tokens=8)


def chunked_logps(hidden: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return token_logps(hidden, weight, torch.zeros(hidden.shape[:2], dtype=torch.long), chunk_tokens=8)[0]


@pytest.mark.parametrize(
    ("loss", "spares"), [(plain_divergence, False), (chunked_divergence, True), (chunked_logps, True)]
)
def test_all_logits_never_exist_at_once_nor_are_a_chunks_kept(loss, spares):
    hidden, weight = logits(1, TOKENS, 4).requires_grad_(), logits(MANY, 4, seed=2).requires_grad_()
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.numel()
        return tensor

    with Largest() as largest, torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        value = loss(hidden, weight).sum()
        value.backward()
    assert (largest.numel <= 8 * MANY) == spares
    assert (sum(kept.values()) < TOKENS * MANY / 4) == spares


class Live(TorchDispatchMode):
    """Remembers the most bytes of made tensors that lived at a time, and how many had more than ``large`` bytes."""

    def __init__(self, large: int = 0) -> None:
        super().__init__()
        self.large, self.made = large, 0
        self.alive: dict[int, int] = {}
        self.peak = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(tensor, torch.Tensor) and tensor.untyped_storage().data_ptr() not in self.alive:
                place = tensor.untyped_storage().data_ptr()
                self.alive[place] = tensor.untyped_storage().nbytes()
                self.made += self.alive[place] > self.large
                weakref.finalize(tensor, self.alive.pop, place, None)
        self.peak = max(self.peak, sum(self.alive.values()))
        return result


@pytest.mark.parametrize("loss", [chunked_divergence, chunked_logps])
def test_many_chunks_need_no_more_memory_than_one(loss):
    vocabulary, peaks = 4000, []
    for tokens in (8, 64):
        hidden = logits(1, tokens, 4, dtype=torch.float32).requires_grad_()
        weight = logits(vocabulary, 4, seed=2, dtype=torch.float32).requires_grad_()
        with Live() as live:
            loss(hidden, weight).sum().backward()
        peaks.append(live.peak)
    chunk = 8 * vocabulary * 4  # bytes
    assert peaks[0] >= 2 * chunk
    assert peaks[1] < peaks[0] + chunk / 4


@pytest.mark.parametrize("loss", [chunked_divergence, chunked_logps])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_large_tensors_are_made_once_and_not_for_every_chunk_and_piece(loss, dtype):
    """Freed ones with small ones between them are not joined, and the memory would grow with the tokens."""
    vocabulary, made = 4000, []
    for tokens in (16, 64):
        hidden = logits(1, tokens, 1).to(dtype).requires_grad_()
        weight = logits(vocabulary, 1, seed=2).to(dtype).requires_grad_()
        with patch.dict(losses.PIECE_LOGITS, cpu=3 * vocabulary), Live(large=2 * vocabulary * 4) as live:
            loss(hidden, weight).sum().backward()
        made.append(live.made)
    assert 0 < made[0] == made[1]


def test_ratios_are_truncated_detached_and_safe():
    new = torch.tensor([[0.0, -1.0, -0.5, float("nan"), 0.0]], requires_grad=True)
    old = torch.tensor([[-5.0, -1.0, -0.2, -1.0, float("-inf")]])
    ratio = truncated_ratio(new, old, clip=2.0)
    assert torch.allclose(ratio, torch.tensor([[2.0, 1.0, math.exp(-0.3), 1.0, 2.0]]))
    assert not ratio.requires_grad
    loss = torch.ones(1, 3)
    theirs = apply_importance_sampling_clipping(loss, new[:, :3], old[:, :3], 2.0)
    assert torch.allclose(loss * ratio[:, :3], theirs)


def test_tokens_are_averaged_in_either_way():
    values = torch.tensor([[1.0, 3.0, 9.0], [4.0, 9.0, 9.0], [9.0, 9.0, 9.0]])
    mask = torch.tensor([[1.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    assert aggregate(values, mask, how="authors") == pytest.approx((2.0 + 4.0 + 0.0) / 3)
    assert aggregate(values, mask, how="token") == pytest.approx(8.0 / 3)
    assert aggregate(values, mask, how="token", normaliser=10.0) == pytest.approx(0.8)
    with pytest.raises(UserError, match=r"unknown aggregation 'tokens' \(did you mean 'token'\?\)"):
        aggregate(values, mask, how="tokens")
