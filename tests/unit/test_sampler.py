"""The Sampler: labels, guidance, and sampling until every problem has enough correct responses."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from selfdistill import tables
from selfdistill.generation import Prompt, Sampling, sample_seed, shards
from selfdistill.generation import sampler as sampling
from selfdistill.generation.contexts import GUIDANCE, Context
from selfdistill.generation.sampler import Sampler
from tiny import problems_of, save_tiny_model
from tokenizers.processors import TemplateProcessing

PROBLEMS = problems_of([f"Find x with a = {n}" for n in range(5)])
IDS = PROBLEMS["problem_id"].tolist()


def make_sampler(manifest: Path, work_dir: Path) -> Sampler:
    return Sampler(manifest, "model", "study", Sampling(1.0, max_tokens=8), 1, work_dir)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def sampler(manifest: Path, tmp_path: Path) -> Sampler:
    return make_sampler(manifest, tmp_path)


class Scripted:
    """Stands for `generate`: a response is right when ``right(number of the problem, sample)``; keeps the calls."""

    def __init__(self, right: Callable[[int, int], bool]):
        self.right = right
        self.asked: list[tuple[list[int], int, int]] = []  # problems, first sample, last sample

    def __call__(self, prompts: Sequence[Prompt], *, samples: int, first_sample: int, **_: object) -> pd.DataFrame:
        numbers = [IDS.index(prompt.problem_id) for prompt in prompts]
        self.asked.append((numbers, first_sample, samples))
        rows = [
            (IDS[n], None, k, 0, "", rf"\boxed{{ {7 if self.right(n, k) else 8} }}", 3, "stop")
            for n in numbers
            for k in range(first_sample, samples)
        ]
        return pd.DataFrame(rows, columns=shards.COLUMNS.names)


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch):
    def install(right: Callable[[int, int], bool]) -> Scripted:
        script = Scripted(right)
        monkeypatch.setattr(sampling, "generate", script)
        return script

    return install


class TestDrawUntilCorrect:
    def sample(self, sampler: Sampler, per_problem: int, max_samples: int) -> pd.DataFrame:
        return sampler.sample_until_correct(PROBLEMS, per_problem, max_samples, stage="sft", setting="unguided")

    def test_problems_that_have_enough_are_not_sampled_again(self, sampler: Sampler, scripted):
        """Problem n has a right response in every block of eight from block n on; two are wanted."""
        script = scripted(lambda n, k: k % 8 == 3 and k // 8 >= n)
        table = self.sample(sampler, 2, 64)
        assert script.asked == [
            ([0, 1, 2, 3, 4], 0, 8),
            ([0, 1, 2, 3, 4], 8, 16),
            ([1, 2, 3, 4], 16, 24),
            ([2, 3, 4], 24, 32),
            ([3, 4], 32, 40),
            ([4], 40, 48),
        ]
        assert table.groupby("problem_id")["correct"].sum().to_dict() == dict.fromkeys(IDS, 2)
        samples = table.groupby("problem_id")["sample"].apply(list)
        assert [samples[IDS[n]] for n in range(5)] == [list(range(8 * (n + 2))) for n in range(5)]

    def test_one_block_is_enough_where_all_are_solved(self, sampler: Sampler, scripted):
        script = scripted(lambda n, k: k < 4)
        table = self.sample(sampler, 4, 64)
        assert script.asked == [([0, 1, 2, 3, 4], 0, 8)]
        assert len(table) == 40 and table["correct"].sum() == 20  # the wrong ones are returned too

    @pytest.mark.parametrize(("max_samples", "ends"), [(8, [8]), (20, [8, 16, 20]), (3, [3])])
    def test_never_more_than_the_largest_number_of_samples(
        self, sampler: Sampler, scripted, max_samples: int, ends: list[int]
    ):
        script = scripted(lambda n, k: False)
        table = self.sample(sampler, 1, max_samples)
        assert [last for _, _, last in script.asked] == ends
        assert table.groupby("problem_id").size().tolist() == [max_samples] * 5

    def test_the_first_block_is_that_of_section_3_and_is_not_sampled_again(
        self, sampler: Sampler, monkeypatch: pytest.MonkeyPatch
    ):
        first = sampler.sample(PROBLEMS, 8, stage="section3", setting="unguided", stream="unguided")
        monkeypatch.setattr(shards.EngineHolder, "get", lambda *_: pytest.fail("an engine was loaded"))
        table = self.sample(sampler, 1, 8)
        pd.testing.assert_frame_equal(table.drop(columns="stage"), first.drop(columns="stage"))


class TestDraw:
    def test_rows_are_labelled_and_fit_the_schema(self, sampler: Sampler, tmp_path: Path):
        table = sampler.sample(PROBLEMS, 2, stage="evaluation", setting="hard", stream="evaluation")
        labels = table[["study", "model", "stage", "setting"]].drop_duplicates().to_numpy().tolist()
        assert labels == [["study", "model", "evaluation", "hard"]]
        assert table["problem_id"].tolist() == [problem for problem in IDS for _ in range(2)]
        tables.write(table, tmp_path / "t.parquet", tables.TRACES)
        assert len(tables.read(tmp_path / "t.parquet", tables.TRACES)) == 10

    def test_another_stream_gives_other_samples_than_the_selection(self, sampler: Sampler):
        labels = {"stage": "x", "setting": "unguided"}
        selection = sampler.sample(PROBLEMS, 8, stream="selection", **labels)
        again = sampler.sample(PROBLEMS, 8, stream="unguided", **labels)
        assert not set(selection["seed"]) & set(again["seed"])
        assert (selection["response"] != again["response"]).mean() > 0.8
        digest = selection["prompt_sha256"].iloc[0]
        assert selection["seed"].iloc[3] == sample_seed(1, "selection", digest, 3)

    def test_the_context_is_in_the_prompt_and_its_sample_in_the_table(self, sampler: Sampler):
        given = {problem: Context(rf"The answer is \boxed{{ {n} }}", n) for n, problem in enumerate(IDS)}
        table = sampler.sample(PROBLEMS, 1, stage="section3", setting="solution", stream="solution", contexts=given)
        plain = sampler.sample(PROBLEMS, 1, stage="section3", setting="unguided", stream="unguided")
        assert table["context_sample"].tolist() == [0, 1, 2, 3, 4]
        assert not set(table["prompt_sha256"]) & set(plain["prompt_sha256"])

    def test_contexts_come_from_all_providers(self, sampler: Sampler):
        providers = [
            pd.DataFrame({"problem_id": ["p"], "sample": [1], "correct": [False], "response": ["no"]}),
            pd.DataFrame({"problem_id": ["p"], "sample": [2], "correct": [True], "response": ["yes"]}),
        ]
        assert sampler.contexts(GUIDANCE["solution"], providers) == {"p": Context("yes", 2)}
        assert sampler.contexts(GUIDANCE["unguided"], []) is None

    def test_a_model_is_asked_with_its_system_turn_and_second_bos_and_read_by_its_tags(
        self, sampler: Sampler, monkeypatch: pytest.MonkeyPatch
    ):
        """Prompts are tokens, so that all engines get the same."""
        given = []

        def generate(prompts: Sequence[Prompt], **_: object) -> pd.DataFrame:
            given.append([list(prompt.token_ids) for prompt in prompts])
            rows = [(prompt.problem_id, None, 0, 0, "", "<answer>7</answer>", 3, "stop") for prompt in prompts]
            return pd.DataFrame(rows, columns=shards.COLUMNS.names)

        monkeypatch.setattr(sampling, "generate", generate)
        words = sampler.tokenizer.backend_tokenizer
        first = words.token_to_id("wait")
        words.post_processor = TemplateProcessing(single="wait $A", special_tokens=[("wait", first)])
        asked = replace(sampler, system="so maybe", second_bos=True, answer_in="tag")
        asked.__dict__["tokenizer"] = sampler.tokenizer
        plain, tagged = (one.sample(PROBLEMS, 1, stage="x", setting="y", stream="z") for one in (sampler, asked))
        assert not plain["correct"].any() and tagged["correct"].all()
        for usual, told in zip(*given, strict=True):
            assert first not in usual and told[0] == first and told.count(first) == 1
            assert told[-len(usual) :] == usual
            assert "so maybe" in sampler.tokenizer.decode(told[: -len(usual)])

    def test_thinking_opened_by_the_template_is_graded_as_such(self, tmp_path: Path, scripted):
        opened = make_sampler(save_tiny_model(tmp_path / "model", opens_thinking=True), tmp_path)
        scripted(lambda n, k: True)
        table = opened.sample(PROBLEMS, 1, stage="x", setting="y", stream="z")
        assert opened.opened and not table["correct"].any()  # the box stands inside thinking that never ended
