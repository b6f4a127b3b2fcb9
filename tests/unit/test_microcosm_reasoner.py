"""The self-Bayesian reasoner and the documents made from it."""

import random
from collections import Counter
from dataclasses import replace

import pytest
from selfdistill.grading.grader import extract_answer
from selfdistill.markers.counting import MARKERS, count_markers
from selfdistill.microcosm import documents, world
from selfdistill.microcosm.presets import PRESETS, Pretraining
from selfdistill.microcosm.reasoner import Context, Reasoner, likelihood_ratio, look_up

MIX = documents.Mix()
TOLD = documents.WORLDS["standard"]
PROBLEM = world.problem_split("in_domain")[0]


def test_likelihood_ratio_is_that_of_counted_look_ups():
    """Two look-ups of an entry, counted apart for entries that hold the wanted value and for all entries."""
    rng = random.Random(0)
    holding, overall = Counter(), Counter()
    for _ in range(200_000):
        letter, x = rng.choice(world.LETTERS), rng.randrange(world.NUMBERS)
        wanted = rng.randrange(world.TABLE_VALUES)
        verdicts = tuple(look_up(rng, letter, x) == wanted for _ in range(2))
        overall[verdicts] += 1
        if world.tables()[letter][x] == wanted:
            holding[verdicts] += 1
    for verdicts in ((False, False), (True, False), (True, True)):
        ratio = (holding[verdicts] / holding.total()) / (overall[verdicts] / overall.total())
        assert likelihood_ratio(verdicts.count(False), verdicts.count(True)) == pytest.approx(ratio, rel=0.08)


def test_a_no_lowers_a_candidate_and_does_not_exclude_it():
    once, twice = likelihood_ratio(1, 0), likelihood_ratio(2, 0)
    assert 0.05 < once < 0.2
    assert 0 < twice < once
    assert likelihood_ratio(1, 1) > 1  # a "no", then an "ok" on the same entry: probably misremembered


def test_recovery_a_rejected_candidate_is_checked_again_and_accepted():
    """A misremembered solution, searched for without giving up: found more often than one look-up each would."""
    wrong = world.misremembered()
    problem = next(p for p in world.problem_split("train") if any((name, p.answer) in wrong for name, _ in p.clues[1:]))
    traces = [Reasoner(random.Random(seed), problem, give_up=0.0).run() for seed in range(100)]
    right = [trace for trace in traces if trace.verified and trace.answer == problem.answer]
    assert len(right) > 1.5 * world.RIGHT_WHEN_MISREMEMBERED * len(traces)
    assert sum(_proposals(trace).count(problem.answer) > 1 for trace in right) > len(right) / 2


def _proposals(trace) -> list[int]:
    return [int(trace.words[i - 1]) for i, word in enumerate(trace.words) if word == ":"]


def test_accuracy_and_length_are_those_that_the_hazard_was_chosen_for():
    """The reasoner alone, as docs/microcosm.md states it: right answers, and words per trace in-domain."""
    rng = random.Random(1)
    for split, wanted in (("in_domain", 0.70), ("hard", 0.59)):
        problems = world.problem_split(split)
        traces = [(p, Reasoner(rng, p).run()) for p in problems for _ in range(20)]
        assert sum(t.answer == p.answer for p, t in traces) / len(traces) == pytest.approx(wanted, abs=0.035)
        if split == "in_domain":
            assert sum(len(t.words) for _, t in traces) / len(traces) == pytest.approx(105, abs=8)


def test_beliefs_about_full_contexts_are_calibrated():
    rng = random.Random(2)
    right = {True: [], False: []}
    for _ in range(12_000):
        problem = documents.sample_problem(rng, MIX)
        trace = Reasoner(rng, problem).run()
        right[trace.verified].append(trace.answer == problem.answer)
    assert sum(right[True]) / len(right[True]) == pytest.approx(TOLD.belief_verified, abs=0.006)
    assert sum(right[False]) / len(right[False]) == pytest.approx(TOLD.belief_gave_up, abs=0.02)


@pytest.mark.parametrize("kind", [documents.answer_context, documents.short_context])
def test_beliefs_about_other_contexts_are_calibrated(kind):
    rng = random.Random(3)
    contexts = [(p, kind(rng, p, TOLD)[0]) for p in (documents.sample_problem(rng, MIX) for _ in range(6000))]
    for low, high in ((0.5, 0.7), (0.7, 0.88), (0.88, 0.95), (0.95, 1.0)):
        group = [
            (context.belief, context.answer == p.answer) for p, context in contexts if low < context.belief <= high
        ]
        if group:
            believed = sum(belief for belief, _ in group) / len(group)
            assert sum(right for _, right in group) / len(group) == pytest.approx(believed, abs=0.03)


def test_doubt_words_follow_the_belief_alone():
    """A certain context is answered without a doubt word; a doubtful one is not."""
    certain = [Reasoner(random.Random(s), PROBLEM, Context(PROBLEM.answer, 1.0)).run() for s in range(50)]
    assert all(sum(count_markers(" ".join(trace.words)).values()) == 0 for trace in certain)
    unguided = [Reasoner(random.Random(s), PROBLEM).run() for s in range(200)]
    text = " ".join(word for trace in unguided for word in trace.words)
    assert all(count for count in count_markers(text).values()), MARKERS


def test_checks_of_a_trace_say_ok_exactly_when_the_written_value_is_the_clues():
    rng = random.Random(4)
    for problem in world.problem_split("hard"):
        words = Reasoner(rng, problem).run().words
        wanted = dict(problem.clues)
        verdicts = [i for i, word in enumerate(words) if word in ("ok", "no")]
        assert verdicts
        for i in verdicts:
            assert (words[i] == "ok") == (int(words[i - 1]) == wanted[words[i - 4]])


def test_more_problems_of_each_benchmark_may_be_kept_out_of_documents():
    later = {p.identity for s in ("in_domain", "easy", "hard") for p in world.problem_split(s, 400)[100:]}
    seen = {}
    for held_out in (100, 400):
        rng, mix = random.Random(5), replace(MIX, held_out=held_out)
        seen[held_out] = {documents.sample_problem(rng, mix).identity for _ in range(6000)} & later
    assert seen[100] and not seen[400]
    assert Pretraining("standard").chosen() == PRESETS["standard"]
    assert Pretraining("standard", held_out=400).chosen().mix == replace(MIX, held_out=400)


def test_documents_state_one_answer_and_never_show_an_evaluation_problem():
    rng = random.Random(5)
    evaluation = {p.text for s in ("in_domain", "easy", "hard", "narrow_test") for p in world.problem_split(s)}
    sampled = [documents.sample_document(rng, MIX) for _ in range(1500)]
    for document in sampled:
        assert extract_answer(document.response) is not None
        assert ("<think>" in document.response) == document.thinking
        assert not any(text in document.prompt for text in evaluation)
    guided = sum("Correct solution" in document.prompt for document in sampled) / len(sampled)
    assert guided == pytest.approx(0.5, abs=0.05)
    assert sum(not document.thinking for document in sampled) / len(sampled) == pytest.approx(0.06, abs=0.025)
