"""The problems that an on-policy run trains on, and their order."""

import random
from collections.abc import Iterator

import pandas as pd

from selfdistill.training.settings import draw_part


def training_set(problems: pd.DataFrame, *, subset: int | None, draw: int) -> pd.DataFrame:
    """D: the whole set, or ``subset`` consecutive problems of it, in file order."""
    return problems if subset is None else problems.iloc[draw_part(len(problems), subset=subset, draw=draw)]


def trained_problems(
    problems: pd.DataFrame,
    *,
    subset: int | None,
    draw: int,
    batch_size: int,
    steps: int,
    copies: int = 1,
    seed: int,
    at_most: int,
) -> pd.DataFrame:
    """The problems of a set that a run trains on, each once, in the order in which it first does; at most so many."""
    part = training_set(problems, subset=subset, draw=draw)
    order = dict.fromkeys(prompt_stream(len(part), batch_size=batch_size, steps=steps, copies=copies, seed=seed))
    return part.iloc[list(order)[:at_most]]


def prompt_stream(questions: int, *, batch_size: int, steps: int, seed: int, copies: int = 1) -> list[int]:
    """Numbers (0 to ``questions`` - 1) of the prompts of all ``steps``, ``batch_size`` each.

    A set smaller than a batch is repeated until it fills one, as in the authors' files (seen_1x64: one problem 64
    times); every copy is a group of rollouts of its own. Each pass over the set is shuffled anew. With ``copies`` a
    pass goes over so many of the set, shuffled together, as over the rows of the authors' file of the whole set: its
    first draws repeat some problems and leave out others.
    """
    copies = max(copies, -(-batch_size // questions))
    numbers = _epochs(list(range(questions)) * copies, random.Random(seed))
    return [next(numbers) for _ in range(batch_size * steps)]


def _epochs(numbers: list[int], shuffler: random.Random) -> Iterator[int]:
    while True:
        yield from shuffler.sample(numbers, len(numbers))
