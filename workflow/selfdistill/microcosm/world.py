"""Hidden-number puzzles: the facts, the problems, and the splits, which never share a clue set.

A number x in [0, 60) is hidden. An *anchor* clue ``m5 = 2`` says x mod 5 = 2; a *table* clue ``a = 6`` says that
table a holds 6 at x. The tables are arbitrary facts: only x -> value is ever learnt, so the inverse has to be
searched for and verified. A problem is one anchor and a few table clues with exactly one solution.
"""

import itertools
import random
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache

from selfdistill.errors import UserError, one_of

NUMBERS = 60
TABLE_VALUES = 7
LETTERS = "abcdefghijkl"
GROUPS = ("abcd", "efgh", "ijkl")
# Anchors that leave at most two candidates: the terse problems of the pre-training mix.
TERSE_ANCHORS = (29, 30, 60)
ANCHORS = (5, 6, 7, 8, 9, 10, 11, 12, 13)
TABLE_SEED = 12345
# Misremembered facts: so many entries of each table are written right only with this probability, else with one wrong
# value of their own. The model's weakness is thus content, spread over (letter, number) entries.
MISREMEMBERED_PER_TABLE = 12
RIGHT_WHEN_MISREMEMBERED = 0.15

Clue = tuple[str, int]  # ("m5", 2) or ("a", 6)


@dataclass(frozen=True)
class Problem:
    """A puzzle: ``clues`` in the order of its text, the anchor first; ``answer`` is its only solution."""

    clues: tuple[Clue, ...]
    answer: int
    problem_type: str

    @property
    def identity(self) -> tuple[Clue, ...]:
        """The unordered clue set: problems that differ only in order are the same problem."""
        return tuple(sorted(self.clues))

    @property
    def text(self) -> str:
        return "Find x with " + " , ".join(f"{name} = {value}" for name, value in self.clues) + " ."


_TEXT = re.compile(rf"Find x with (m[1-9]\d? = \d\d?(?: , [{LETTERS}] = \d)+) \.")


def parsed(text: str) -> tuple[Clue, ...] | None:
    """The clues of a problem's `text`, the anchor first; None where it is none of this world's."""
    found = _TEXT.fullmatch(text.strip())
    if found is None:
        return None
    return tuple((name, int(value)) for name, value in (clue.split(" = ") for clue in found[1].split(" , ")))


def tables() -> dict[str, list[int]]:
    """The true tables: ``tables()[letter][x]`` in [0, 7)."""
    return _tables()[0]


def misremembered() -> dict[tuple[str, int], int]:
    """The misremembered entries ``(letter, x)`` and the wrong value that each is mistaken for."""
    return _tables()[1]


@cache
def _tables() -> tuple[dict[str, list[int]], dict[tuple[str, int], int]]:
    shared = random.Random(TABLE_SEED)
    true: dict[str, list[int]] = {}
    for letter in LETTERS:
        values = [i % TABLE_VALUES for i in range(NUMBERS)]
        shared.shuffle(values)
        true[letter] = values
    wrong = {}
    for letter in LETTERS:
        for x in shared.sample(range(NUMBERS), MISREMEMBERED_PER_TABLE):
            wrong[letter, x] = shared.choice([v for v in range(TABLE_VALUES) if v != true[letter][x]])
    return true, wrong


def value(name: str, x: int) -> int:
    """The true value of a clue's function at ``x``."""
    return x % int(name[1:]) if name[0] == "m" and len(name) > 1 else tables()[name][x]


def candidates(anchor: Clue) -> list[int]:
    """The numbers that satisfy an anchor clue."""
    modulus, rest = int(anchor[0][1:]), anchor[1]
    return list(range(rest, NUMBERS, modulus))


def solutions(clues: Iterable[Clue]) -> list[int]:
    """Every number that satisfies all clues."""
    anchor, *rest = clues
    return [x for x in candidates(anchor) if all(tables()[letter][x] == wanted for letter, wanted in rest)]


def random_problem(
    rng: random.Random, letters: Iterable[str], anchors: Iterable[int], problem_type: str
) -> Problem | None:
    """A problem over the given ``letters`` with a random anchor and x; None when x is not its only solution."""
    x, modulus = rng.randrange(NUMBERS), rng.choice(list(anchors))
    clues = ((f"m{modulus}", x % modulus), *((letter, tables()[letter][x]) for letter in letters))
    return Problem(clues, x, problem_type) if len(solutions(clues)) == 1 else None


# --- families -------------------------------------------------------------------------------------------------
IN_DOMAIN_ANCHORS = (6, 7, 8, 9, 10)
EASY_ANCHORS = (11, 12)
HARD_ANCHORS = (5, 6)
# One type only, the analogue of the paper's Chemistry set; its anchor is no other family's.
NARROW_GROUP, NARROW_ANCHORS = GROUPS[0], (13,)
EVALUATION_SIZE = 100  # problems of each benchmark but the narrow one that are kept out of pre-training
IN_DOMAIN_SIZE = 400  # problems of the first family for its benchmark, the rest is the training pool
NARROW_EVALUATION_SIZE = 50
SPLIT_SEED = 777

SPLITS = ("train", "in_domain", "easy", "hard", "narrow_train", "narrow_test")
# All distinct problems of each: what the tables and anchors above allow.
SPLIT_SIZES = {
    "train": 8007,
    "in_domain": IN_DOMAIN_SIZE,
    "easy": 5363,
    "hard": 83_455,
    "narrow_train": 288,
    "narrow_test": NARROW_EVALUATION_SIZE,
}


def check_split(split: str, size: int | None) -> None:
    """`UserError` for an unknown split, or for more problems than it has."""
    most = one_of("microcosm split", split, SPLIT_SIZES)
    if size is not None and size > most:
        raise UserError(f"microcosm split '{split}' has {most} problems, {size} were asked for")


def problem_split(split: str, size: int | None = None) -> list[Problem]:
    """The first ``size`` problems of a split, always in the same order.

    Without a size, all of a training pool and of ``narrow_test``, and `EVALUATION_SIZE` of another benchmark.
    ``in_domain`` and ``train`` partition one family (two or three clues of one letter group); ``easy`` and
    ``hard`` mix letter groups, so post-training never sees their type; ``narrow_train`` and ``narrow_test``
    partition a family of a single type. Raises `UserError` for an unknown split or one that is too small.
    """
    one_of("microcosm split", split, SPLITS)
    if size is None and split in ("in_domain", "easy", "hard"):
        size = EVALUATION_SIZE
    if split in ("easy", "hard"):
        return list(itertools.islice(_cross_group(split), size))
    problems = _finite_split(split)
    if size is not None and size > len(problems):
        raise UserError(f"microcosm split '{split}' has {len(problems)} problems, {size} were asked for")
    return list(problems[:size])


@cache
def _finite_split(split: str) -> tuple[Problem, ...]:
    if split.startswith("narrow"):
        family, held_out = _family("narrow", (NARROW_GROUP,), (2,), NARROW_ANCHORS), NARROW_EVALUATION_SIZE
        return family[:held_out] if split == "narrow_test" else family[held_out:]
    family = _family("in_domain", GROUPS, (2, 3), IN_DOMAIN_ANCHORS)
    # The benchmark is the first problems, then the last, so that one of default size leaves the pool where it is.
    first, last = EVALUATION_SIZE, len(family) - (IN_DOMAIN_SIZE - EVALUATION_SIZE)
    return (*family[:first], *family[last:]) if split == "in_domain" else family[first:last]


@cache
def _family(name: str, groups: tuple[str, ...], clue_counts: tuple[int, ...], anchors: tuple[int, ...]):
    """Every distinct problem of a one-group family, shuffled with a fixed seed; clue order is random."""
    rng = random.Random(f"{name}-{SPLIT_SEED}")
    found = {}
    for group, count in itertools.product(groups, clue_counts):
        for letters, modulus, x in itertools.product(itertools.combinations(group, count), anchors, range(NUMBERS)):
            clues = ((f"m{modulus}", x % modulus), *((letter, tables()[letter][x]) for letter in letters))
            if len(solutions(clues)) == 1:
                order = rng.sample(clues[1:], count)
                problem = Problem((clues[0], *order), x, f"{name}/k{count}/{group}/m{modulus}")
                found.setdefault(problem.identity, problem)
    problems = list(found.values())
    rng.shuffle(problems)
    return tuple(problems)


def _cross_group(split: str) -> Iterator[Problem]:
    """Distinct problems whose letters come from two or more groups."""
    rng = random.Random(f"{split}-{SPLIT_SEED}")
    counts, anchors = ((2,), EASY_ANCHORS) if split == "easy" else ((3, 4), HARD_ANCHORS)
    seen = set()
    while True:
        count = rng.choice(counts)
        letters = rng.sample(LETTERS, count)
        if len({group_of(letter) for letter in letters}) == 1:
            continue
        problem = random_problem(rng, letters, anchors, f"{split}/k{count}")
        if problem is not None and problem.identity not in seen:
            seen.add(problem.identity)
            yield problem


def group_of(letter: str) -> str:
    """The letter group that ``letter`` belongs to."""
    return next(group for group in GROUPS if letter in group)


@cache
def evaluation_identities(size: int) -> frozenset[tuple[Clue, ...]]:
    """Clue sets that pre-training never sees: the first ``size`` of each benchmark, and all of the narrow one."""
    splits = {"in_domain": size, "narrow_test": None, "easy": size, "hard": size}
    return frozenset(problem.identity for split, number in splits.items() for problem in problem_split(split, number))
