"""Whole on-policy runs: tables and models, kills and stops, seeds, the teacher, and steps without success."""

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from unittest.mock import Mock
from zlib import crc32

import forks
import pandas as pd
import pytest
import torch
from damages import cut, flip
from selfdistill import models, processes, tables
from selfdistill.errors import UserError
from selfdistill.files import sha256_file
from selfdistill.generation import Sampling, traces
from selfdistill.prompts import sdpo_reprompt
from selfdistill.training import checkpoints, methods, onpolicy, sdpo
from selfdistill.training.metrics import ON_POLICY_METRICS
from selfdistill.training.prompt_stream import prompt_stream
from selfdistill.training.settings import OnPolicySettings, Run
from selfdistill.training.trainer import PHASES, OnPolicyTrainer
from tiny import problems_of
from transformers import PreTrainedModel

STEPS, PROMPTS, ROLLOUTS = 4, 2, 4
SETTINGS = {
    "checkpoint_steps": [2, 4], "steps": STEPS, "batch_size": PROMPTS, "rollouts": ROLLOUTS, "micro_batch_size": 2,
    "warmup_steps": 1, "sdpo": {"max_teacher_tokens": 60},
}  # fmt: skip
FIXED = Run("m", "sdpo", 1e-2, context="solution")
ARMS = {
    "grpo": Run("m", "grpo", 1e-2),
    "sdpo": FIXED,
    "sdpo-ema": Run("m", "sdpo", 1e-2, context="solution", teacher_update_rate=0.05),
    "sdpo-without-thinking": Run("m", "sdpo", 1e-2, context="solution_without_thinking", top_k=5),
}
PROBLEMS = problems_of([f"Find {letter} with {letter} = {n} ." for n, letter in enumerate("abcdefgh")])
# What only one of the methods has.
OF_GRPO = {"clip_ratio/low_mean", "clip_ratio/high_mean"}
OF_DEMONSTRATIONS = {"shortened_demonstrations", "empty_demonstrations", "divergence"}
OF_SDPO = {*OF_DEMONSTRATIONS, "importance_ratio", "importance_ratio_truncated"}


@dataclass
class Finished:
    """What a run has left."""

    metrics: pd.DataFrame
    seconds: pd.DataFrame
    rollouts: pd.DataFrame
    folder: Path
    trainer: OnPolicyTrainer

    def table(self) -> pd.DataFrame:
        return self.metrics.pivot(index="step", columns="metric", values="value")

    def weights(self, step: int = STEPS) -> bytes:
        return (self.folder / "out" / f"step-{step}" / "model.safetensors").read_bytes()

    def digests(self) -> list[str]:
        """Of everything that equal runs have in common; short, so that a failure is told at once."""
        for table, kind in ((self.metrics, tables.TRAINING_STEPS), (self.rollouts, tables.TRACES)):
            tables.write(table, self.folder / kind.name, kind)
        models_of_steps = sorted(self.folder.glob("out/step-*/*.safetensors"))
        written = [*models_of_steps, *(self.folder / name for name in ("training_steps", "traces"))]
        return [sha256_file(path) for path in written]


def some_answer(response: str, *, opened: bool) -> str | None:
    """In place of the answer, which a random model never gives: the right one for about every third response."""
    return "7" if crc32(response.encode()) % 3 == 0 else None


def train(
    manifest: Path,
    folder: Path,
    run: Run,
    *,
    problems: pd.DataFrame = PROBLEMS,
    seed: int = 3,
    engine: str = "transformers",
    template: str | None = None,
    system: str = "",
    answer_in: str = "box",
    answers: Callable[..., str | None] = some_answer,
    **changes: object,
) -> Finished:
    """Train in ``folder``; ``changes`` are those of the settings."""
    trainers, original = [], onpolicy.run_to_end

    def run_to_end(trainer: OnPolicyTrainer, **options: object) -> None:
        trainers.append(trainer)
        original(trainer, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onpolicy, "run_to_end", run_to_end)
        patch.setattr(traces, "extract_answer", answers)
        patch.setattr(checkpoints, "SAVING_SHARE", float("inf"))  # a checkpoint at every step
        found = onpolicy.train_onpolicy(
            problems, manifest=manifest, study="s", run=replace(run, seed=seed).plain(),
            settings=OnPolicySettings(**SETTINGS | changes), sampling=Sampling(1.0, max_tokens=16), instruction="so",
            enable_thinking=None, out_dir=folder / "out", work_dir=folder / "work", mirrors=[], checkpoint_seconds=0,
            engine=engine, template=template, system=system, answer_in=answer_in,
        )  # fmt: skip
    return Finished(*found, folder, trainers[0])


@pytest.fixture(scope="module", autouse=True)
def as_before() -> Iterator[None]:
    """One thread, as in the workflow and in the processes below; what a run sets for its process is set back."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)


@pytest.fixture(scope="module")
def finished(manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Finished]:
    """The uninterrupted run of an arm."""
    runs: dict[str, Finished] = {}

    def of(name: str) -> Finished:
        if name not in runs:
            runs[name] = train(manifest, tmp_path_factory.mktemp(name), ARMS[name])
        return runs[name]

    return of


# --- what a run leaves ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ARMS)
def test_a_run_reports_every_metric_of_its_method_at_every_step(finished, name: str, tmp_path: Path):
    run = finished(name)
    tables.write(run.metrics, tmp_path / "steps", tables.TRAINING_STEPS)
    table = tables.read(tmp_path / "steps", tables.TRAINING_STEPS)
    own = OF_GRPO if name == "grpo" else OF_SDPO
    assert set(methods.load(ARMS[name].method).metrics) == own
    assert set(table["metric"]) == {*ON_POLICY_METRICS, *own}
    per_metric = table.groupby("metric")["step"].apply(list)
    taught = table.loc[(table["metric"] == "with_demonstration") & (table["value"] > 0), "step"].tolist()
    for metric, steps in per_metric.items():
        assert steps == (taught if metric in OF_DEMONSTRATIONS else [1, 2, 3, 4]), metric
    assert table["value"].notna().all() and not table["metric"].str.startswith("seconds/").any()
    assert (table["model"] == "m").all() and (table["run"] == replace(ARMS[name], seed=3).plain().id).all()


@pytest.mark.parametrize("name", ["grpo", "sdpo"])
def test_seconds_stand_apart_and_cover_every_phase(finished, name: str):
    seconds = finished(name).seconds
    tables.write(seconds, finished(name).folder / "seconds", tables.TRAINING_STEPS)
    assert set(seconds["metric"]) == {f"seconds/{phase}" for phase in PHASES}
    spent = seconds.groupby("metric")["value"].sum()
    unused = {"seconds/rescoring"} | ({"seconds/teacher"} if name == "grpo" else set())
    assert set(spent[spent == 0].index) == unused


@pytest.mark.parametrize("name", ARMS)
def test_rollouts_are_rows_of_the_traces_table(finished, name: str, tmp_path: Path):
    tables.write(finished(name).rollouts, tmp_path / "traces", tables.TRACES)
    rollouts = tables.read(tmp_path / "traces", tables.TRACES)
    assert len(rollouts) == STEPS * PROMPTS * ROLLOUTS
    assert rollouts[["step", "sample"]].drop_duplicates().shape[0] == len(rollouts)
    assert sorted(rollouts["step"].unique()) == [1, 2, 3, 4]
    assert set(rollouts["sample"]) == set(range(PROMPTS * ROLLOUTS))
    assert rollouts["seed"].is_unique
    groups = rollouts.groupby(["step", rollouts["sample"] // ROLLOUTS])["problem_id"]
    assert (groups.nunique() == 1).all()
    assert 0 < rollouts["correct"].mean() < 1  # else the runs would say nothing about rewards
    assert rollouts["response_tokens"].max() == 16
    cut = rollouts["response_tokens"] == 16
    assert (rollouts.loc[cut, "finish_reason"] == "length").all()
    assert (rollouts.loc[~cut, "finish_reason"] == "stop").all()


def test_problems_come_in_the_order_of_the_prompt_stream_in_every_arm(finished):
    order = prompt_stream(len(PROBLEMS), batch_size=PROMPTS, steps=STEPS, seed=3)
    wanted = [PROBLEMS["problem_id"][number] for number in order for _ in range(ROLLOUTS)]
    for name in ARMS:
        assert finished(name).rollouts.sort_values(["step", "sample"])["problem_id"].tolist() == wanted
    assert len(set(wanted)) == len(PROBLEMS)  # one pass over the set


@pytest.mark.parametrize("name", ARMS)
def test_metrics_are_means_over_the_rollouts_of_the_step(finished, name: str):
    run = finished(name)
    by_step, table = run.rollouts.groupby("step"), run.table()
    for metric, wanted in {
        "score": by_step["correct"].mean(),
        "L": by_step["response_tokens"].mean(),
        "truncated": by_step["finish_reason"].apply(lambda reasons: (reasons == "length").mean()),
        "word_wait": by_step["word_wait"].mean(),
    }.items():
        assert table[metric].tolist() == pytest.approx(wanted.tolist())
    words = [column for column in run.rollouts if column.startswith("word_")]
    assert table["E_word"].tolist() == pytest.approx(by_step[words].sum().sum(axis=1).div(PROMPTS * ROLLOUTS).tolist())
    assert table["rollout_ratio"].tolist() == [1.0] * STEPS  # sampler and trainer are one and the same here
    assert table["learning_rate"].iloc[-1] == 1e-2


@pytest.mark.parametrize("name", ARMS)
def test_demonstrations_are_other_successes_of_the_same_group(finished, name: str):
    run = finished(name)
    shown = run.rollouts[run.rollouts["context_sample"].notna()]
    if name == "grpo":
        assert shown.empty
        return
    right = run.rollouts.set_index(["step", "sample"])["correct"]
    for step, own, other in shown[["step", "sample", "context_sample"]].itertuples(index=False):
        assert own != other and own // ROLLOUTS == other // ROLLOUTS and right[step, other]
    share = run.table()["with_demonstration"]
    counted = shown.groupby("step").size().reindex(share.index, fill_value=0) / (PROMPTS * ROLLOUTS)
    assert share.tolist() == counted.tolist()
    assert 0 < share.mean() < 1


@pytest.mark.parametrize("name", ARMS)
def test_models_are_saved_whole_at_the_checkpoint_steps_only(finished, manifest: Path, name: str):
    run = finished(name)
    assert sorted(path.name for path in run.folder.glob("out/*")) == ["step-2", "step-4"]
    prints = {models.fingerprint(run.folder / "out" / step / "manifest.json") for step in ("step-2", "step-4")}
    assert len(prints | {models.fingerprint(manifest)}) == 3
    saved = models.load_model(run.folder / "out" / "step-4" / "manifest.json").state_dict()
    final = run.trainer.model.state_dict()
    assert all(torch.equal(saved[key], final[key]) for key in final)


def test_the_arms_train_different_models(finished):
    assert len({finished(name).weights() for name in ARMS}) == len(ARMS)


# --- interrupted runs -----------------------------------------------------------------------------------------------
def train_and_die(manifest: str, folder: str, arm: str) -> None:
    """Body of a process that SIGKILLs itself in the second update of step 3."""
    torch.set_num_threads(1)
    original = OnPolicyTrainer.training_step

    def training_step(trainer: OnPolicyTrainer, *arguments: object, **options: object) -> torch.Tensor:
        if trainer.state.global_step == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(trainer, *arguments, **options)

    OnPolicyTrainer.training_step = training_step
    train(Path(manifest), Path(folder), ARMS[arm])


@pytest.fixture
def updates(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Numbers of the optimizer updates that were made."""
    made, original = [], OnPolicyTrainer.training_step

    def training_step(trainer: OnPolicyTrainer, *arguments: object, **options: object) -> torch.Tensor:
        made.append(trainer.state.global_step)
        return original(trainer, *arguments, **options)

    monkeypatch.setattr(OnPolicyTrainer, "training_step", training_step)
    return made


@pytest.fixture(scope="module")
def killed(manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of runs that were killed."""
    folders = {name: tmp_path_factory.mktemp(f"killed-{name}") for name in ("grpo", "sdpo-ema")}
    words = [(str(manifest), str(folder), name) for name, folder in folders.items()]
    function = "test_onpolicy:train_and_die"
    started = [forks.call(function, *own, folder=tmp_path_factory.mktemp("program")) for own in words]
    for process in started:
        output, _ = process.communicate()
        assert process.returncode == -signal.SIGKILL, output
    return folders


@pytest.mark.parametrize("name", ["grpo", "sdpo-ema"])
def test_a_killed_run_continues_to_the_same_bytes(killed, finished, manifest: Path, updates: list[int], name: str):
    folder = killed[name]
    found = {path.name for path in folder.glob("work/*/*/*")}
    assert {"checkpoint-2", "checkpoint-4", "step-2", "step-00003.parquet"} <= found
    assert not (folder / "out").exists()
    continued = train(manifest, folder, ARMS[name])
    assert updates == [4, 5, 6, 7]  # from the end of step 2
    assert continued.digests() == finished(name).digests()


def stop_in_second_step(patch: pytest.MonkeyPatch) -> None:
    """SIGTERM reaches the process while the second step's rollouts are drawn."""
    original = OnPolicyTrainer._roll_out

    def roll_out(trainer: OnPolicyTrainer, *arguments: object) -> dict:
        if trainer.trainer_step == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(trainer, *arguments)

    patch.setattr(OnPolicyTrainer, "_roll_out", roll_out)


@pytest.mark.parametrize("name", ["grpo", "sdpo-ema"])
def test_a_stopped_run_ends_with_status_75_and_continues_to_the_same_bytes(
    finished, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
):
    with monkeypatch.context() as patch:
        stop_in_second_step(patch)
        with pytest.raises(SystemExit) as stopped:
            train(manifest, tmp_path, ARMS[name])
    assert stopped.value.code == 75
    assert not (tmp_path / "out").exists()
    assert max(path.name for path in tmp_path.glob("work/*/checkpoints/*")) == "checkpoint-4"  # step 2 was finished
    assert train(manifest, tmp_path, ARMS[name]).digests() == finished(name).digests()


@pytest.fixture
def place(manifest: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Where a run would keep its checkpoints; nothing is trained."""

    def found(**changes: object) -> Path:
        with monkeypatch.context() as patch:
            taken = Mock(side_effect=InterruptedError)
            patch.setattr(onpolicy, "trainer_arguments", taken)
            with pytest.raises(InterruptedError):
                train(manifest, Path("any"), ARMS["grpo"], **changes)
        return taken.call_args.kwargs["directory"]

    return found


@pytest.mark.parametrize(
    ("package", "engine", "changes"),
    [("trl", "transformers", True), ("vllm", "transformers", False), ("vllm", "vllm", True)],
)
def test_a_run_does_not_continue_from_checkpoints_of_another_version(place, upgrade, package, engine, changes):
    before = place(engine=engine)
    assert place(engine=engine) == before
    upgrade(package)
    assert (place(engine=engine) != before) is changes


def test_a_run_does_not_continue_from_checkpoints_of_processes_that_shared_the_work_otherwise(place, monkeypatch):
    """Checkpoints of sharded weights are of another form."""
    alone = place()
    monkeypatch.setenv(processes.SHARED_BY, '{"distributed_type": "FSDP"}')
    assert place() != alone


@pytest.mark.parametrize(
    ("name", "damage"), [("rollouts/step-00002.parquet", cut), ("models/step-2/model.safetensors", flip)]
)
def test_a_step_whose_rollouts_or_model_are_damaged_is_trained_again(
    finished, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog, updates: list[int], name, damage
):
    with monkeypatch.context() as patch:
        stop_in_second_step(patch)
        with pytest.raises(SystemExit):
            train(manifest, tmp_path, ARMS["grpo"])
    (damaged,) = tmp_path.glob(f"work/*/{name}")
    damage(damaged)
    updates.clear()
    assert train(manifest, tmp_path, ARMS["grpo"]).digests() == finished("grpo").digests()
    assert updates[0] == 2  # from the end of step 1
    assert "what the run has recorded is whole up to step 2 only; training goes on from checkpoint-2" in caplog.text


def test_a_finished_run_called_again_only_hands_out_its_results(finished, manifest: Path, updates: list[int]):
    run = finished("sdpo-ema")
    before = run.digests()
    updates.clear()  # those of the run itself, where no earlier test has asked for it
    assert train(manifest, run.folder, ARMS["sdpo-ema"]).digests() == before
    assert set(updates) <= {6, 7}  # of the last step at most: the end of a run needs no checkpoint


# --- the teacher ----------------------------------------------------------------------------------------------------
def parameters(manifest: Path) -> dict[str, torch.Tensor]:
    return dict(models.load_model(manifest).named_parameters())


@pytest.mark.parametrize("name", ["sdpo", "sdpo-without-thinking"])
def test_a_fixed_teacher_is_the_initial_model_to_the_end(finished, manifest: Path, name: str):
    trainer = finished(name).trainer
    initial, taught = parameters(manifest), dict(trainer.method.teacher.named_parameters())
    assert taught.keys() == initial.keys()
    assert all(torch.equal(taught[key], initial[key]) for key in initial)
    assert not any(torch.equal(weight, initial[key]) for key, weight in trainer.model.named_parameters())


def test_a_moving_teacher_follows_the_policy_once_per_step(manifest: Path, tmp_path: Path):
    run = train(manifest, tmp_path, ARMS["sdpo-ema"], checkpoint_steps=[1, 2, 3, 4])
    wanted = {key: weight.detach().double() for key, weight in parameters(manifest).items()}
    for step in (1, 2, 3, 4):
        policy = parameters(tmp_path / "out" / f"step-{step}" / "manifest.json")
        wanted = {key: 0.95 * weight + 0.05 * policy[key].detach() for key, weight in wanted.items()}
    for key, weight in run.trainer.method.teacher.named_parameters():
        assert torch.allclose(weight.double(), wanted[key], rtol=0, atol=1e-6), key
        assert (weight - policy[key]).abs().max() > 1e-3  # it has not caught up


# --- seeds and small training sets ----------------------------------------------------------------------------------
def test_equal_seeds_give_equal_bytes_and_another_seed_gives_other_rollouts(finished, manifest: Path, tmp_path: Path):
    first = finished("sdpo")
    again = train(manifest, tmp_path / "again", FIXED)
    drawn = again.trainer.step_in_hand.rollouts["seed"]
    assert drawn.dtype == "uint64"  # another process's seeds are joined to it, digit by digit
    other = train(manifest, tmp_path / "other", FIXED, seed=4)
    assert again.digests() == first.digests()
    assert not set(other.rollouts["seed"]) & set(first.rollouts["seed"])
    texts = [list(run.rollouts.sort_values(["step", "sample"])["response"]) for run in (first, other)]
    assert sum(a == b for a, b in zip(*texts, strict=True)) < len(texts[0]) / 4


@pytest.mark.parametrize("name", ["grpo", "sdpo"])
def test_copies_of_a_single_problem_are_groups_of_their_own(manifest: Path, tmp_path: Path, name: str):
    run = train(manifest, tmp_path, replace(ARMS[name], problems=1), steps=2, checkpoint_steps=[2])
    assert set(run.rollouts["problem_id"]) == {PROBLEMS["problem_id"][0]}
    assert run.rollouts["seed"].is_unique
    for _, step in run.rollouts.groupby("step"):
        assert len(step) == PROMPTS * ROLLOUTS
        assert step["response"].nunique() > 0.8 * len(step)
        first, second = (set(group["response"]) for _, group in step.groupby(step["sample"] // ROLLOUTS))
        assert first != second
    shown = run.rollouts.dropna(subset="context_sample")
    assert (shown["context_sample"] // ROLLOUTS == shown["sample"] // ROLLOUTS).all()
    assert shown.empty == (name == "grpo")


# --- steps without a success ----------------------------------------------------------------------------------------
@pytest.mark.parametrize(("name", "aggregation"), [("grpo", "authors"), ("sdpo", "token"), ("sdpo-ema", "authors")])
def test_groups_without_success_move_nothing(manifest: Path, tmp_path: Path, name: str, aggregation: str):
    impossible = PROBLEMS.assign(answer="8")
    changes = {"weight_decay": 0.0, "aggregation": aggregation, "steps": 2, "checkpoint_steps": [2]}
    run = train(manifest, tmp_path, ARMS[name], problems=impossible, **changes)
    initial = parameters(manifest)
    assert all(torch.equal(weight, initial[key]) for key, weight in run.trainer.model.named_parameters())
    table = run.table()
    assert not run.rollouts["correct"].any()
    assert table["all_fail"].tolist() == [1, 1] and table["with_demonstration"].tolist() == [0, 0]
    assert table["grad_norm"].tolist() == [0, 0] and table["loss"].tolist() == [0, 0]
    assert not OF_DEMONSTRATIONS & set(table)


# --- gradients that are not finite ----------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["grpo", "sdpo"])
def test_an_update_without_a_finite_gradient_is_skipped_and_counted(
    finished, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog, name: str
):
    """The second update of step 2: its two micro-batches have losses that are infinite, and no number."""
    undisturbed = finished(name).table()  # before the patch, where no earlier test has asked for it
    weights, factors, original = [], iter([float("inf"), float("nan")]), OnPolicyTrainer._compute_loss

    def compute_loss(trainer: OnPolicyTrainer, model: PreTrainedModel, inputs: dict) -> torch.Tensor:
        weights.append([weight.detach().clone() for weight in model.parameters()])
        loss = original(trainer, model, inputs)
        return loss * next(factors) if trainer.state.global_step == 3 else loss

    monkeypatch.setattr(OnPolicyTrainer, "_compute_loss", compute_loss)
    run = train(manifest, tmp_path, ARMS[name])
    before, after, later = (weights[2 * update] for update in (3, 4, 5))
    assert all(map(torch.equal, before, after)) and not all(map(torch.equal, after, later))
    table = run.table()
    assert table["skipped_updates"].tolist() == [0, 1, 0, 0] and not undisturbed["skipped_updates"].any()
    assert table["loss"].isna().tolist() == [False, True, False, False]
    assert table["learning_rate"].equals(undisturbed["learning_rate"])
    assert all(weight.isfinite().all() for weight in run.trainer.model.parameters())
    assert "update 4 is skipped: its gradient is not finite (1 skipped so far)" in caplog.messages


# --- a system turn, and answers between tags --------------------------------------------------------------------------
def test_a_system_turn_stands_in_all_prompts_and_rewards_are_read_where_answers_are_asked_for(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    short = {"steps": 1, "checkpoint_steps": [1]}
    taught, original = [], sdpo.teacher_prompt

    def teacher_prompt(*arguments: object, **options: object) -> object:
        taught.append(original(*arguments, **options))
        return taught[-1]

    monkeypatch.setattr(sdpo, "teacher_prompt", teacher_prompt)
    monkeypatch.setattr(traces, "tagged_answer", some_answer)
    nothing = {"answers": lambda response, opened: None}  # no box anywhere
    plain = train(manifest, tmp_path / "plain", FIXED, **short, **nothing)
    asked = train(manifest, tmp_path / "asked", FIXED, system="so maybe", answer_in="tag", **short, **nothing)
    assert not plain.rollouts["correct"].any() and asked.rollouts["correct"].any()
    assert not set(plain.rollouts["prompt_sha256"]) & set(asked.rollouts["prompt_sha256"])
    texts = models.load_tokenizer(manifest).batch_decode([list(prompt.token_ids) for prompt in taught])
    assert texts and all("so maybe" in text for text in texts)


# --- a context of one's own ---


def test_the_authors_words_as_a_template_train_the_same_model(manifest, tmp_path):
    words = sdpo_reprompt("{problem}", "{solution}")
    built_in = train(manifest, tmp_path / "solution", FIXED, steps=2, checkpoint_steps=[2])
    own = train(
        manifest, tmp_path / "own", replace(FIXED, context="own"), template=words, steps=2, checkpoint_steps=[2]
    )
    assert own.weights(2) == built_in.weights(2)
    pd.testing.assert_frame_equal(
        own.rollouts.drop(columns=["run", "setting"]), built_in.rollouts.drop(columns=["run", "setting"])
    )
    assert set(own.rollouts["run"]) == {"sdpo-own-train-lr0.01-k100-seed3"}


def test_a_template_without_a_solution_teaches_where_nobody_was_right(manifest, tmp_path):
    nobody = {"answers": lambda response, opened: None, "steps": 1, "checkpoint_steps": [1], "weight_decay": 0.0}
    silent = train(manifest, tmp_path / "silent", FIXED, **nobody)
    told = train(
        manifest, tmp_path / "told", replace(FIXED, context="hint"), template="{problem} It is {answer} .", **nobody
    )
    assert not told.rollouts["correct"].any() and told.rollouts["context_sample"].isna().all()
    assert silent.weights(1) == (manifest.parent / "model.safetensors").read_bytes() != told.weights(1)
    assert told.table()["divergence"].gt(0).all() and (told.table()["empty_demonstrations"] == 0).all()


def test_a_context_without_its_template_is_refused(manifest, tmp_path):
    with pytest.raises(UserError, match="the context 'hint' needs its template; those without one: solution, sol"):
        train(manifest, tmp_path, replace(FIXED, context="hint"))


def test_vllm_is_started_from_the_files_of_the_commit_that_is_trained(manifest: Path, tmp_path: Path, monkeypatch):
    """TRL names it the model, and no commit: by a repository's name it would look for the newest."""
    asked = {}

    class Asked(Exception):
        pass

    def made(**options: object) -> None:
        asked.update(options)
        raise Asked

    monkeypatch.setattr(onpolicy, "OnPolicyTrainer", made)
    monkeypatch.setattr(models, "folder_of", lambda path: tmp_path if path == manifest else None)
    with pytest.raises(Asked):
        onpolicy.train_onpolicy(
            PROBLEMS, manifest=manifest, study="s", run=ARMS["grpo"], settings=OnPolicySettings(**SETTINGS),
            sampling=Sampling(1.0, max_tokens=16), instruction="so", enable_thinking=None, out_dir=tmp_path / "out",
            work_dir=tmp_path / "work", mirrors=[], engine="vllm",
        )  # fmt: skip
    assert asked["model"].name_or_path == str(tmp_path)
