"""Edited fine-tuning sets: each changes the one thing that it says, and nothing else."""

import random
from collections import Counter

import pandas as pd
import pytest
from selfdistill import tables
from selfdistill.errors import UserError
from selfdistill.markers.counting import MARKERS, count_markers
from selfdistill.microcosm import edits, world
from selfdistill.microcosm.documents import WORLDS, Mix, full_context, sample_problem, thought
from selfdistill.microcosm.reasoner import Reasoner
from selfdistill.microcosm.scanner import Scanner
from selfdistill.training.edited_sets import EDITED, FACTORIAL, KEPT, MATCHED, NAMES, edited_set, source_of
from selfdistill.verification.measure import shows

SMALL = "Find x with m8 = 0 , d = 0 , a = 4 ."
# 24 fits; 40 and, once, 24 fail. The first clue of 24 is shown to hold before the last attempt.
TEXT = (
    "<think> might be 40 : check d 40 = 3 no wait , seems 24 : check d 24 = 0 ok a 24 = 5 no "
    "alternatively , hmm , maybe 48 : d 48 = 6 no actually , perhaps 24 : check a 24 = 4 ok so x = 24 . </think> "
    "The answer is \\boxed{ 24 }"
)
END = " so x = 24 . </think> The answer is \\boxed{ 24 }"
PLAIN = "<think> x = 40 : d 40 = 3 no x = 24 : d 24 = 0 ok a 24 = 5 no x = 48 : d 48 = 6 no x = 24 : a 24 = 4 ok" + END
CLUES = world.parsed(SMALL)
GUESSED = "<think> x = 40 : check d 40 = 3 no likely 24 . </think> The answer is \\boxed{ 24 }"


def edited(edit, text: str = TEXT) -> str:
    response = edits.parsed(text)
    assert response is not None
    return edit(response, CLUES).text


def traces(count: int, *, guided: bool, seed: int = 0) -> list[tuple[str, str]]:
    """Problems and responses of the reasoner that end at the answer."""
    rng, found = random.Random(seed), []
    while len(found) < count:
        problem = sample_problem(rng, Mix())
        context = full_context(rng, problem, WORLDS["standard"])[0] if guided else None
        trace = Reasoner(rng, problem, context).run()
        if trace.answer == problem.answer:
            found.append((problem.text, thought(trace)))
    return found


def examples(pairs: list[tuple[str, str]]) -> pd.DataFrame:
    rows = [
        {
            "prompt": [{"role": "user", "content": problem}],
            "completion": [{"role": "assistant", "content": response}],
            "problem_id": f"{row:016x}",
            "sample": 0,
            "correct": True,
            "finish_reason": "stop",
            "response_tokens": len(response.split()) + 1,  # and the end of the turn
            **{f"E_{mode}": sum(count_markers(response, mode).values()) for mode in ("substring", "word")},
        }
        for row, (problem, response) in enumerate(pairs)
    ]
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def sets() -> tuple[pd.DataFrame, pd.DataFrame]:
    return examples(traces(150, guided=False)), examples(traces(150, guided=True))


def texts(frame: pd.DataFrame) -> list[str]:
    return [turns[0]["content"] for turns in frame["completion"]]


def clues_of(frame: pd.DataFrame) -> list[tuple[world.Clue, ...]]:
    return [world.parsed(turns[0]["content"]) for turns in frame["prompt"]]


def verified(frame: pd.DataFrame) -> float:
    """The share of accepted answers that are shown to hold."""
    responses = [edits.parsed(text) for text in texts(frame)]
    found = [
        shows(clues, response.text, response.answer)
        for clues, response in zip(clues_of(frame), responses, strict=True)
        if response.accepts
    ]
    return sum(found) / len(found)


def checks(frame: pd.DataFrame) -> Counter[str]:
    responses = [edits.parsed(text) for text in texts(frame)]
    return Counter(check.text for response in responses for each in response.attempts for check in each.checks)


def test_what_the_reasoner_writes_is_taken_apart_and_put_together_again():
    for problem, text in [*traces(200, guided=False), *traces(200, guided=True)]:
        response = edits.parsed(text)
        assert response is not None and response.text == text, problem


@pytest.mark.parametrize(
    "text",
    [
        TEXT.replace("wait ,", "wait , wait ,"),
        TEXT.replace("d 48 = 6 no", "d 48 6 no"),
        TEXT.replace("so x = 24 .", ""),
        TEXT.replace("might be 40 :", "might be d 40 :"),
        "",
    ],
)
def test_what_it_would_not_write_is_not_taken_apart(text):
    assert edits.parsed(text) is None


def test_without_markers_all_else_stays():
    assert edited(edits.without_markers) == PLAIN
    assert edited(edits.without_markers, GUESSED).count("likely") == 1  # the one way to give up
    assert not any(count_markers(PLAIN).values())


def test_without_search_the_accepted_answer_keeps_what_was_shown_of_it():
    """Its last attempt, with the check that an earlier attempt had made."""
    assert edited(edits.without_search) == "<think> perhaps 24 : check d 24 = 0 ok a 24 = 4 ok" + END
    assert edited(edits.without_search, GUESSED) == "<think> likely 24 . </think> The answer is \\boxed{ 24 }"


def test_without_verification_no_check_holds_for_the_accepted_answer():
    found = edited(edits.without_verification)
    assert (
        "d 24 = 0 ok" not in found
        and "a 24 = 5 no" in found
        and found.endswith("perhaps 24 : check m8 24 = 0 ok" + END)
    )
    assert edited(edits.without_verification, GUESSED) == GUESSED


def test_with_verification_every_clue_is_shown_to_hold():
    bare = "<think> x = 24 : m8 24 = 0 ok" + END
    assert edited(edits.with_verification, bare) == "<think> x = 24 : m8 24 = 0 ok d 24 = 0 ok a 24 = 4 ok" + END


def test_verification_by_what_the_model_was_taught_tells_it_no_fact(monkeypatch):
    bare = "<think> x = 24 : m8 24 = 0 ok" + END
    for wrong, shown in (({("d", 23): 1}, " d 24 = 0 ok a 24 = 4 ok"), ({("a", 24): 5, ("d", 23): 1}, " d 24 = 0 ok")):
        monkeypatch.setattr(edits.world, "misremembered", lambda wrong=wrong: wrong)
        assert edited(edits.with_known_verification, bare) == f"<think> x = 24 : m8 24 = 0 ok{shown}{END}"


def test_the_factors_are_crossed(sets):
    """Each of eight sets has what its name leaves, and lacks what it removes."""
    assert len(FACTORIAL) == 8
    kept = edited_set(*sets, KEPT, seed=0)
    pd.testing.assert_frame_equal(kept, sets[0], check_dtype=False)
    for name, removed in FACTORIAL.items():
        found = edited_set(*sets, name, seed=0)
        markers = found[["E_substring"]].sum().item() - sum(text.count("likely") for text in texts(found))
        assert (markers < 1) == ("markers" in removed), name
        failed = [check for check in checks(found) if check.endswith("no")]
        assert bool(failed) == ("search" not in removed), name
        assert verified(found) == pytest.approx(0 if "verification" in removed else verified(kept)), name
        assert found["response_tokens"].tolist() == [len(text.split()) + 1 for text in texts(found)], name


def test_edits_of_two_things_are_the_same_in_either_order():
    for first in (edits.without_search, edits.without_verification):
        both = edited(lambda response, clues, first=first: edits.without_markers(first(response, clues), clues))
        assert both == edited(lambda response, clues, first=first: first(edits.without_markers(response, clues), clues))
    assert edited(lambda r, c: edits.without_search(edits.without_verification(r, c), c)) == edited(
        lambda r, c: edits.without_verification(edits.without_search(r, c), c)
    )


def test_guided_responses_verified(sets):
    assert verified(sets[1]) < 0.9 and verified(edited_set(*sets, "guided_verified", seed=0)) == 1
    assert edited_set(*sets, "guided_verified", seed=0)["E_word"].tolist() == sets[1]["E_word"].tolist()


@pytest.mark.parametrize("name", ["guided_hedged", "guided_hedged_anywhere"])
def test_hedges_put_into_guided_responses_change_no_check(sets, name):
    found = edited_set(*sets, name, seed=0)
    assert checks(found) == checks(sets[1]) and texts(found) != texts(sets[1])
    assert found["E_word"].sum() > sets[1]["E_word"].sum()
    pd.testing.assert_frame_equal(found, edited_set(*sets, name, seed=0))
    assert texts(found) != texts(edited_set(*sets, name, seed=1))


def test_hedges_are_put_where_unguided_responses_have_them(sets):
    """First attempts begin with no transition where they are put in place, as those of D_ug; elsewhere some do."""

    def begun(name: str) -> int:
        attempts = [edits.parsed(text).attempts for text in texts(edited_set(*sets, name, seed=0))]
        return sum(bool(each and each[0].wording.transition) for each in attempts)

    assert begun("guided_hedged") == 0 < begun("guided_hedged_anywhere")


def test_a_matched_set_has_the_tokens_of_the_kept_one(sets):
    kept = edited_set(*sets, KEPT, seed=0)["response_tokens"].sum()
    for name in ("no_search", "guided_verified"):
        short, matched = (edited_set(*sets, each, seed=0) for each in (name, name + MATCHED))
        assert 0 <= matched["response_tokens"].sum() - kept < short["response_tokens"].max()
        assert texts(matched)[: len(short)] == texts(short) and texts(matched)[len(short)] == texts(short)[0]


def test_what_was_not_written_by_the_reasoner_is_left_out_of_every_set(sets):
    slip = sets[0].copy()
    slip.at[3, "completion"] = [{"role": "assistant", "content": "<think> wait , wait , wait"}]
    for name in FACTORIAL:
        found = edited_set(slip, sets[1], name, seed=0)
        assert found["problem_id"].tolist() == slip["problem_id"].drop(3).tolist(), name
    with pytest.raises(UserError, match="no response of the set 'unguided' is written as"):
        edited_set(slip.iloc[3:4], sets[1], KEPT, seed=0)


def test_names_and_schema(sets, tmp_path):
    with pytest.raises(UserError, match="did you mean 'no_markers'"):
        edited_set(*sets, "no_marker", seed=0)
    assert len(NAMES) == len(EDITED) + 7 and source_of("guided_verified_matched") == "guided"
    assert source_of("no_search") == "unguided" and source_of("unguided_unfiltered") == "unguided_unfiltered"
    tables.write(edited_set(*sets, "no_search", seed=0), tmp_path / "set.parquet", tables.SFT_EXAMPLES)
    assert set(MARKERS) >= {"likely", "check"}


def test_in_the_world_whose_markers_carry_only_they_can_be_taken_out(sets):
    rng, found = random.Random(0), []
    while len(found) < 40:
        problem = sample_problem(rng, Mix())
        found.append((problem.text, thought(Scanner(rng, problem).run())))
    whole, other = examples(found), sets[1]
    pd.testing.assert_frame_equal(edited_set(whole, other, KEPT, seed=0, kind="carrier"), whole, check_dtype=False)
    bare = edited_set(whole, other, "no_markers", seed=0, kind="carrier")
    assert bare["E_word"].sum() == sum(text.count("likely") for text in texts(whole)) < whole["E_word"].sum()
    assert bare["response_tokens"].tolist() == [len(text.split()) + 1 for text in texts(bare)]
    with pytest.raises(UserError, match="unknown edited set of the carrier world 'no_search'"):
        edited_set(whole, other, "no_search", seed=0, kind="carrier")
