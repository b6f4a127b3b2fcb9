"""The problems that an on-policy run trains on, and their order."""

import random
from collections.abc import Iterator

import pandas as pd

from selfdistill.errors import UserError

# Draws of a small training set start this far apart: larger than every |D| but the whole set (Section 6.2: up to 512),
# so that the sets of one draw are nested, as the authors' files are, and those of different draws disjoint.
DRAW_STRIDE = 1024


def training_set(problems: pd.DataFrame, *, subset: int | None, draw: int) -> pd.DataFrame:
    """D: the whole set, or ``subset`` consecutive problems of it, in file order."""
    if subset is None:
        return problems
    first = draw * DRAW_STRIDE
    if subset > DRAW_STRIDE or first + subset > len(problems):
        raise UserError(
            f"draw {draw} of {subset} problems needs at least {first + subset} problems, {DRAW_STRIDE} apart at most; "
            f"the set has {len(problems)}"
        )
    return problems.iloc[first : first + subset]


def prompt_stream(questions: int, *, batch_size: int, steps: int, seed: int) -> list[int]:
    """Numbers (0 to ``questions`` - 1) of the prompts of all ``steps``, ``batch_size`` each.

    A set smaller than a batch is repeated until it fills one, as in the authors' files (seen_1x64: one problem 64
    times); every copy is a group of rollouts of its own. Each pass over the set is shuffled anew.
    """
    copies = -(-batch_size // questions)
    numbers = _epochs(list(range(questions)) * copies, random.Random(seed))
    return [next(numbers) for _ in range(batch_size * steps)]


def _epochs(numbers: list[int], shuffler: random.Random) -> Iterator[int]:
    while True:
        yield from shuffler.sample(numbers, len(numbers))
