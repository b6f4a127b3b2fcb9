"""Rows of the configuration become runs, and runs a table."""

import shlex
import typing

import pandas as pd
import pytest
from selfdistill import config, runs, tables
from selfdistill.errors import UserError
from selfdistill.runs import expand
from selfdistill.training.prompt_stream import DRAW_STRIDE, prompt_stream, training_set
from selfdistill.training.settings import Run

ROW = {
    "model": "m",
    "method": "sdpo",
    "learning_rate": 3e-4,
    "context": "solution",
    "teacher_update_rate": 0.0,
    "top_k": 100,
    "problem_set": "train",
    "problems": None,
    "draw": 0,
    "seed": 0,
    "batch_size": 8,
}


def ids(*rows):
    return [run.id for run in expand(rows)]


def test_a_list_stands_for_a_run_with_each_member():
    rows = [ROW | {"learning_rate": [1e-4, 1e-3], "problems": [8, None]}]
    assert ids(*rows) == [
        "sdpo-train-n8-draw0-lr0.0001-k100-seed0",
        "sdpo-train-lr0.0001-k100-seed0",
        "sdpo-train-n8-draw0-lr0.001-k100-seed0",
        "sdpo-train-lr0.001-k100-seed0",
    ]


def test_runs_that_rows_share_appear_once():
    sweep = ROW | {"top_k": [10, 100]}
    assert ids(ROW, sweep) == ["sdpo-train-lr0.0003-k100-seed0", "sdpo-train-lr0.0003-k10-seed0"]


def test_a_run_takes_from_a_row_only_what_its_method_has():
    both = ROW | {"method": ["grpo", "sdpo"], "context": ["solution", "solution_without_thinking"], "top_k": [10, 20]}
    names = ids(both)
    assert names.count("grpo-train-lr0.0003-seed0") == 1
    assert len(names) == 1 + 4


def test_the_whole_set_has_one_draw():
    assert ids(ROW | {"draw": [0, 1, 2]}) == ids(ROW)
    assert len(ids(ROW | {"draw": [0, 1, 2], "problems": 8})) == 3


def test_every_field_shows_in_the_id():
    changed = {
        "method": "grpo",
        "learning_rate": 1e-6,
        "context": "solution_without_thinking",
        "teacher_update_rate": 0.05,
        "top_k": 20,
        "problem_set": "narrow",
        "problems": 8,
        "seed": 1,
    }
    names = {ids(ROW | {name: value})[0] for name, value in changed.items()} | set(ids(ROW))
    assert len(names) == len(changed) + 1


def test_runs_that_differ_only_in_what_the_id_does_not_show_are_refused():
    with pytest.raises(UserError, match="two runs of 'm' are called"):
        expand([ROW, ROW | {"batch_size": 64}])


def test_the_table_of_runs_is_written_and_read(tmp_path):
    chosen = expand([ROW | {"method": ["grpo", "sdpo"], "problems": [8, None]}])
    sizes = {"train": 500}
    frame = runs.table(chosen, study="s", families={"m": "f"}, thinking={"m": "off"}, sizes=sizes)
    tables.write(frame, tmp_path / "runs.parquet", "runs")
    read = tables.read(tmp_path / "runs.parquet", "runs").set_index("run")
    grpo, sdpo = read.loc["grpo-train-lr0.0003-seed0"], read.loc["sdpo-train-n8-draw0-lr0.0003-k100-seed0"]
    assert (grpo["problems"], grpo["whole_set"], grpo["context"]) == (500, True, "none")
    assert pd.isna(grpo["top_k"])
    assert pd.isna(grpo["teacher_update_rate"])
    assert (sdpo["problems"], sdpo["whole_set"], sdpo["top_k"], sdpo["teacher_update_rate"]) == (8, False, 100, 0.0)
    assert set(read["family"]) == {"f"}
    assert set(read["thinking"]) == {"off"}


PROBLEMS = pd.DataFrame({"problem_id": [str(i) for i in range(3 * DRAW_STRIDE)]})


def test_training_sets_of_a_draw_are_nested_and_those_of_different_draws_disjoint():
    def chosen(subset, draw):
        return set(training_set(PROBLEMS, subset=subset, draw=draw)["problem_id"])

    for draw in range(3):
        assert chosen(1, draw) < chosen(8, draw) < chosen(64, draw) < chosen(512, draw)
    assert not chosen(512, 0) & chosen(512, 1)
    assert not chosen(512, 1) & chosen(512, 2)
    assert len(training_set(PROBLEMS, subset=None, draw=0)) == len(PROBLEMS)


def test_a_draw_that_the_set_does_not_hold_is_refused():
    with pytest.raises(UserError, match="draw 3 of 8 problems needs at least 3080 problems"):
        training_set(PROBLEMS, subset=8, draw=3)


@pytest.mark.parametrize("questions", [1, 8, 24, 64, 100])
def test_a_small_set_is_repeated_to_fill_batches_evenly(questions):
    stream = prompt_stream(questions, batch_size=64, steps=6, seed=0)
    assert len(stream) == 64 * 6
    counts = pd.Series(stream).value_counts()
    assert set(counts.index) == set(range(questions))
    assert counts.max() - counts.min() <= -(-64 // questions)


def test_passes_are_shuffled_anew_and_follow_from_the_seed():
    stream = prompt_stream(64, batch_size=64, steps=2, seed=0)
    assert sorted(stream[:64]) == sorted(stream[64:]) == list(range(64))
    assert stream[:64] != stream[64:]
    assert prompt_stream(64, batch_size=64, steps=2, seed=0) == stream
    assert prompt_stream(64, batch_size=64, steps=2, seed=1) != stream


def test_the_fields_of_a_row_are_those_of_a_run():
    assert set(config.OnPolicyRun.model_fields) == set(ROW)


def test_the_flags_of_a_run_are_what_its_training_stage_takes():
    parts = {"problems": 8, "draw": 2, "teacher_update_rate": 0.05, "context": "solution_without_thinking"}
    for method in ("grpo", "sdpo"):
        run = expand([ROW | parts | {"method": method}])[0]
        given = shlex.split(run.flags)
        found = dict(zip([flag.removeprefix("--").replace("-", "_") for flag in given[::2]], given[1::2], strict=True))
        assert int(found.pop("batch_size")) == 8
        kinds = typing.get_type_hints(Run)
        arm = Run(**{name: value if kinds[name] is str else float(value) for name, value in found.items()})
        sdpo = {"context": "solution_without_thinking", "teacher_update_rate": 0.05} if method == "sdpo" else {}
        assert arm == Run("model", method, 3e-4, subset=8, draw=2, **sdpo)
