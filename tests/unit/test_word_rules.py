"""Words that are kept from a model, or that it is held to, while it is sampled."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from selfdistill.errors import UserError
from selfdistill.generation import Sampling, sample_seed, transformers_engine
from selfdistill.generation.qwen3_engine import Qwen3Engine
from selfdistill.generation.requests import ALL_WORDS, Row, Words
from selfdistill.generation.sampler import Sampler
from selfdistill.generation.transformers_engine import TransformersEngine
from selfdistill.generation.word_rules import token_ids, word_rule
from selfdistill.microcosm.tokenizer import build_tokenizer
from tiny import problems_of, save_tiny_model
from transformers import NoBadWordsLogitsProcessor

MARKERS = ["wait", "hmm", "perhaps", "maybe", "actually", "alternatively", "seems", "might", "likely", "check"]
SAMPLING = Sampling(1.0, max_tokens=40)


class Pieces:
    """A tokenizer whose tokens are these."""

    texts = (" wait", "Wait", "wa", "it", "waits", "\nWAIT ", "the", " The")

    def __len__(self) -> int:
        return len(self.texts)

    def decode(self, ids: list[int]) -> str:
        return "".join(self.texts[i] for i in ids)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("tiny"))


def rows(prompts: int, samples: int) -> list[Row]:
    return [
        Row(tuple(range(3, 5 + 7 * i % 31)), sample_seed(1, "test", str(i), n))
        for n in range(samples)
        for i in range(prompts)
    ]


def test_a_word_is_every_token_that_is_it_whatever_its_case_and_spaces():
    assert token_ids(["wait"], Pieces()).tolist() == [0, 1, 5]
    assert token_ids(["The", "wait"], Pieces()).tolist() == [0, 1, 5, 6, 7]
    assert token_ids([], Pieces()).tolist() == []


def test_a_word_that_is_no_token_is_refused():
    with pytest.raises(UserError, match="no token of the model is the word 'Alternatively'"):
        token_ids(["wait", "Alternatively"], Pieces())


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"forced": ["wait"]}, "'forced' and 'forced_from' go together"),
        ({"forced_from": 0.5}, "'forced' and 'forced_from' go together"),
        ({"bad": ["wait"], "forced": ["wait"], "forced_from": 0.5}, "'wait' is among 'bad' and 'forced'"),
        ({"bad": []}, "at least 1"),
        ({"forced": ["wait"], "forced_from": 0.0}, "greater than 0"),
    ],
)
def test_words_that_make_no_sense_are_refused(given, said):
    with pytest.raises(UserError, match=said):
        Words(**given)


def test_without_words_nothing_is_changed():
    assert word_rule(ALL_WORDS, Pieces()) is None


def test_bad_words_are_those_of_transformers():
    tokenizer, logits = build_tokenizer(), torch.randn(50, 166, generator=torch.Generator().manual_seed(0))
    rule = word_rule(Words(bad=MARKERS), tokenizer)
    theirs = NoBadWordsLogitsProcessor([[int(i)] for i in token_ids(MARKERS, tokenizer)], eos_token_id=0)
    before = logits.clone()
    assert torch.equal(rule(logits), theirs(torch.zeros(50, 1, dtype=torch.long), logits))
    assert torch.equal(logits, before)


def test_forced_words_are_forced_just_where_the_model_gives_them_a_chance():
    tokenizer, logits = build_tokenizer(), 3 * torch.randn(200, 166, generator=torch.Generator().manual_seed(0))
    forced = token_ids(["maybe", "perhaps"], tokenizer)
    found = word_rule(Words(forced=["maybe", "perhaps"], forced_from=0.02), tokenizer)(logits)
    sure = 0
    for before, after in zip(logits.double(), found.double(), strict=True):
        chance = sum(float(before.softmax(0)[token]) for token in forced)
        expected = before.clone()
        if chance >= 0.02:
            sure += 1
            expected[[i for i in range(166) if i not in forced]] = -torch.inf
        assert torch.equal(after, expected)
    assert 20 < sure < 180


def test_the_others_keep_their_odds(manifest: Path):
    engine = Qwen3Engine(manifest)
    one = [Row((3, 4, 5), sample_seed(0, "odds", "", n)) for n in range(4000)]
    first = Sampling(1.0, max_tokens=1)
    free = np.bincount([(c.token_ids or list(c.end_ids))[0] for c in engine.sample(one, first)], minlength=166)
    likeliest = np.argsort(-free)[:3]
    word = next(token for token in likeliest if engine.decode([token]) not in ("", "<think>"))
    found = engine.sample(one, first, Words(bad=[engine.decode([word]).strip()]))
    kept = np.bincount([(c.token_ids or list(c.end_ids))[0] for c in found], minlength=166)
    assert kept[word] == 0 < free[word]
    others = [token for token in np.argsort(-free)[:12] if token != word]
    table = np.stack([free[others], kept[others]])
    assert stats.chi2_contingency(table).pvalue > 1e-4


@pytest.mark.parametrize(
    "words", [Words(bad=MARKERS), Words(bad=["ok"], forced=["maybe", "hmm"], forced_from=0.01)], ids=["bad", "forced"]
)
def test_both_engines_write_the_same(manifest: Path, monkeypatch: pytest.MonkeyPatch, words: Words):
    asked = rows(7, 8)
    found = Qwen3Engine(manifest).sample(asked, SAMPLING, words)
    engine = TransformersEngine(manifest)
    assert engine.sample(asked, SAMPLING, words) == found
    monkeypatch.setattr(transformers_engine, "computes", lambda model: False)
    assert engine.sample(asked, SAMPLING, words) == found
    said = " ".join(engine.decode(completion.token_ids) for completion in found).split()
    free = " ".join(engine.decode(c.token_ids) for c in engine.sample(asked, SAMPLING)).split()
    assert not set(words.bad).intersection(said) and set(words.bad).intersection(free)
    if words.forced:
        assert sum(map(said.count, words.forced)) > 2 * sum(map(free.count, words.forced))


def test_responses_with_other_words_are_no_shards_of_those_without(manifest: Path, tmp_path: Path):
    problems = problems_of(["Find x with a = 1", "Find x with b = 2"])
    free = Sampler(manifest, "model", "study", SAMPLING, 1, tmp_path)
    kept = replace(free, words=Words(bad=MARKERS), run="words-none")
    labels = {"stage": "evaluation", "setting": "hard", "stream": "evaluation"}
    first, second = free.sample(problems, 8, **labels), kept.sample(problems, 8, **labels)
    assert second[[f"word_{marker}" for marker in MARKERS]].to_numpy().sum() == 0
    assert first[[f"word_{marker}" for marker in MARKERS]].to_numpy().sum() > 0
    assert second["run"].unique().tolist() == ["words-none"]
    assert len({path.parent.name for path in tmp_path.rglob("*.parquet")}) == 2
