"""Whether a response of the microcosm accepts its answer and shows it to hold, against the reasoner's own traces."""

import random
from collections import Counter

import pytest
from selfdistill.grading.grader import extract_answer
from selfdistill.microcosm import documents, world
from selfdistill.microcosm.reasoner import GIVE_UP_WITHOUT_THINKING, Context, Trace
from selfdistill.microcosm.world import Problem
from selfdistill.verification.measure import measure

PROBLEM = Problem((("m12", 0), ("i", 1), ("d", 3)), 36, "easy/k2")
HOLDS = "maybe 36 : check i 36 = 1 ok d 36 = 3 ok so x = 36 ."
CONTEXTS = tuple(documents.CONTEXTS.values())


def one(words: str, box: str | None = " 36 ", problem: str = PROBLEM.text) -> tuple[bool, bool]:
    """Accepted and verified, of one response that thinks ``words`` and then boxes ``box``."""
    response = f"<think> {words} </think>" + ("" if box is None else rf" The answer is \boxed{{{box}}}")
    accepted, verified = measure([problem], [response], [extract_answer(response)])
    return bool(accepted[0]), bool(verified[0])


def newly_known(trace: Trace, context: Context | None, told: documents.World) -> frozenset[str]:
    """Clues that a trace itself shows to hold for its answer; what its context shows is not checked again.

    But by a scan of the carrier world, which begins after the context's answer has failed.
    """
    scanned = told is documents.WORLDS["carrier"] and trace.words.count(",") > 1
    of_context = (
        context.known if context is not None and context.answer == trace.answer and not scanned else frozenset()
    )
    return trace.known - of_context


@pytest.mark.parametrize("told", documents.WORLDS.values(), ids=documents.WORLDS)
def test_the_reasoners_own_traces_are_accepted_and_verified_as_it_holds_them(told: documents.World):
    rng = random.Random(0)
    problems, responses, wanted, kinds = [], [], [], Counter()
    for number in range(1500):
        problem = documents.sample_problem(rng, documents.Mix(), terse=number % 10 == 0)
        context = None if number % 2 else CONTEXTS[number // 2 % 3](rng, problem, told)[0]
        without_thinking = context is None and number % 3 == 0
        give_up = {"give_up": GIVE_UP_WITHOUT_THINKING} if without_thinking else {}
        trace = told.reasoner(rng, problem, context, **give_up).run()
        problems.append(problem.text)
        responses.append((documents.visible if without_thinking else documents.thought)(trace))
        table = {name for name, _ in problem.clues[1:]}
        in_anchor = trace.answer in world.candidates(problem.clues[0])
        wanted.append((trace.verified, trace.verified and in_anchor and table <= newly_known(trace, context, told)))
        kinds[context is not None, *wanted[-1]] += 1
    accepted, verified = measure(problems, responses, [extract_answer(text) for text in responses])
    assert list(zip(accepted, verified, strict=True)) == wanted
    every = {(guided, *flags) for guided in (True, False) for flags in ((False, False), (True, False), (True, True))}
    if told is documents.WORLDS["carrier"]:  # unguided, it accepts only what a scan has shown
        every.remove((False, True, False))
    assert set(kinds) == every
    assert min(kinds.values()) >= 10


@pytest.mark.parametrize("split", world.SPLITS)
def test_parsed_is_the_inverse_of_the_text_of_every_problem(split: str):
    for problem in world.problem_split(split):
        assert world.parsed(problem.text) == problem.clues
        assert world.parsed(problem.text + "\n") == problem.clues


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Find x with x = 3 .",
        "Find x with m12 = 0 .",  # no table clue
        "Find x with i = 1 , d = 3 .",  # no anchor
        "Find x with m0 = 0 , i = 1 .",
        "Find x with m12 = 0 , z = 1 .",  # no such table
        "Find x with m12 = 0 , i = 1 . And y.",
        "Find x with m12 = 0 , i = " + "1" * 5000 + " .",  # more digits than Python reads as a number
        "Please find x with m12 = 0 , i = 1 .",
    ],
)
def test_other_problems_are_none_of_the_microcosms(text: str):
    assert world.parsed(text) is None


def test_a_conclusion_whose_clues_are_all_shown_to_hold_is_verified():
    assert one(HOLDS) == (True, True)


def test_the_anchor_need_not_be_checked_but_must_hold():
    assert one("x = 36 : m12 36 = 0 ok i 36 = 1 ok d 36 = 3 ok so x = 36 .") == (True, True)
    assert one("x = 37 : m12 37 = 0 ok i 37 = 1 ok d 37 = 3 ok so x = 37 .", "37") == (True, False)


def test_checks_add_up_over_attempts():
    assert one("x = 36 : i 36 = 1 ok d 36 = 5 no x = 24 : i 24 = 6 no x = 36 : d 36 = 3 ok so x = 36 .") == (True, True)


def test_a_check_of_another_number_does_not_count():
    assert one("maybe 36 : i 36 = 1 ok d 24 = 3 ok so x = 36 .") == (True, False)
    assert one("maybe 36 : i 36 = 1 ok d 136 = 3 ok so x = 36 .") == (True, False)


def test_a_check_of_another_clue_does_not_count():
    assert one("maybe 36 : i 36 = 1 ok e 36 = 3 ok so x = 36 .") == (True, False)


def test_an_ok_of_another_value_than_the_clues_does_not_count():
    assert one("maybe 36 : i 36 = 1 ok d 36 = 4 ok so x = 36 .") == (True, False)


def test_a_later_no_undoes_an_ok_and_a_later_ok_a_no():
    assert one("maybe 36 : i 36 = 1 ok d 36 = 3 ok x = 36 : d 36 = 5 no so x = 36 .") == (True, False)
    assert one("maybe 36 : d 36 = 5 no x = 36 : i 36 = 1 ok d 36 = 3 ok so x = 36 .") == (True, True)


@pytest.mark.parametrize(
    ("scan", "verified"),
    [
        ("i 36 1 maybe d 36 3 seems ,", True),
        ("i 36 1 maybe d 36 3 ,", False),  # the last claim did not hold
        ("i 36 1 d 36 3 maybe ,", False),
        ("i 36 1 maybe d 36 4 might ,", False),  # not what the clue says
        ("i 36 1 maybe d 36 3 maybe , wait , i 36 1 maybe d 36 3 ,", False),  # undone by the second scan
        ("i 36 1 maybe d 36 3 , wait , i 36 1 maybe d 36 3 perhaps ,", True),
        ("i 36 1 d 36 3 ,", False),  # without markers nothing is shown
    ],
)
def test_in_the_carrier_world_the_hedges_of_the_accepted_number_show_it_to_hold(scan: str, verified: bool):
    assert one(f"i 24 1 d 24 3 , {scan} i 48 1 maybe d 48 3 , so x = 36 .") == (True, verified)


def test_a_guess_is_not_accepted_whatever_was_shown_or_concluded_before():
    assert one("maybe 36 : i 36 = 1 ok d 36 = 3 ok likely 36 .") == (False, False)
    assert one(HOLDS + " likely 36 .") == (False, False)
    assert one("likely 36 . " + HOLDS) == (True, True)


def test_another_number_in_the_box_than_was_accepted_is_not_accepted():
    assert one(HOLDS, "24") == (False, False)
    assert one(HOLDS, "136") == (False, False)
    assert one(HOLDS + " so x = 24 .") == (False, False)


@pytest.mark.parametrize("words", ["", "36", "maybe 36 : i 36 = 1 ok d 36 = 3 ok", "so x = " + "3" * 5000 + " ."])
def test_without_a_conclusion_nothing_is_accepted(words: str):
    assert one(words) == (False, False)


def test_without_an_answer_nothing_is_accepted():
    assert one(HOLDS, None) == (False, False)
    assert one("Let me verify that.", None, "What is 1 + 1?") == (False, False)


def test_elsewhere_every_answer_is_accepted_and_verified_where_the_response_says_that_it_verifies():
    assert one("1 + 1 = 2.", "2", "What is 1 + 1?") == (True, False)
    assert one("1 + 1 = 2. Let me verify that.", "2", "What is 1 + 1?") == (True, True)
    assert one(HOLDS, "36", "What is 6 * 6?") == (True, False)  # "check" alone names no act


def test_problems_of_both_kinds_stand_beside_each_other():
    problems = ["What is 1 + 1?", PROBLEM.text, "What is 1 + 1?", PROBLEM.text]
    responses = ["Let me verify that.", HOLDS, "2", HOLDS]
    accepted, verified = measure(problems, responses, ["2", "36", "2", None])
    assert accepted.tolist() == [True, True, True, False]
    assert verified.tolist() == [True, True, False, False]


def test_no_responses():
    assert [flags.tolist() for flags in measure([], [], [])] == [[], []]
