"""SDPO's demonstrations: which peer's response the teacher sees, and the prompt that shows it.

The members of a group are peers. A rollout for which `choose_demonstrations` finds no successful peer has no teacher
prompt. Imports no trainer.
"""

import random
from collections.abc import Sequence
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


def choose_demonstrations(
    rewards: Sequence[float], *, group_size: int, threshold: float, choice: str, rng: random.Random
) -> list[int | None]:
    """For each rollout of a step, the index in ``rewards`` of the peer that is its demonstration, or None.

    A demonstration has a reward of at least ``threshold`` and is never the rollout itself. ``choice`` is "first",
    the group's first success, which all peers share and whose owner gets the second (authors'
    ray_trainer.py:664-682), or "random", drawn from ``rng`` for every rollout anew: the authors order a batch by
    length beforehand, so that their first success can depend on its length.

    Raises `UserError` for an unknown choice, and when ``rewards`` are no whole groups.
    """
    pick = one_of("demonstration", choice, {"random": rng.choice, "first": min})
    chosen: list[int | None] = []
    for group in groups_of(len(rewards), group_size):
        successes = [rollout for rollout in group if rewards[rollout] >= threshold]
        for rollout in group:
            peers = [success for success in successes if success != rollout]
            chosen.append(pick(peers) if peers else None)
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
