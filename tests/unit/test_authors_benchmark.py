"""benchmarks/authors.py without the authors' code: its stand-in for vLLM samples and counts what our stages do."""

import importlib
import json
import sys
from dataclasses import asdict
from pathlib import Path
from types import ModuleType

import psutil
import pytest
from selfdistill import cli
from selfdistill.generation import Sampling, generate
from selfdistill.generation.contexts import GUIDANCE
from selfdistill.generation.selection import SelectionSettings
from selfdistill.models import load_tokenizer
from selfdistill.training.sft_sets import Collection, SetSizes
from tiny import prompt_of

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
TEXTS = ["Find x with m7 = 0 .", "Find x with l = 3 , i = 0 , j = 1 .", "Find x ."]


@pytest.fixture
def authors(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("authors")


@pytest.fixture
def stand_in(authors: ModuleType) -> ModuleType:
    return sys.modules["vllm_stand_in"]


def test_the_stand_in_samples_what_the_stages_sample(stand_in, manifest, tmp_path, monkeypatch):
    monkeypatch.setenv(stand_in.STREAMS, "solution,regeneration")
    monkeypatch.setenv(stand_in.LOG, str(tmp_path / "log.jsonl"))
    engine = stand_in.LLM(str(manifest.parent), tensor_parallel_size=1, trust_remote_code=True)
    asked = stand_in.SamplingParams(n=3, temperature=0.7, top_p=0.9, top_k=-1, max_tokens=12)
    rounds = [engine.generate(TEXTS, asked) for _ in range(3)]
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    prompts = [prompt_of(load_tokenizer(manifest), text) for text in TEXTS]
    for stream, found, logged in zip(("solution", "regeneration", "regeneration"), rounds, log, strict=True):
        wanted = generate(
            prompts, manifest=manifest, samples=3, sampling=Sampling(0.7, 0.9, 0, 12), seed=0, stream=stream,
            work_dir=tmp_path,
        )  # fmt: skip
        assert [output.text for request in found for output in request.outputs] == wanted["response"].tolist()
        assert logged == {"stream": stream, "tokens": wanted["response_tokens"].sum()}
    assert rounds[0] != rounds[1] == rounds[2]


def test_the_stand_in_refuses_what_it_would_drop(stand_in):
    assert asdict(stand_in.SamplingParams())["top_k"] == 0
    with pytest.raises(TypeError, match="repetition_penalty"):
        stand_in.SamplingParams(repetition_penalty=1.1)


def test_our_side_runs_stages_with_flags_that_they_have(authors, tmp_path):
    steps = authors.Work(tmp_path / "work", tmp_path / "model/manifest.json", tmp_path, "python", 3).own_commands()
    read = [cli.read(command[3:]) for commands in steps.values() for command in commands]
    by_name = {stage.__name__: given for stage, _, given in read}
    assert all(given["guidance"] == GUIDANCE[given["setting"]] for _, _, given in read if "setting" in given)
    assert by_name["select_borderline"]["selection"] == SelectionSettings(8, 0.125, 0.5, target=3, batch=128)
    assert by_name["collect_correct"]["collection"] == Collection(per_problem=8, max_draws=8)
    assert by_name["build_sft_sets"]["sizes"] == SetSizes(responses=24, at_least=1)
    assert by_name["evaluate_model"]["sampler"].sampling == Sampling(1.0, max_tokens=400)


HOLDING = """
import pathlib, time
held = bytearray(60_000_000)
held[::4096] = b"x" * len(held[::4096])
pathlib.Path("held").touch()
while not pathlib.Path("seen").exists():
    time.sleep(0.05)
"""


def test_memory_is_that_of_the_whole_process_tree(authors, tmp_path, monkeypatch):
    """The child holds its memory until it was looked at."""
    look = authors.resident

    def resident(process: psutil.Process) -> int:
        held = (tmp_path / "held").exists()
        found = look(process)
        if held:
            (tmp_path / "seen").touch()
        return found

    monkeypatch.setattr(authors, "resident", resident)
    alone = authors.run([sys.executable, "-c", "import time; time.sleep(0.2)"], tmp_path, {})
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {HOLDING!r}])"
    assert 60 < authors.run([sys.executable, "-c", parent], tmp_path, {}) - alone < 100


def test_a_command_that_fails_ends_the_benchmark_with_its_output(authors, tmp_path):
    with pytest.raises(SystemExit, match=r"(?s)ended with 3.*what was wrong"):
        authors.run([sys.executable, "-c", "print('what was wrong'); raise SystemExit(3)"], tmp_path, {})


def test_a_folder_that_is_no_clone_is_named_with_what_it_lacks(authors, tmp_path):
    for name in authors.SCRIPTS[:3]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(SystemExit, match=r"lacks eval/eval.py, utils/grader.py: git clone https://.*5c51051"):
        authors.checked(tmp_path)
