"""The configuration is typed, and what is wrong with it is told in one sentence."""

from pathlib import Path

import pytest
import yaml
from selfdistill import config
from selfdistill.errors import UserError

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
    parsed = config.load(ROOT / "config.yaml")
    chosen = parsed.selection
    assert (chosen.rollouts, chosen.low, chosen.high, chosen.target, chosen.batch) == (8, 0.125, 0.5, 100, 128)
    assert parsed.evaluation.samples == 16
    assert parsed.sft.responses == 800


def test_an_overlay_merges_dictionaries_replaces_lists_and_drops_nulls():
    parsed = config.load(ROOT / "config.yaml", ROOT / "config" / "smoke.yaml")
    assert parsed.study == "smoke"
    assert parsed.selection.rollouts == 8
    assert parsed.evaluation.benchmarks == ["in_domain"]
    assert set(parsed.problem_sets) == {"train", "in_domain"}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"selektion": {}}, "unknown key 'selektion' (did you mean 'selection'?)"),
        ({"selection__hihg": 1}, "unknown key 'selection.hihg' (did you mean 'high'?)"),
        ({"models__microcosm__sead": 1}, "unknown key 'models.microcosm.sead' (did you mean 'seed'?)"),
        ({"selection__low": "often"}, "selection.low"),
        ({"selection__high": 1.5}, "selection.high"),
        ({"selection__low": 0.6}, "'low' (0.6) is above 'high' (0.5)"),
        ({"selection__problem_set": "trian"}, "unknown 'trian' (did you mean 'train'?)"),
        ({"evaluation__benchmarks": ["hrad"]}, "unknown 'hrad' (did you mean 'hard'?)"),
        ({"evaluation__benchmarks": []}, "evaluation.benchmarks"),
        ({"sft__models": ["other"]}, "sft.models: unknown 'other'"),
        ({"problem_sets__train": {"source": "hub", "repo": "a/b"}}, "needs 'repo' and 'revision'"),
        ({"problem_sets__train": {"source": "file"}}, "needs 'file'"),
        ({"models__microcosm": {"source": "folder"}}, "needs 'folder'"),
        ({"study": "../elsewhere"}, "study"),
        ({"engine": "magic"}, "engine"),
    ],
)
def test_what_is_wrong_is_told_in_one_sentence(changes, sentence):
    with pytest.raises(UserError) as error:
        config.parse(values(**changes))
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_section_is_named():
    incomplete = values()
    del incomplete["selection"]
    with pytest.raises(UserError, match="'selection' is missing"):
        config.parse(incomplete)


def test_the_generated_pages_are_current():
    assert (ROOT / "config" / "README.md").read_text() == config.document()
    schema = yaml.safe_load((ROOT / "workflow" / "schemas" / "config.schema.yaml").read_text())
    assert schema == config.schema()


def test_every_key_has_a_meaning():
    for line in config.key_table().splitlines()[2:]:
        assert line.split("|")[3].strip(), line
