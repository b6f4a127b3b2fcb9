"""Fine-tuning: what carries loss, parity with a plain loop, and runs that are killed, stopped and continued."""

import os
import random
import signal
from dataclasses import replace
from pathlib import Path

import forks
import pandas as pd
import pytest
import torch
import transformers
import trl.trainer.base_trainer
from damages import cut, empty, flip
from selfdistill import models, processes, prompts
from selfdistill.errors import UserError
from selfdistill.files import write_text
from selfdistill.training import checkpoints, sft
from selfdistill.training.checkpoints import CheckpointCallback, newest_whole, save_model, write_digests
from selfdistill.training.settings import SftRun, SftSettings
from selfdistill.training.sft import tokenise, train_sft, training_order
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import WordLevel
from transformers import (
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

WORDS = "<pad> <|im_start|> <|im_end|> <unk> user assistant <think> </think>".split() + [f"w{i}" for i in range(32)]
QWEN_LIKE = (
    "{% for m in messages %}<|im_start|> {{ m.role }} {{ m.content }} <|im_end|> {% endfor %}"
    "{% if add_generation_prompt %}<|im_start|> assistant{% endif %}"
    "{% if enable_thinking is defined and not enable_thinking %} <think> </think>{% endif %}"
)
# DeepSeek-R1-Distill's: opens the thinking in the prompt, and drops it from assistant turns.
DEEPSEEK_LIKE = (
    "{% for m in messages %}<|im_start|> {{ m.role }} {{ m.content.split('</think>')[-1] }} <|im_end|> {% endfor %}"
    "{% if add_generation_prompt %}<|im_start|> assistant <think>{% endif %}"
)
SETTINGS = SftSettings(batch_size=8, micro_batch_size=4, warmup_steps=2, weight_decay=0.1, max_grad_norm=2.1)
RUN = SftRun("guided", 1e-2)


def make_tokenizer(template: str = QWEN_LIKE) -> PreTrainedTokenizerFast:
    words = Tokenizer(WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    special = {"pad_token": "<pad>", "eos_token": "<|im_end|>", "unk_token": "<unk>"}
    return PreTrainedTokenizerFast(tokenizer_object=words, chat_template=template, **special)


def make_examples(responses: list[str], finish_reason: str = "stop") -> pd.DataFrame:
    return pd.DataFrame(
        {
            "prompt": [[{"role": "user", "content": f"w{i % 7} w{i % 5}"}] for i in range(len(responses))],
            "completion": [[{"role": "assistant", "content": response}] for response in responses],
            "problem_id": [f"{i:016x}" for i in range(len(responses))],
            "sample": 0,
            "correct": True,
            "finish_reason": finish_reason,
            "response_tokens": [len(response.split()) for response in responses],
            "E_substring": 0,
            "E_word": 0,
        }
    )


@pytest.fixture(scope="module")
def examples() -> pd.DataFrame:
    return some_examples()


def some_examples() -> pd.DataFrame:
    rng = random.Random(0)
    lengths = [rng.randrange(1, 20) for _ in range(19)]
    return make_examples([" ".join(f"w{rng.randrange(32)}" for _ in range(length)) for length in lengths])


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
        head_dim=8, intermediate_size=32, tie_word_embeddings=True, initializer_range=0.3,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("model")
    save_model(Qwen3ForCausalLM(config), make_tokenizer(), folder)
    return folder / "manifest.json"


def train(examples: pd.DataFrame, manifest: Path, folder: Path, **changes: object) -> pd.DataFrame:
    arguments = {
        "settings": SETTINGS,
        "seed": 3,
        "enable_thinking": None,
        "model_name": "m",
        "run": RUN,
    } | changes
    return train_sft(examples, manifest=manifest, out_dir=folder / "out", work_dir=folder / "work", **arguments)


def weights(folder: Path) -> bytes:
    return (folder / "out" / "model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def uninterrupted(
    examples: pd.DataFrame, manifest: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[pd.DataFrame, Path]:
    folder = tmp_path_factory.mktemp("uninterrupted")
    return train(examples, manifest, folder), folder


# --- tokenisation -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "enable_thinking", "response", "prompt", "learnt"),
    [
        (QWEN_LIKE, None, "<think> w1 </think> w2", "assistant", "<think> w1 </think> w2 <|im_end|>"),
        (QWEN_LIKE, False, "w2", "assistant <think> </think>", "w2 <|im_end|>"),
        (DEEPSEEK_LIKE, None, "w1 </think> w2", "assistant <think>", "w1 </think> w2 <|im_end|>"),
    ],
)
def test_loss_is_on_the_response_and_its_end_only(template, enable_thinking, response, prompt, learnt):
    tokenizer = make_tokenizer(template)
    [row] = tokenise(make_examples([response]), tokenizer, enable_thinking=enable_thinking, max_tokens=50)
    text = tokenizer.decode(row["input_ids"])
    assert text == f"<|im_start|> user w0 w0 <|im_end|> <|im_start|> {prompt} {learnt}"
    assert tokenizer.decode([label for label in row["labels"] if label != -100]) == learnt
    sampled_from = prompts.render(tokenizer, "w0 w0", enable_thinking=enable_thinking)
    assert row["input_ids"][: row["labels"].count(-100)] == sampled_from


def test_a_system_turn_stands_before_the_prompt_and_carries_no_loss():
    tokenizer = make_tokenizer()
    [row] = tokenise(make_examples(["w1"]), tokenizer, enable_thinking=None, max_tokens=50, system="w3")
    assert tokenizer.decode(row["input_ids"]).startswith("<|im_start|> <unk> w3 <|im_end|> <|im_start|> user")
    assert tokenizer.decode([label for label in row["labels"] if label != -100]) == "w1 <|im_end|>"


def test_a_response_cut_at_its_limit_is_not_taught_to_end_there():
    tokenizer = make_tokenizer()
    [cut_when_sampled] = tokenise(
        make_examples(["w1 w2"], finish_reason="length"), tokenizer, enable_thinking=None, max_tokens=50
    )
    [cut_here] = tokenise(make_examples(["w1 w2 w3"]), tokenizer, enable_thinking=None, max_tokens=9)
    assert tokenizer.decode(cut_when_sampled["labels"][7:]) == "w1 w2"
    assert cut_here == cut_when_sampled


def test_examples_that_cannot_be_trained_on_are_refused():
    tokenizer = make_tokenizer()
    with pytest.raises(UserError, match=r"no response token of problem 0{16} lies within max_tokens 7"):
        tokenise(make_examples(["w1"]), tokenizer, enable_thinking=None, max_tokens=7)
    with_system = make_examples(["w1"])
    with_system.at[0, "prompt"] = [{"role": "system", "content": "w1"}, {"role": "user", "content": "w2"}]
    with pytest.raises(UserError, match=r"problem 0{16}, sample 0, has turns \['system', 'user', 'assistant'\]"):
        tokenise(with_system, tokenizer, enable_thinking=None, max_tokens=50)
    with pytest.raises(UserError, match="no examples"):
        tokenise(make_examples([]), tokenizer, enable_thinking=None, max_tokens=50)


# --- settings and order -----------------------------------------------------------------------------------


def test_impossible_settings_name_the_nearest_possible_ones():
    with pytest.raises(UserError, match=r"micro_batch_size 12 does not divide 32 sequences .*: 8 or 16"):
        SftSettings(batch_size=32, micro_batch_size=12)
    with pytest.raises(UserError, match=r"micro_batch_size 64 does not divide .* nearest .*: 16 or 32"):
        SftSettings(batch_size=32, micro_batch_size=64)
    with pytest.raises(UserError, match=r"'linaer' \(did you mean 'linear'\?\)"):
        SftSettings(schedule="linaer")
    with pytest.raises(UserError, match="epochs"):
        SftSettings(epochs=0)


def test_every_pass_shuffles_anew_and_batches_hold_the_longest_first():
    lengths = [random.Random(1).randrange(100) for _ in range(30)]
    settings = SftSettings(epochs=3, batch_size=10, micro_batch_size=5)
    order = training_order(lengths, settings, seed=0)
    passes = [order[start : start + 30] for start in (0, 30, 60)]
    batches = [order[start : start + 10] for start in range(0, 90, 10)]
    assert all(sorted(indices) == list(range(30)) for indices in passes)
    assert len({frozenset(batch) for batch in batches}) == 9
    assert all([lengths[i] for i in batch] == sorted([lengths[i] for i in batch], reverse=True) for batch in batches)
    assert order == training_order(lengths, settings, seed=0) != training_order(lengths, settings, seed=1)


# --- the training itself ----------------------------------------------------------------------------------


def reference_run(examples, manifest, settings, rate_at, seed):
    """Fine-tuning written out, one sequence at a time: (loss, rate, norm, tokens) of each step, and the model."""
    model, tokenizer = models.load_model(manifest), models.load_tokenizer(manifest)
    sequences = []
    for example in examples.to_dict("records"):
        prompt = prompts.render(tokenizer, example["prompt"][0]["content"])
        response = tokenizer.convert_tokens_to_ids(example["completion"][0]["content"].split())
        sequences.append((len(prompt), torch.tensor([*prompt, *response, tokenizer.eos_token_id])))
    order = training_order([len(ids) for _, ids in sequences], settings, seed)
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim == 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": settings.weight_decay}, {"params": vectors, "weight_decay": 0.0}],
        betas=(settings.adam_beta1, settings.adam_beta2),
    )
    steps = []
    for step in range(-(-len(order) // settings.batch_size)):
        batch = [sequences[i] for i in order[step * settings.batch_size :][: settings.batch_size]]
        losses = []
        for start, ids in batch:
            logits = model(ids[None]).logits[0, start - 1 : -1]
            losses.append(torch.nn.functional.cross_entropy(logits, ids[start:], reduction="sum"))
        loss = sum(losses) / sum(len(ids) - start for start, ids in batch)
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), settings.max_grad_norm)
        for group in optimizer.param_groups:
            group["lr"] = rate_at(step)
        optimizer.step()
        steps.append((loss.item(), rate_at(step), norm.item(), sum(len(ids) for _, ids in batch)))
    return steps, model


def test_training_equals_a_plain_loop(examples, manifest, uninterrupted):
    """Loss, gradient norm and weights; 38 sequences in batches of 8 leave a last batch of 6, in uneven parts."""

    def rate_at(step):  # 5 steps: warm-up from 5 % over 2, then linear towards 5 % over 3
        share = step / 2 if step < 2 else 1 - (step - 2) / 3
        return RUN.learning_rate * (0.05 + 0.95 * share)

    expected, model = reference_run(examples, manifest, SETTINGS, rate_at, seed=3)
    table = uninterrupted[0].pivot(index="step", columns="metric", values="value")
    assert list(table.index) == [1, 2, 3, 4, 5]
    measured = table[["loss", "learning_rate", "grad_norm", "tokens"]].to_numpy()
    assert measured == pytest.approx(torch.tensor(expected, dtype=torch.float64).numpy(), abs=1e-5)
    assert measured[:, 2].min() < SETTINGS.max_grad_norm < measured[:, 2].max()  # some steps were clipped
    trained = models.load_model(uninterrupted[1] / "out" / "manifest.json")
    for (name, found), wanted in zip(trained.named_parameters(), model.parameters(), strict=True):
        assert torch.allclose(found, wanted, atol=1e-4), name


def test_adapters_are_trained_in_place_of_the_weights_and_saved_merged(examples, manifest, uninterrupted, tmp_path):
    whole, _ = uninterrupted
    steps = train(examples, manifest, tmp_path, settings=replace(SETTINGS, lora_rank=2))
    losses, of_whole = (found.loc[found["metric"] == "loss", "value"].tolist() for found in (steps, whole))
    assert losses[0] == pytest.approx(of_whole[0], rel=1e-5)  # an adapter begins as nothing
    assert losses[-1] != pytest.approx(of_whole[-1], rel=1e-3)
    saved = tmp_path / "out"
    before, after = (dict(models.load_model(path).named_parameters()) for path in (manifest, saved / "manifest.json"))
    assert before.keys() == after.keys()
    changes = {name: after[name] - weight for name, weight in before.items()}
    ranks = {int(torch.linalg.matrix_rank(change, rtol=1e-3)) for name, change in changes.items() if "proj" in name}
    assert ranks == {2}
    assert not any(change.any() for name, change in changes.items() if "proj" not in name)
    assert not list(saved.glob("adapter*"))


def test_the_saved_model_keeps_its_cache_and_its_template(manifest, uninterrupted):
    trained = uninterrupted[1] / "out" / "manifest.json"
    assert models.load_model(trained).config.use_cache is True
    assert models.load_tokenizer(trained).chat_template == QWEN_LIKE
    assert models.fingerprint(trained) != models.fingerprint(manifest)


def test_nothing_reaches_for_the_network(examples, manifest, tmp_path, monkeypatch):
    calls = []
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr(trl.trainer.base_trainer, "send_telemetry", lambda *a, **k: calls.append("telemetry"))
    monkeypatch.setattr("socket.getaddrinfo", lambda *a, **k: calls.append("name look-up"))
    train(examples[:4], manifest, tmp_path, checkpoint_seconds=0)
    assert calls == []


# --- gradients that are not finite ------------------------------------------------------------------------


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, torch.Tensor]]:
    """One micro-batch of the third update has a loss that is no number.

    The list grows, before every micro-batch, by the weights and the optimizer's state.
    """
    found, original = [], sft._Trainer.compute_loss

    def compute_loss(trainer, model, *args, **kwargs):
        found.append(state_of(trainer))
        loss = original(trainer, model, *args, **kwargs)
        return loss * float("nan") if len(found) == 6 else loss

    monkeypatch.setattr(sft._Trainer, "compute_loss", compute_loss)
    return found


def state_of(trainer: sft._Trainer) -> dict[str, torch.Tensor]:
    found = {name: weight.detach().clone() for name, weight in trainer.model.named_parameters()}
    for number, of_weight in trainer.optimizer.state_dict()["state"].items():
        found |= {f"{number} {name}": torch.as_tensor(value).clone() for name, value in of_weight.items()}
    return found


def are_equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(value.equal(other[name]) for name, value in one.items())


def test_an_update_without_a_finite_gradient_is_skipped_and_counted(
    examples, manifest, uninterrupted, tmp_path, broken, caplog
):
    steps = train(examples, manifest, tmp_path).pivot(index="step", columns="metric", values="value")
    before, after, later = broken[4], broken[6], broken[8]  # the second, third and fourth update were made
    assert are_equal(before, after) and not are_equal(after, later)
    assert all(value.isfinite().all() for value in broken[-1].values())
    undisturbed = uninterrupted[0].pivot(index="step", columns="metric", values="value")
    assert steps["skipped_updates"].tolist() == [0, 0, 1, 0, 0] and not undisturbed["skipped_updates"].any()
    assert steps["loss"].isna().tolist() == [False, False, True, False, False]
    assert steps["learning_rate"].equals(undisturbed["learning_rate"])
    assert steps.loc[:2].equals(undisturbed.loc[:2]) and steps.loc[4, "loss"] != undisturbed.loc[4, "loss"]
    told = [message for message in caplog.messages if "skipped" in message]
    assert told == ["update 3 is skipped: its gradient is not finite (1 skipped so far)"]


def test_a_run_that_is_stopped_behind_a_skipped_update_continues_to_the_same_bytes(
    examples, manifest, tmp_path, broken, stop_during
):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    wanted = train(examples, manifest, whole)
    broken.clear()
    stop_during(3, signal.SIGTERM)
    with pytest.raises(SystemExit):
        train(examples, manifest, stopped)
    pd.testing.assert_frame_equal(train(examples, manifest, stopped), wanted, check_exact=True)
    assert weights(stopped) == weights(whole)


# --- interrupted runs -------------------------------------------------------------------------------------


@pytest.fixture
def micro_batches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one with every forward and backward pass."""
    passes, original = [], sft._Trainer.training_step

    def training_step(trainer, *args, **kwargs):
        passes.append(trainer.state.global_step)
        return original(trainer, *args, **kwargs)

    monkeypatch.setattr(sft._Trainer, "training_step", training_step)
    return passes


def train_and_die_while_saving(threads: str, manifest: str, folder: str) -> None:
    """Body of a process that SIGKILLs itself half-way through writing the state of its second checkpoint."""
    torch.set_num_threads(int(threads))
    checkpoints.SAVING_SHARE = float("inf")
    write_state = TrainerState.save_to_json

    def write_half_and_die(state: TrainerState, path: str) -> None:
        write_state(state, path)
        if state.global_step == 2:
            text = Path(path).read_text()
            Path(path).write_text(text[: len(text) // 2])
            os.kill(os.getpid(), signal.SIGKILL)

    TrainerState.save_to_json = write_half_and_die
    train(some_examples(), Path(manifest), Path(folder), checkpoint_seconds=0)


def test_a_run_killed_while_saving_ends_with_the_same_bytes(examples, manifest, uninterrupted, tmp_path, micro_batches):
    words = [str(torch.get_num_threads()), str(manifest), str(tmp_path)]
    process = forks.call("test_sft:train_and_die_while_saving", *words, folder=tmp_path)
    output, _ = process.communicate()
    assert process.returncode == -signal.SIGKILL, output
    assert {path.name for path in tmp_path.glob("work/*/*")} == {"checkpoint-1", "checkpoint-2"}
    assert not (tmp_path / "out").exists()
    continued = train(examples, manifest, tmp_path)
    assert micro_batches == [1, 1, 2, 2, 3, 3, 4, 4]  # from the first checkpoint, the only whole one
    pd.testing.assert_frame_equal(continued, uninterrupted[0], check_exact=True)
    assert weights(tmp_path) == weights(uninterrupted[1])


@pytest.fixture
def stop_during(monkeypatch: pytest.MonkeyPatch):
    """Sends a signal to this process when the given optimizer step of a run begins."""

    def arrange(step: int, number: signal.Signals) -> None:
        original = sft._Trainer.training_step

        def training_step(trainer, *args, **kwargs):
            if trainer.state.global_step == step - 1:
                os.kill(os.getpid(), number)
            return original(trainer, *args, **kwargs)

        monkeypatch.setattr(sft._Trainer, "training_step", training_step)

    return arrange


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_stopped_run_saves_its_step_and_continues_to_the_same_bytes(
    examples, manifest, uninterrupted, tmp_path, micro_batches, stop_during, number
):
    handler = signal.getsignal(number)
    stop_during(3, number)
    with pytest.raises(SystemExit) as stopped:
        train(examples, manifest, tmp_path)
    assert stopped.value.code == 75
    assert signal.getsignal(number) is handler
    assert [path.name for path in tmp_path.glob("work/*/*")] == ["checkpoint-3"]
    assert not (tmp_path / "out").exists()
    continued = train(examples, manifest, tmp_path)
    assert micro_batches == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]  # none twice
    pd.testing.assert_frame_equal(continued, uninterrupted[0], check_exact=True)
    assert weights(tmp_path) == weights(uninterrupted[1])


def test_a_signal_in_the_last_step_does_not_undo_the_end(
    examples, manifest, uninterrupted, tmp_path, micro_batches, stop_during
):
    stop_during(5, signal.SIGTERM)
    finished = train(examples, manifest, tmp_path)
    again = train(examples, manifest, tmp_path)  # from the checkpoint of the last step
    assert len(micro_batches) == 10  # nothing was left to train
    pd.testing.assert_frame_equal(finished, uninterrupted[0], check_exact=True)
    pd.testing.assert_frame_equal(again, uninterrupted[0], check_exact=True)
    assert weights(tmp_path) == weights(uninterrupted[1])


def test_a_changed_run_does_not_continue_from_another_ones_checkpoint(
    examples, manifest, tmp_path, stop_during, upgrade, monkeypatch
):
    stop_during(1, signal.SIGTERM)
    for changes in [{}, {"seed": 4}, {"run": SftRun("guided", 2e-2)}]:
        with pytest.raises(SystemExit):
            train(examples, manifest, tmp_path, **changes)
    with pytest.raises(SystemExit):
        train(examples[1:], manifest, tmp_path)
    upgrade("accelerate")
    with pytest.raises(SystemExit):
        train(examples, manifest, tmp_path)
    monkeypatch.setenv(processes.SHARED_BY, "{}")
    with pytest.raises(SystemExit):
        train(examples, manifest, tmp_path)
    assert len(list(tmp_path.glob("work/*/checkpoint-1"))) == 6


# --- checkpoints ------------------------------------------------------------------------------------------


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A folder with four whole checkpoints, steps 8 to 11."""
    for step in (8, 9, 10, 11):
        for name in ("model.safetensors", "optimizer.pt", "pytorch_model_fsdp_0/__0_0.distcp", "trainer_state.json"):
            write_text(tmp_path / f"checkpoint-{step}" / name, f"{name} of step {step}")
        write_digests(tmp_path / f"checkpoint-{step}")
    return tmp_path


def test_of_whole_checkpoints_the_newest_is_kept(saved, caplog):
    assert newest_whole(saved) == saved / "checkpoint-11" and not caplog.messages
    assert [path.name for path in saved.iterdir()] == ["checkpoint-11"]
    assert newest_whole(saved / "nowhere") is None


@pytest.mark.parametrize("damage", [flip, cut, empty, Path.unlink])
@pytest.mark.parametrize(
    "name",
    ["model.safetensors", "optimizer.pt", "pytorch_model_fsdp_0/__0_0.distcp", "trainer_state.json", "digests.json"],
)
def test_a_checkpoint_with_a_damaged_file_is_passed_over_and_deleted(saved, caplog, name, damage):
    damage(saved / "checkpoint-11" / name)
    (saved / "checkpoint-10" / "digests.json").unlink()  # killed while it was saved
    assert newest_whole(saved) == saved / "checkpoint-9"
    assert [path.name for path in saved.iterdir()] == ["checkpoint-9"]
    first, second = caplog.messages[0].split("; ", 1)
    found = "missing" if damage is Path.unlink else "damaged"
    if name != "digests.json":
        assert first == f"{saved}/checkpoint-11: {name} is {found}"
    assert second == f"{saved}/checkpoint-10: it was not saved to its end; training goes on from checkpoint-9"


@pytest.mark.parametrize(("recorded", "kept"), [(11, 11), (10, 10), (9, 9), (7, None), (0, None)])
def test_a_checkpoint_beyond_what_is_recorded_is_passed_over(saved, caplog, recorded, kept):
    found = newest_whole(saved, recorded)
    assert found == (kept and saved / f"checkpoint-{kept}")
    assert bool(caplog.messages) == (kept != 11)
    assert all("whole up to step" in told for told in caplog.messages)
    assert kept or caplog.messages[0].endswith("training goes on from the start")


def test_a_run_with_a_damaged_checkpoint_ends_with_the_same_bytes(
    examples, manifest, uninterrupted, tmp_path, micro_batches, stop_during, monkeypatch
):
    monkeypatch.setattr(checkpoints, "SAVING_SHARE", float("inf"))  # one at every step
    unstopped = sft._Trainer.training_step
    stop_during(3, signal.SIGTERM)
    with pytest.raises(SystemExit):
        train(examples, manifest, tmp_path, checkpoint_seconds=0)
    monkeypatch.setattr(sft._Trainer, "training_step", unstopped)
    (weights_of_newest,) = tmp_path.glob("work/*/checkpoint-3/model.safetensors")
    flip(weights_of_newest)
    continued = train(examples, manifest, tmp_path)
    assert micro_batches == [0, 0, 1, 1, 2, 2, 2, 2, 3, 3, 4, 4]  # the third step twice
    pd.testing.assert_frame_equal(continued, uninterrupted[0], check_exact=True)
    assert weights(tmp_path) == weights(uninterrupted[1])


def test_saving_takes_a_bounded_share_of_the_time(monkeypatch, tmp_path):
    """With saves of 10 s and a share of 5 %, the next one waits for 200 s."""
    args = TrainingArguments(output_dir=str(tmp_path))
    clock = iter([0, 20, 31, 41, 200, 241])
    monkeypatch.setattr(checkpoints.time, "monotonic", lambda: next(clock))
    callback, state, saves = CheckpointCallback(seconds=30), TrainerState(max_steps=9), []
    for step in (1, 2, 3, 4):
        state.global_step, control = step, TrainerControl()
        callback.on_step_end(None, state, control)
        if control.should_save:
            saves.append(step)
            if step == 2:
                callback.on_save(args, state, control)
    assert saves == [2, 4]


def test_a_failed_save_leaves_the_former_model_whole(manifest, tmp_path, monkeypatch):
    tokenizer, model = models.load_tokenizer(manifest), models.load_model(manifest)
    save_model(model, tokenizer, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full_disk(*args, **kwargs):
        raise OSError("no space left on device")

    monkeypatch.setattr(transformers.PreTrainedTokenizerBase, "save_pretrained", full_disk)
    torch.nn.init.zeros_(model.lm_head.weight)
    with pytest.raises(OSError, match="no space left"):
        save_model(model, tokenizer, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
