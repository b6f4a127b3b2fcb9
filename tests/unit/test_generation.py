"""The transformers engine: parity with `generate`, the sampled distribution, seeds, ends; then the shards."""

from pathlib import Path

import numpy as np
import pytest
import torch
from selfdistill import models
from selfdistill.errors import UserError
from selfdistill.generation import Sampling, sample_seed
from selfdistill.generation.picking import Uniforms, pick, warper
from selfdistill.generation.requests import Row
from selfdistill.generation.transformers_engine import TransformersEngine, batches_by_length, computes
from tiny import prompt_of, save_tiny_model
from transformers import MistralConfig, MistralForCausalLM

TEXTS = ["Find a", "Find b with a = 3 . so", "wait maybe 7 7 7 hmm no", "x"]
GREEDY = Sampling(temperature=0.0, max_tokens=40)
WARM = Sampling(temperature=1.0, max_tokens=24)
WINDOWS = {"use_sliding_window": True, "sliding_window": 6, "max_window_layers": 1}


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def engine(manifest: Path) -> TransformersEngine:
    return TransformersEngine(manifest)


@pytest.fixture(scope="module", params=["plain", "gelu"])
def either(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> TransformersEngine:
    """Drawn by our own arithmetic, and by the loop around transformers, which has what else there is."""
    options = {} if request.param == "plain" else {"hidden_act": request.param}
    engine = TransformersEngine(save_tiny_model(tmp_path_factory.mktemp(request.param), **options))
    assert computes(engine.model) == (request.param == "plain")
    return engine


def rows_of(engine: TransformersEngine, texts: list[str], seeds: list[int] | None = None) -> list[Row]:
    prompts = [prompt_of(engine.tokenizer, text) for text in texts]
    return [Row(p.token_ids, seed) for p, seed in zip(prompts, seeds or range(len(texts)), strict=True)]


def generated_by_transformers(engine: TransformersEngine, row: Row, **options: object) -> list[int]:
    """New tokens of one prompt alone, the end token included."""
    ids = torch.tensor([row.token_ids])
    output = engine.model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, **options)
    return output[0, ids.shape[1] :].tolist()


def assert_greedy_parity(engine: TransformersEngine) -> None:
    rows = rows_of(engine, TEXTS)
    assert len({len(row.token_ids) for row in rows}) > 2  # so that the batch is padded
    for row, completion in zip(rows, engine.sample(rows, GREEDY), strict=True):
        wanted = generated_by_transformers(engine, row, max_new_tokens=GREEDY.max_tokens)
        ended = wanted[-1] == engine.tokenizer.eos_token_id
        assert completion.token_ids == (wanted[:-1] if ended else wanted)
        assert completion.finish_reason == ("stop" if ended else "length")


class TestGreedy:
    @pytest.mark.parametrize("seed", [0, 1, 2])
    def test_equals_transformers_for_a_padded_batch(self, tmp_path: Path, seed: int):
        assert_greedy_parity(TransformersEngine(save_tiny_model(tmp_path, seed=seed)))

    def test_equals_transformers_with_sliding_windows(self, tmp_path: Path):
        engine = TransformersEngine(save_tiny_model(tmp_path, **WINDOWS))
        assert engine.model.config.layer_types == ["full_attention", "sliding_attention"]
        assert_greedy_parity(engine)

    def test_equals_transformers_where_every_layer_slides(self, tmp_path: Path):
        """Mistral's configuration has a window but lists no layer types."""
        folder = save_tiny_model(tmp_path).parent
        config = MistralConfig(
            vocab_size=len(models.load_tokenizer(folder / "manifest.json")), hidden_size=32, num_hidden_layers=2,
            num_attention_heads=4, num_key_value_heads=2, head_dim=8, intermediate_size=64, sliding_window=6,
            initializer_range=0.3, eos_token_id=2, bos_token_id=None, pad_token_id=0,
        )  # fmt: skip
        torch.manual_seed(0)
        MistralForCausalLM(config).save_pretrained(folder)
        models.save_manifest(folder)
        assert_greedy_parity(TransformersEngine(folder / "manifest.json"))

    def test_equals_transformers_where_attention_adds_its_mask(self, tmp_path: Path):
        engine = TransformersEngine(save_tiny_model(tmp_path))
        engine.model.set_attn_implementation("eager")
        assert not engine.takes_key_mask
        assert_greedy_parity(engine)

    def test_long_generation_outgrows_the_cache(self, either: TransformersEngine):
        engine, long = either, Sampling(temperature=0.0, max_tokens=200)
        rows = rows_of(engine, TEXTS)
        sampled = engine.sample(rows, long)
        assert max(len(completion.token_ids) for completion in sampled) == 200
        for row, completion in zip(rows, sampled, strict=True):
            wanted = generated_by_transformers(engine, row, max_new_tokens=200)
            assert completion.token_ids == [token for token in wanted if token != engine.tokenizer.eos_token_id]


class TestDistribution:
    SAMPLES = 8000

    def frequencies(self, engine: TransformersEngine, row: Row, sampling: Sampling) -> torch.Tensor:
        rows = [Row(row.token_ids, sample_seed(7, "test", "prompt", n)) for n in range(self.SAMPLES)]
        # An end token as first token leaves the response empty.
        end = engine.tokenizer.eos_token_id
        firsts = [c.token_ids[0] if c.token_ids else end for c in engine.sample(rows, sampling)]
        return torch.bincount(torch.tensor(firsts), minlength=engine.model.config.vocab_size)

    @pytest.mark.parametrize(
        "sampling",
        [
            Sampling(temperature=1.0, max_tokens=1),
            Sampling(temperature=0.6, max_tokens=1),
            Sampling(temperature=1.3, top_k=7, max_tokens=1),
            Sampling(temperature=0.6, top_p=0.8, max_tokens=1),
            Sampling(temperature=1.5, top_k=40, top_p=0.7, max_tokens=1),
        ],
        ids=repr,
    )
    def test_first_token_follows_the_filtered_softmax(self, engine: TransformersEngine, sampling: Sampling):
        """Chi-square over tokens expected five times or more; 1e-4 of correct samplers would exceed the bound."""
        row = rows_of(engine, TEXTS[1:2])[0]
        with torch.inference_mode():
            logits = engine.model(torch.tensor([row.token_ids])).logits[0, -1].double()
        wanted = plain_probabilities(logits, sampling) * self.SAMPLES
        counts = self.frequencies(engine, row, sampling)
        assert counts[wanted == 0].sum() == 0  # nothing that a filter removed is ever sampled
        common = wanted >= 5
        observed = torch.cat([counts[common], counts[~common].sum()[None]]).double()
        expected = torch.cat([wanted[common], wanted[~common].sum()[None]])
        kept = expected > 0
        statistic = float(((observed - expected)[kept] ** 2 / expected[kept]).sum())
        freedom = int(kept.sum()) - 1
        assert statistic < chi_square_bound(freedom), f"{statistic:.1f} with {freedom} degrees of freedom"

    @pytest.mark.parametrize(("top_k", "top_p"), [(0, 1.0), (5, 1.0), (0, 0.3), (0, 0.95), (20, 0.5), (1, 1.0)])
    @pytest.mark.parametrize("temperature", [0.3, 1.0, 2.0])
    def test_filters_equal_those_of_transformers_generate(
        self, engine: TransformersEngine, temperature: float, top_k: int, top_p: float
    ):
        ids = torch.arange(100)[:, None]
        output = engine.model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=1, do_sample=True, temperature=temperature,
            top_k=top_k, top_p=top_p, return_dict_in_generate=True, output_logits=True, output_scores=True,
        )  # fmt: skip
        found = warper(Sampling(temperature, top_p=top_p, top_k=top_k))(None, output.logits[0])
        assert torch.equal(found, output.scores[0])
        assert (found.isinf().sum() > 0) == (top_k > 0 or top_p < 1)

    def test_pick_inverts_the_cumulated_probabilities(self):
        logits = torch.tensor([[0.2, 0.0, 0.5, 0.3, 0.0]]).log().repeat(7, 1)
        uniforms = np.array([0.0, 0.1999, 0.2001, 0.6999, 0.7001, 0.9999, 1 - 2**-53])
        tokens, logps = pick(warper(Sampling(1.0)), logits, uniforms, 1.0)
        assert tokens.tolist() == [0, 0, 2, 2, 3, 3, 3]
        assert logps.tolist() == pytest.approx(np.log([0.2, 0.2, 0.5, 0.5, 0.3, 0.3, 0.3]), abs=1e-6)


def plain_probabilities(logits: torch.Tensor, sampling: Sampling) -> torch.Tensor:
    """Temperature, then the k likeliest, then the smallest set with mass top_p: written out, in float64."""
    probabilities = (logits / sampling.temperature).softmax(0)
    order = probabilities.argsort(descending=True)
    if sampling.top_k:
        order = order[: sampling.top_k]
    kept = probabilities[order] / probabilities[order].sum()
    before = kept.cumsum(0) - kept
    order = order[before < sampling.top_p]
    result = torch.zeros_like(probabilities)
    result[order] = probabilities[order] / probabilities[order].sum()
    return result


def chi_square_bound(freedom: int) -> float:
    """The 1 - 1e-4 quantile (Wilson and Hilferty)."""
    return freedom * (1 - 2 / (9 * freedom) + 3.719 * (2 / (9 * freedom)) ** 0.5) ** 3


class TestSeeds:
    """Rows in batches of different composition have logits that differ in the last bits, and a token differs only
    where a uniform number falls that close (about 1e-6) to a boundary, which no number of these responses does."""

    def test_a_response_depends_on_its_seed_and_prompt_only(self, either: TransformersEngine):
        engine = either
        rows = rows_of(engine, TEXTS * 15, seeds=list(range(100, 160)))
        together = engine.sample(rows, WARM)
        reversed_order = engine.sample(rows[::-1], WARM)[::-1]
        alone = [engine.sample([row], WARM)[0] for row in rows[:12]]
        assert together == reversed_order
        assert together[:12] == alone
        assert len({tuple(completion.token_ids) for completion in together}) > 50

    def test_equal_rows_give_equal_responses_and_other_seeds_others(self, engine: TransformersEngine):
        same, also, other = rows_of(engine, [TEXTS[1]] * 3, seeds=[5, 5, 6])
        first, second, third = engine.sample([same, also, other], WARM)
        assert first == second != third

    def test_batches_above_the_largest_size_are_split_without_effect(self, tmp_path: Path):
        manifest = save_tiny_model(tmp_path, hidden_act="gelu")
        engine = TransformersEngine(manifest)
        rows = rows_of(engine, TEXTS * 3, seeds=list(range(12)))
        assert TransformersEngine(manifest, largest_batch=5).sample(rows, WARM) == engine.sample(rows, WARM)

    def test_prompts_of_very_different_lengths_are_in_different_batches(self):
        lengths = [20, 200, 22, 72, 73, 21, 400, 20]
        assert batches_by_length(lengths, 100) == [[0, 7, 5, 2, 3], [4], [1, 6]]
        assert batches_by_length(lengths, 2) == [[0, 7], [5, 2], [3, 4], [1, 6]]
        assert batches_by_length([], 2) == []

    def test_seeds_differ_by_every_part(self):
        parts = [(1, "selection", "aa", 0), (2, "selection", "aa", 0), (1, "unguided", "aa", 0)]
        parts += [(1, "selection", "ab", 0), (1, "selection", "aa", 1)]
        seeds = [sample_seed(*part) for part in parts]
        assert len(set(seeds)) == len(parts)
        assert sample_seed(1, "selection", "aa", 0) == seeds[0] < 2**64

    def test_uniform_numbers_are_those_of_each_stream_and_memory_stays_bounded(self):
        uniforms = Uniforms([3, 2**64 - 1])
        steps, both = 1000, np.array([0, 1])
        seen = np.array([uniforms.at(np.array([step, step]), both) for step in range(steps)])
        wanted = [np.random.Generator(np.random.Philox(key=seed)).random(steps) for seed in (3, 2**64 - 1)]
        np.testing.assert_array_equal(seen.T, wanted)
        assert uniforms._blocks.shape == (2, 512)

    def test_uniform_numbers_of_a_row_are_the_same_at_another_pace_and_alone(self):
        together, alone = Uniforms([8, 9]), Uniforms([8, 9])
        for step in range(300):
            steps = np.array([step // 2, step])
            second = together.at(steps, np.array([0, 1]))[1]
            assert alone.at(steps[1:], np.array([1])).item() == second.item()


class TestEnds:
    def script(self, engine: TransformersEngine, row: Row) -> list[int]:
        return generated_by_transformers(engine, row, max_new_tokens=12, eos_token_id=-1)

    def with_ends(self, folder: Path, ends: int | list[int]) -> TransformersEngine:
        return TransformersEngine(save_tiny_model(folder, eos_token_id=ends))

    def test_each_of_several_end_tokens_ends_a_response(self, tmp_path: Path, engine: TransformersEngine):
        rows = rows_of(engine, TEXTS[1:3])
        one, two = (self.script(engine, row) for row in rows)
        ends = [one[4], two[7]]
        found = self.with_ends(tmp_path, ends).sample(rows, Sampling(0.0, max_tokens=12))
        for script, completion in zip((one, two), found, strict=True):
            stop = min(script.index(end) for end in ends if end in script)
            assert (completion.token_ids, completion.finish_reason) == (script[:stop], "stop")

    def test_the_end_token_at_the_limit_is_a_stop_and_one_later_is_a_cut(
        self, tmp_path: Path, engine: TransformersEngine
    ):
        row = rows_of(engine, TEXTS[1:2])[0]
        script = self.script(engine, row)
        place = next(i for i in range(3, 12) if script[i] not in script[:i])
        ended = self.with_ends(tmp_path, script[place])
        at_limit, before = (ended.sample([row], Sampling(0.0, max_tokens=n))[0] for n in (place + 1, place))
        assert (at_limit.token_ids, at_limit.finish_reason) == (script[:place], "stop")
        assert (before.token_ids, before.finish_reason) == (script[:place], "length")

    def test_the_tokenizers_end_counts_where_the_model_names_none(self, tmp_path: Path, engine: TransformersEngine):
        plain = TransformersEngine(save_tiny_model(tmp_path, eos_token_id=None))
        assert plain.end_ids.tolist() == [engine.tokenizer.eos_token_id]

    def test_an_end_as_first_token_is_an_empty_response(self, tmp_path: Path, engine: TransformersEngine):
        row = rows_of(engine, TEXTS[1:2])[0]
        ended = self.with_ends(tmp_path, self.script(engine, row)[0])
        assert ended.sample([row], GREEDY)[0].token_ids == []
        assert ended.sample([row], GREEDY)[0].finish_reason == "stop"

    def test_decoding_drops_special_tokens_and_keeps_thinking(self, engine: TransformersEngine):
        ids = engine.tokenizer("<think> a </think> 7 <|im_start|>", add_special_tokens=False)["input_ids"]
        assert engine.decode(ids) == "<think> a </think> 7"


@pytest.mark.parametrize(
    "wrong", [{"temperature": -0.1}, {"top_p": 0.0}, {"top_p": 1.1}, {"top_k": -1}, {"max_tokens": 0}], ids=str
)
def test_values_out_of_range_are_refused(wrong: dict[str, float]):
    with pytest.raises(UserError, match=f"Sampling: {next(iter(wrong))}: Input should be "):
        Sampling(**{"temperature": 1.0} | wrong)
