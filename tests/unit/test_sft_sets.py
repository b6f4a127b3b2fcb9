"""D_ug, D_sg and the unfiltered set: which responses, how many of each problem, which prompt, readable by whom."""

import datasets
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from selfdistill import tables
from selfdistill.errors import UserError
from selfdistill.markers.counting import count_markers
from selfdistill.prompts import AUTHORS_INSTRUCTION, user_prompt
from selfdistill.training.sft_sets import SETS, SetSizes, build_sft_sets, data_card, describe_match, describe_set
from trl.data_utils import is_conversational


def problem_table(count: int) -> pd.DataFrame:
    rows = [
        {"problem_id": f"{99 - i:016x}", "position": i, "problem": f"What is {i} + 0?", "answer": str(i)}
        for i in range(count)
    ]
    return pd.DataFrame(rows).assign(source="set.parquet", problem_type="sum")


def trace_table(problems: pd.DataFrame, setting: str, verdicts: list[str]) -> pd.DataFrame:
    """Traces of ``problems``; verdicts[i][k] is "+" where sample k of problem i is correct. Rows are shuffled."""
    rows = []
    for problem, answer, marks in zip(problems["problem_id"], problems["answer"], verdicts, strict=True):
        for sample, mark in enumerate(marks):
            text = f"Wait, {setting} {sample}, maybe wait. \\boxed{{{answer if mark == '+' else 'no'}}}"
            row = {"problem_id": problem, "sample": sample, "correct": mark == "+", "response": text}
            for mode in ("substring", "word"):
                row |= {f"{mode}_{marker}": n for marker, n in count_markers(text, mode).items()}
            rows.append(row | {"response_tokens": 10 + sample, "finish_reason": "stop"})
    return pd.DataFrame(rows).sample(frac=1, random_state=0)


def build(unguided: list[str], guided: list[str], *, responses: int, at_least: int | None = None, per_problem: int = 8):
    problems = problem_table(len(unguided))
    both = trace_table(problems, "unguided", unguided), trace_table(problems, "guided", guided)
    sizes = SetSizes(responses=responses, at_least=responses if at_least is None else at_least)
    options = {"instruction": AUTHORS_INSTRUCTION, "sizes": sizes, "per_problem": per_problem}
    return problems, build_sft_sets(*both, problems, **options)


def counts(problems: pd.DataFrame, examples: pd.DataFrame) -> list[int]:
    """Examples per problem, in the problems' order."""
    found = examples["problem_id"].value_counts()
    return [int(found.get(problem, 0)) for problem in problems["problem_id"]]


def samples(problems: pd.DataFrame, examples: pd.DataFrame, position: int) -> list[int]:
    return sorted(examples[examples["problem_id"] == problems["problem_id"][position]]["sample"])


def test_both_sets_take_the_first_correct_responses_of_the_same_problems():
    problems, sets = build(["-+-++-+", "++++"], ["+++-", "-+-+-+"], responses=6, per_problem=3)
    assert counts(problems, sets["unguided"]) == counts(problems, sets["guided"]) == [3, 3]
    assert samples(problems, sets["unguided"], 0) == [1, 3, 4]
    assert samples(problems, sets["guided"], 1) == [1, 3, 5]
    assert sets["unguided"]["correct"].all() and sets["guided"]["correct"].all()
    assert describe_match(sets) == {"size": 6, "shared_problems": 2, "unmatched": 0}


def test_the_unfiltered_set_has_the_counts_of_d_ug_but_the_first_samples():
    problems, sets = build(["--++", "-++-"], ["+", "++"], responses=3, per_problem=2)
    assert counts(problems, sets["unguided_unfiltered"]) == counts(problems, sets["unguided"]) == [1, 2]
    assert samples(problems, sets["unguided_unfiltered"], 0) == [0]
    assert samples(problems, sets["unguided_unfiltered"], 1) == [0, 1]
    described = describe_set(sets["unguided_unfiltered"])
    assert (described["correct"], described["distinct"]) == (1, 2)  # the wrong responses are the same text


def test_matched_responses_come_before_unmatched_ones_and_before_the_cap():
    # Problem 0 can give four to both; problem 1 only to D_ug, problem 2 only to D_sg.
    problems, sets = build(["++++", "+++", "-"], ["++++", "--", "+++"], responses=6, per_problem=2)
    assert counts(problems, sets["unguided"]) == [4, 2, 0]
    assert counts(problems, sets["guided"]) == [4, 0, 2]
    assert describe_match(sets) == {"size": 6, "shared_problems": 1, "unmatched": 2}


def test_responses_are_spread_evenly_when_there_are_more_than_enough():
    problems, sets = build(["++++"] * 3, ["++++"] * 3, responses=7, per_problem=4)
    assert counts(problems, sets["unguided"]) == counts(problems, sets["guided"]) == [3, 2, 2]


VERDICTS = st.lists(st.text("+-", max_size=6), min_size=4, max_size=4)


@settings(max_examples=40)
@given(VERDICTS, VERDICTS, st.integers(1, 16), st.integers(1, 4))
def test_sets_are_equal_in_size_and_matched_as_far_as_possible(unguided, guided, responses, per_problem):
    available = [[marks.count("+") for marks in table] for table in (unguided, guided)]
    size = min(responses, *map(sum, available))
    if size == 0:
        return
    problems, sets = build(unguided, guided, responses=responses, at_least=1, per_problem=per_problem)
    assert [len(sets[name]) for name in SETS] == [size] * 3
    ug, sg = counts(problems, sets["unguided"]), counts(problems, sets["guided"])
    assert all(taken <= there for taken, there in zip([*ug, *sg], available[0] + available[1], strict=True))
    # No selection of this size could match more than this.
    possible = min(size, sum(map(min, *available)))
    assert sum(map(min, ug, sg)) == possible == size - describe_match(sets)["unmatched"]


def test_the_prompt_is_the_unguided_one_with_the_instruction_once_and_no_system_turn():
    problems, sets = build(["+"], ["+"], responses=1)
    expected = [{"role": "user", "content": user_prompt(problems["problem"][0], AUTHORS_INSTRUCTION)}]
    for name in SETS:
        (example,) = sets[name].to_dict("records")
        assert example["prompt"] == expected
        assert example["prompt"][0]["content"].count(AUTHORS_INSTRUCTION) == 1
        response = f"Wait, {'guided' if name == 'guided' else 'unguided'} 0, maybe wait. \\boxed{{0}}"
        assert example["completion"] == [{"role": "assistant", "content": response}]
        assert (example["E_substring"], example["E_word"]) == (3, 3)


def test_equal_inputs_give_equal_bytes_whatever_the_order_of_the_traces(tmp_path):
    problems = problem_table(3)
    both = [trace_table(problems, name, ["+-+", "++", "-+"]) for name in ("unguided", "guided")]
    for k, order in enumerate((both, [table.iloc[::-1] for table in both])):
        sets = build_sft_sets(*order, problems, instruction="", sizes=SetSizes(responses=5, at_least=5), per_problem=8)
        tables.write(sets["guided"], tmp_path / f"{k}.parquet", tables.SFT_EXAMPLES)
    assert (tmp_path / "0.parquet").read_bytes() == (tmp_path / "1.parquet").read_bytes()


def test_a_shortfall_names_the_set_that_lacks_responses_and_what_to_change():
    with pytest.raises(UserError, match=r"only 2 guided correct responses exist to 2 problems, 4 are needed: .*draws"):
        build(["++", "++"], ["+-", "+-"], responses=4)
    with pytest.raises(UserError, match="only 0 unguided and 0 guided correct responses"):
        build(["-"], ["-"], responses=4, at_least=1)
    _, sets = build(["++", "++"], ["+-", "+-"], responses=4, at_least=2)
    assert [len(sets[name]) for name in SETS] == [2, 2, 2]


def test_mixed_up_traces_are_refused():
    problems = problem_table(2)
    traces = trace_table(problems, "unguided", ["++", "++"])
    options = {"instruction": "", "sizes": SetSizes(responses=2, at_least=2), "per_problem": 8}
    with pytest.raises(UserError, match=r"guided traces hold sample 0 of problem '0+6[23]' twice"):
        build_sft_sets(traces, pd.concat([traces, traces]), problems, **options)
    with pytest.raises(UserError, match=r"unguided traces answer problem '0+62', which the problems table"):
        build_sft_sets(traces, traces, problems.iloc[:1], **options)


def test_the_folder_loads_with_datasets_in_the_layout_that_trl_trains_on(tmp_path):
    _, sets = build(["+-+", "++"], ["++", "+++"], responses=4)
    for name in SETS:
        tables.write(sets[name], tmp_path / "sets" / f"{name}.parquet", tables.SFT_EXAMPLES)
    card = data_card(sets, study="s", model="m")
    (tmp_path / "sets" / "README.md").write_text(card)
    options = {"split": "train", "cache_dir": str(tmp_path / "cache")}
    file = str(tmp_path / "sets" / "guided.parquet")
    direct = datasets.load_dataset("parquet", data_files=file, **options)
    by_card = datasets.load_dataset(str(tmp_path / "sets"), "guided", **options)
    assert direct[:] == by_card[:]
    assert len(direct) == 4 and is_conversational(direct[0])
    assert [turn["role"] for turn in [*direct[0]["prompt"], *direct[0]["completion"]]] == ["user", "assistant"]
    assert datasets.load_dataset(str(tmp_path / "sets"), "unguided_unfiltered", **options)["correct"].count(False) == 1


def test_the_card_states_counts_lengths_and_what_is_not_matched():
    problems, sets = build(["++++", "+++", "-"], ["++++", "--", "+++"], responses=20, at_least=7)
    card = data_card(sets, study="tiny", model="base", sources=problems["source"])
    assert "| `unguided` | 7 | 2 | 7 | 7 | 0 | 11.3 | 3.00 | 3.00 |" in card
    assert "Problems in both sets:\n1. " in card and "in the other: 3 of 7." in card
    assert "Problems: set.parquet." in card
