"""Decoding written out for Qwen3 computes what transformers' own forward pass does, and samples the same responses."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from selfdistill import models
from selfdistill.generation import Sampling, qwen3_engine, sample_seed, shards, transformers_engine
from selfdistill.generation.qwen3_engine import Qwen3Engine
from selfdistill.generation.requests import Row
from selfdistill.generation.transformers_engine import TransformersEngine, computes
from selfdistill.qwen3 import decoding
from selfdistill.qwen3.decoding import Decoder, Weights
from selfdistill.qwen3.kernels import BLOCK, RUN
from tiny import random_qwen3, save_tiny_model
from transformers import Qwen3Config, Qwen3ForCausalLM
from transformers.models.llama import LlamaConfig, LlamaForCausalLM

LONG = tuple(3 + i % 40 for i in range(BLOCK + 8))
PROMPTS = {"equal": [(3, 4, 5), (6, 7, 8)], "unequal": [(3, 4, 5, 6, 7, 8), (9,), (10, 11, 12)], "long": [(5, 4), LONG]}


def weights_of(model: Qwen3ForCausalLM) -> Weights:
    return Weights(model.config, model.state_dict())


@torch.inference_mode()
def largest_gap(model: Qwen3ForCausalLM, prompts: list[tuple[int, ...]], steps: int, places: int = 8) -> float:
    """Largest difference of logits from those of whole sequences, each read by transformers alone.

    Two rows follow every prompt with random tokens; the second one starts three steps after the first.
    """
    torch.manual_seed(0)
    decoder = Decoder(weights_of(model), prompts, places=places, max_tokens=steps)
    tokens = torch.randint(1, model.config.vocab_size, (2, len(prompts), steps))
    every = np.arange(len(prompts))
    early, late = decoder.start(every, every), decoder.start(every, len(prompts) + every)
    found = [[decoder.logits], [decoder.logits]]  # [prompts, V] after each step
    for step in range(steps + 3):
        for which, rows, at in ((0, early, step), (1, late, step - 3)):
            if 0 <= at < steps:
                found[which].append(decoder.forward(tokens[which, :, at].numpy(), rows))
                rows.lengths = rows.lengths + 1
    gaps = []
    for which, logits in enumerate(found):
        for i, prompt in enumerate(prompts):
            whole = torch.cat([torch.tensor(prompt), tokens[which, i]])
            wanted = model(whole[None]).logits[0, len(prompt) - 1 :]
            assert wanted.std() > 0.1  # logits that say something
            gaps.append(np.abs(np.stack([of_step[i] for of_step in logits]) - wanted.numpy()).max())
    return max(gaps)


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("heads", [(4, 4), (4, 2), (4, 1), (3, 1), (6, 2)], ids=str)
@pytest.mark.parametrize("prompts", PROMPTS.values(), ids=PROMPTS)
def test_logits_equal_those_of_transformers(tied: bool, heads: tuple[int, int], prompts: list[tuple[int, ...]]):
    model = random_qwen3(num_attention_heads=heads[0], num_key_value_heads=heads[1], tie_word_embeddings=tied)
    assert largest_gap(model, prompts, steps=5) < 2e-5


def test_logits_agree_over_several_blocks_of_the_cache():
    assert largest_gap(random_qwen3(), [(3, 4, 5), (6,), LONG], steps=3 * BLOCK + 5) < 2e-5


def test_logits_agree_beyond_the_first_capacity(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(decoding, "FIRST_CAPACITY", 4)
    assert largest_gap(random_qwen3(), [(3, 4, 5), (6,)], steps=2 * BLOCK + 5) < 2e-5


def test_prompts_are_read_in_turns_to_the_same_bits(monkeypatch: pytest.MonkeyPatch):
    model = random_qwen3()
    prompts = [(n, *range(2, 3 + n % 3)) for n in range(1, 8)]
    at_once = Decoder(weights_of(model), prompts, places=3, max_tokens=1)
    monkeypatch.setattr(decoding, "READ_TOGETHER", 5)
    in_turns = Decoder(weights_of(model), prompts, places=3, max_tokens=1)
    assert np.array_equal(in_turns.logits, at_once.logits)


def test_logits_agree_for_a_width_of_heads_that_is_no_share_of_the_models_width():
    model = random_qwen3(head_dim=6, rope_parameters={"rope_type": "default", "rope_theta": 50.0}, rms_norm_eps=0.1)
    assert largest_gap(model, [(3, 4, 5), (6,)], steps=5) < 1e-5


def test_joined_weights_are_those_of_the_time_when_they_were_joined():
    model = random_qwen3()
    before = weights_of(model)
    with torch.no_grad():
        model.model.layers[0].self_attn.q_proj.weight.add_(1)
    assert not np.array_equal(before.layers[0].qkv, weights_of(model).layers[0].qkv)


def test_tokens_fed_together_have_the_bits_of_those_fed_one_by_one_and_may_be_forgotten():
    """A response of two places: right tokens after wrong ones, whole runs of them, and a neighbour that gets one."""
    model = random_qwen3(num_attention_heads=6, num_key_value_heads=2)
    steps = 2 * BLOCK + 2 * RUN + 3
    tokens = np.random.default_rng(0).integers(1, model.config.vocab_size, (2, steps))
    one, many = (Decoder(weights_of(model), [(3, 4, 5)], places=2, max_tokens=steps) for _ in range(2))
    both = np.zeros(2, np.int64)
    rows = one.start(both, np.arange(2))
    singly = []
    for step in range(steps):
        singly.append(one.forward(tokens[:, step], rows))
        rows.lengths = rows.lengths + 1
    done, wrong = 0, tokens[0, ::-1]
    for turn, size in enumerate((1, 5, RUN, 2 * RUN + 2, steps)):
        size = min(size, steps - done)
        rows = many.start(both, np.arange(2))[np.repeat([0, 1], [size, 1])]
        rows.lengths = np.array([*range(done, done + size), turn])
        many.forward(np.array([*wrong[done : done + size], tokens[1, turn]]), rows)
        found = many.forward(np.array([*tokens[0, done : done + size], tokens[1, turn]]), rows)
        assert np.array_equal(found, [*(singly[done + i][0] for i in range(size)), singly[turn][1]])
        done += size
    assert done == steps


class TestResponses:
    SAMPLINGS = (Sampling(0.0, max_tokens=90), Sampling(1.0, max_tokens=90), Sampling(0.7, 0.9, 20, 40))

    @pytest.fixture(scope="class")
    def manifest(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return save_tiny_model(tmp_path_factory.mktemp("tiny"))

    @staticmethod
    def rows(prompts: int, samples: int) -> list[Row]:
        return [
            Row(tuple(range(3, 5 + 7 * i % 31)), sample_seed(1, "test", str(i), n))
            for n in range(samples)
            for i in range(prompts)
        ]

    @pytest.mark.parametrize("sampling", SAMPLINGS, ids=repr)
    def test_responses_are_those_of_the_loop_around_transformers(
        self, manifest: Path, monkeypatch: pytest.MonkeyPatch, sampling: Sampling
    ):
        """Their logits differ in the last bits: no token of these responses lies that close to a boundary."""
        rows = self.rows(9, 10)
        assert Qwen3Engine.takes(manifest)
        found = Qwen3Engine(manifest).sample(rows, sampling)
        engine = TransformersEngine(manifest)
        by_model = engine.sample(rows, sampling, logps=True)
        monkeypatch.setattr(transformers_engine, "computes", lambda model: False)
        wanted = engine.sample(rows, sampling, logps=True)
        bare = [(c.token_ids, c.finish_reason, c.end_ids) for c in wanted]
        assert [(c.token_ids, c.finish_reason, c.end_ids) for c in found] == bare
        assert [(c.token_ids, c.finish_reason, c.end_ids) for c in by_model] == bare
        assert all(c.logps is None for c in found)
        for ours, theirs in zip(by_model, wanted, strict=True):
            assert len(ours.logps) == len(ours.token_ids) + len(ours.end_ids)
            assert ours.logps == pytest.approx(theirs.logps, abs=2e-5)
        assert sampling.temperature == 0 or {c.finish_reason for c in wanted} == {"stop", "length"}

    def test_rows_that_wait_for_a_place_are_sampled_all_the_same(self, manifest: Path, monkeypatch: pytest.MonkeyPatch):
        rows, engine = self.rows(5, 8), Qwen3Engine(manifest)
        wanted = engine.sample(rows, self.SAMPLINGS[1])
        monkeypatch.setattr(qwen3_engine, "PLACES", 3)
        assert engine.sample(rows, self.SAMPLINGS[1]) == wanted
        monkeypatch.setattr(qwen3_engine, "READ_TOGETHER", 7)
        assert engine.sample(rows, self.SAMPLINGS[1]) == wanted
        assert engine.sample([], self.SAMPLINGS[1]) == []

    def test_equal_calls_give_equal_completions(self, manifest: Path):
        calls = [
            TransformersEngine(manifest).sample(self.rows(5, 20), Sampling(1.0, max_tokens=60), logps=True)
            for _ in range(2)
        ]
        assert calls[0] == calls[1]

    def test_stages_sample_without_transformers_models_where_it_is_plain(self, manifest: Path, tmp_path: Path):
        load = shards.ENGINES["transformers"].load
        assert isinstance(load(manifest, 100), Qwen3Engine)
        gelu = save_tiny_model(tmp_path / "gelu", hidden_act="gelu")
        assert isinstance(load(gelu, 100), TransformersEngine)
        shared = tmp_path / "shared" / models.MANIFEST
        models.save_shared_manifest(shared, manifest)
        row = self.rows(1, 1)
        assert load(shared, 100).sample(row, self.SAMPLINGS[1]) == Qwen3Engine(manifest).sample(row, self.SAMPLINGS[1])


LIGHT = """
import sys
from pathlib import Path
from selfdistill.generation.qwen3_engine import Qwen3Engine

manifest = Path(sys.argv[1])
assert Qwen3Engine.takes(manifest) and Qwen3Engine(manifest).weights.layers
print("transformers.modeling_utils" in sys.modules)
"""


def test_the_engine_imports_no_models_of_transformers(tmp_path: Path):
    """They take two seconds to import, at every start of a job."""
    command = [sys.executable, "-c", LIGHT, str(save_tiny_model(tmp_path))]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == "False\n"


def test_a_plain_qwen3_is_computed(tmp_path: Path):
    assert computes(random_qwen3())
    assert computes(models.load_model(save_tiny_model(tmp_path)))


@pytest.mark.parametrize(
    "options",
    [
        {"attention_bias": True},
        {"hidden_act": "gelu"},
        {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}},
        {"use_sliding_window": True, "sliding_window": 6, "max_window_layers": 1},
    ],
    ids=lambda options: next(iter(options)),
)
def test_a_variant_that_computes_something_else_is_left_to_transformers(options: dict, tmp_path: Path):
    assert not computes(random_qwen3(**options))
    assert not Qwen3Engine.takes(save_tiny_model(tmp_path, **options))


def test_other_models_precisions_and_attention_code_are_left_to_transformers():
    plain = random_qwen3()
    shared = {key: value for key, value in plain.config.to_dict().items() if key in LlamaConfig().to_dict()}
    shared = {key: shared[key] for key in ("vocab_size", "hidden_size", "num_hidden_layers", "intermediate_size")}
    assert not computes(LlamaForCausalLM(LlamaConfig(**shared, num_attention_heads=4)))
    assert not computes(random_qwen3().to(torch.bfloat16))
    assert not computes(random_qwen3().to(torch.float64))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not computes(plain)
    eager = random_qwen3()
    eager.set_attn_implementation("eager")
    assert not computes(eager)

    class Changed(Qwen3ForCausalLM):
        pass

    assert not computes(Changed(Qwen3Config(**{**plain.config.to_dict(), "dtype": "float32"})))
