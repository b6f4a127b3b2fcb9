"""Low-rank adapters: the teacher is the model without the adapter or with averages of it; what is evaluated has it
merged in.
"""

from pathlib import Path

import pytest
import torch
from selfdistill import models
from selfdistill.generation.requests import Row
from selfdistill.training import onpolicy
from selfdistill.training.sdpo import Sdpo
from selfdistill.training.settings import Run
from selfdistill.training.trainer import OnPolicyTrainer
from test_onpolicy import ARMS, FIXED, STEPS, as_before, stop_in_second_step, train  # noqa: F401 (a fixture)

ADAPTED = {"lora_rank": 4}


@pytest.fixture(scope="module")
def run(manifest: Path, tmp_path_factory: pytest.TempPathFactory):
    return train(manifest, tmp_path_factory.mktemp("run"), FIXED, **ADAPTED)


@pytest.fixture(scope="module")
def moved(manifest: Path, tmp_path_factory: pytest.TempPathFactory):
    """A run with a moving teacher, and the policy's adapters before its first step and after each."""
    found, begin, after_step = [], onpolicy.run_to_end, Sdpo.after_step

    def note(trainer: OnPolicyTrainer) -> None:
        policy = trainer.accelerator.unwrap_model(trainer.model)
        found.append({name: weight.detach().clone() for name, weight in policy.named_parameters() if "lora" in name})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onpolicy, "run_to_end", lambda trainer, **options: (note(trainer), begin(trainer, **options)))
        patch.setattr(Sdpo, "after_step", lambda method: (after_step(method), note(method.trainer)))
        return train(manifest, tmp_path_factory.mktemp("moved"), ARMS["sdpo-ema"], **ADAPTED), found


def logits_of(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model(torch.arange(6, 20)[None]).logits


def test_the_teacher_is_the_initial_model_and_no_second_one_is_held(run, manifest: Path):
    trainer = run.trainer
    assert trainer.method.teacher is None
    initial, policy = models.load_model(manifest), trainer.accelerator.unwrap_model(trainer.model)
    trained = [name for name, weight in policy.named_parameters() if weight.requires_grad]
    assert trained and all("lora" in name for name in trained)
    with trainer.method.as_teacher(trainer.model) as teacher:
        assert torch.equal(logits_of(teacher), logits_of(initial))
    assert (logits_of(policy) - logits_of(initial)).abs().max() > 1e-2


def test_the_saved_model_is_the_policy_without_an_adapter(run):
    saved = models.load_model(run.folder / "out" / f"step-{STEPS}" / "manifest.json")
    assert not any("lora" in name for name, _ in saved.named_parameters())
    policy = run.trainer.accelerator.unwrap_model(run.trainer.model)
    assert torch.allclose(logits_of(saved), logits_of(policy), atol=1e-4)


def test_the_first_step_is_that_of_a_run_with_a_second_model(run, manifest: Path, tmp_path: Path):
    """An adapter begins as nothing: same rollouts, same demonstrations, same divergence."""
    whole = train(manifest, tmp_path, FIXED)
    ours, theirs = (found.rollouts[found.rollouts["step"] == 1] for found in (run, whole))
    assert ours["response"].tolist() == theirs["response"].tolist()
    assert run.table().loc[1, "divergence"] == pytest.approx(whole.table().loc[1, "divergence"], rel=0.05)
    assert run.table().loc[1, "entropy"] == pytest.approx(whole.table().loc[1, "entropy"], rel=1e-3)
    assert run.table().loc[2, "loss"] != whole.table().loc[2, "loss"]


def test_rollouts_come_from_the_adapted_model(run):
    """What the sampler says of its tokens is what the trained model says of them."""
    trainer = run.trainer
    rows = [trainer.student_prompt("Find a .")] * 4
    drawn = trainer._sample([Row(tuple(ids), n) for n, ids in enumerate(rows)])
    policy = trainer.accelerator.unwrap_model(trainer.model)
    for ids, completion in zip(rows, drawn, strict=True):
        tokens = torch.tensor([*completion.token_ids, *completion.end_ids])
        with torch.no_grad():
            logits = policy(torch.tensor([[*ids, *tokens.tolist()]])).logits[0, len(ids) - 1 : -1]
        logps = logits.log_softmax(-1).gather(-1, tokens[:, None]).squeeze(-1)
        assert torch.allclose(logps, torch.tensor(completion.logps), atol=1e-4)


def test_a_stopped_run_continues_to_the_same_end(run, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with monkeypatch.context() as patch:
        stop_in_second_step(patch)
        with pytest.raises(SystemExit):
            train(manifest, tmp_path, FIXED, **ADAPTED)
    assert train(manifest, tmp_path, FIXED, **ADAPTED).digests() == run.digests()


def test_grpo_trains_an_adapter_too(manifest: Path, tmp_path: Path):
    run = train(manifest, tmp_path, Run("m", "grpo", 1e-2), **ADAPTED)
    assert run.table()["grad_norm"].iloc[-1] > 0


def averaged(adapters: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """The moving teacher's adapter by its definition, in double precision."""
    mean = {name: weight.double() for name, weight in adapters[0].items()}
    for of_step in adapters[1:]:
        mean = {name: 0.95 * weight + 0.05 * of_step[name].double() for name, weight in mean.items()}
    return mean


def test_a_moving_teacher_is_the_initial_model_with_averages_of_the_adapters(moved, manifest: Path):
    run, adapters = moved
    assert len(adapters) == STEPS + 1 and run.trainer.method.teacher is None
    mean, policy = averaged(adapters), run.trainer.accelerator.unwrap_model(run.trainer.model)
    teacher = models.load_model(manifest)
    for name, weight in teacher.named_parameters():
        of_layer = f"base_model.model.{name.removesuffix('.weight')}.lora_{{}}.default.weight"
        if of_layer.format("A") in mean:
            weight.data += (2 * mean[of_layer.format("B")] @ mean[of_layer.format("A")]).float()
    own = logits_of(policy)
    with run.trainer.method.as_teacher(run.trainer.model) as shown:
        assert torch.allclose(logits_of(shown), logits_of(teacher), atol=1e-5)
    assert torch.equal(logits_of(policy), own)  # which has its own adapter again
    assert (logits_of(teacher) - logits_of(models.load_model(manifest))).abs().max() > 1e-3
    assert (logits_of(teacher) - own).abs().max() > 1e-2


def test_averages_that_begin_with_the_adapter_as_drawn_lie_nearer_to_an_averaged_model(moved):
    """The product of averages is not the average of products; of averages that begin with zeros it is far from it."""
    _, adapters = moved
    zeros = {name: torch.zeros_like(weight) for name, weight in adapters[0].items()}
    as_drawn, from_zeros = averaged(adapters), averaged([zeros, *adapters[1:]])
    for b in (name for name in as_drawn if "lora_B" in name):
        a, whole = b.replace("lora_B", "lora_A"), 0.0
        for of_step in adapters[1:]:
            whole = 0.95 * whole + 0.05 * of_step[b].double() @ of_step[a].double()
        near, far = ((mean[b] @ mean[a] - whole).norm() for mean in (as_drawn, from_zeros))
        assert 2 * near < far, b


def test_a_stopped_run_with_a_moving_teacher_continues_to_the_same_end(
    moved, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with monkeypatch.context() as patch:
        stop_in_second_step(patch)
        with pytest.raises(SystemExit):
            train(manifest, tmp_path, ARMS["sdpo-ema"], **ADAPTED)
    assert train(manifest, tmp_path, ARMS["sdpo-ema"], **ADAPTED).digests() == moved[0].digests()
