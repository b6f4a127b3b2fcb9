"""Rows of the configuration become runs, runs become flags and tables, and both come back whole."""

import json
import math
import re
import shlex
from collections import Counter
from dataclasses import fields
from pathlib import Path

import pandas as pd
import pytest
import yaml
from selfdistill import checks, cli, config, stages, tables
from selfdistill.claims.statements import Role
from selfdistill.errors import UserError
from selfdistill.files import sha256_text
from selfdistill.flags import Flags
from selfdistill.generation.contexts import Guidance
from selfdistill.generation.requests import Sampling
from selfdistill.generation.selection import SelectionSettings
from selfdistill.microcosm.presets import Pretraining
from selfdistill.models import ModelSource
from selfdistill.pages.reading_room import Limits
from selfdistill.problems import ProblemSet
from selfdistill.settings import as_json
from selfdistill.study import Study
from selfdistill.training.prompt_stream import prompt_stream, trained_problems, training_set
from selfdistill.training.settings import DRAW_STRIDE, OnPolicySettings, Run, SdpoSettings, SftRun, SftSettings
from selfdistill.training.sft_sets import Collection, SetSizes

ROOT = Path(__file__).resolve().parents[2]
DEFAULT = yaml.safe_load((ROOT / "config.yaml").read_text())
ROW = {"model": "microcosm", "method": "sdpo", "learning_rate": 3e-4}


def study(*rows, rates=(1e-4,), onpolicy_changes=None, **changes) -> Study:
    """The default study with these on-policy runs and rates of fine-tuning, and other ``changes`` of its sections."""
    onpolicy = DEFAULT["onpolicy"] | {"runs": list(rows) or [ROW]} | (onpolicy_changes or {})
    return Study(
        config.parse(DEFAULT | {"onpolicy": onpolicy, "sft": DEFAULT["sft"] | {"learning_rates": [*rates]}} | changes)
    )


def ids(*rows):
    return [run for _, run in study(*rows).runs]


def test_a_figure_whose_view_is_null_is_not_drawn():
    views = DEFAULT["figures"]["views"] | {"fig_1": None, "fig_7": None}
    found = study(figures={"narrow": None, "views": views})
    assert set(study().figures) - set(found.figures) == {"fig_1", "fig_7"}


RELEASED = {"model": "microcosm", "method": "grpo", "learning_rate": 1e-6, "checkpoint": "theirs"}


def audit(*rows, runs=(), source="folder", **changes) -> Study:
    """The default study with published checkpoints of runs that were trained elsewhere."""
    models = DEFAULT["models"] | {"theirs": {"source": source, "folder": "weights"} if source == "folder" else source}
    onpolicy = DEFAULT["onpolicy"] | {"runs": list(runs), "released": list(rows)}
    return Study(config.parse(DEFAULT | {"models": models, "onpolicy": onpolicy} | changes))


def test_a_released_checkpoint_is_a_run_without_training():
    found = audit(RELEASED | {"steps": 70}, runs=[ROW])
    name = ("microcosm", "grpo-train-lr1e-06-seed0-released")
    assert list(found.released) == [name] and list(found.trained) == [("microcosm", "sdpo-train-lr0.0003-k100-seed0")]
    assert found.evaluated_steps(found.released[name]) == [70]
    assert found.along_training(*name) in found.run_evaluations() and found.rollouts(*name) not in found.all_rollouts()
    assert {"microcosm", "theirs"} <= found.used_models.keys()
    assert set(found.run_rows()["run"]) == {run for _, run in found.runs}
    assert "released" in found.figures and "table_released" in found.tables


def test_without_training_or_fine_tuning_there_are_no_tables_of_them():
    views = dict.fromkeys(DEFAULT["figures"]["views"])
    found = audit(RELEASED, sft=DEFAULT["sft"] | {"models": []}, figures={"narrow": None, "views": views})
    assert found.trained == {}
    assert found.tables.keys() == {"table_1", "table_a1", "table_onpolicy", "table_released"}
    assert found.figures.keys() == {"table_1", "marker_breakdown", "selection", "released", "arms"}


@pytest.mark.parametrize(
    ("row", "runs", "told"),
    [
        ({"checkpoint": "thiers"}, (), r"onpolicy.released.checkpoint: unknown 'thiers' \(did you mean 'theirs'\?\)"),
        ({"context": "solution_without_thinking"}, (), r"onpolicy.released.0.context: belongs to the method 'sdpo'"),
        ({"stteps": 3}, (), "unknown key 'onpolicy.released.0.stteps'"),
    ],
)
def test_a_released_checkpoint_that_is_misspelled_is_told(row, runs, told):
    with pytest.raises(UserError, match=told):
        audit(RELEASED | row, runs=runs)


def test_a_study_without_any_run_is_told():
    with pytest.raises(UserError, match="'runs' and 'released' are empty"):
        audit()


def test_a_released_checkpoint_needs_weights_of_its_own_and_no_double():
    own = next(checks._released(audit(RELEASED | {"checkpoint": "microcosm"})))
    assert own.endswith("has to name a model of the source 'hub' or 'folder', not 'microcosm'")
    double = audit(RELEASED, runs=[ROW | {"method": "grpo", "learning_rate": 1e-6}])
    assert "the same run is trained here" in next(checks._released(double))


# --- runs -------------------------------------------------------------------------------------------------------------


def test_a_list_stands_for_a_run_with_each_member():
    assert ids(ROW | {"learning_rate": [1e-4, 1e-3], "problems": [8, None]}) == [
        "sdpo-train-n8-draw0-lr0.0001-k100-seed0",
        "sdpo-train-lr0.0001-k100-seed0",
        "sdpo-train-n8-draw0-lr0.001-k100-seed0",
        "sdpo-train-lr0.001-k100-seed0",
    ]


def test_runs_that_rows_share_appear_once():
    assert ids(ROW, ROW | {"top_k": [10, 100]}) == ["sdpo-train-lr0.0003-k100-seed0", "sdpo-train-lr0.0003-k10-seed0"]


def test_a_run_takes_from_a_row_only_what_its_method_has():
    both = {"method": ["grpo", "sdpo"], "context": ["solution", "solution_without_thinking"], "top_k": [10, 20]}
    names = ids(ROW | both)
    assert names.count("grpo-train-lr0.0003-seed0") == 1
    assert len(names) == 1 + 4
    grpo = study(ROW | {"method": "grpo"}).runs["microcosm", "grpo-train-lr0.0003-seed0"]
    assert (grpo.context, grpo.teacher_update_rate, grpo.top_k) == (None, None, None)


def test_the_whole_set_has_one_draw():
    assert ids(ROW | {"draw": [0, 1, 2], "problems": [None, 8]})[0] == ids(ROW)[0]
    assert len(ids(ROW | {"draw": [0, 1, 2], "problems": [None, 8]})) == 4
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
    with pytest.raises(UserError, match="two runs of 'microcosm' are called"):
        _ = study(ROW, ROW | {"batch_size": 64}).runs


def test_a_rows_own_steps_stand_in_place_of_the_studys_and_show_in_no_name():
    made = study(ROW | {"steps": 20}, ROW | {"seed": 1})
    (_, short), _ = made.runs
    assert short == "sdpo-train-lr0.0003-k100-seed0"
    settings = [made.onpolicy_settings(run) for run in made.runs.values()]
    assert [(each.steps, each.checkpoint_steps) for each in settings] == [(20, [15]), (30, [15, 30])]
    assert "--settings.steps=20" in Flags(made).onpolicy_settings("microcosm", short)
    assert "steps" not in Flags(made).onpolicy_run("microcosm", short) and "steps" not in made.run_rows()
    with pytest.raises(UserError, match=r"they differ in 'steps' \(30 and 20\), which no name shows"):
        _ = study(ROW, ROW | {"steps": 20}).runs


def test_a_run_of_sdpo_without_context_is_refused():
    with pytest.raises(UserError, match="a run of sdpo needs 'context'"):
        _ = study(ROW | {"context": None}).runs


def test_rates_keep_all_their_digits_and_two_that_agree_in_six_are_two_runs():
    close = [1.23456789e-4, 1.23456788e-4]
    made = study(ROW | {"learning_rate": close}, rates=close)
    assert [run for _, run in made.runs] == [
        "sdpo-train-lr0.000123456789-k100-seed0",
        "sdpo-train-lr0.000123456788-k100-seed0",
    ]
    assert "sft-guided-lr0.000123456789" in made.sft_runs and len(made.sft_runs) == 2 * 3
    flags = Flags(made)
    for (model, name), run in made.runs.items():
        assert parsed("train-onpolicy", flags.onpolicy_run(model, name))["run"].learning_rate == run.learning_rate
    found = parsed("train-sft", flags.sft_run("sft-guided-lr0.000123456788"))["run"]
    assert (found.data, found.learning_rate) == ("guided", 1.23456788e-4)


@pytest.mark.parametrize(("rate", "name"), [(1e-4, "0.0001"), (1e-5, "1e-05"), (1.0, "1"), (3e-3, "0.003")])
def test_names_of_runs_are_those_of_before_where_six_digits_are_enough(rate, name):
    assert SftRun("guided", rate).id == f"sft-guided-lr{name}" == f"sft-guided-lr{rate:g}"


# --- flags ------------------------------------------------------------------------------------------------------------


def parsed(command: str, words: str) -> dict[str, object]:
    """What a stage's parameters are, by these flags alone."""
    stage, _ = stages.STAGES[command]
    flags = list(cli._flags(stage))
    parser = cli._parser(command, stage, flags)
    for action in parser._actions:
        action.required = False
    given = vars(parser.parse_args(shlex.split(words)))
    asked = cli._nested(flags, given)
    hints = cli.typing.get_type_hints(stage)
    return {
        name: cli.validated(hints[name], value, name) if cli.is_settings(hints.get(name)) else value
        for name, value in asked.items()
    }


AWKWARD = """a "b" 'c' $HOME {x} `y` \\boxed{}\n-z"""


@pytest.mark.parametrize(
    ("command", "parameter", "value"),
    [
        ("load-problems", "problem_set", ProblemSet("file", file=Path(f"/{AWKWARD}/p.jsonl"), answer_column="-a b")),
        ("load-problems", "problem_set", ProblemSet("hub", size=1, repo="null", revision="locked", name="null")),
        ("register-model", "model", ModelSource("folder", folder=Path("-my models/{x}"))),
        ("pretrain-model", "pretraining", Pretraining("tiny")),
        ("select-borderline", "selection", SelectionSettings(4, 0.1, 0.9, 3, 2)),
        ("sample-guidance", "guidance", Guidance("solution", "first", drop_thinking=True)),
        ("collect-correct", "collection", Collection(3, 9)),
        ("build-sft-sets", "sizes", SetSizes(10, 2)),
        ("train-sft", "run", SftRun(AWKWARD, 1.23456789e-4)),
        ("train-sft", "settings", SftSettings(epochs=3, schedule="cosine", weight_decay=1e-7)),
        ("train-onpolicy", "run", Run("m", "grpo", 1e-6).plain()),
        ("train-onpolicy", "run", Run("m", "sdpo", 1e-6, teacher_update_rate=0.05, problems=8, draw=2, batch_size=4)),
        (
            "train-onpolicy",
            "settings",
            OnPolicySettings([2, 30], steps=30, aggregation="token", sdpo=SdpoSettings(demonstration="first")),
        ),
        ("train-onpolicy", "sampling", Sampling(0.6, 0.95, 20, 7)),
        ("build-reading-room", "limits", Limits(1, 2, 3)),
    ],
)
def test_settings_come_through_the_command_line_as_they_were(command, parameter, value):
    assert parsed(command, cli.words(parameter, value))[parameter] == value


def test_how_a_model_is_asked_reaches_its_jobs_where_it_says_so():
    asked = {"system": AWKWARD, "answer_in": "tag", "second_bos": True}
    models = DEFAULT["models"] | {"asked": {"source": "model", "of": "microcosm", "instruction": ""} | asked}
    made = study(ROW, ROW | {"model": "asked"}, models=models)
    (run,) = (name for model, name in made.runs if model == "asked")
    flags = Flags(made)
    trained = parsed("train-onpolicy", flags.onpolicy_training("asked", run))
    assert (trained["system"], trained["answer_in"]) == (AWKWARD, "tag") and "second_bos" not in trained
    assert parsed("train-sft", flags.sft_training("asked", "sft-guided-lr0.0001"))["system"] == AWKWARD
    sampled = dict(word.split("=", 1) for word in shlex.split(flags.sampler("asked")))
    assert (sampled["--system"], sampled["--answer-in"], sampled["--second-bos"]) == (AWKWARD, "tag", "true")
    told = [flags.sampler("microcosm"), flags.sft_training("microcosm", "x"), flags.onpolicy_training("microcosm", run)]
    assert not any(flag in words for words in told for flag in ("--system", "--answer-in", "--second-bos"))


def test_roles_and_texts_come_through_the_command_line_as_they_were():
    models = DEFAULT["models"] | {"microcosm": DEFAULT["models"]["microcosm"] | {"instruction": AWKWARD}}
    made = study(models=models)
    flags = Flags(made)
    given = dict(word.split("=", 1) for word in shlex.split(flags.sampler("microcosm")))
    assert given["--instruction"] == AWKWARD
    (word,) = shlex.split(flags.roles())
    assert json.loads(word.partition("=")[2]).keys() == made.config.claims.roles.keys()
    assert {field.name for field in fields(Role)} == json.loads(word.partition("=")[2])["guidance"].keys()


def test_a_job_gets_the_settings_of_its_own_method_and_no_others():
    made = study(ROW, ROW | {"method": "grpo"}, ROW | {"method": "sdpo_routed"})
    flags = {run.split("-")[0]: Flags(made).onpolicy_settings(model, run) for model, run in made.runs}
    assert "--settings.sdpo." in flags["sdpo"] and "--settings.grpo." not in flags["sdpo"]
    assert "--settings.grpo." in flags["grpo"] and "--settings.sdpo." not in flags["grpo"]
    assert "--settings.grpo." in flags["sdpo_routed"] and "--settings.sdpo." in flags["sdpo_routed"]
    assert "--settings.steps=" in flags["grpo"] and "--settings.steps=" in flags["sdpo"]


def test_in_which_order_runs_stand_is_not_seen_where_none_is_trained():
    rows = [ROW | {"top_k": 10}, ROW | {"method": "grpo"}, ROW | {"top_k": 30}]
    one, other = (Flags(study(*listed)).sdpo() for listed in (rows, rows[::-1]))
    assert one == other and one.endswith("--top-k=30")


def test_a_rows_own_batch_size_stands_in_place_of_the_studys():
    made = study(ROW | {"batch_size": 4, "problems": 8}, ROW)
    sizes = [made.onpolicy_settings(run).batch_size for run in made.runs.values()]
    assert sizes == [4, DEFAULT["onpolicy"]["batch_size"]]


def test_nothing_new_is_said_where_nothing_new_is_asked():
    """The flags of a study without own steps, samples or seeds: equal ones give equal bytes."""
    made = study(ROW)
    flags, run = Flags(made), next(run for _, run in made.runs)
    assert flags.extent("easy") == "--samples=16"
    assert flags.along_training("microcosm", run) == "--samples=16 --evaluation-problems=32"
    assert "held-out" not in flags.pretraining("microcosm")
    assert made.base_evaluations() == [made.evaluation("microcosm", "base", name) for name in ("easy", "hard")]


def test_the_first_problems_may_be_asked_more_often():
    deep = {"problems": 3, "samples": 16}
    onpolicy = DEFAULT["onpolicy"] | {"runs": [ROW], "evaluation_samples": 4, "evaluation_deep": deep}
    made = study(onpolicy=onpolicy, evaluation=DEFAULT["evaluation"] | {"samples": 2, "deep": deep})
    flags, run = Flags(made), next(run for _, run in made.runs)
    along = parsed("evaluate-checkpoints", flags.along_training("microcosm", run))
    assert along == {"samples": 4, "evaluation_problems": 32, "deep_problems": 3, "deep_samples": 16}
    assert parsed("evaluate-model", flags.extent("easy")) == {"samples": 2, "deep_problems": 3, "deep_samples": 16}


def test_a_context_of_ones_own_reaches_its_runs_and_a_setting_of_section_3():
    rows = [ROW | {"method": "sdpo", "context": ["solution", "hint"]}]
    made = study(*rows, contexts={"hint": "{problem}\nIt is {answer}."})
    run = "sdpo-hint-train-lr0.0003-k100-seed0"
    assert ("microcosm", run) in made.runs
    flags = Flags(made)
    assert (
        parsed("train-onpolicy", flags.onpolicy_training("microcosm", run))["template"] == "{problem}\nIt is {answer}."
    )
    other = flags.onpolicy_training("microcosm", "sdpo-train-lr0.0003-k100-seed0")
    assert "template" not in parsed("train-onpolicy", other)
    assert made.traces("microcosm", "hint") in made.guidance_traces()
    assert "hint" not in made.tested_settings
    assert list(made.run_rows()["context"]) == ["hint", "solution"]


# --- tables -----------------------------------------------------------------------------------------------------------


def test_the_tables_of_runs_are_written_and_read(tmp_path):
    made = study(ROW | {"method": ["grpo", "sdpo"], "problems": [8, None]}, rates=[1.23456789e-4])
    questions = pd.DataFrame({name: [str(i) for i in range(500)] for name in tables.PROBLEMS.columns})
    tables.write(questions.assign(position=range(500)), tmp_path / "train.parquet", tables.PROBLEMS)
    stages.list_runs(rows=made.run_rows(), problem_sets=[tmp_path / "train.parquet"], out=tmp_path / "runs.parquet")
    stages.list_sft_runs(rows=made.sft_rows(), out=tmp_path / "sft_runs.parquet")
    read = tables.read(tmp_path / "runs.parquet", tables.RUNS).set_index("run")
    grpo, sdpo = read.loc["grpo-train-lr0.0003-seed0"], read.loc["sdpo-train-n8-draw0-lr0.0003-k100-seed0"]
    assert (grpo["problems"], grpo["whole_set"], grpo["context"]) == (500, True, "none")
    assert pd.isna(grpo["top_k"]) and pd.isna(grpo["teacher_update_rate"])
    assert (sdpo["problems"], sdpo["whole_set"], sdpo["top_k"], sdpo["teacher_update_rate"]) == (8, False, 100, 0.0)
    assert set(read["family"]) == {"microcosm"} and set(read["thinking"]) == {"on"}
    tuned = tables.read(tmp_path / "sft_runs.parquet", tables.SFT_RUNS)
    assert set(tuned["learning_rate"]) == {1.23456789e-4}
    assert set(tuned["data"]) == {"unguided", "guided", "unguided_unfiltered"}


# --- what a run trains on ---------------------------------------------------------------------------------------------

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
    with pytest.raises(UserError, match="draw 3 of 8 problems needs at least 1544 problems"):
        training_set(PROBLEMS, subset=8, draw=3)


@pytest.mark.parametrize("questions", [1, 8, 24, 64, 100])
def test_a_small_set_is_repeated_to_fill_batches_evenly(questions):
    stream = prompt_stream(questions, batch_size=64, steps=6, seed=0)
    assert len(stream) == 64 * 6
    counts = pd.Series(stream).value_counts()
    assert set(counts.index) == set(range(questions))
    assert counts.max() - counts.min() <= -(-64 // questions)


@pytest.mark.parametrize(("subset", "draw", "distinct"), [(8, 1, 8), (1, 0, 1), (64, 0, 24), (None, 0, 24)])
def test_what_a_run_trains_on_first_is_what_its_steps_draw(subset, draw, distinct):
    named = {"subset": subset, "draw": draw, "seed": 5}
    found = trained_problems(PROBLEMS, **named, batch_size=4, steps=6, at_most=100)
    part = training_set(PROBLEMS, subset=subset, draw=draw)["problem_id"].tolist()
    drawn = [part[number] for number in prompt_stream(len(part), batch_size=4, steps=6, seed=5)]
    assert found["problem_id"].tolist() == list(dict.fromkeys(drawn)) and len(found) == distinct
    fewer = trained_problems(PROBLEMS, **named, batch_size=4, steps=6, at_most=5)
    assert fewer["problem_id"].tolist() == list(dict.fromkeys(drawn))[:5]


def test_a_model_is_asked_what_each_of_its_runs_trains_on_once(tmp_path):
    rows = [ROW | {"problems": [8, None]}, ROW | {"seed": 1}, ROW | {"problem_set": "narrow"}, ROW | {"top_k": 10}]
    benchmarks = {"train": ["easy", "trained"], "narrow": ["narrow_test"]}
    made = study(onpolicy=DEFAULT["onpolicy"] | {"runs": rows, "benchmarks": benchmarks})
    assert made.evaluation("microcosm", "base", "trained") in made.base_evaluations()
    assert "trained" not in made.benchmarks
    own = made.own_problems_of("microcosm")
    assert list(own) == ["train"] and len(own["train"]) == 3  # top-k changes nothing about the problems
    questions = pd.DataFrame({name: [str(i) for i in range(500)] for name in tables.PROBLEMS.columns})
    tables.write(questions.assign(position=range(500)), tmp_path / "train.parquet", tables.PROBLEMS)
    given = parsed("list-trained", Flags(made).own_problems("microcosm"))
    stages.list_trained(problem_sets=[tmp_path / "train.parquet"], **given, out=tmp_path / "trained.parquet")
    listed = set(tables.read(tmp_path / "trained.parquet", tables.PROBLEMS)["problem_id"])
    for run in made.runs.values():
        if run.problem_set == "train":
            asked = trained_problems(questions, **made.own_problems(run))["problem_id"]
            assert len(asked) == (8 if run.problems else 32) and set(asked) < listed
    narrow = next(run for run in made.runs.values() if run.problem_set == "narrow")
    assert made.own_problems(narrow) is None
    assert Flags(made).extent("trained") == "--samples=16"


ALONG = {"train": ["easy", "trained"], "narrow": ["narrow_test"]}


@pytest.mark.parametrize(
    ("questions", "copies", "batch_size", "steps"),
    [(500, 100, 70, 10), (500, 2, 70, 10), (17_398, 103, 256, 100)],  # the last: the authors' file of DAPO
)
def test_copies_of_a_set_are_drawn_from_as_from_a_file_that_repeats_its_rows(questions, copies, batch_size, steps):
    """Without replacement from ``copies`` of each; the variance is below that of independent problems."""
    named, draws = {"batch_size": batch_size, "steps": steps, "seed": 4}, batch_size * steps
    stream = prompt_stream(questions, **named, copies=copies)
    missed = math.exp(
        sum(math.log1p(-draws / (questions * copies - of_it)) for of_it in range(copies))
    )  # how likely none of a problem's copies is among the draws
    expected, spread = questions * (1 - missed), math.sqrt(questions * missed * (1 - missed))
    assert abs(len(set(stream)) - expected) < 5 * spread
    assert max(Counter(stream).values()) <= copies
    assert stream == prompt_stream(questions, **named, copies=copies) != prompt_stream(questions, **named)
    assert len(set(prompt_stream(questions, **named))) == min(questions, draws)


def test_what_is_drawn_without_copies_is_what_was_drawn_before_there_were_any():
    drawn = {
        (8, 64, 3, 0): "94f985890de263c1",
        (100, 64, 5, 0): "85996207657cdd90",
        (500, 32, 40, 7): "1f789d6801f59aa4",
    }
    for (questions, batch_size, steps, seed), digest in drawn.items():
        stream = prompt_stream(questions, batch_size=batch_size, steps=steps, seed=seed)
        assert sha256_text(json.dumps(stream))[:16] == digest


def test_copies_are_of_whole_sets_and_reach_what_a_run_trains_on():
    rows = [ROW | {"problems": [8, None]}, ROW | {"problem_set": "narrow", "copies": 1}]
    made = study(*rows, onpolicy_changes={"copies": 3, "benchmarks": ALONG})
    copies = {run.id: made.onpolicy_settings(run).copies for run in made.runs.values()}
    assert copies == {
        "sdpo-train-n8-draw0-lr0.0003-k100-seed0": 1,
        "sdpo-train-lr0.0003-k100-seed0": 3,
        "sdpo-narrow-lr0.0003-k100-seed0": 1,
    }
    whole = made.runs["microcosm", "sdpo-train-lr0.0003-k100-seed0"]
    given = parsed("train-onpolicy", Flags(made).onpolicy_settings("microcosm", whole.id))
    assert given["settings"].copies == 3
    drawn = prompt_stream(len(PROBLEMS), batch_size=whole.batch_size, steps=whole.steps, copies=3, seed=0)
    first = [str(number) for number in dict.fromkeys(drawn)][:32]
    assert trained_problems(PROBLEMS, **made.own_problems(whole))["problem_id"].tolist() == first


# --- D from files ---

PARTS = {
    "seen_8": {"source": "file", "file": "seen_8.jsonl", "size": 8},
    "seen_64": {"source": "file", "file": "seen_64.jsonl", "size": 64},
}


def with_parts(*rows, parts=PARTS, **changes) -> Study:
    onpolicy = {"subsets": {"train": list(parts)}} | changes
    return study(*rows, problem_sets=DEFAULT["problem_sets"] | parts, onpolicy_changes=onpolicy)


def test_a_run_of_a_size_reads_the_part_that_has_it():
    made = with_parts(ROW | {"problems": [8, 64, None]}, benchmarks=ALONG)
    assert [made.read_from(run) for run in made.runs.values()] == ["seen_8", "seen_64", "train"]
    assert {"seen_8", "seen_64"} <= set(made.used_problem_sets)
    assert list(made.own_problems_of("microcosm")) == ["seen_8", "seen_64", "train"]
    assert set(made.run_rows()["problem_set"]) == {"train"}  # the arm is one of the same curve
    assert parsed("load-problems", Flags(made).problem_set("seen_8"))["exactly"] is True
    assert "exactly" not in parsed("load-problems", Flags(made).problem_set("train"))
    assert not list(checks._sizes(made))


@pytest.mark.parametrize(
    ("row", "part", "told"),
    [
        ({"problems": 32}, {}, r"microcosm, .*n32.*: no part of 'train' has 32 problems; onpolicy.subsets has 8, 64"),
        ({"problems": 8, "draw": 2}, {}, "there is one part of 8 problems .*, and no draw 2"),
        ({}, {"seen_8": {"size": None}}, "problem_sets.seen_8.size is missing, by which runs find 'seen_8'"),
        ({}, {"seen_8": {"size": 64}}, "several parts have 64 problems, 'seen_8' is one"),
    ],
)
def test_a_part_that_is_not_there_is_told(row, part, told):
    parts = {name: entry | part.get(name, {}) for name, entry in PARTS.items()}
    found = list(checks._sizes(with_parts(ROW | row, parts=parts)))
    assert re.search(told, found[0]), found


def test_misspelled_parts_and_parts_that_are_benchmarks_are_told():
    with pytest.raises(UserError, match=r"onpolicy.subsets.\*: unknown 'seen_46' \(did you mean 'seen_64'\?\)"):
        with_parts(subsets={"train": ["seen_46"]})
    with pytest.raises(UserError, match=r"onpolicy.subsets: unknown 'trian' \(did you mean 'train'\?\)"):
        with_parts(subsets={"trian": ["seen_64"]})
    tested = checks._trained_and_tested(with_parts(subsets={"train": ["easy"]}))
    assert next(tested).startswith("onpolicy.benchmarks.train: 'easy' is the set trained on")


def test_passes_are_shuffled_anew_and_follow_from_the_seed():
    stream = prompt_stream(64, batch_size=64, steps=2, seed=0)
    assert sorted(stream[:64]) == sorted(stream[64:]) == list(range(64))
    assert stream[:64] != stream[64:]
    assert prompt_stream(64, batch_size=64, steps=2, seed=0) == stream
    assert prompt_stream(64, batch_size=64, steps=2, seed=1) != stream


# --- base models of several seeds ---


def test_an_entry_of_several_seeds_stands_for_a_model_of_each_wherever_it_is_named():
    models = {name: dict(entry) for name, entry in DEFAULT["models"].items()}
    models["microcosm"] |= {"each_seed": [0, 3]}
    selection = DEFAULT["selection"] | {"models": ["microcosm"]}
    rows = [ROW, ROW | {"model": ["microcosm_off", "microcosm_seed3"], "problems": 8, "draw": "seed"}]
    made = study(*rows, models=models, selection=selection)
    assert list(made.config.models) == [
        "microcosm_seed0", "microcosm_seed3", "microcosm_off_seed0", "microcosm_off_seed3",
    ]  # fmt: skip
    assert {entry.family for entry in made.config.models.values()} == {"microcosm"}
    assert made.config.models["microcosm_seed3"].seed == 3
    assert made.config.models["microcosm_off_seed3"].of == "microcosm_seed3"
    assert made.config.selection.models == made.config.sft.models == ["microcosm_seed0", "microcosm_seed3"]
    assert sorted(made.runs) == [
        ("microcosm_off_seed0", "sdpo-train-n8-draw0-lr0.0003-k100-seed0"),
        ("microcosm_off_seed3", "sdpo-train-n8-draw3-lr0.0003-k100-seed0"),
        ("microcosm_seed0", "sdpo-train-lr0.0003-k100-seed0"),
        ("microcosm_seed3", "sdpo-train-lr0.0003-k100-seed0"),
        ("microcosm_seed3", "sdpo-train-n8-draw3-lr0.0003-k100-seed0"),
    ]
    again = config.parse(as_json(made.config))  # what a study writes beside its results
    assert again == made.config
