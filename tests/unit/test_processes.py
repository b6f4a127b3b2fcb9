"""Two processes that train together do what one does: same losses, same rollouts, same demonstrations."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import forks
import pandas as pd
import pytest
from processes_driver import PROBLEMS
from safetensors.torch import load_file
from selfdistill import processes, tables
from selfdistill.errors import UserError
from selfdistill.training.settings import OnPolicySettings, SftSettings

DRIVER = Path(__file__).with_name("processes_driver.py")
ALONE = [dict(os.environ)]
CONFIGURATIONS = {
    "ddp": "distributed_type: MULTI_GPU\n",
    "fsdp2": """distributed_type: FSDP
fsdp_config:
  fsdp_version: 2
  fsdp_auto_wrap_policy: TRANSFORMER_BASED_WRAP
  fsdp_reshard_after_forward: true
  fsdp_cpu_ram_efficient_loading: false
""",
}
COMMON = "compute_environment: LOCAL_MACHINE\nnum_machines: 1\nnum_processes: 2\nmixed_precision: 'no'\nuse_cpu: true\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the examples that fine-tuning reads, and accelerate's configurations."""
    folder = tmp_path_factory.mktemp("processes")
    examples = pd.DataFrame(
        {
            "prompt": [[{"role": "user", "content": text}] for text in PROBLEMS["problem"]] * 3,
            "completion": [[{"role": "assistant", "content": "wait maybe " + "7 " * (n % 9)}] for n in range(24)],
            "problem_id": [*PROBLEMS["problem_id"]] * 3,
            "sample": range(24),
            "correct": True,
            "finish_reason": "stop",
            "response_tokens": 3,
            "E_substring": 2,
            "E_word": 2,
        }
    )
    tables.write(examples, folder / "examples.parquet", tables.SFT_EXAMPLES)
    for name, text in CONFIGURATIONS.items():
        (folder / f"{name}.yaml").write_text(COMMON + text)
    return folder


def start(environments: list[dict], manifest: Path, runs: list[tuple[str, Path, dict]]) -> list[forks.Fork]:
    """Processes that do ``runs`` together, one after the other: name, folder, and what differs in its settings."""
    for _, out, _ in runs:
        out.mkdir(exist_ok=True)
    told = json.dumps([(name, str(out), changes) for name, out, changes in runs])
    command, options = [str(DRIVER), str(manifest), told], {"cwd": runs[0][1], "packages": forks.TRAINING}
    return [forks.start(command, env=environment, **options) for environment in environments]


def finish(processes: list[forks.Fork]) -> list[int]:
    output = [process.communicate()[0] for process in processes]
    codes = [process.returncode for process in processes]
    assert set(codes) <= {0, 75}, "\n".join(output)
    return codes


def found(name: str, out: Path) -> tuple[pd.DataFrame, dict, pd.DataFrame | None]:
    """Metrics by step, weights and rollouts of a run."""
    steps = tables.read(out / "steps.parquet", tables.TRAINING_STEPS).pivot(
        index="step", columns="metric", values="value"
    )
    weights = load_file(next(out.glob("out/**/model.safetensors")))
    rollouts = None if name == "sft" else tables.read(out / "rollouts.parquet", tables.TRACES)
    return steps, weights, rollouts


RUNS = {
    "ddp": [
        ("grpo", {}),
        ("sdpo", {"aggregation": "token", "batch_size": 1, "rollouts": 8}),  # one group, half of it elsewhere
        ("sdpo", {"batch_size": 4, "micro_batch_tokens": 60, "breaks": 3}),
        ("sdpo_summed", {"micro_batch_size": 1}),  # two passes of the policy before one backward pass
    ],
    "fsdp2": [
        ("sft", {"breaks": 2}),
        ("grpo", {"draws_from_base": True, "aggregation": "token", "micro_batch_tokens": 60}),
        ("sdpo-ema", {"draws_from_base": True}),
        # The gate may open after five steps.
        ("sdpo_ascended", {"draws_from_base": True, "batch_size": 4, "steps": 6, "checkpoint_steps": [6]}),
    ],
}


@pytest.fixture(scope="module", params=RUNS)
def trained(request: pytest.FixtureRequest, folder: Path, manifest: Path) -> tuple[str, Path, Path]:
    """What trains in several processes, and its `RUNS` in one process and in two: a folder for each by its number."""
    how = request.param
    environments = processes.environments_of(folder / f"{how}.yaml")
    assert len(environments) == 2 and environments[1]["RANK"] == "1"
    places = folder / f"{how}-1", folder / f"{how}-2"
    for place, those in zip(places, (ALONE, environments), strict=True):
        place.mkdir()
        (place / "examples.parquet").symlink_to(folder / "examples.parquet")
        finish(start(those, manifest, [(name, place / str(n), changes) for n, (name, changes) in enumerate(RUNS[how])]))
    return how, *places


def test_processes_know_what_their_configuration_says_however_it_is_written(folder: Path, monkeypatch):
    def told(name: str) -> str:
        found = []
        for environment in processes.environments_of(folder / name):
            monkeypatch.setenv(processes.SHARED_BY, environment[processes.SHARED_BY])
            found.append(processes.shared_by())
        assert len(found) == 2 and found[0] == found[1]
        return found[0]

    assert processes.shared_by() == "none"
    (folder / "reworded.yaml").write_text(f"# of two\n{CONFIGURATIONS['ddp']}{COMMON}")
    assert told("reworded.yaml") == told("ddp.yaml") != told("fsdp2.yaml")


@pytest.mark.parametrize("number", range(4))
def test_two_processes_follow_the_curve_of_one(trained: tuple[str, Path, Path], number: int):
    how, *places = trained
    name, changes = RUNS[how][number]
    (one, one_weights, one_rollouts), (two, two_weights, two_rollouts) = (
        found(name, place / str(number)) for place in places
    )
    assert (one["loss"] - two["loss"]).abs().max() < 1e-5 and one["loss"].abs().max() > 1e-3
    micro_batches = {"clip_ratio/low_mean", "clip_ratio/high_mean", "mean_token_accuracy", "entropy"} & set(one)
    pd.testing.assert_frame_equal(
        one.drop(columns=micro_batches), two.drop(columns=micro_batches), atol=1e-4, rtol=1e-4
    )
    assert max(float((one_weights[key] - two_weights[key]).abs().max()) for key in one_weights) < 1e-4
    assert two["skipped_updates"].sum() == ("breaks" in changes)
    if one_rollouts is not None:
        columns = ["step", "sample", "seed", "problem_id", "response", "correct", "context_sample"]
        pd.testing.assert_frame_equal(one_rollouts[columns], two_rollouts[columns])
    if "rollouts" in changes:  # each process holds four of a group of eight: some successes lie on the other side
        shown = two_rollouts.dropna(subset="context_sample")
        across = shown["sample"] // 4 != shown["context_sample"] // 4
        assert across.any() and not across.all()


def test_a_signal_to_one_process_stops_both_and_they_continue_to_the_same_end(folder, manifest):
    environments = processes.environments_of(folder / "ddp.yaml")
    out = folder / "stopped"
    changes = {"steps": 5, "checkpoint_steps": [5]}
    started = start(environments, manifest, [("sdpo-ema", out, changes)])
    while not list(out.glob("work/*/rollouts/step-00002.parquet")):
        assert started[0].poll() is None
    started[1].send_signal(signal.SIGUSR1)
    assert finish(started) == [75, 75]
    environments = processes.environments_of(folder / "ddp.yaml")
    finish(start(environments, manifest, [("sdpo-ema", out, changes), ("sdpo-ema", folder / "unstopped", changes)]))
    steps, weights, _ = found("sdpo-ema", out)
    wanted, wanted_weights, _ = found("sdpo-ema", folder / "unstopped")
    pd.testing.assert_frame_equal(steps, wanted)
    assert all(weights[key].equal(wanted_weights[key]) for key in weights)


def test_the_launcher_runs_a_stage_in_several_processes_and_one_of_them_writes(folder, manifest):
    out = folder / "launched"
    arguments = [
        "train-sft", "--examples", str(folder / "examples.parquet"), "--model", str(manifest), "--model-name", "m",
        "--run.data", "unguided", "--run.learning-rate", "1e-2", "--settings.batch-size", "8",
        "--settings.micro-batch-size", "2", "--seed", "3",
        "--work-dir", str(out / "work"), "--out", str(out / "manifest.json"), "--out-steps", str(out / "steps.parquet"),
    ]  # fmt: skip
    command = [sys.executable, "-m", "selfdistill.launch", str(folder / "ddp.yaml"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in out.iterdir()} >= {"manifest.json", "steps.parquet", "model.safetensors"}
    assert done.stderr.count("selfdistill train-sft") == 1
    assert not (out / "work").exists()


def test_the_launcher_ends_all_processes_when_one_fails(folder, manifest):
    command = [sys.executable, "-m", "selfdistill.launch", str(folder / "ddp.yaml"), "train-sft", "--examples", "none"]
    assert subprocess.run(command, capture_output=True).returncode == 2
    command[3] = str(folder / "missing.yaml")
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and "missing.yaml: no such accelerate configuration" in done.stderr


def test_a_batch_that_does_not_divide_names_what_would():
    settings = OnPolicySettings(checkpoint_steps=[1], batch_size=6, rollouts=4, micro_batch_size=3)
    assert settings.share(2) == 6
    with pytest.raises(UserError, match=r"\(12\) does not divide among 5 processes; nearest .*: 4 or 6"):
        settings.share(5)
    with pytest.raises(UserError, match=r"micro_batch_size 3 does not divide 4 sequences .*: 2 or 4"):
        OnPolicySettings(checkpoint_steps=[1], batch_size=6, rollouts=4, micro_batch_size=3).share(3)
    with pytest.raises(UserError, match=r"batch_size \(32\) does not divide among 3 processes; nearest .*: 2 or 4"):
        SftSettings().accumulation(3)
