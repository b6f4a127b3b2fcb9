"""The configuration is typed, and what is wrong with it is told in one sentence."""

from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest
import yaml
from selfdistill import config
from selfdistill.errors import UserError
from selfdistill.generation import Sampling
from snakemake.utils import update_config

ROOT = Path(__file__).resolve().parents[2]


def values(**changes):
    loaded = yaml.safe_load((ROOT / "config.yaml").read_text())
    for path, value in changes.items():
        *sections, name = path.split("__")
        place = loaded
        for section in sections:
            place = place[section]
        place[name] = value
    return loaded


def test_the_default_study_is_the_papers_protocol():
    parsed = config.parse(values())
    chosen = parsed.selection
    assert (chosen.rollouts, chosen.low, chosen.high, chosen.target, chosen.batch) == (8, 0.125, 0.5, 100, 128)
    assert parsed.evaluation.samples == 16
    assert parsed.sft.responses == 800


def test_an_overlay_merges_dictionaries_replaces_lists_and_drops_nulls():
    merged = values()
    update_config(merged, yaml.safe_load((ROOT / "config" / "smoke.yaml").read_text()))  # as --configfile does
    parsed = config.parse(merged)
    assert parsed.study == "smoke"
    assert parsed.selection.rollouts == 8
    assert parsed.evaluation.benchmarks == ["in_domain"]
    assert set(parsed.problem_sets) == {"train", "in_domain", "narrow", "narrow_test"}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"selektion": {}}, "unknown key 'selektion' (did you mean 'selection'?)"),
        ({"selection__hihg": 1}, "unknown key 'selection.hihg' (did you mean 'high'?)"),
        ({"models__microcosm__sead": 1}, "unknown key 'models.microcosm.sead' (did you mean 'seed'?)"),
        (
            {"sampling__collect__topp": 1},
            "'sampling.collect.topp' (did you mean 'top_p'?); known here: temperature, top_p, top_k, max_tokens",
        ),
        ({"problem_sets__train__sise": 1}, "unknown key 'problem_sets.train.sise' (did you mean 'size'?)"),
        ({"selection__low": "often"}, "selection.low: Input should be a valid number"),
        ({"selection__rollouts": 2.5}, "selection.rollouts: Input should be a valid integer"),
        ({"selection__high": 1.5}, "selection.high: Input should be less than or equal to 1 (found 1.5)"),
        ({"selection__rollouts": 0}, "selection.rollouts: Input should be greater than 0 (found 0)"),
        ({"sampling__collect__temperature": float("inf")}, "sampling.collect.temperature"),
        ({"sampling__collect__temperature": float("nan")}, "sampling.collect.temperature"),
        ({"sft__learning_rates": [1e-4, -1e-4]}, "sft.learning_rates.1: Input should be greater than 0"),
        ({"sft__learning_rates": []}, "sft.learning_rates"),
        ({"sft__at_least": 801}, "sft: 'at_least' (801) is above 'responses' (800)"),
        ({"selection__models": []}, "selection.models"),
        ({"selection": None}, "selection: Input should be a dictionary (found None)"),
        ({"models": {"gone": None}}, "models: Dictionary should have at least 1 item"),
        ({"onpolicy__demonstration": "first"}, "'onpolicy.demonstration' (did you mean 'sdpo.demonstration'?)"),
        (
            {"onpolicy__sdpo": {"demonstration": "frist"}},
            "unknown 'frist' (did you mean 'first'?); known: random, first",
        ),
        ({"selection__low": 0.6}, "'low' (0.6) is above 'high' (0.5)"),
        ({"selection__problem_set": "trian"}, "unknown 'trian' (did you mean 'train'?)"),
        ({"evaluation__benchmarks": ["hrad"]}, "unknown 'hrad' (did you mean 'hard'?)"),
        ({"evaluation__benchmarks": []}, "evaluation.benchmarks"),
        ({"sft__models": ["other"]}, "sft.models: unknown 'other'"),
        ({"problem_sets__train": {"source": "hub", "repo": "a/b"}}, "needs 'repo' and 'revision'"),
        ({"problem_sets__train": {"source": "file"}}, "needs 'file'"),
        ({"models__microcosm": {"source": "hub", "repo": "a/b"}}, "needs 'repo' and 'revision'"),
        ({"models__microcosm": {"source": "folder"}}, "needs 'folder'"),
        ({"study": "../elsewhere"}, "study"),
        ({"engine": "magic"}, "engine"),
    ],
)
def test_what_is_wrong_is_told_in_one_sentence(changes, sentence):
    with pytest.raises(UserError) as error:
        config.parse(values(**changes))
    assert sentence in str(error.value)
    assert str(error.value).startswith("config: ") and "\n" not in str(error.value)
    assert len(str(error.value)) < 300


def test_all_faults_are_told_at_once_each_in_a_line():
    changes = {
        "selektion": {},
        "selection__problem_set": "trian",
        "sampling__train__top_p": 2,
        "onpolicy__runs": [{"model": "microcosm", "method": "gpro", "learning_rate": -1}],
        "models__../up": {"source": "microcosm"},
    }
    with pytest.raises(UserError) as error:
        config.parse(values(**changes))
    lines = str(error.value).splitlines()
    for said in (
        "unknown key 'selektion' (did you mean 'selection'?)",
        "selection.problem_set: unknown 'trian' (did you mean 'train'?)",
        "sampling.train.top_p: Input should be less than or equal to 1 (found 2)",
        "onpolicy.runs.0.method: unknown 'gpro' (did you mean 'grpo'?)",
        "onpolicy.runs.0.learning_rate: Input should be greater than 0 (found -1)",
        "models.../up: String should match pattern",
    ):
        assert sum(said in line for line in lines) == 1, said
    assert len(lines) == 6 and all(line.startswith("config: ") for line in lines)


def test_a_set_that_is_dropped_is_missed_wherever_it_is_named():
    with pytest.raises(UserError) as error:
        config.parse(values(problem_sets__train=None))
    known = "unknown 'train'; known: in_domain, easy, hard, narrow, narrow_test"
    assert str(error.value).splitlines() == [
        f"config: selection.problem_set: {known}",
        f"config: onpolicy.benchmarks: {known}",
    ]


def test_more_values_than_settings_are_refused():
    assert Sampling(0.5, 0.9, 3, 7).max_tokens == 7
    with pytest.raises(TypeError, match="Sampling has 4 settings, 5 were given by place"):
        Sampling(0.5, 0.9, 3, 7, 9)
    with pytest.raises(TypeError):
        Sampling(0.5, temperature=0.6)


def test_a_missing_section_is_named():
    incomplete = values()
    del incomplete["selection"]
    with pytest.raises(UserError, match="'selection' is missing"):
        config.parse(incomplete)


def test_dropping_a_named_entry_leaves_the_callers_values_alone():
    given = values(problem_sets__spare=None)
    assert set(config.parse(given).problem_sets) == {"train", "in_domain", "easy", "hard", "narrow", "narrow_test"}
    assert "spare" in given["problem_sets"]


def test_rates_may_be_written_as_yaml_reads_them_wrongly():
    assert config.parse(values(sft__learning_rates=["1e-4"])).sft.learning_rates == [1e-4]


def test_the_configuration_cannot_be_changed_afterwards():
    with pytest.raises(FrozenInstanceError):
        config.parse(values()).selection.low = 0.2


def test_the_generated_pages_are_current():
    assert (ROOT / "config" / "README.md").read_text() == config.document()
    schema = yaml.safe_load((ROOT / "workflow" / "schemas" / "config.schema.yaml").read_text())
    assert schema == config.schema()


def test_every_key_has_a_meaning():
    for line in config.key_table().splitlines()[2:]:
        assert line.split("|")[3].strip(), line
