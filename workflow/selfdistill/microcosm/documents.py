"""The pre-training mix: problems with and without a context, and the self-Bayesian reasoner's answers.

Every belief about a context is the calibrated probability that its answer is right, given what the context shows;
contexts are wrong often enough that trusting them blindly would not pay.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass

from selfdistill.microcosm import world
from selfdistill.microcosm.reasoner import (
    GIVE_UP_WITHOUT_THINKING,
    Context,
    Reasoner,
    Trace,
    check,
    likelihood_ratio,
    look_up,
    stated_fact,
)
from selfdistill.microcosm.scanner import Scanner, claimed, claimed_fact
from selfdistill.microcosm.world import Problem
from selfdistill.prompts import CLOSE, OPEN, guided_prompt

# Kind of document -> share of the mix. The first three have a context.
SHARES = {"full": 0.20, "answer": 0.15, "short": 0.15, "unguided": 0.44, "without_thinking": 0.06}
# Share of unguided documents whose anchor leaves one or two candidates: short traces without doubt exist unguided too.
TERSE_SHARE = 0.135
# Smallest anchor modulus of problems with a single table clue: few candidates leave a chance of one solution.
SINGLE_CLUE_ANCHOR = 10
# P(answer right) of a bare answer and, before its lines are read, of a short solution.
PRIOR_RIGHT = 0.6
# This share of the traces that give up is not used as a full context.
GIVEN_UP_DROPPED = 0.6
SHORT_LINES = {1: 0.60, 2: 0.25, 3: 0.15}
LEARNT_FROM = 3  # place of the first word of an entry or a check that is to be learnt


@dataclass(frozen=True)
class World:
    """What the documents of one world have of their own; problems, facts and kinds of documents are shared.

    ``belief_verified`` and ``belief_gave_up``: P(answer right | a full context that verified it / gave up), simulated
    with the world's reasoner (test_microcosm_reasoner.py, test_microcosm_scanner.py).
    """

    reasoner: type[Reasoner]
    belief_verified: float
    belief_gave_up: float
    fact: Callable[[random.Random, str, int], list[str]]  # the words of an entry; the fourth is what is to be learnt
    check: Callable[[world.Clue, int, int], list[str]]  # of a check of a number, by the value found; from the fourth on
    ends: tuple[str, ...]  # what follows the checks of a number
    anchor_checked: bool  # else every wrong answer that a context shows satisfies it
    rehearsed: float  # share of the tokens in the phase of documents that are facts: without, they are forgotten


WORLDS = {
    "standard": World(Reasoner, 0.975, 0.215, stated_fact, check, (), anchor_checked=True, rehearsed=0.0),
    "carrier": World(Scanner, 0.975, 0.345, claimed_fact, claimed, (",",), anchor_checked=False, rehearsed=0.3),
}


@dataclass(frozen=True)
class Mix:
    """The problems of the documents: their letters, anchor moduli, and share of each number of table clues.

    ``held_out`` problems of each benchmark are none of them. ``world``: the one of `WORLDS` that is told of.
    """

    letters: str = world.LETTERS
    anchors: tuple[int, ...] = world.ANCHORS
    clue_counts: tuple[tuple[int, float], ...] = ((1, 0.08), (2, 0.47), (3, 0.30), (4, 0.15))
    held_out: int = world.EVALUATION_SIZE
    world: str = "standard"


@dataclass(frozen=True)
class Document:
    """A user turn, the response to it, and whether the response may think first."""

    prompt: str
    response: str
    thinking: bool = True


def sample_document(rng: random.Random, mix: Mix) -> Document:
    """One fresh document of the mix."""
    told = WORLDS[mix.world]
    kind = _pick(rng, SHARES)
    problem = sample_problem(rng, mix, terse=kind == "unguided" and rng.random() < TERSE_SHARE)
    if kind == "unguided":
        return Document(problem.text, thought(told.reasoner(rng, problem).run()))
    if kind == "without_thinking":
        trace = told.reasoner(rng, problem, give_up=GIVE_UP_WITHOUT_THINKING).run()
        return Document(problem.text, visible(trace), thinking=False)
    context, solution = CONTEXTS[kind](rng, problem, told)
    return Document(guided_prompt(problem.text, solution), thought(told.reasoner(rng, problem, context).run()))


def sample_problem(rng: random.Random, mix: Mix, *, terse: bool = False) -> Problem:
    """A problem of the pre-training distribution; never one of an evaluation split."""
    while True:
        count = rng.choice((1, 2, 3)) if terse else _pick(rng, dict(mix.clue_counts))
        anchors = [m for m in mix.anchors if count > 1 or m >= SINGLE_CLUE_ANCHOR]
        letters = rng.sample(mix.letters, count)
        problem = world.random_problem(rng, letters, world.TERSE_ANCHORS if terse else anchors, "pretraining")
        if problem is not None and problem.identity not in world.evaluation_identities(mix.held_out):
            return problem


def full_context(rng: random.Random, problem: Problem, told: World) -> tuple[Context, str]:
    """A whole unguided response to the same problem; it was verified or it gave up."""
    while True:
        trace = told.reasoner(rng, problem).run()
        if trace.verified or rng.random() >= GIVEN_UP_DROPPED:
            break
    if trace.verified:
        return Context(trace.answer, told.belief_verified, trace.known), thought(trace)
    # A guess satisfies the anchor, right or wrong, so a check of it would carry no information.
    return Context(trace.answer, told.belief_gave_up, frozenset({problem.clues[0][0]})), thought(trace)


def answer_context(rng: random.Random, problem: Problem, told: World) -> tuple[Context, str]:
    """The bare answer, right with probability `PRIOR_RIGHT`."""
    answer = _right_or_random(rng, problem, told)
    return Context(answer, PRIOR_RIGHT), stated(answer)


def short_context(rng: random.Random, problem: Problem, told: World) -> tuple[Context, str]:
    """A confident solution that shows one to three clues to hold; repeated until the look-ups confirm them."""
    shown = problem.clues[0 if told.anchor_checked else 1 :][: _pick(rng, SHORT_LINES)]
    while True:
        answer = _right_or_random(rng, problem, told)
        if all(look_up(rng, name, answer) == wanted for name, wanted in shown):
            break
    odds = PRIOR_RIGHT / (1 - PRIOR_RIGHT)
    for name, _ in shown:
        odds *= int(name[1:]) if name == problem.clues[0][0] else likelihood_ratio(0, 1)
    lines = [word for name, wanted in shown for word in told.check((name, wanted), answer, wanted)]
    words = ["x", "=", str(answer), ":", *lines, *told.ends, "so", "x", "=", str(answer), "."]
    context = Context(answer, odds / (1 + odds), frozenset(name for name, _ in shown))
    return context, thought(Trace(words, answer))


CONTEXTS = {"full": full_context, "answer": answer_context, "short": short_context}


def sample_facts(rng: random.Random, mix: Mix, count: int) -> tuple[list[str], list[bool]]:
    """``count`` random entries, one after the other: words, and which of them are to be learnt.

    ``a 17 = 6 .``, as the reasoner remembers it, where the value is.
    """
    entries = [(rng.choice(mix.letters), rng.randrange(world.NUMBERS)) for _ in range(count)]
    lines = [WORLDS[mix.world].fact(rng, letter, x) for letter, x in entries]
    return [word for line in lines for word in line], [n == LEARNT_FROM for line in lines for n in range(len(line))]


def sample_checks(rng: random.Random, mix: Mix, count: int) -> tuple[list[str], list[bool]]:
    """A problem and ``count`` checks of its clues, about half of which hold: words, and which of them are to be learnt.

    ``Find x ... . a 17 = 6 ok ...``, where the value found and the verdict are.
    """
    told = WORLDS[mix.world]
    problem = sample_problem(rng, mix)
    words = problem.text.split()
    learnt = [False] * len(words)
    for _ in range(count):
        name, wanted = rng.choice([clue for clue in problem.clues if told.anchor_checked or clue != problem.clues[0]])
        holding = [x for x in range(world.NUMBERS) if world.value(name, x) == wanted]
        x = rng.choice(holding) if rng.random() < 0.5 else rng.randrange(world.NUMBERS)
        line = [*told.check((name, wanted), x, look_up(rng, name, x)), *told.ends]
        words += line
        learnt += [place >= LEARNT_FROM for place in range(len(line))]
    return words, learnt


def thought(trace: Trace) -> str:
    """A response that thinks and then answers."""
    return f"{OPEN} {' '.join(trace.words)} {CLOSE} {stated(trace.answer)}"


def visible(trace: Trace) -> str:
    """A response without a thinking block."""
    return f"{' '.join(trace.words)} {stated(trace.answer)}"


def stated(answer: int) -> str:
    return f"The answer is \\boxed{{ {answer} }}"


def _right_or_random(rng: random.Random, problem: Problem, told: World) -> int:
    if rng.random() < PRIOR_RIGHT:
        return problem.answer
    if told.anchor_checked:
        return rng.randrange(world.NUMBERS)
    others = [x for x in world.candidates(problem.clues[0]) if x != problem.answer]
    return rng.choice(others or [problem.answer])


def _pick(rng: random.Random, shares: dict) -> object:
    return rng.choices(list(shares), list(shares.values()))[0]
