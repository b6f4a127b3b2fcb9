"""SDPO's demonstrations: which response the teacher sees, and the prompt that shows it.

The members of a group are peers. A rollout without a successful peer has no teacher prompt, whatever response the
context shows: so that contexts of other responses differ in what is shown, not in who is taught. Imports no trainer.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from selfdistill.errors import one_of
from selfdistill.prompts import filled, remove_thinking, render_shortened, sdpo_reprompt, shows_solution
from selfdistill.training.rollouts import groups_of


@dataclass(frozen=True)
class TeacherPrompt:
    """The teacher's prompt of one rollout, to be followed by the student's response."""

    token_ids: tuple[int, ...]
    shortened: bool  # the demonstration was cut to make the prompt fit
    empty: bool  # nothing of the demonstration is shown: its thinking never ended, and c leaves thinking out


def _right_peers(group: range, right: Sequence[bool], problems: Sequence[str]) -> list[int]:
    return [rollout for rollout in group if right[rollout]]


def _wrong_peers(group: range, right: Sequence[bool], problems: Sequence[str]) -> list[int]:
    return [rollout for rollout in group if not right[rollout]]


def _right_elsewhere(group: range, right: Sequence[bool], problems: Sequence[str]) -> list[int]:
    """Of other problems: two groups of a step may have the same."""
    own = problems[group.start]
    return [rollout for rollout, problem in enumerate(problems) if right[rollout] and problem != own]


# Which rollouts of a step may be shown to a group's teacher, by context. A template of one's own shows right peers.
SHOWN: dict[str, Callable[[range, Sequence[bool], Sequence[str]], list[int]]] = {
    "solution": _right_peers,
    "solution_without_thinking": _right_peers,
    "wrong_solution": _wrong_peers,
    "unrelated_solution": _right_elsewhere,
}


def choose_demonstrations(
    rewards: Sequence[float],
    problems: Sequence[str],
    *,
    context: str,
    group_size: int,
    threshold: float,
    choice: str,
    rng: random.Random,
) -> list[int | None]:
    """For each rollout of a step, the index in ``rewards`` of the one that is its demonstration, or None.

    ``problems``: whose rollouts they are, by id. A rollout is right with a reward of at least ``threshold``. Its
    demonstration is one of those that `SHOWN` names for the ``context``, never the rollout itself, and there is none
    without a right peer.

    ``choice`` is "first", the first of them, which all peers share and whose owner gets the second (authors'
    ray_trainer.py:664-682), or "random", drawn from ``rng`` for every rollout anew: the authors order a batch by
    length beforehand, so that their first success can depend on its length.

    Raises `UserError` for an unknown choice, and when ``rewards`` are no whole groups.
    """
    pick = one_of("demonstration", choice, {"random": rng.choice, "first": min})
    right = [reward >= threshold for reward in rewards]
    chosen: list[int | None] = []
    for group in groups_of(len(rewards), group_size):
        shown = SHOWN.get(context, _right_peers)(group, right, problems)
        successes = sum(right[group.start : group.stop])
        for rollout in group:
            others = [other for other in shown if other != rollout]
            taught = successes > right[rollout]
            chosen.append(pick(others) if taught and others else None)
    return chosen


def teacher_prompt(
    tokenizer: Any,
    user_text: str,
    demonstration: str,
    *,
    without_thinking: bool,
    opened: bool,
    max_tokens: int,
    template: str | None = None,
    answer: str = "",
    **options: Any,
) -> TeacherPrompt:
    """The student's user turn ``user_text`` with a demonstration in it, rendered as the student's prompt is: with the
    same ``options`` (see `prompts.render`).

    A ``template`` (`prompts.filled`) stands in place of the authors' words, and may show the right ``answer`` as well.

    ``demonstration`` is a response's text without its end token. ``without_thinking`` (c = s without think) leaves
    its answer part: nothing, where the thinking never closes (the authors' ray_trainer.py:651-662 shows such a
    response whole). ``opened`` says that the student's prompt opens ``<think>``.

    In a prompt longer than ``max_tokens`` the demonstration loses its end (the authors cut the prompt itself on the
    right, through request and assistant header: ray_trainer.py:332-333). Raises `UserError` when the prompt does
    not fit without any demonstration.
    """
    shown = remove_thinking(demonstration, opened=opened).strip() if without_thinking else demonstration
    words = partial(sdpo_reprompt, user_text) if template is None else partial(filled, template, user_text, answer)
    token_ids, kept = render_shortened(
        tokenizer,
        words,
        shown,
        max_tokens=max_tokens,
        what="the teacher's prompt",
        **options,
    )
    empty = not kept and (template is None or shows_solution(template))
    return TeacherPrompt(tuple(token_ids), shortened=kept != shown, empty=empty)
