"""The vLLM engine, for real: the same responses and the same solve rates as from the transformers engine."""

import dataclasses
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from selfdistill import models
from selfdistill.analysis.estimates import estimate
from selfdistill.errors import UserError
from selfdistill.generation import Prompt, Sampling, generate, traces, vllm_engine
from selfdistill.generation.contexts import build_prompts
from selfdistill.problems import ProblemSet, load_problem_set

GREEDY = Sampling(0.0, max_tokens=100)
WARM = Sampling(1.0, max_tokens=100)
SAMPLES = 16


@pytest.fixture(scope="module")
def problems() -> pd.DataFrame:
    return load_problem_set(ProblemSet(source="microcosm", split="narrow_train", size=80))


@pytest.fixture(scope="module")
def prompts(trained: Path, problems: pd.DataFrame) -> list[Prompt]:
    return build_prompts(problems, models.load_tokenizer(trained), instruction="", enable_thinking=None, contexts=None)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("work")


def sample(trained: Path, prompts: list[Prompt], work: Path, engine: str, sampling: Sampling, samples: int, **options):
    request = {"manifest": trained, "samples": samples, "sampling": sampling, "seed": 1, "stream": "test"}
    return generate(prompts, work_dir=work, engine=engine, **request | options)


@pytest.fixture(scope="module")
def both(trained: Path, prompts: list[Prompt], work: Path):
    """Tables of the two engines for one request, sampled once."""
    found: dict[tuple, pd.DataFrame] = {}

    def get(engine: str, sampling: Sampling, samples: int) -> pd.DataFrame:
        key = engine, sampling, samples
        if key not in found:
            found[key] = sample(trained, prompts, work, engine, sampling, samples)
        return found[key]

    return get


def solve_rates(table: pd.DataFrame, problems: pd.DataFrame) -> pd.Series:
    labels = {"study": "s", "model": "m", "run": "base", "stage": "evaluation", "setting": "x", "step": None}
    graded = traces.annotate(table, problems, **labels, opened=False)
    return graded.groupby("problem_id", sort=True)["correct"].mean()


def difference(rates: pd.Series, others: pd.Series) -> tuple[float, float]:
    """The 99 % interval, over problems, of the paired difference."""
    found = estimate({"": rates - others}, confidence=0.99)
    return found.low, found.high


def test_greedy_responses_are_identical_token_by_token(both, prompts: list[Prompt]):
    ours, theirs = (both(engine, GREEDY, 1) for engine in ("transformers", "vllm"))
    assert len(theirs) == len(prompts) >= 64
    assert theirs["response"].tolist() == ours["response"].tolist()
    assert theirs["response_tokens"].tolist() == ours["response_tokens"].tolist()
    assert theirs["finish_reason"].tolist() == ours["finish_reason"].tolist()
    assert theirs["response"].nunique() > 30 and set(theirs["finish_reason"]) >= {"stop"}


def test_several_greedy_samples_are_equal_in_both_engines(trained: Path, prompts: list[Prompt], work: Path):
    ours, theirs = (sample(trained, prompts[:4], work, engine, GREEDY, 3) for engine in ("transformers", "vllm"))
    assert theirs["response"].tolist() == ours["response"].tolist()
    assert len(theirs) == 12 and (theirs.groupby("problem_id")["response"].nunique() == 1).all()


def test_what_vllm_refuses_is_told_in_a_sentence(trained: Path, prompts: list[Prompt], tmp_path: Path, monkeypatch):
    """vLLM takes no top-p of 2 and no float33."""
    sampling = dataclasses.replace(WARM)
    object.__setattr__(sampling, "top_p", 2.0)  # which our own check would refuse
    with pytest.raises(UserError, match=r"^vLLM cannot sample: VLLMValidationError: top_p must be"):
        sample(trained, prompts[:1], tmp_path, "vllm", sampling, 2)
    monkeypatch.setattr(vllm_engine, "_cpu_options", lambda: {"dtype": "float33"})
    with pytest.raises(UserError, match=r"^vLLM cannot start: \w+: .*float33") as told:
        vllm_engine.VllmEngine(trained, max_model_len=128)
    assert "\n" not in str(told.value)


def test_solve_rates_agree_and_a_wrong_temperature_would_show(both, problems: pd.DataFrame):
    """The interval of the paired difference over problems holds 0 for equal settings, and does not for others."""
    ours, theirs = (solve_rates(both(engine, WARM, SAMPLES), problems) for engine in ("transformers", "vllm"))
    low, high = difference(theirs, ours)
    print(f"solve rate: transformers {ours.mean():.3f}, vllm {theirs.mean():.3f}, difference [{low:.3f}, {high:.3f}]")
    assert 0.05 < ours.mean() < 0.95
    assert low <= 0 <= high and high - low < 0.15
    hot = solve_rates(both("vllm", Sampling(2.0, max_tokens=100), SAMPLES), problems)
    low, high = difference(hot, ours)
    assert high < 0


def test_lengths_agree(both):
    ours, theirs = (
        both(engine, WARM, SAMPLES)["response_tokens"].to_numpy(dtype=float) for engine in ("transformers", "vllm")
    )
    spread = np.sqrt(ours.var() / len(ours) + theirs.var() / len(theirs))
    assert abs(ours.mean() - theirs.mean()) < 4 * spread


def test_samples_differ_and_a_cut_response_has_no_end(both, trained: Path, prompts: list[Prompt], work: Path):
    warm = both("vllm", WARM, SAMPLES)
    assert warm.groupby("problem_id")["response"].nunique().mean() > SAMPLES / 3
    short = sample(trained, prompts[:8], work, "vllm", Sampling(1.0, max_tokens=5), 8)
    assert set(short["finish_reason"]) == {"length"} and set(short["response_tokens"]) == {5}
    tokenizer = models.load_tokenizer(trained)
    assert not warm["response"].str.contains(tokenizer.eos_token, regex=False).any()


def test_top_k_and_top_p_are_obeyed(both, trained: Path, prompts: list[Prompt], work: Path):
    greedy = both("vllm", GREEDY, 1)["response"].tolist()[:16]
    for sampling in (Sampling(1.0, top_k=1, max_tokens=100), Sampling(1.0, top_p=1e-6, max_tokens=100)):
        assert sample(trained, prompts[:16], work, "vllm", sampling, 1)["response"].tolist() == greedy


def test_a_shard_is_the_same_whatever_was_sampled_before(trained: Path, prompts: list[Prompt], tmp_path: Path):
    """On a CPU, where a call as a whole has a seed: later samples alone equal those sampled after the first."""
    all_at_once = sample(trained, prompts[:4], tmp_path / "a", "vllm", WARM, 16)
    later = sample(trained, prompts[:4], tmp_path / "b", "vllm", WARM, 16, first_sample=8)
    known = all_at_once[all_at_once["sample"] >= 8].reset_index(drop=True)
    pd.testing.assert_frame_equal(later, known)
    first = all_at_once[all_at_once["sample"] < 8]
    assert (first["response"].to_numpy() != known["response"].to_numpy()).any()


KILLED = """
    import os, signal, sys
    from pathlib import Path
    from selfdistill import models
    from selfdistill.generation.contexts import build_prompts
    from selfdistill.generation import Sampling, generate, progress, shards
    from selfdistill.problems import ProblemSet, load_problem_set

    class Killing(progress.Bar):
        def finished(self, responses, tokens):
            os.kill(os.getpid(), signal.SIGKILL)

    if __name__ == "__main__":
        shards.ROWS, manifest = 64, Path(sys.argv[1])
        if sys.argv[3] == "kill":
            progress.Bar = Killing
        problems = load_problem_set(ProblemSet(source="microcosm", split="narrow_train", size=32))
        tokenizer = models.load_tokenizer(manifest)
        prompts = build_prompts(problems, tokenizer, instruction="", enable_thinking=None, contexts=None)
        table = generate(
            prompts, manifest=manifest, samples=8, sampling=Sampling(1.0, max_tokens=100), seed=1, stream="s",
            work_dir=Path(sys.argv[2]), engine="vllm",
        )
        table.to_parquet(Path(sys.argv[2]) / "table.parquet")
"""


def test_a_killed_call_continues_with_the_missing_shards(trained: Path, tmp_path: Path):
    script = tmp_path / "killed.py"
    script.write_text(textwrap.dedent(KILLED))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}

    def run(work: str, how: str) -> int:
        command = [sys.executable, str(script), str(trained), str(tmp_path / work), how]
        return subprocess.run(command, env=environment, stderr=subprocess.DEVNULL).returncode

    assert run("work", "kill") == -signal.SIGKILL
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "work").glob("*/*.parquet")}
    assert len(before) == 1
    assert run("work", "finish") == 0
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "work").glob("*/*.parquet")}
    assert after.items() >= before.items() and len(after) == 4
    assert run("whole", "finish") == 0
    tables = [pd.read_parquet(tmp_path / name / "table.parquet") for name in ("work", "whole")]
    pd.testing.assert_frame_equal(*tables)
