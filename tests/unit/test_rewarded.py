"""SDPO with GRPO's objective: losses against their formulas in double precision, parts against their own methods."""

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from selfdistill import models
from selfdistill.training import methods
from selfdistill.training.rewarded import GATE_FILE, Gate, Summed, WithGrpo, bounded
from selfdistill.training.sdpo import Sdpo
from selfdistill.training.settings import Run
from selfdistill.training.trainer import OnPolicyTrainer
from test_onpolicy import train
from test_trainer import (
    ROWS,
    TOP_K,
    Batch,
    aggregated,
    as_before,  # noqa: F401
    assert_equal,
    gradients,
    logits_of,
    make_batch,
    make_trainer,
    sequences,
)
from transformers import PreTrainedModel

ASCENDED = Run("m", "sdpo_ascended", 1e-2, context="solution", teacher_update_rate=1.0)


# --- by hand, in double precision, a row at a time --------------------------------------------------------------------
def in_double(manifest: Path) -> PreTrainedModel:
    return models.load_model(manifest).double()


def rows_of(student: PreTrainedModel, teacher: PreTrainedModel, batch: Batch) -> Iterator[tuple[torch.Tensor, ...]]:
    """Per row: log-probabilities [T, V] of student and teacher, the response, its old log-probabilities and weights."""
    taught = [shown for shown, _ in sequences(batch, "teacher")]
    for row, ((prompt, response), shown) in enumerate(zip(sequences(batch), taught, strict=True)):
        with torch.no_grad():
            theirs = logits_of(teacher, shown, response).log_softmax(-1)
        told = (batch[name][row, : len(response)].double() for name in ("old_per_token_logps", "rollout_weights"))
        yield logits_of(student, prompt, response).log_softmax(-1), theirs, response, *told


def drawn(logps: torch.Tensor, response: torch.Tensor) -> torch.Tensor:
    return logps.gather(-1, response[:, None]).squeeze(-1)


def clipped(logps: torch.Tensor, old: torch.Tensor, advantage: torch.Tensor) -> torch.Tensor:
    """GRPO's loss per token: the ratio is clipped at 0.8 and 1.28, and at 3 where the advantage is negative."""
    ratio = (logps - old).exp()
    return -torch.where(advantage > 0, ratio.clamp(max=1.28), ratio.clamp(0.8, 3)) * advantage


def distilled(ours: torch.Tensor, theirs: torch.Tensor, response: torch.Tensor, old: torch.Tensor) -> torch.Tensor:
    """SDPO's loss per token: Jensen and Shannon's divergence over the student's likeliest tokens and the rest."""
    likeliest = ours.topk(TOP_K, dim=-1).indices
    p, q = (each.exp().gather(-1, likeliest) for each in (ours, theirs))
    p, q = (torch.cat([each, 1 - each.sum(-1, keepdim=True)], dim=-1) for each in (p, q))
    middle = (p + q) / 2
    divergence = (p * (p / middle).log() + q * (q / middle).log()).sum(-1) / 2
    return divergence * (drawn(ours, response).detach() - old).exp().clamp(max=2)


def make_case(manifest: Path, other: Path, folder: Path, method: str, **settings: object) -> tuple:
    trainer = make_trainer(folder, manifest, method, teacher=other, **settings)
    batch = make_batch(trainer.model)
    batch["advantages"] = batch["advantages"][:, None] * batch["rollout_weights"]
    batch["right"] = torch.tensor([True, False, False, True] * (ROWS // 4))
    return trainer, batch, in_double(manifest), in_double(other)


@pytest.mark.parametrize("aggregation", ["authors", "token"])
def test_summed_is_the_weighted_mean_of_both_losses(manifest, other, tmp_path, monkeypatch, aggregation):
    monkeypatch.setattr(Summed, "DISTILLATION", 0.3)  # so that the two are told apart
    trainer, batch, student, teacher = make_case(manifest, other, tmp_path, "sdpo_summed", aggregation=aggregation)
    loss = trainer._compute_loss(trainer.model, batch)
    per_row = []
    for row, (ours, theirs, response, old, weights) in enumerate(rows_of(student, teacher, batch)):
        advantage = batch["advantages"][row, : len(response)].double() / weights
        from_teacher = distilled(ours, theirs, response, old) * batch["distilled"][row]
        per_row.append(weights * (0.7 * clipped(drawn(ours, response), old, advantage) + 0.3 * from_teacher))
    wanted = aggregated(per_row, batch, aggregation)
    assert_equal(loss, wanted, gradients(loss, trainer.model), gradients(wanted, student), 1e-6)


@pytest.mark.parametrize("aggregation", ["authors", "token"])
def test_routed_rewards_right_rollouts_and_distils_wrong_ones(manifest, other, tmp_path, aggregation):
    trainer, batch, student, teacher = make_case(manifest, other, tmp_path, "sdpo_routed", aggregation=aggregation)
    loss = trainer._compute_loss(trainer.model, batch)
    per_row, routed = [], 0
    for row, (ours, theirs, response, old, weights) in enumerate(rows_of(student, teacher, batch)):
        if batch["right"][row]:
            advantage = batch["advantages"][row, : len(response)].double() / weights
            per_row.append(weights * clipped(drawn(ours, response), old, advantage))
        else:
            per_row.append(weights * distilled(ours, theirs, response, old) * batch["distilled"][row])
            routed += len(response) * int(batch["distilled"][row])
    wanted = aggregated(per_row, batch, aggregation)
    assert_equal(loss, wanted, gradients(loss, trainer.model), gradients(wanted, student), 1e-6)
    assert trainer.totals["routed_to_teacher"] == (routed, sum(map(len, per_row))) and routed > 0


def ascend(trainer: OnPolicyTrainer, batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step's batch, whose demonstrations are there already."""
    monkeypatch.setattr(Sdpo, "extend", lambda *_: None)
    trainer.method.extend(batch, None, None)


@pytest.mark.parametrize("micro_batch_size", [1, 2, 8])
def test_ascended_takes_a_bounded_function_of_the_log_ratio_from_the_advantages(
    manifest, other, tmp_path, monkeypatch, micro_batch_size
):
    trainer, batch, student, teacher = make_case(
        manifest, other, tmp_path, "sdpo_ascended", micro_batch_size=micro_batch_size
    )
    trainer.method.gate = Gate([0.0] * Gate.WARMUP)
    before = batch["advantages"]
    ascend(trainer, batch, monkeypatch)
    loss = trainer._compute_loss(trainer.model, batch)
    per_row, entropies = [], []
    for row, (ours, theirs, response, old, weights) in enumerate(rows_of(student, teacher, batch)):
        advantage = before[row, : len(response)].double() / weights
        if batch["distilled"][row]:
            ratio = (drawn(theirs, response) - old).exp()
            advantage = advantage - 0.25 * 0.5 * ((1 + ratio) / 2).log()
            entropies.append(-(theirs.exp() * theirs).sum(-1))
        per_row.append(weights * clipped(drawn(ours, response), old, advantage))
    wanted = aggregated(per_row, batch, "authors")
    assert_equal(loss, wanted, gradients(loss, trainer.model), gradients(wanted, student), 1e-6)
    noted = {name: trainer._metrics["train"][name] for name in ("gate", "teacher_entropy")}
    assert noted["gate"] == [1.0]
    assert noted["teacher_entropy"] == [pytest.approx(torch.cat(entropies).median().item(), abs=1e-5)]


def test_the_bounded_function_is_the_derivative_of_the_divergence():
    draw = torch.Generator().manual_seed(0)
    p, q = torch.randn(2, 30, generator=draw, dtype=torch.float64).mul(4).softmax(-1)
    p.requires_grad_()
    middle = (p + q) / 2
    [slope] = torch.autograd.grad(((p * (p / middle).log() + q * (q / middle).log()) / 2).sum(), p)
    u = (q / p).log()
    assert torch.allclose(slope, -bounded(u)) and u.min() < -3 and u.max() > 3
    assert bounded(torch.tensor([-1e4, 0.0])).tolist() == pytest.approx([-math.log(2) / 2, 0], abs=1e-7)


# --- where one part is off, the other method --------------------------------------------------------------------------
def all_zeros(batch: Batch, name: str) -> Batch:
    return batch | {name: torch.zeros_like(batch[name])}


@pytest.mark.parametrize("whole", ["grpo", "sdpo"])
@pytest.mark.parametrize("method", ["sdpo_summed", "sdpo_routed"])
def test_without_one_part_the_loss_is_exactly_the_other_methods(manifest, other, tmp_path, monkeypatch, method, whole):
    monkeypatch.setattr(Summed, "DISTILLATION", 0 if whole == "grpo" else 1)
    trainer, batch, _, _ = make_case(manifest, other, tmp_path / "both", method)
    batch["right"] = torch.full((ROWS,), whole == "grpo")
    alone = make_trainer(tmp_path / "alone", manifest, whole, teacher=other)
    assert_identical(trainer, alone, batch)


def test_a_closed_gate_is_exactly_grpo(manifest, other, tmp_path, monkeypatch):
    trainer, batch, _, _ = make_case(manifest, other, tmp_path / "both", "sdpo_ascended")
    before = batch["advantages"].clone()
    ascend(trainer, batch, monkeypatch)
    assert torch.equal(batch["advantages"], before) and trainer._metrics["train"]["gate"] == [0.0]
    assert_identical(trainer, make_trainer(tmp_path / "alone", manifest, "grpo"), batch)
    trainer.method.gate = Gate([0.0] * Gate.WARMUP)
    ascend(trainer, untaught := all_zeros(batch, "distilled"), monkeypatch)
    assert torch.equal(untaught["advantages"], before) and len(trainer._metrics["train"]["gate"]) == 1


def assert_identical(trainer: OnPolicyTrainer, alone: OnPolicyTrainer, batch: Batch) -> None:
    found, wanted = (each._compute_loss(each.model, batch) for each in (trainer, alone))
    ours, theirs = gradients(found, trainer.model), gradients(wanted, alone.model)
    assert torch.equal(found, wanted) and all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert any(gradient.any() for gradient in theirs.values())


# --- the gate ---------------------------------------------------------------------------------------------------------
def test_the_gate_shuts_where_the_entropy_has_fallen_and_opens_where_it_is_back():
    gate = Gate()
    assert [gate.passes(entropy) for entropy in (0.9, 1.3, 1.0, 0.2, 1.0)] == [False] * 5
    told = [(0.94, True), (0.929, False), (0.99, False), (1.0, True), (0.931, True), (0.5, False), (2.0, True)]
    assert [gate.passes(entropy) for entropy, _ in told] == [is_open for _, is_open in told]


def test_an_interrupted_run_continues_with_its_gate(manifest, tmp_path, monkeypatch):
    sizes = {"steps": 8, "checkpoint_steps": [8]}
    whole = train(manifest, tmp_path / "whole", ASCENDED, **sizes)
    gate = whole.table()["gate"].dropna()
    assert not gate.iloc[: Gate.WARMUP].any() and gate.iloc[Gate.WARMUP]
    original = OnPolicyTrainer.training_step

    def stop(trainer: OnPolicyTrainer, *arguments: object, **options: object) -> torch.Tensor:
        if trainer.trainer_step == 7:
            raise KeyboardInterrupt
        return original(trainer, *arguments, **options)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(OnPolicyTrainer, "training_step", stop)
        train(manifest, tmp_path / "again", ASCENDED, **sizes)
    assert list((tmp_path / "again").rglob(GATE_FILE))
    continued = train(manifest, tmp_path / "again", ASCENDED, **sizes)
    assert continued.digests() == whole.digests()
    assert continued.trainer.method.gate == whole.trainer.method.gate


def test_rows_are_right_as_they_were_graded(manifest, tmp_path):
    run = train(manifest, tmp_path, Run("m", "sdpo_routed", 1e-2, context="solution"), steps=2, checkpoint_steps=[2])
    rollouts = run.rollouts.reset_index(drop=True)
    spoken = rollouts["response_tokens"] + (rollouts["finish_reason"] == "stop")  # with the end of the turn
    taught = spoken.where(rollouts["context_sample"].notna() & ~rollouts["correct"], 0)
    share = taught.groupby(rollouts["step"]).sum() / spoken.groupby(rollouts["step"]).sum()
    assert run.table()["routed_to_teacher"].tolist() == pytest.approx(share.tolist()) and 0 < share.mean() < 1


# --- settings ---------------------------------------------------------------------------------------------------------
def test_methods_with_grpos_objective_read_its_settings(manifest, tmp_path):
    rewarded = {name for name in methods.METHODS if issubclass(methods.load(name), WithGrpo)}
    assert set(methods.REWARDED) == rewarded
    assert methods.sections_of("sdpo_routed") == {"grpo", "sdpo"} and methods.sections_of("sdpo_clipped") == {"sdpo"}
    for name in methods.REWARDED:
        trainer = make_trainer(tmp_path / name, manifest, name, grpo={"clip_high": 0.5})
        assert (trainer.epsilon_low, trainer.epsilon_high) == (0.2, 0.5)
