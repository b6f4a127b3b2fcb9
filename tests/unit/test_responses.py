"""Responses read in batches give what responses held together give."""

import itertools

import numpy as np
import pandas as pd
import pytest
from selfdistill import tables
from selfdistill.analysis import responses
from selfdistill.errors import UserError

PROBLEMS, SAMPLES = 7, 5


@pytest.fixture(scope="module")
def traces():
    """Responses to 7 problems, 5 each, in no order."""
    random = np.random.default_rng(0)
    number = PROBLEMS * SAMPLES
    frame = pd.DataFrame(
        {
            "study": "s",
            "model": "m",
            "run": "base",
            "step": pd.array([None] * number, dtype="Int32"),
            "stage": "x",
            "setting": "unguided",
            "problem_id": [f"p{i % PROBLEMS}" for i in range(number)],
            "sample": [i // PROBLEMS for i in range(number)],
            "seed": 1,
            "context_sample": pd.array([None] * number, dtype="Int32"),
            "prompt_sha256": "0",
            "response": "wait",
            "response_tokens": random.integers(1, 400, number),
            "finish_reason": random.choice(["stop", "length"], number),
            "answer": "1",
            "correct": random.random(number) < 0.4,
            "accepted": random.random(number) < 0.7,
            "verified": random.random(number) < 0.5,
        }
    )
    counts = {name: random.integers(0, 9, number) for name in responses.MARKER_MEANS}
    return frame.assign(**counts).sample(frac=1, random_state=1, ignore_index=True)


def by_hand(traces):
    """Means over samples by plain pandas."""
    totals = {f"E_{mode}": traces[columns].sum(axis=1) for mode, columns in tables.MARKER_COLUMNS.items()}
    frame = traces.assign(
        score=traces["correct"], L=traces["response_tokens"], truncated=traces["finish_reason"] == "length", **totals
    )
    return frame.groupby("problem_id")[[*responses.MEANS, *responses.MARKER_MEANS]].mean().astype(float)


def by_subsets(k, correct):
    """The share of all sets of ``k`` responses that hold a correct one."""
    return np.mean([any(chosen) for chosen in itertools.combinations(correct, k)])


def plain(means):
    """Without pass@k."""
    return means.drop(columns=list(responses.PASS))


@pytest.mark.parametrize("rows", [1, 3, 7, 34, 35, 1000])
def test_batches_may_part_a_problem_anywhere(traces, rows):
    parts = [traces[start : start + rows] for start in range(0, len(traces), rows)]
    found = responses.reduce(parts, "here")
    pd.testing.assert_frame_equal(plain(found.means), by_hand(traces), check_exact=True)
    points = traces.pivot(index="problem_id", columns="sample", values="correct")
    assert np.array_equal(found.points, 100.0 * points.to_numpy())
    assert found.points.index.equals(points.index) and list(found.points.columns) == list(points.columns)
    assert (found.study, found.model, found.setting) == ("s", "m", "unguided")
    pd.testing.assert_frame_equal(plain(responses.per_problem(traces)), by_hand(traces), check_exact=True)


def test_a_file_is_read_in_batches(traces, tmp_path, monkeypatch):
    tables.write(traces, tmp_path / "t.parquet", tables.TRACES)
    monkeypatch.setattr(tables, "BATCH_ROWS", 4)
    sizes = [len(batch) for batch in tables.batches(tmp_path / "t.parquet", tables.TRACES, responses.READ)]
    assert max(sizes) == 4 and sum(sizes) == len(traces)
    pd.testing.assert_frame_equal(
        plain(responses.read(tmp_path / "t.parquet").means), by_hand(traces), check_exact=True
    )


def test_some_problems_alone(traces):
    kept = ["p5", "p1", "never asked"]
    found = responses.reduce([traces], "here").of(pd.Index(kept))
    alone = responses.reduce([traces[traces["problem_id"].isin(kept)]], "here")
    pd.testing.assert_frame_equal(found.sums, alone.sums)
    pd.testing.assert_frame_equal(found.points, alone.points)


def test_a_sample_that_stands_twice_in_different_batches_is_refused(traces):
    again = traces.iloc[[3]].assign(stage="y")
    with pytest.raises(UserError, match=r"stand twice in the traces of 'unguided' \(stages found: x, y\)"):
        responses.reduce([traces, again], "here")


def test_what_belongs_to_several_settings_or_to_none_is_refused(traces):
    with pytest.raises(UserError, match="here: traces of s/m/solution and s/m/unguided in one table"):
        responses.reduce([traces[:9], traces[9:].assign(setting="solution")], "here")
    with pytest.raises(UserError, match="here: no traces"):
        responses.reduce([traces[:0]], "here")


def test_problems_may_have_fewer_samples_than_others_but_none_in_between_missing(traces):
    fewer = traces[(traces["problem_id"] != "p2") | (traces["sample"] < 3)]
    found = responses.reduce([fewer], "here")
    pd.testing.assert_frame_equal(plain(found.means), by_hand(fewer), check_exact=True)
    assert found.points.notna().sum(axis=1).to_dict() == {f"p{n}": 3 if n == 2 else SAMPLES for n in range(PROBLEMS)}
    assert (found.points.mean(axis=1) / 100).to_dict() == pytest.approx(found.means["score"].to_dict())
    gone = traces[(traces["problem_id"] != "p2") | (traces["sample"] != 1)]
    with pytest.raises(UserError, match="lack samples before their last"):
        _ = responses.reduce([gone], "here").points


def test_pass_at_k_is_the_share_of_all_sets_of_k_that_hold_a_correct_response(traces):
    assert not traces["correct"].groupby(traces["problem_id"]).sum().isin([0, SAMPLES]).all()
    means = responses.per_problem(traces)
    for name, k in responses.PASS.items():
        if k > SAMPLES:
            assert means[name].isna().all()
            continue
        wanted = {problem: by_subsets(k, own) for problem, own in traces.groupby("problem_id")["correct"]}
        assert means[name].to_dict() == pytest.approx(wanted)


@pytest.mark.parametrize("k", [1, 2, 5, 8])
def test_pass_at_k_by_counting_for_every_number_of_correct_responses(k):
    for samples in range(1, 9):
        for correct in range(samples + 1):
            found = responses.pass_at(k, pd.Series([float(samples)]), pd.Series([float(correct)]))[0]
            if samples < k:
                assert np.isnan(found)
            else:
                drawn = [True] * correct + [False] * (samples - correct)
                assert found == pytest.approx(by_subsets(k, drawn), abs=1e-12)
