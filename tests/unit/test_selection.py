"""Borderline problems: bounds, order, when sampling stops, and what is said when too few are found."""

import pandas as pd
import pytest
from selfdistill.errors import UserError
from selfdistill.generation.selection import SelectionSettings, is_borderline, select_borderline, solve_rates
from tiny import problems_of

BOUNDS = {"low": 0.125, "high": 0.5}


class Sampled:
    """Traces with a given number of correct rollouts of eight per problem; remembers its batches."""

    def __init__(self, correct: list[int], rollouts: int = 8):
        self.problems = problems_of([f"problem {n}" for n in range(len(correct))])
        self.correct = dict(zip(self.problems["problem_id"], correct, strict=True))
        self.rollouts = rollouts
        self.batches: list[list[int]] = []

    def __call__(self, problems: pd.DataFrame) -> pd.DataFrame:
        self.batches.append(problems["position"].tolist())
        rows = [
            {"problem_id": problem_id, "sample": n, "correct": n < self.correct[problem_id]}
            for problem_id in problems["problem_id"]
            for n in range(self.rollouts)
        ]
        return pd.DataFrame(rows).sample(frac=1, random_state=0)  # the order of the rows decides nothing

    def select(self, **options: object) -> tuple[pd.DataFrame, pd.DataFrame]:
        return select_borderline(self.problems, self, SelectionSettings(**BOUNDS | options))


def test_solve_rates_in_order_of_first_appearance():
    traces = pd.DataFrame({"problem_id": list("babba"), "correct": [True, False, False, True, False]})
    wanted = {"problem_id": ["b", "a"], "rollouts": [3, 2], "correct": [2, 0], "rate": [2 / 3, 0.0]}
    pd.testing.assert_frame_equal(solve_rates(traces), pd.DataFrame(wanted), check_dtype=False)


@pytest.mark.parametrize(
    ("rollouts", "low", "high", "kept"),
    [(8, 0.125, 0.5, [1, 2, 3, 4]), (10, 0.1, 0.3, [1, 2, 3]), (3, 0.0, 1.0, [0, 1, 2, 3]), (10, 0.7, 0.7, [7])],
)
def test_both_bounds_are_included(rollouts: int, low: float, high: float, kept: list[int]):
    rates = pd.DataFrame({"rate": [count / rollouts for count in range(rollouts + 1)]})
    assert [n for n, inside in enumerate(is_borderline(rates, low, high)) if inside] == kept


def test_one_to_four_of_eight_are_kept_in_file_order():
    sampled = Sampled([5, 4, 0, 1, 8, 2, 3, 6])
    chosen, _ = sampled.select(target=4, batch=8)
    assert chosen["position"].tolist() == [1, 3, 5, 6]
    assert list(chosen.columns) == list(sampled.problems.columns)


def test_sampling_stops_after_the_batch_that_reaches_the_target():
    sampled = Sampled([1, 0, 1, 1, 1, 1, 1, 1])
    chosen, traces = sampled.select(target=3, batch=2)
    assert sampled.batches == [[0, 1], [2, 3]]  # the third problem found completes the second batch
    assert chosen["position"].tolist() == [0, 2, 3]
    assert len(traces) == 4 * 8


def test_exactly_the_target_is_kept_and_every_rollout_returned():
    sampled = Sampled([1, 0, 2, 3, 8, 4])
    chosen, traces = sampled.select(target=2, batch=6)
    assert chosen["position"].tolist() == [0, 2]
    assert solve_rates(traces).set_index("problem_id")["correct"].to_dict() == sampled.correct
    assert len(traces) == 6 * 8


def test_the_last_batch_may_be_short():
    sampled = Sampled([0, 0, 0, 0, 1])
    chosen, _ = sampled.select(target=1, batch=2)
    assert sampled.batches == [[0, 1], [2, 3], [4]]
    assert chosen["position"].tolist() == [4]


@pytest.mark.parametrize(
    ("correct", "bound", "counts"),
    [
        ([0, 0, 0, 1, 8], "the lower bound 0.125", "3 lie below and 1 above"),
        ([8, 8, 0, 1, 5], "the upper bound 0.5", "1 lie below and 3 above"),
    ],
)
def test_too_few_are_told_with_the_bound_and_a_histogram(correct: list[int], bound: str, counts: str):
    with pytest.raises(UserError) as error:
        Sampled(correct).select(target=2, batch=2)
    sentence, title, *bars = str(error.value).splitlines()
    assert sentence.startswith("only 1 of the 2 wanted problems have a solve rate in [0.125, 0.5] among all 5: ")
    assert f"{counts}, so {bound} costs most" in sentence
    assert title == "solve rate, number of problems"
    found = {float(bar.split()[0]): int(bar.split()[-1]) for bar in bars}
    assert found == {count / 8: correct.count(count) for count in sorted(set(correct))}


def test_no_bound_is_blamed_where_even_all_problems_would_be_too_few():
    with pytest.raises(UserError, match="among all 4: 1 lie below and 0 above, so there are too few problems\n"):
        Sampled([1, 2, 0, 3]).select(target=5, batch=8)


def test_an_empty_problem_set_is_told_in_a_sentence():
    with pytest.raises(UserError, match="the problem set is empty"):
        Sampled([]).select(target=1, batch=8)
