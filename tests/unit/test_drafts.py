"""Guesses of next tokens: looked up by the longest context, learned by repetition, and kept only if they were drawn."""

from pathlib import Path

import numpy as np
import pytest
from selfdistill.generation import Sampling, drafts, qwen3_engine
from selfdistill.generation.drafts import CONTEXTS, MOST, SEEN, Drafts, accept
from selfdistill.generation.qwen3_engine import Qwen3Engine
from selfdistill.generation.requests import Row
from selfdistill.qwen3.decoding import Rows
from tiny import save_tiny_model

ONE = np.zeros(1, np.int64)


def proposed(guesses: Drafts, response: list[int], limit: int = 100) -> list[int]:
    """What is fed after ``response``, of at most ``limit`` tokens."""
    sampled = np.zeros((1, limit), np.int32)
    sampled[0, : len(response)] = response
    fed, sizes = guesses.propose(sampled, ONE, np.array([len(response)]))
    assert sizes.tolist() == [len(fed)]
    return fed.tolist()


def taught(response: list[int], times: int) -> Drafts:
    guesses = Drafts()
    for _ in range(times):
        guesses.learn(np.array([response], np.int32), ONE, ONE, np.array([len(response)]))
    return guesses


def test_what_was_seen_often_enough_is_guessed_to_its_end():
    response = list(range(10, 16))
    assert proposed(taught(response, SEEN - 1), [10, 11]) == [11]
    assert proposed(taught(response, SEEN), [10, 11]) == [11, 12, 13, 14, 15]
    assert proposed(taught(response, SEEN), [7, 11]) == [11]
    long = list(range(10, 40))
    assert proposed(taught(long, SEEN), [10, 11]) == long[1 : 2 + MOST]
    assert proposed(taught(long, SEEN), [10, 11], limit=5) == [11, 12, 13]  # the fifth token is drawn after the last


def test_the_longest_context_decides_and_another_continuation_starts_anew():
    longest, shortest = CONTEXTS[0], CONTEXTS[-1]
    first = [1] * (longest - shortest) + [5] * shortest + [8]
    second = [2] * (longest - shortest) + [5] * shortest + [9]
    guesses = taught(first, SEEN)
    for _ in range(SEEN):
        guesses.learn(np.array([second], np.int32), ONE, ONE, np.array([len(second)]))
    assert proposed(guesses, first[:longest])[1] == 8
    assert proposed(guesses, second[:longest])[1] == 9
    assert proposed(guesses, [5] * shortest)[1] == 9
    guesses.learn(np.array([first], np.int32), ONE, ONE, np.array([len(first)]))
    assert proposed(guesses, [5] * shortest) == [5]


def test_tokens_are_kept_up_to_the_first_wrong_guess_the_end_and_the_limit():
    drawn, logps = np.array([3, 4, 9, 6, 3, 0, 5, 7, 7, 7]), -np.arange(10, dtype=np.float32)
    fed = np.array([2, 3, 4, 5, 2, 3, 0, 1, 7, 7])  # of the last response: one last token, guesses of the rest
    sizes, numbers = np.array([4, 3, 3]), np.array([2, 0, 1])
    sampled, sampled_logps = np.full((3, 4), -1, np.int32), np.zeros((3, 4), np.float32)
    counts, ended = np.array([1, 2, 0]), np.zeros(3, bool)
    is_end = np.arange(10) == 0
    accept(drawn, logps, fed, sizes, is_end, numbers, sampled, sampled_logps, counts, ended)
    assert sampled.tolist() == [[-1, 3, 0, -1], [-1, -1, 7, 7], [3, 4, 9, -1]]
    assert counts.tolist() == [3, 4, 3] and ended.tolist() == [False, True, True]
    assert sampled_logps[2].tolist() == [0, -1, -2, 0]


@pytest.mark.parametrize("sampling", [Sampling(0.3, max_tokens=300), Sampling(0.0, max_tokens=90)], ids=repr)
def test_guesses_change_no_bit_of_any_response(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sampling: Sampling):
    """Right and wrong ones: a random model repeats little, so that whatever was seen once is guessed."""
    rows = [Row(tuple(range(3, 5 + i % 4)), i // 2) for i in range(40)]
    manifest = save_tiny_model(tmp_path)
    passes: list[tuple[int, int]] = []  # tokens and responses in each
    forward = qwen3_engine.Decoder.forward

    def counted(decoder: qwen3_engine.Decoder, tokens: np.ndarray, fed: Rows) -> np.ndarray:
        passes.append((len(tokens), len(np.unique(fed.slots))))
        return forward(decoder, tokens, fed)

    monkeypatch.setattr(qwen3_engine.Decoder, "forward", counted)

    def sample() -> tuple[list, int, int]:
        passes.clear()
        engine = Qwen3Engine(manifest)
        found = qwen3_engine.sample_rows(engine.weights, rows, sampling, engine.end_ids, engine.drafts, logps=True)
        return found, *map(sum, zip(*passes, strict=True))

    guessed, tokens, turns = sample()
    monkeypatch.setattr(drafts.Drafts, "learn", lambda *_: None)
    plain, fewer_tokens, more_turns = sample()
    assert guessed == plain
    assert turns < more_turns and tokens > fewer_tokens
