"""The puzzles and their splits."""

import itertools

import pytest
from selfdistill.errors import UserError
from selfdistill.microcosm import world


def brute_force(problem: world.Problem) -> list[int]:
    """Solutions by trying every number against every clue, with the true tables."""
    tables = world.tables()

    def holds(name: str, value: int, x: int) -> bool:
        return x % int(name[1:]) == value if name.startswith("m") else tables[name][x] == value

    return [x for x in range(60) if all(holds(name, value, x) for name, value in problem.clues)]


@pytest.mark.parametrize("split", world.SPLITS)
def test_every_problem_has_its_answer_as_only_solution(split):
    for problem in world.problem_split(split):
        assert brute_force(problem) == [int(problem.answer)]


def test_no_two_splits_share_a_clue_set():
    identities = {split: [problem.identity for problem in world.problem_split(split)] for split in world.SPLITS}
    for split, found in identities.items():
        assert len(set(found)) == len(found), split
    for one, other in itertools.combinations(world.SPLITS, 2):
        assert not set(identities[one]) & set(identities[other]), (one, other)


def test_pool_and_in_domain_benchmark_are_the_whole_family():
    benchmark = world.problem_split("in_domain", 400)
    family = world.problem_split("train") + benchmark
    assert len({problem.identity for problem in family}) == len(family) == 8407
    assert len(world.problem_split("train")) >= 8000
    assert world.problem_split("in_domain") == benchmark[:100]
    for problem in family:
        (anchor, _), *clues = problem.clues
        letters = {name for name, _ in clues}
        assert anchor in ("m6", "m7", "m8", "m9", "m10")
        assert len(letters) in (2, 3)
        assert any(letters <= set(group) for group in ("abcd", "efgh", "ijkl"))


@pytest.mark.parametrize(
    ("split", "counts", "anchors"), [("easy", {2}, {"m11", "m12"}), ("hard", {3, 4}, {"m5", "m6"})]
)
def test_unseen_types_mix_letter_groups(split, counts, anchors):
    for problem in world.problem_split(split, 200):
        (anchor, _), *clues = problem.clues
        groups = {world.group_of(name) for name, _ in clues}
        assert anchor in anchors
        assert len(clues) in counts
        assert len(groups) >= 2


def test_a_shorter_split_begins_a_longer_one():
    for split in world.SPLITS:
        assert world.problem_split(split, 20) == world.problem_split(split, 40)[:20]


def test_text_names_the_clues_in_order():
    problem = world.Problem((("m5", 2), ("a", 6), ("c", 1)), 17, "in_domain/k2/abcd/m5")
    assert problem.text == "Find x with m5 = 2 , a = 6 , c = 1 ."
    swapped = world.Problem((("m5", 2), ("c", 1), ("a", 6)), 17, "in_domain/k2/abcd/m5")
    assert problem.identity == swapped.identity


def test_misremembered_entries_are_wrong_and_spread_over_all_letters():
    wrong = world.misremembered()
    per_letter = {letter: sum(name == letter for name, _ in wrong) for letter in world.LETTERS}
    assert set(per_letter.values()) == {world.MISREMEMBERED_PER_TABLE}
    for (letter, x), value in wrong.items():
        assert value in range(7)
        assert value != world.tables()[letter][x]


def test_unknown_or_too_small_splits_are_refused_in_one_sentence():
    with pytest.raises(UserError, match=r"unknown microcosm split 'in_domian' \(did you mean 'in_domain'\?\)"):
        world.problem_split("in_domian")
    with pytest.raises(UserError, match="has 400 problems, 401 were asked for"):
        world.problem_split("in_domain", 401)
