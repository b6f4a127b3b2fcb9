"""Engines beside one another: who imports vLLM, what it is asked for, and that it is held one at a time."""

import os
import re
import signal
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from selfdistill import models
from selfdistill.code_digest import reachable
from selfdistill.errors import UserError
from selfdistill.generation import Sampling, generate, requests, shards, vllm_engine
from selfdistill.generation.requests import Completion, Row
from tiny import prompt_of, save_tiny_model

PACKAGE = Path(shards.__file__).parents[1]


class Output:
    def __init__(self, index: int, token_ids: list[int]):
        self.index, self.token_ids = index, token_ids


class VLLMError(Exception):
    """The base class of vLLM's own errors: no `ValueError`."""


class PretendedParameters(types.SimpleNamespace):
    """Refuses what vLLM's SamplingParams refuse."""

    def __init__(self, **options: object):
        super().__init__(**options)
        if self.temperature == 0 and self.n > 1:
            raise VLLMError(f"n must be 1 when using greedy sampling, got {self.n}.")


class PretendedLLM:
    """Takes what vLLM 0.30 takes; answers sample i of a request with i + 1 tokens, every other one with an end."""

    made: ClassVar[list["PretendedLLM"]] = []

    def __init__(self, **options: object):
        self.options, self.asked, self.open = options, [], True
        self.llm_engine = types.SimpleNamespace(engine_core=types.SimpleNamespace(shutdown=self.shut))
        PretendedLLM.made.append(self)

    def shut(self) -> None:
        self.open = False

    def generate(self, prompts: list[dict], parameters: list, use_tqdm: bool = True) -> list:
        self.asked += list(zip(prompts, parameters, strict=True))
        answers = []
        for parameter in parameters:
            outputs = [Output(i, [6] * (i + 1) + [parameter.stop_token_ids[0]] * (i % 2)) for i in range(parameter.n)]
            answers.append(types.SimpleNamespace(outputs=outputs[::-1]))  # in no order to rely on
        return answers


@pytest.fixture
def vllm(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[PretendedLLM]]:
    """A module in place of vLLM, on a machine with a GPU."""
    before = signal.getsignal(signal.SIGTERM)
    module = types.ModuleType("vllm")
    module.LLM, module.SamplingParams = PretendedLLM, PretendedParameters
    module.exceptions = types.ModuleType("vllm.exceptions")
    module.exceptions.VLLMError = VLLMError
    monkeypatch.setitem(sys.modules, "vllm", module)
    monkeypatch.setitem(sys.modules, "vllm.exceptions", module.exceptions)
    monkeypatch.setattr(requests, "find_spec", lambda name: module)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(shards, "_holder", shards.EngineHolder())
    monkeypatch.setattr(PretendedLLM, "made", [])
    yield PretendedLLM
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("tiny"), max_position_embeddings=2000)


def sample(manifest: Path, work: Path, samples: int = 8, *, length: int = 3, tokens: int = 40, **options: object):
    tokenizer = models.load_tokenizer(manifest)
    prompts = [prompt_of(tokenizer, f"Find {letter} " + "a " * length) for letter in "abc"]
    request = {"samples": samples, "sampling": Sampling(0.6, 0.95, 20, tokens), "seed": 1, "stream": "s"}
    return generate(prompts, manifest=manifest, work_dir=work, engine="vllm", **request | options)


def test_vllm_is_imported_by_its_engine_alone():
    importing = [
        path.name
        for path in PACKAGE.rglob("*.py")
        if re.search(r"^\s*(import|from) vllm", path.read_text(), re.MULTILINE)
    ]
    assert importing == ["vllm_engine.py"]


def test_an_unknown_engine_names_those_there_are(manifest: Path, tmp_path: Path):
    with pytest.raises(UserError, match="unknown engine 'vlm' \\(did you mean 'vllm'\\?\\); known: transformers, vllm"):
        generate(
            [],
            manifest=manifest,
            samples=1,
            sampling=Sampling(1.0),
            seed=1,
            stream="s",
            work_dir=tmp_path,
            engine="vlm",
        )


def test_without_vllm_its_engine_says_where_to_find_it(manifest: Path, tmp_path: Path):
    with pytest.raises(UserError, match=r"the engine vllm needs vLLM, .* envs/train\.yaml has it"):
        sample(manifest, tmp_path)


def test_each_problem_is_one_request_with_its_first_samples_seed(vllm, manifest: Path, tmp_path: Path):
    table = sample(manifest, tmp_path, workers=2)
    (llm,) = vllm.made
    assert len(llm.asked) == 3
    for prompt, parameters in llm.asked:
        assert parameters.n == 8 and prompt["prompt_token_ids"]
        assert (parameters.temperature, parameters.top_p, parameters.top_k, parameters.max_tokens) == (
            0.6,
            0.95,
            20,
            40,
        )
        assert 0 <= parameters.seed < 2**63
    seeds = {parameters.seed for _, parameters in llm.asked}
    first = table[table["sample"] == 0]["seed"].astype(int)
    assert set(first) == seeds and len(seeds) == 3
    assert (
        table["seed"].astype(int)
        == table["sample"]
        + table["problem_id"].map(dict(zip(table[table["sample"] == 0]["problem_id"], first, strict=True)))
    ).all()
    assert table["response_tokens"].tolist() == [*range(1, 9)] * 3
    assert table["finish_reason"].tolist() == ["length", "stop"] * 12
    more = sample(manifest, tmp_path, 16)
    assert len(llm.asked) == 6 and {parameters.n for _, parameters in llm.asked} == {8}
    assert more["seed"].is_unique  # the second block has seeds of its own


def test_the_engine_is_told_how_long_prompts_and_responses_get(vllm, manifest: Path, tmp_path: Path):
    sample(manifest, tmp_path / "a")
    options = vllm.made[0].options
    assert options["max_model_len"] == 512 and options["tensor_parallel_size"] == 2  # of 3 GPUs, for 4 heads
    assert options["dtype"] == "bfloat16" and options["enable_prefix_caching"] and not options["trust_remote_code"]
    sample(manifest, tmp_path / "b", length=100)
    assert len(vllm.made) == 1  # prompts and responses fit
    sample(manifest, tmp_path / "c", tokens=1000)
    assert [llm.open for llm in vllm.made] == [False, True]  # the first gave its memory back
    assert vllm.made[1].options["max_model_len"] == 1024
    sample(manifest, tmp_path / "d", tokens=1900)
    assert vllm.made[2].options["max_model_len"] == 2000  # all positions that the model has
    sample(manifest, tmp_path / "e", tokens=1999)
    assert len(vllm.made) == 3  # no other engine takes more


def test_where_a_long_prompt_leaves_too_few_positions_responses_end_at_the_last(
    vllm, manifest: Path, tmp_path: Path, caplog
):
    with caplog.at_level("WARNING"):
        sample(manifest, tmp_path, tokens=1999)
    assert [llm.options["max_model_len"] for llm in vllm.made] == [2000]
    assert any("the model has 2000: responses end there" in told for told in caplog.messages)


@pytest.mark.parametrize(("heads", "gpus", "used"), [(12, 3, 2), (12, 8, 4), (28, 6, 4), (32, 8, 8), (7, 2, 1)])
def test_a_model_is_spread_over_a_power_of_two_that_divides_its_heads(monkeypatch, heads, gpus, used):
    monkeypatch.setattr(models, "config", lambda manifest: types.SimpleNamespace(num_attention_heads=heads))
    assert vllm_engine._gpu_options(Path("manifest.json"), gpus)["tensor_parallel_size"] == used


def test_vllm_is_started_as_a_process_of_its_own_that_ends_with_the_job(
    vllm, manifest: Path, tmp_path: Path, monkeypatch
):
    for name in ("VLLM_WORKER_MULTIPROC_METHOD", "VLLM_USE_FLASHINFER_SAMPLER"):
        monkeypatch.delenv(name, raising=False)
    sample(manifest, tmp_path)
    assert os.environ["VLLM_WORKER_MULTIPROC_METHOD"] == "spawn"
    assert os.environ["VLLM_USE_FLASHINFER_SAMPLER"] == "0"
    with pytest.raises(SystemExit) as ended:
        signal.raise_signal(signal.SIGTERM)
    assert ended.value.code == 143


def test_a_temperature_beyond_vllms_is_told_in_a_sentence(vllm, manifest: Path, tmp_path: Path):
    with pytest.raises(UserError, match=r"vLLM takes temperatures up to 2, found 2\.5"):
        sample(manifest, tmp_path, sampling=Sampling(2.5, max_tokens=40))


def test_a_greedy_response_is_asked_for_once_and_is_that_of_all_samples(vllm, manifest: Path, tmp_path: Path):
    table = sample(manifest, tmp_path, sampling=Sampling(0.0, max_tokens=40))
    assert [parameters.n for _, parameters in vllm.made[0].asked] == [1, 1, 1]
    assert len(table) == 24 and table["sample"].tolist() == [*range(8)] * 3
    assert set(table["response_tokens"]) == {1} and table["seed"].is_unique


@pytest.mark.parametrize(
    ("place", "error", "sentence"),
    [
        (
            "__init__",
            ValueError("No memory for the cache.\n\n  Try less."),
            "cannot start: ValueError: No memory for the",
        ),
        ("__init__", RuntimeError("Engine core initialization failed."), "cannot start: RuntimeError: Engine core"),
        ("__init__", VLLMError("no"), "cannot start: VLLMError: no"),
        (
            "generate",
            VLLMError("The prompt is\ntoo long."),
            "cannot sample: VLLMError: The prompt is too long.",
        ),
        ("generate", ValueError("x" * 9000), "cannot sample: ValueError: xxx"),
    ],
)
def test_what_vllm_refuses_is_told_in_a_sentence(
    vllm, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, error: Exception, sentence: str
):
    def refuse(*args: object, **options: object):
        raise error

    monkeypatch.setattr(vllm, place, refuse)
    with pytest.raises(UserError, match=f"^vLLM {sentence}") as told:
        sample(manifest, tmp_path)
    assert "\n" not in str(told.value) and len(str(told.value)) < 500


def test_what_breaks_while_sampling_is_no_bad_input(vllm, manifest: Path, tmp_path: Path, monkeypatch):
    def break_down(*args: object, **options: object):
        raise RuntimeError("CUDA error")

    monkeypatch.setattr(vllm, "generate", break_down)
    with pytest.raises(RuntimeError, match="CUDA error"):
        sample(manifest, tmp_path)


def test_another_model_takes_the_place_of_the_first(vllm, manifest: Path, tmp_path: Path):
    other = save_tiny_model(tmp_path / "other", seed=5)
    for model in (manifest, other, manifest):
        sample(model, tmp_path / "work", tokens=40 + len(vllm.made))
    assert [llm.open for llm in vllm.made] == [False, False, True]


def test_a_change_of_one_engine_leaves_the_others_shards_alone():
    def code(engine: str) -> set[str]:
        return {module for module, _ in reachable([("selfdistill.generation.shards", f"_{engine}")])}

    assert "selfdistill.generation.vllm_engine" not in code("transformers")
    assert "selfdistill.generation.transformers_engine" not in code("vllm")
    shared = {module for module, _ in reachable([("selfdistill.generation.shards", "_write_shard")])}
    assert not {name for name in shared if name.endswith("_engine")}


def test_completions_carry_the_seed_only_where_it_is_not_the_rows():
    assert Completion([1], "stop").seed is None
    assert Row((1,), 2**64 - 1).seed % 2**63 < 2**63
