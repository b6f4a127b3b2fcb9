"""One trainer for GRPO and SDPO: their losses and gradients against TRL's and against the formulas written out."""

import inspect
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import transformers
import trl
from datasets import Dataset
from selfdistill import models
from selfdistill.errors import UserError
from selfdistill.generation import Sampling, contexts, shards, traces
from selfdistill.generation.requests import Completion
from selfdistill.training import methods, sdpo, states
from selfdistill.training import trainer as trainer_module
from selfdistill.training.arguments import trainer_arguments
from selfdistill.training.rollouts import RolloutRecord, Step
from selfdistill.training.settings import OnPolicySettings, Run
from selfdistill.training.states import response_states
from selfdistill.training.trainer import OVERRIDDEN, OnPolicyTrainer
from selfdistill.training.updates import SkippingTrainer
from tiny import problems_of, save_tiny_model
from transformers import PreTrainedModel
from trl import GRPOTrainer
from trl.experimental.sdpo import SDPOConfig, SDPOTrainer
from trl.experimental.sdpo.loss_utils import apply_importance_sampling_clipping, compute_topk_self_distillation_loss

ROWS, LONGEST, TOP_K = 8, 11, 20
TEXTS = ["Find a .", "Find b with a = 3 . so", "x", "wait maybe 7 7 hmm no"]
Batch = dict[str, torch.Tensor]
Gradients = dict[str, torch.Tensor]


@pytest.fixture(scope="module", autouse=True)
def as_before() -> Iterator[None]:
    """Full determinism holds for the process; other tests shall not depend on it."""
    fill = torch.utils.deterministic.fill_uninitialized_memory
    torch.utils.deterministic.fill_uninitialized_memory = False
    yield
    torch.use_deterministic_algorithms(False)
    torch.utils.deterministic.fill_uninitialized_memory = fill


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "opens thinking"])
def either(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose template opens <think>, and one whose does not."""
    return save_tiny_model(tmp_path_factory.mktemp("model"), opens_thinking=request.param)


def make_trainer(
    folder: Path,
    manifest: Path,
    method: str = "sdpo",
    *,
    teacher: Path | None = None,
    temperature: float = 1.0,
    context: str = "solution",
    plain: bool = False,
    **changes: object,
) -> OnPolicyTrainer | GRPOTrainer:
    """Ours, or with ``plain`` TRL's own of equal arguments; ``changes`` are those of the settings."""
    sizes = {"batch_size": 2, "rollouts": 4, "updates_per_step": 1, "micro_batch_size": ROWS, "steps": 1}
    settings = OnPolicySettings(**{"checkpoint_steps": [1], **sizes, **changes})
    run = Run("m", method, 1e-3, context=context, top_k=TOP_K, seed=1).plain()
    sampling = Sampling(temperature, max_tokens=LONGEST)
    tokenizer = models.load_tokenizer(manifest)
    questions = [
        {"prompt": [{"role": "user", "content": text}], "problem_id": text, "problem": text, "answer": "7"}
        for text in TEXTS
    ]
    shared = {
        "model": models.load_model(manifest),
        "args": trainer_arguments(run, settings, sampling, directory=folder, processes=1, mirrors=[]),
        "train_dataset": Dataset.from_list(questions),
        "processing_class": tokenizer,
    }
    if plain:
        made = GRPOTrainer(reward_funcs=lambda **_: [], **shared)
    else:
        made = OnPolicyTrainer(
            method=methods.load(method), initial=teacher or manifest, run=run, settings=settings, sampling=sampling,
            enable_thinking=None, opened=contexts.opens_thinking(tokenizer),
            record=RolloutRecord(folder / "rollouts", "s", "m", "r"), **shared,
        )  # fmt: skip
    made.current_gradient_accumulation_steps = 1
    made.model.train()
    return made


# --- batches made by hand, and what is computed from them one sequence at a time ------------------------------------
def logits_of(model: PreTrainedModel, prompt: torch.Tensor, response: torch.Tensor) -> torch.Tensor:
    """Logits [T, V] from which a response was drawn, of one sequence without padding."""
    return model(torch.cat([prompt, response])[None]).logits[0, len(prompt) - 1 : -1]


def token_logps(logits: torch.Tensor, response: torch.Tensor) -> torch.Tensor:
    return logits.log_softmax(-1).gather(-1, response[:, None]).squeeze(-1)


def padded(rows: list[torch.Tensor], *, left: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows and their mask."""
    options = {"batch_first": True, "padding_side": "left" if left else "right"}
    ones = [torch.ones(len(row), dtype=torch.long) for row in rows]
    return tuple(torch.nn.utils.rnn.pad_sequence(x, **options) for x in (rows, ones))


def make_batch(model: PreTrainedModel, *, temperature: float = 1.0, rows: int = ROWS) -> Batch:
    """Random sequences whose probability ratios lie on both sides of all clips; two rows have no demonstration, one no
    advantage.
    """
    draw = torch.Generator().manual_seed(0)

    def words(length: int) -> torch.Tensor:
        return torch.randint(6, model.config.vocab_size, (length,), generator=draw)

    prompts = [words(3 + row % 4) for row in range(rows)]
    taught = [words(9 - row % 5) for row in range(rows)]
    responses = [words(2 + (5 * row) % (LONGEST - 2)) for row in range(rows)]
    with torch.no_grad():
        logps = [
            token_logps(logits_of(model, prompt, response) / temperature, response)
            for prompt, response in zip(prompts, responses, strict=True)
        ]
    ratios = torch.tensor([1.0, 0.5, 1.1, 4.0, 0.9, 1.5, 2.5])
    old = [row - ratios[(torch.arange(len(row)) + i) % len(ratios)].log() for i, row in enumerate(logps)]
    batch = {"num_items_in_batch": torch.tensor(sum(map(len, responses)))}
    batch["prompt_ids"], batch["prompt_mask"] = padded(prompts, left=True)
    batch["teacher_ids"], batch["teacher_mask"] = padded(taught, left=True)
    batch["completion_ids"], batch["completion_mask"] = padded(responses)
    batch["old_per_token_logps"] = padded(old)[0]
    batch["advantages"] = torch.tensor([0.75, -0.25, -0.5, 0.5] * (rows // 4))
    batch["advantages"][1] = 0
    batch["rollout_weights"] = torch.rand(batch["completion_ids"].shape, generator=draw) * 1.5 + 0.5
    batch["distilled"] = torch.arange(rows) % 4 != 2
    return batch


def sequences(batch: Batch, prompt: str = "prompt") -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Prompt and response of every row, without padding."""
    ids, mask = batch[f"{prompt}_ids"], batch[f"{prompt}_mask"]
    for row, seen, response, spoken in zip(ids, mask, batch["completion_ids"], batch["completion_mask"], strict=True):
        yield row[seen.bool()], response[spoken.bool()]


def aggregated(per_row: list[torch.Tensor], batch: Batch, aggregation: str, *, updates: int = 1) -> torch.Tensor:
    if aggregation == "authors":
        return sum(row.mean() for row in per_row) / len(per_row)
    return sum(row.sum() for row in per_row) / (batch["num_items_in_batch"] / updates)


def grpo_by_hand(model: PreTrainedModel, batch: Batch) -> list[torch.Tensor]:
    """Per token: clipped at 0.8 and 1.28, and for bad responses at 3; times the rollout weight."""
    losses = []
    for i, (prompt, response) in enumerate(sequences(batch)):
        length, advantage = len(response), batch["advantages"][i]
        logps = token_logps(logits_of(model, prompt, response), response)
        ratio = (logps - batch["old_per_token_logps"][i, :length]).exp()
        gain = torch.minimum(ratio * advantage, ratio.clamp(0.8, 1.28) * advantage)
        if advantage < 0:
            gain = torch.maximum(gain, 3 * advantage)
        losses.append(-gain * batch["rollout_weights"][i, :length])
    return losses


def sdpo_by_hand(
    model: PreTrainedModel, teacher: PreTrainedModel, batch: Batch, *, alpha: float = 0.5, tail: bool = True,
    temperature: float = 1.0,
) -> list[torch.Tensor]:  # fmt: skip
    """Per token, with TRL's functions, a row at a time."""
    losses = []
    taught = sequences(batch, "teacher")
    for i, ((prompt, response), (shown, _)) in enumerate(zip(sequences(batch), taught, strict=True)):
        length = len(response)
        logits = logits_of(model, prompt, response) / temperature
        with torch.no_grad():
            theirs = logits_of(teacher, shown, response) / temperature
        per_token = compute_topk_self_distillation_loss(
            logits, theirs, distillation_topk=TOP_K, distillation_alpha=alpha, distillation_add_tail=tail
        )
        old = batch["old_per_token_logps"][i, :length]
        per_token = apply_importance_sampling_clipping(per_token, token_logps(logits, response), old, 2.0)
        losses.append(per_token * batch["rollout_weights"][i, :length] * batch["distilled"][i])
    return losses


def gradients(loss: torch.Tensor, model: PreTrainedModel) -> Gradients:
    model.zero_grad()
    loss.backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


def assert_equal(found: torch.Tensor, wanted: torch.Tensor, ours: Gradients, theirs: Gradients, gap: float) -> None:
    assert abs(found.item() - wanted.item()) < gap
    assert abs(wanted.item()) > 100 * gap
    assert_equal_gradients(ours, theirs, gap)


def assert_equal_gradients(ours: Gradients, theirs: Gradients, gap: float) -> None:
    assert ours.keys() == theirs.keys()
    for name, gradient in ours.items():
        assert (gradient - theirs[name]).abs().max() < gap, name
        assert gradient.abs().max() > 100 * gap, name  # a gradient that says something


# --- what is relied on in TRL ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", OVERRIDDEN)
def test_overridden_methods_of_trl_still_take_what_is_relied_on(name: str):
    where = f"TRL {trl.__version__} and transformers {transformers.__version__}"
    method = getattr(GRPOTrainer, name, None)
    assert method is not None, f"{where}: GRPOTrainer has no {name} any more, which OnPolicyTrainer overrides"
    found = list(inspect.signature(method).parameters)[1:]
    missing = [parameter for parameter in OVERRIDDEN[name] if parameter not in found]
    assert not missing, f"{where}: GRPOTrainer.{name} takes {found}; OnPolicyTrainer relies on {missing}"
    ours = list(inspect.signature(getattr(OnPolicyTrainer, name)).parameters)[1:]
    assert ours[: len(OVERRIDDEN[name])] == OVERRIDDEN[name] == found[: len(OVERRIDDEN[name])]


def test_every_private_method_of_trl_that_is_overridden_is_listed():
    names = {*vars(OnPolicyTrainer), *vars(SkippingTrainer)}
    own = {name for name in names if name.startswith("_") and not name.startswith("__")}
    assert {name for name in own if hasattr(GRPOTrainer, name)} == OVERRIDDEN.keys()


# --- GRPO -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("aggregation", ["authors", "token"])
def test_grpo_equals_trl_and_its_formula(manifest: Path, tmp_path: Path, aggregation: str):
    """With ratios beyond both clips and the dual clip, uneven lengths, and rollout weights other than 1."""
    ours = make_trainer(tmp_path / "ours", manifest, "grpo", aggregation=aggregation)
    theirs = make_trainer(tmp_path / "theirs", manifest, "grpo", plain=True, aggregation=aggregation)
    theirs.use_vllm = theirs.vllm_importance_sampling_correction = True  # so that it applies a ratio; nothing is drawn
    batch = make_batch(ours.model)
    weighted = batch["advantages"][:, None] * batch["rollout_weights"]
    loss = ours._compute_loss(ours.model, batch | {"advantages": weighted})
    trls = theirs._compute_loss(theirs.model, batch | {"importance_sampling_ratio": batch["rollout_weights"]})
    found = gradients(loss, ours.model)
    assert_equal(loss, trls, found, gradients(trls, theirs.model), 1e-5)
    plain = models.load_model(manifest)
    formula = aggregated(grpo_by_hand(plain, batch), batch, aggregation)
    assert_equal(loss, formula, found, gradients(formula, plain), 1e-5)
    clipped = {name: values[-1] for name, values in ours._metrics["train"].items() if name.startswith("clip_ratio")}
    assert clipped["clip_ratio/low_mean"] > 0 and clipped["clip_ratio/high_mean"] > 0
    assert {name: theirs._metrics["train"][name][-1] for name in clipped} == pytest.approx(clipped)


def test_the_dual_clip_stops_the_gradient_of_bad_responses_that_became_much_likelier(manifest: Path, tmp_path: Path):
    trainer = make_trainer(tmp_path, manifest, "grpo")
    batch = make_batch(trainer.model)
    weights = torch.ones_like(batch["rollout_weights"])
    losses = {}
    for ratio in (1.0, 2.9, 3.1, 50.0):
        old = [
            token_logps(logits_of(trainer.model, *row).detach(), row[1]) - torch.tensor(ratio).log()
            for row in sequences(batch)
        ]
        inputs = batch | {"old_per_token_logps": padded(old)[0], "advantages": -weights}
        loss = trainer._compute_loss(trainer.model, inputs)
        moved = max(gradient.abs().max() for gradient in gradients(loss, trainer.model).values())
        losses[ratio] = loss.item()
        assert (moved == 0) == (ratio > 3)
    assert list(losses.values()) == pytest.approx([1.0, 2.9, 3.0, 3.0], abs=1e-5)


def test_the_rollout_correction_is_a_truncated_ratio_per_token_in_both_methods(manifest: Path, tmp_path: Path):
    trainer = make_trainer(tmp_path, manifest, "grpo")
    gap = torch.tensor([[0.0, 0.5, 3.0, -1.0], [float("nan"), 0.0, -30.0, 0.6]])
    old = torch.full_like(gap, -2.0)
    batch = {
        "completion_mask": torch.ones(2, 4),
        "old_per_token_logps": old,
        "sampling_per_token_logps": old - gap,
        "advantages": torch.tensor([0.5, -0.5]),
    }
    trainer._correct_for_engine(batch)
    wanted = torch.tensor([[1.0, 1.6487, 2.0, 0.3679], [1.0, 1.0, 0.0, 1.8221]])
    assert torch.allclose(batch["rollout_weights"], wanted, atol=1e-4)
    assert torch.allclose(batch["advantages"], wanted * torch.tensor([[0.5], [-0.5]]), atol=1e-4)
    assert np.divide(*trainer.totals["rollout_ratio_truncated"]) == 0.125


# --- SDPO -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("aggregation", ["authors", "token"])
@pytest.mark.parametrize("tail", [True, False], ids=["tail", "renormalised"])
@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_sdpo_equals_trls_functions_a_row_at_a_time(
    manifest: Path, other: Path, tmp_path: Path, alpha: float, tail: bool, aggregation: str
):
    own = {"divergence_alpha": alpha, "divergence_tail": tail}
    trainer = make_trainer(tmp_path, manifest, teacher=other, aggregation=aggregation, sdpo=own)
    student, teacher = models.load_model(manifest), models.load_model(other)
    batch = make_batch(student)
    loss = trainer._compute_loss(trainer.model, batch)
    wanted = aggregated(sdpo_by_hand(student, teacher, batch, alpha=alpha, tail=tail), batch, aggregation)
    assert_equal(loss, wanted, gradients(loss, trainer.model), gradients(wanted, student), 1e-5)
    assert 0 < np.divide(*trainer.totals["importance_ratio_truncated"]) < 1
    assert all(parameter.grad is None for parameter in trainer.method.teacher.parameters())


def test_sdpo_divides_both_sides_by_the_temperature(manifest: Path, other: Path, tmp_path: Path):
    trainer = make_trainer(tmp_path, manifest, teacher=other, temperature=0.6)
    student, teacher = models.load_model(manifest), models.load_model(other)
    batch = make_batch(student, temperature=0.6)
    loss = trainer._compute_loss(trainer.model, batch)
    wanted = aggregated(sdpo_by_hand(student, teacher, batch, temperature=0.6), batch, "authors")
    assert_equal(loss, wanted, gradients(loss, trainer.model), gradients(wanted, student), 1e-5)


@pytest.mark.parametrize(("alpha", "tail"), [(0.5, True), (0.0, False), (1.0, True)])
def test_sdpo_equals_trls_own_trainer(manifest: Path, other: Path, tmp_path: Path, alpha: float, tail: bool):
    """TRL knows no rollout weights, so they are 1 here; it reads its fixed teacher from where the student came from."""
    options = SDPOConfig(
        output_dir=str(tmp_path / "theirs"), use_cpu=True, bf16=False, report_to=[], per_device_train_batch_size=ROWS,
        num_generations=4, distillation_weight=1.0, distillation_mode="topk_logits", distillation_topk=TOP_K,
        distillation_alpha=alpha, distillation_add_tail=tail, distillation_is_clip=2.0, teacher_model_kind="base",
    )  # fmt: skip
    theirs = SDPOTrainer(
        model=models.load_model(other), args=options, reward_funcs=lambda **_: [],
        train_dataset=Dataset.from_list([{"prompt": "x"}] * ROWS), processing_class=models.load_tokenizer(other),
    )  # fmt: skip
    theirs.model.load_state_dict(models.load_model(manifest).state_dict())
    theirs.current_gradient_accumulation_steps = 1
    ours = make_trainer(
        tmp_path / "ours", manifest, teacher=other, sdpo={"divergence_alpha": alpha, "divergence_tail": tail}
    )
    batch = make_batch(ours.model)
    batch["rollout_weights"] = torch.ones_like(batch["rollout_weights"])
    loss = ours._compute_loss(ours.model, batch)
    trls = theirs.compute_loss(
        theirs.model,
        batch
        | {
            "teacher_input_ids": torch.cat([batch["teacher_ids"], batch["completion_ids"]], dim=1),
            "teacher_attention_mask": torch.cat([batch["teacher_mask"], batch["completion_mask"]], dim=1),
            "self_distillation_mask": batch["distilled"].float(),
        },
    )
    assert_equal(loss, trls, gradients(loss, ours.model), gradients(trls, theirs.model), 1e-5)


def test_a_batch_without_demonstrations_has_no_gradient(manifest: Path, other: Path, tmp_path: Path):
    trainer = make_trainer(tmp_path, manifest, teacher=other)
    batch = make_batch(trainer.model)
    loss = trainer._compute_loss(trainer.model, batch | {"distilled": torch.zeros(ROWS, dtype=torch.bool)})
    assert loss.item() == 0
    assert not any(gradient.any() for gradient in gradients(loss, trainer.model).values())


# --- demonstrations --------------------------------------------------------------------------------------------------
def demonstrate(
    trainer: OnPolicyTrainer, texts: list[str], responses: list[str], correct: list[int]
) -> tuple[Batch, pd.Series]:
    """What SDPO adds to a step's batch, and which rollout serves each as demonstration."""
    rendered = [trainer.student_prompt(text) for text in texts]
    graded = {"problem_id": texts, "response": responses, "correct": [bool(right) for right in correct]}
    rollouts = pd.DataFrame(graded)
    step = Step(1, range(len(texts)), texts, rendered, [], [], [], answers=["7"] * len(texts))
    trainer.method.extend(batch := {}, step, rollouts)
    return batch, rollouts["context_sample"]


# --- alignment of teacher and student -------------------------------------------------------------------------------
@pytest.fixture
def divergences(monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    """The divergence [B, T] of every token that a trainer aggregates."""
    seen, original = [], trainer_module.aggregate

    def aggregate(per_token: torch.Tensor, mask: torch.Tensor, **options: object) -> torch.Tensor:
        seen.append((per_token * mask).detach())
        return original(per_token, mask, **options)

    monkeypatch.setattr(trainer_module, "aggregate", aggregate)
    return seen


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_a_teacher_that_sees_the_same_agrees_on_every_token_and_one_token_off_on_none(
    either: Path, tmp_path: Path, divergences: list[torch.Tensor], alpha: float
):
    """Without a success the teacher's prompts are the student's own, rendered anew."""
    trainer = make_trainer(tmp_path, either, sdpo={"divergence_alpha": alpha})
    texts = [TEXTS[row % len(TEXTS)] for row in range(ROWS)]
    batch = make_batch(trainer.model) | {"distilled": torch.ones(ROWS, dtype=torch.bool)}
    prompts = [torch.tensor(trainer.student_prompt(text)) for text in texts]
    batch["prompt_ids"], batch["prompt_mask"] = padded(prompts, left=True)
    taught, chosen = demonstrate(trainer, texts, ["so"] * ROWS, [0] * ROWS)
    assert chosen.isna().all() and not taught.pop("distilled").any()
    assert torch.equal(taught["teacher_ids"], batch["prompt_ids"])
    trainer._compute_loss(trainer.model, batch | taught)
    shifted = padded([prompt[:-1] for prompt in prompts], left=True)
    trainer._compute_loss(trainer.model, batch | dict(zip(("teacher_ids", "teacher_mask"), shifted, strict=True)))
    same, off = divergences
    assert same.abs().mean() < 1e-7 and same.abs().max() < 5e-7  # float32's rounding of the mixture at 0.5
    assert alpha == 0.5 or not same.any()
    assert off[batch["completion_mask"].bool()[:, : off.size(1)]].min() > 1e-5


def test_a_demonstration_changes_the_teachers_prompt_and_nothing_behind_it(either: Path, tmp_path: Path):
    trainer = make_trainer(tmp_path, either)
    texts = [TEXTS[row // 4] for row in range(ROWS)]
    responses = [f"no {row}" for row in range(ROWS)]
    batch, chosen = demonstrate(trainer, texts, responses, [0, 0, 1, 0, 0, 0, 0, 0])
    assert chosen.fillna(-1).tolist() == [2, 2, -1, 2, -1, -1, -1, -1]
    assert batch["distilled"].tolist() == [True, True, False, True] + [False] * 4
    for row, (ids, mask) in enumerate(zip(batch["teacher_ids"], batch["teacher_mask"], strict=True)):
        shown = trainer.processing_class.decode(ids[mask.bool()])
        own = trainer.processing_class.decode(trainer.student_prompt(texts[row]))
        assert shown == own if chosen.isna()[row] else ("no 2" in shown and shown != own)
        opening = own.rpartition("<|im_end|>")[2]
        assert shown.endswith(opening) and ("<think>" in opening) == trainer.opened


@pytest.mark.parametrize(
    ("context", "chosen"),
    [("wrong_solution", [1, 0, -1, 0, 6, -1, 4, 4]), ("unrelated_solution", [5, 5, -1, 5, 2, -1, 2, 2])],
)
def test_another_response_is_shown_in_the_place_and_words_of_a_solution(
    either: Path, tmp_path: Path, context: str, chosen: list[int]
):
    trainer = make_trainer(tmp_path, either, context=context, sdpo={"demonstration": "first"})
    texts = [TEXTS[row // 4] for row in range(ROWS)]
    batch, found = demonstrate(trainer, texts, [f"no {row}" for row in range(ROWS)], [0, 0, 1, 0, 0, 1, 0, 0])
    assert found.fillna(-1).tolist() == chosen
    assert batch["distilled"].tolist() == [other >= 0 for other in chosen]
    for row, other in enumerate(chosen):
        shown = trainer.processing_class.decode(batch["teacher_ids"][row])
        assert f"solution : no {other} Correctly" in shown if other >= 0 else "solution" not in shown


def test_without_thinking_the_teacher_sees_the_answer_part_and_empty_ones_are_counted(either: Path, tmp_path: Path):
    thought, unfinished = "</think> ok 5", "<think> no"
    shown = {}
    for context in ("solution", "solution_without_thinking"):
        trainer = make_trainer(tmp_path, either, context=context)
        texts = [TEXTS[row // 4] for row in range(ROWS)]
        responses = [f"hmm {thought}"] * 4 + [f"hmm {unfinished}" if trainer.opened else unfinished] * 4
        batch, _ = demonstrate(trainer, texts, responses, [1, 0, 0, 0, 1, 0, 0, 0])
        shown[context] = [trainer.processing_class.decode(ids) for ids in batch["teacher_ids"][[1, 5]]]
        empty = trainer._metrics["train"]["empty_demonstrations"]
        assert empty == [0.5 if context == "solution_without_thinking" else 0.0]
    whole, stripped = shown["solution"], shown["solution_without_thinking"]
    assert "hmm </think> ok 5 Correctly" in whole[0] and "no Correctly" in whole[1]
    assert "solution : ok 5 Correctly" in stripped[0] and "solution : Correctly" in stripped[1]


# --- output layers --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("method", ["grpo", "sdpo"])
def test_a_biased_untied_output_layer_is_the_models(tmp_path: Path, method: str):
    """Parity with the formulas, which take the model's own logits."""
    manifest = save_tiny_model(tmp_path / "model", tie_word_embeddings=False)
    trainer = make_trainer(tmp_path, manifest, method)
    student = models.load_model(manifest)
    for seed, model in enumerate([trainer.model, student, *([trainer.method.teacher] if method == "sdpo" else [])]):
        draw = torch.Generator().manual_seed(max(seed, 1))  # student and trainer the same, the teacher another
        bias = torch.nn.Parameter(torch.randn(model.config.vocab_size, generator=draw))
        model.lm_head.bias = bias.requires_grad_(seed < 2)
    batch = make_batch(student)
    if method == "sdpo":
        loss, per_row = (
            trainer._compute_loss(trainer.model, batch),
            sdpo_by_hand(student, trainer.method.teacher, batch),
        )
    else:
        weighted = batch["advantages"][:, None] * batch["rollout_weights"]
        loss = trainer._compute_loss(trainer.model, batch | {"advantages": weighted})
        per_row = grpo_by_hand(student, batch)
    wanted = aggregated(per_row, batch, "authors")
    ours, theirs = gradients(loss, trainer.model), gradients(wanted, student)
    assert {"lm_head.weight", "lm_head.bias"} <= ours.keys()
    assert_equal(loss, wanted, ours, theirs, 1e-5)


def test_a_model_whose_logits_are_not_its_output_layers_is_refused(tmp_path: Path):
    manifest = save_tiny_model(tmp_path / "model", final_logit_softcapping=30.0)
    with pytest.raises(UserError, match=r"changes the logits of its output layer \(final_logit_softcapping 30.0\)"):
        make_trainer(tmp_path, manifest, "grpo")


# --- micro-batches --------------------------------------------------------------------------------------------------
def update_gradients(trainer: OnPolicyTrainer, batch: Batch, monkeypatch: pytest.MonkeyPatch) -> list[Gradients]:
    """What has accumulated at the end of each update of a step."""
    monkeypatch.setattr(trainer, "_generate_and_score_completions", lambda _: batch)
    found = []
    for _ in range(trainer.settings.updates_per_step):
        trainer.model.zero_grad()
        trainer.training_step(trainer.model, [{}], None)
        found.append({name: weight.grad.clone() for name, weight in trainer.model.named_parameters()})
    return found


def updates_of(trainer: OnPolicyTrainer, batch: Batch) -> list[Batch]:
    """The sequences of each update of a step, in one batch."""
    return [
        {name: torch.cat([part[name] for part in update]) if value.ndim else value for name, value in batch.items()}
        for update in trainer._split(batch)
    ]


SPLITS = [{"micro_batch_size": 8}, {"micro_batch_size": 4}, {"micro_batch_size": 2},
          {"micro_batch_tokens": 1000}, {"micro_batch_tokens": 45}, {"micro_batch_tokens": 1}]  # fmt: skip


@pytest.mark.parametrize("kind", ["Qwen3", "Qwen2"])  # computed by our layers, and by its own
@pytest.mark.parametrize("aggregation", ["authors", "token"])
@pytest.mark.parametrize("method", ["grpo", "sdpo"])
def test_the_size_of_micro_batches_does_not_change_an_update(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, aggregation: str, kind: str
):
    """Two updates of 8 sequences; the gradient of each is that of the loss over its sequences."""
    manifest, other = (save_tiny_model(tmp_path / f"model-{seed}", kind=kind, seed=seed) for seed in (0, 5))
    student, teacher = models.load_model(manifest), models.load_model(other)
    batch = make_batch(student, rows=16)
    batch["advantages"] = batch["advantages"][:, None] * batch["rollout_weights"]
    sizes = {"batch_size": 4, "updates_per_step": 2, "aggregation": aggregation}
    found, numbers = [], []
    for split in SPLITS:
        trainer = make_trainer(tmp_path, manifest, method, teacher=other, **split, **sizes)
        numbers.append([len(update) for update in trainer._split(batch)])
        found.append(update_gradients(trainer, batch, monkeypatch))
    monkeypatch.setattr(states, "can_lie_end_to_end", lambda model: False)
    found.append(update_gradients(make_trainer(tmp_path, manifest, method, teacher=other, **sizes), batch, monkeypatch))
    assert numbers[:4] == [[1, 1], [2, 2], [4, 4], [1, 1]] and numbers[5] == [8, 8]
    assert all(2 <= number < 8 for number in numbers[4])
    for i, update in enumerate(updates_of(trainer, batch)):
        if method == "sdpo":
            per_row = sdpo_by_hand(student, teacher, update)
        else:  # the rollout weights stand in the advantages, from which they are taken out again
            signs = (update["advantages"] / update["rollout_weights"])[:, 0]
            per_row = grpo_by_hand(student, update | {"advantages": signs})
        wanted = gradients(aggregated(per_row, update, aggregation, updates=2), student)
        for gradient in found:
            assert_equal_gradients(gradient[i], wanted, 2e-6)


@pytest.mark.parametrize("aggregation", ["authors", "token"])
@pytest.mark.parametrize("method", ["grpo", "sdpo"])
def test_in_double_precision_updates_by_tokens_are_those_of_padded_micro_batches(
    manifest: Path, other: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, aggregation: str
):
    batch = make_batch(models.load_model(manifest), rows=16)
    batch["advantages"] = batch["advantages"][:, None] * batch["rollout_weights"]
    found = []
    for split in ({"micro_batch_tokens": 45}, {"micro_batch_size": 4}):
        sizes = {"batch_size": 4, "updates_per_step": 2, "aggregation": aggregation}
        trainer = make_trainer(tmp_path, manifest, method, teacher=other, **split, **sizes)
        trainer.model.double()
        if method == "sdpo":
            trainer.method.teacher.double()
        found.append(update_gradients(trainer, batch, monkeypatch))
        monkeypatch.setattr(states, "can_lie_end_to_end", lambda model: False)
    for ours, padded_ones in zip(*found, strict=True):
        assert_equal_gradients(ours, padded_ones, 1e-9)


def test_losses_of_all_micro_batches_add_up_to_the_loss_of_the_update(
    manifest: Path, other: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for method in ("grpo", "sdpo"):
        losses = []
        for split in ({}, {"micro_batch_size": 2}, {"micro_batch_tokens": 45}):
            trainer = make_trainer(tmp_path, manifest, method, teacher=other, **split)
            batch = make_batch(trainer.model)
            batch["advantages"] = batch["advantages"][:, None] * batch["rollout_weights"]
            monkeypatch.setattr(trainer, "_generate_and_score_completions", lambda _, batch=batch: batch)
            losses.append(trainer.training_step(trainer.model, [{}], None).item())
        assert losses == pytest.approx([losses[0]] * 3, abs=1e-5) and abs(losses[0]) > 1e-2


@pytest.mark.parametrize("metric", ["divergence", "entropy", "importance_ratio"])
def test_the_size_of_micro_batches_does_not_change_what_is_reported(
    manifest: Path, other: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, metric: str
):
    means = []
    for split in ({"micro_batch_size": 8}, {"micro_batch_size": 2}, {"micro_batch_tokens": 45}):
        trainer = make_trainer(tmp_path, manifest, teacher=other, **split)
        update_gradients(trainer, make_batch(trainer.model), monkeypatch)
        trainer.log(logs := {})
        means.append(logs[metric])
    assert means == pytest.approx([means[0]] * 3, abs=1e-5)


def test_every_sequence_enters_one_micro_batch_and_those_of_an_update_are_sorted(manifest: Path, tmp_path: Path):
    trainer = make_trainer(tmp_path, manifest, batch_size=4, updates_per_step=2, micro_batch_size=2)
    batch = make_batch(trainer.model, rows=16) | {"row": torch.arange(16)}
    micro = list(chain.from_iterable(trainer._split(batch)))
    assert len(micro) == 8 and sorted(torch.cat([part["row"] for part in micro]).tolist()) == list(range(16))
    for update in (micro[:4], micro[4:]):
        lengths = torch.cat([part["completion_mask"].sum(dim=1) for part in update])
        assert lengths.tolist() == sorted(lengths.tolist(), reverse=True)
    for part in micro:
        for name in ("completion_ids", "teacher_ids", "old_per_token_logps", "rollout_weights", "distilled"):
            assert torch.equal(part[name], batch[name][part["row"]])
    again = torch.cat([update["row"] for update in updates_of(trainer, batch)])
    assert torch.equal(again, torch.cat([part["row"] for part in micro]))
    trainer.state.global_step = 2  # another step shuffles otherwise
    assert not torch.equal(again, torch.cat([update["row"] for update in updates_of(trainer, batch)]))


@pytest.mark.parametrize("method", ["grpo", "sdpo"])
def test_a_micro_batch_holds_at_most_so_many_tokens_of_the_longest_pass(manifest: Path, tmp_path: Path, method: str):
    trainer = make_trainer(tmp_path, manifest, method, batch_size=4, updates_per_step=2, micro_batch_tokens=45)
    batch = make_batch(trainer.model, rows=16) | {"row": torch.arange(16)}
    updates = list(trainer._split(batch))
    micro = list(chain.from_iterable(updates))
    assert sorted(torch.cat([part["row"] for part in micro]).tolist()) == list(range(16))
    masks = ["prompt_mask"] if method == "grpo" else ["prompt_mask", "teacher_mask"]
    for part in micro:
        spoken = part["completion_mask"].sum(dim=1)
        tokens = torch.stack([part[name].sum(dim=1) + spoken for name in masks]).amax(dim=0)
        assert tokens.sum() <= 45
    everything = sum(int(batch[name].sum()) for name in (masks[-1], "completion_mask"))
    assert len(micro) < 2 * everything / 45


def test_models_whose_sequences_cannot_lie_end_to_end_are_refused(tmp_path: Path):
    manifest = save_tiny_model(tmp_path / "model", kind="Mistral", sliding_window=4)
    make_trainer(tmp_path, manifest, "grpo")
    with pytest.raises(UserError, match="micro_batch_tokens: sequences of a MistralForCausalLM cannot be laid end to"):
        make_trainer(tmp_path, manifest, "grpo", micro_batch_tokens=100)


@pytest.mark.parametrize("split", [{"micro_batch_size": 2}, {"micro_batch_tokens": 45}])
def test_the_teacher_reads_every_rollout_with_a_demonstration_once_per_step(
    manifest: Path, other: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, split: dict
):
    trainer = make_trainer(tmp_path, manifest, teacher=other, batch_size=4, updates_per_step=2, **split)
    batch = make_batch(trainer.model, rows=16)
    batch["teacher_ids"][:, -1] = torch.arange(6, 22)  # tells the rows apart
    read, original = [], sdpo.response_states

    def response_states(model: PreTrainedModel, ids: torch.Tensor, *arguments: object) -> torch.Tensor:
        if model is trainer.method.teacher:
            read.extend(ids[:, batch["teacher_ids"].size(1) - 1].tolist())
        return original(model, ids, *arguments)

    monkeypatch.setattr(sdpo, "response_states", response_states)
    update_gradients(trainer, batch, monkeypatch)
    assert sorted(read) == batch["teacher_ids"][batch["distilled"], -1].tolist()


# --- states and log-probabilities -----------------------------------------------------------------------------------
def test_states_of_a_padded_batch_are_those_from_which_each_token_is_predicted(manifest: Path):
    model = models.load_model(manifest)
    batch = make_batch(model, rows=4)
    wide = {name: torch.nn.functional.pad(batch[name], (3, 0)) for name in ("prompt_ids", "prompt_mask")}
    long = {name: torch.nn.functional.pad(batch[name], (0, 5)) for name in ("completion_ids", "completion_mask")}
    ids = torch.cat([wide["prompt_ids"], long["completion_ids"]], dim=1)
    mask = torch.cat([wide["prompt_mask"], long["completion_mask"]], dim=1)
    found = response_states(model, ids, mask, long["completion_ids"].size(1))
    rows = found.split(batch["completion_mask"].sum(dim=1).tolist())
    for row, (prompt, response) in zip(rows, sequences(batch), strict=True):
        logits = model.lm_head(row)
        assert (logits - logits_of(model, prompt, response)).abs().max() < 1e-5


@pytest.mark.parametrize("again", [False, True], ids=["with gradient", "again"])
@pytest.mark.parametrize("split", [{}, {"micro_batch_size": 2}, {"micro_batch_tokens": 45}])
def test_scored_tokens_equal_trls_on_a_padded_batch(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, split: dict, again: bool
):
    monkeypatch.setattr(OnPolicyTrainer, "samples_from_policy", False)
    trainer = make_trainer(tmp_path, manifest, "grpo", temperature=0.7, **split)
    batch = make_batch(trainer.model)
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
    mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)
    arguments = (trainer.model, ids, mask, batch["completion_ids"].size(1))
    with torch.set_grad_enabled(not again):
        ours = trainer._get_per_token_logps_and_entropies(*arguments, compute_entropy=True)
    theirs = GRPOTrainer._get_per_token_logps_and_entropies(trainer, *arguments, compute_entropy=True)
    seen = batch["completion_mask"].bool()
    for found, wanted in zip(ours[:2], theirs[:2], strict=True):
        assert (found - wanted)[seen].abs().max() < 1e-5
    for row, (prompt, response) in zip(ours[0], sequences(batch), strict=True):
        wanted = token_logps(logits_of(trainer.model, prompt, response) / 0.7, response)
        assert (row[: len(response)] - wanted).abs().max() < 1e-5


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_log_probabilities_of_the_sampler_are_those_of_the_trainer(
    either: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, temperature: float
):
    """So that rollouts need not be scored a second time; some of them end, others are cut."""
    trainer = make_trainer(tmp_path, either, "grpo", temperature=temperature, batch_size=8)
    inputs = [trainer.train_dataset[row // 8] for row in range(32)]
    drawn = trainer._roll_out([example["prompt"] for example in inputs], trainer)
    assert len({len(ids) for ids in drawn["completion_ids"]}) > 1
    assert all(map(len, drawn["completion_ids"]))
    prompts, prompt_mask = padded([torch.tensor(ids) for ids in drawn["prompt_ids"]], left=True)
    responses, response_mask = padded([torch.tensor(ids) for ids in drawn["completion_ids"]])
    arguments = (
        trainer.model,
        torch.cat([prompts, responses], dim=1),
        torch.cat([prompt_mask, response_mask], dim=1),
        responses.size(1),
    )
    with torch.no_grad():
        reused = trainer._get_per_token_logps_and_entropies(*arguments)[0]
        monkeypatch.setattr(trainer.args, "bf16", True)  # as if sampler and trainer differed
        scored = trainer._get_per_token_logps_and_entropies(*arguments)[0]
    told = padded([torch.tensor(logps) for logps in drawn["logprobs"]])[0]
    assert torch.equal(reused, told) and not torch.equal(scored, told)
    assert ((scored - reused) * response_mask).abs().max() < 1e-5 / temperature


# --- rewards --------------------------------------------------------------------------------------------------------
class Scripted:
    """A sampler that says what it is told."""

    def __init__(self, trainer: OnPolicyTrainer, texts: list[str]):
        self.end = trainer.processing_class.eos_token_id
        self.ids = [trainer.processing_class(text, add_special_tokens=False)["input_ids"] for text in texts]

    def sample(self, rows: list, sampling: Sampling, *, logps: bool) -> list[Completion]:
        return [Completion(ids, "stop", [0.0] * (len(ids) + 1), (self.end,)) for ids in self.ids]


SPOKEN = {  # text -> whether it is right where the prompt does not open thinking, and where it does
    "so \\boxed{ 7 }": (True, False),  # never leaves an opened thinking
    "so </think> \\boxed{ 7 }": (True, True),
    "<think> \\boxed{ 7 } </think> ok": (False, False),  # a box in thinking
    "<think> so </think> \\boxed{ 7 }" + " ok" * 60: (True, True),  # long before the end
    "<think> so \\boxed{ 7 }": (False, False),  # unfinished thinking
    "</think> \\boxed{ 7 } so \\boxed{ 8 }": (False, False),
    "</think> \\boxed{ 8 } no \\boxed{ 7 } .": (True, True),
    "</think> The answer is 7 .": (False, False),
}


def test_rewards_are_those_of_the_grader_of_all_evaluations(either: Path, tmp_path: Path):
    trainer = make_trainer(tmp_path, either)
    trainer.sampler = Scripted(trainer, list(SPOKEN))
    batch = trainer._generate_and_score_completions([trainer.train_dataset[row // 4] for row in range(ROWS)])
    rollouts = trainer.step_in_hand.rollouts
    assert rollouts["correct"].tolist() == [right[trainer.opened] for right in SPOKEN.values()]
    generated = rollouts.assign(context_sample=pd.array([None] * ROWS, dtype="Int32"))[shards.COLUMNS.names]
    labels = {"study": "s", "model": "m", "run": "base", "stage": "evaluation", "setting": "x"}
    problems = problems_of(TEXTS).assign(problem_id=TEXTS)
    evaluated = traces.annotate(generated, problems, **labels, opened=trainer.opened)
    same = [column for column in rollouts if column not in (*labels, "step", "context_sample")]
    pd.testing.assert_frame_equal(rollouts[same], evaluated[same])
    assert [" ".join(text.split()) for text in SPOKEN] == [" ".join(text.split()) for text in rollouts["response"]]
    rewards = torch.tensor(rollouts["correct"].to_numpy(dtype=float)).view(2, 4).float()
    assert torch.allclose(batch["advantages"][:, 0].view(2, 4), rewards - rewards.mean(dim=1, keepdim=True))
    assert trainer._metrics["train"]["score"] == [rewards.mean().item()]
    saved = trainer.record.all(1).sort_values("sample")
    assert saved["correct"].tolist() == rollouts["correct"].tolist()
    successes = [row for row in range(ROWS) if rollouts["correct"][row]]
    assert set(saved["context_sample"].dropna().astype(int)) <= set(successes)


def test_the_end_of_turn_belongs_to_the_loss_and_not_to_the_length(manifest: Path, tmp_path: Path):
    trainer = make_trainer(tmp_path, manifest)
    trainer.sampler = Scripted(trainer, ["so no"] * ROWS)
    batch = trainer._generate_and_score_completions([trainer.train_dataset[row // 4] for row in range(ROWS)])
    assert batch["completion_mask"].sum(dim=1).tolist() == [3] * ROWS
    assert batch["completion_ids"][:, -1].tolist() == [trainer.processing_class.eos_token_id] * ROWS
    rollouts = trainer.step_in_hand.rollouts
    assert set(rollouts["response_tokens"]) == {2} and set(rollouts["finish_reason"]) == {"stop"}


def test_every_prompt_is_rendered_once_per_rollout(manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    trainer = make_trainer(tmp_path, manifest)
    trainer.sampler = Scripted(trainer, ["so no"] * ROWS)  # none is right: the teacher's prompts are the student's
    rendered, original = [], trainer_module.render
    monkeypatch.setattr(trainer_module, "render", lambda *args, **kw: rendered.append(args[1]) or original(*args, **kw))
    texts = [TEXTS[row // 4] for row in range(ROWS)]
    trainer._generate_and_score_completions([trainer.train_dataset[row // 4] for row in range(ROWS)])
    assert rendered == texts


def test_what_was_not_drawn_or_graded_is_missed_loudly(manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """As after a change in the order of TRL's calls; the rollouts of an earlier step never take their place."""
    trainer = make_trainer(tmp_path, manifest)
    inputs = [trainer.train_dataset[row // 4] for row in range(ROWS)]
    ids = torch.ones(ROWS, 4, dtype=torch.long)
    with torch.no_grad(), pytest.raises(RuntimeError, match="no rollouts have been sampled for this step"):
        trainer._get_per_token_logps_and_entropies(trainer.model, ids, ids, 2)
    trainer._generate_and_score_completions(inputs)
    monkeypatch.setattr(trainer, "rollout_func", lambda *_: trainer._grade(["a"], ["Find a ."], ["7"]))
    with pytest.raises(RuntimeError, match="no rollouts have been sampled for this step"):
        trainer._generate_and_score_completions(inputs)
    trainer._roll_out([example["prompt"] for example in inputs], trainer)
    with pytest.raises(RuntimeError, match="the rollouts of step 1 are not graded yet"):
        trainer.step_in_hand.rollouts  # noqa: B018


# --- vLLM beside the model on a GPU, of which TRL takes care ----------------------------------------------------------
class PretendedVllm:
    """Answers as `VLLMGeneration.generate` does: token ids with their end token, a list of log-probabilities each."""

    def generate(self, prompts, images, num_generations):
        end, self.noise = 3, (torch.rand(3).tolist(), np.random.randint(2**31, size=3).tolist())
        drawn = [[6, 7, end] if number % 2 else [8] * LONGEST for number in range(len(prompts))]
        return prompts, drawn, [[[-0.5 - n] for n in range(len(ids))] for ids in drawn], None


def test_completions_of_vllm_are_split_into_response_and_end_token(manifest: Path, tmp_path: Path):
    trainer = make_trainer(tmp_path, manifest, "grpo")
    trainer.use_vllm, trainer.vllm_generation, trainer.eos_token_ids = True, PretendedVllm(), [3]
    assert not trainer.samples_from_policy  # so that the trainer scores what another engine has drawn
    cut, whole = trainer._sample([shards.Row((6, 7), 1), shards.Row((6, 7), 2)])
    assert cut == Completion([8] * LONGEST, "length", [-0.5 - n for n in range(LONGEST)])
    assert whole == Completion([6, 7], "stop", [-0.5, -1.5, -2.5], (3,))


def test_vllm_draws_a_steps_rollouts_by_their_seed_whatever_was_drawn_before(manifest: Path, tmp_path: Path):
    trainer = make_trainer(tmp_path, manifest, "grpo")
    trainer.use_vllm, trainer.vllm_generation, trainer.eos_token_ids = True, PretendedVllm(), [3]
    noise = []
    for seed in (2**64 - 1, 5, 2**64 - 1):
        trainer._sample([shards.Row((6, 7), seed), shards.Row((6, 7), 2)])
        noise.append(trainer.vllm_generation.noise)
    assert noise[0] == noise[2] and all(one != other for one, other in zip(*noise[:2], strict=True))


def test_vllm_gets_room_for_prompt_and_response_and_no_correction_but_ours(tmp_path: Path):
    settings = OnPolicySettings(checkpoint_steps=[1], steps=1)
    options = {"directory": tmp_path, "processes": 1, "mirrors": []}
    run = Run("m", "grpo", 1e-6)
    sampling = Sampling(1.0, max_tokens=20_480)
    arguments = trainer_arguments(run, settings, sampling, engine="vllm", longest_prompt=2048, **options)
    assert arguments.use_vllm and arguments.vllm_mode == "colocate" and arguments.vllm_enable_sleep_mode
    assert arguments.vllm_max_model_length == 22_528
    assert not arguments.vllm_importance_sampling_correction
    assert not trainer_arguments(run, settings, sampling, **options).use_vllm
