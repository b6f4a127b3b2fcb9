"""A configuration for a model and data of one's own: complete, and nothing of the default's."""

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml
from selfdistill import cli, new_study
from selfdistill.errors import UserError
from selfdistill.opening import Start, open_study
from selfdistill.overlays import laid_over
from tiny import save_heads

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def mine(tmp_path, monkeypatch) -> Path:
    """A folder with a saved model, as far as one looks at it here, and files of 44 and 9 problems."""
    monkeypatch.chdir(ROOT)
    save_heads(tmp_path / "My Model")
    rows = [json.dumps({"question": f"{number} + {number}?", "answer": 2 * number}) for number in range(53)]
    (tmp_path / "train.jsonl").write_text("\n".join(rows[:44]))
    (tmp_path / "odd one.jsonl").write_text("\n".join(rows[44:]))
    return tmp_path


def command(mine: Path, **other: str) -> list[str]:
    given = {"model": "My Model", "problems": "train.jsonl", "benchmarks": "odd one.jsonl", "out": "mine.yaml"} | other
    return ["new-study", *(f"--{name}={mine / value}" for name, value in given.items())]


def test_what_is_written_is_a_whole_study_and_says_nothing_of_the_default(mine):
    assert cli.main(command(mine)) == 0
    written = (mine / "mine.yaml").read_text()
    assert "microcosm" not in written
    assert len(re.findall("EDIT", written)) - 1 <= 10  # the head says what it means
    files = [ROOT / "config.yaml", ROOT / "config/smoke.yaml", mine / "mine.yaml"]
    opened = open_study({}, Start(ROOT, files, {}))
    assert opened.files == [str(mine / "mine.yaml")]
    config = opened.study.config
    assert list(config.models) == ["My_Model"] == list(opened.study.used_models)
    assert set(config.problem_sets) == {"train", "odd_one"} == set(opened.study.used_problem_sets)
    assert config.selection.target == 11 and config.sft.responses == 88
    assert {run.method for run in opened.study.runs.values()} == {"grpo", "sdpo"}
    assert "fig_3" in opened.study.figures and "fig_4" not in opened.study.figures
    assert {role.family for role in opened.study.roles.values() if role} == {"My_Model"}
    named = [
        line for line in opened.warnings if not line.startswith(("config: figures.views:", "config: claims.roles:"))
    ]
    assert named == []


@pytest.mark.parametrize("name", ["smoke", "microcosm"])
def test_models_of_one_name_are_studied_apart(name, mine):
    """Their results would be one another's, or those of a study of the checkout."""
    for place in ("a", "b"):
        shutil.copytree(mine / "My Model", mine / place / name)
        assert cli.main(command(mine, model=f"{place}/{name}", out=f"My {place}.yaml")) == 0
    written = [yaml.safe_load((mine / f"My {place}.yaml").read_text()) for place in ("a", "b")]
    assert [content["study"] for content in written] == ["my-a", "my-b"]
    assert all(list(content["models"]) == [name] for content in written)


def test_a_file_with_a_character_beyond_sixteen_bits_is_read_again(mine):
    """JSON's usual form of it is two halves, which YAML does not join."""
    (mine / "odd one.jsonl").rename(mine / "𝔸.jsonl")
    assert cli.main(command(mine, benchmarks="𝔸.jsonl")) == 0
    written = yaml.safe_load((mine / "mine.yaml").read_text())
    assert str(mine / "𝔸.jsonl") in {entry["file"] for entry in written["problem_sets"].values()}


def test_a_name_that_yaml_takes_for_something_else_is_in_quotes(mine):
    (mine / "My Model").rename(mine / "no")
    (mine / "odd one.jsonl").rename(mine / "on.jsonl")
    assert cli.main(command(mine, model="no", benchmarks="on.jsonl", out="null.yaml")) == 0
    written = yaml.safe_load((mine / "null.yaml").read_text())
    assert written["study"] == "null" and list(written["models"]) == ["no"] == written["sft"]["models"]
    assert written["evaluation"]["benchmarks"] == ["on"] and written["claims"]["roles"]["sft"]["family"] == "no"


def test_elsewhere_than_in_a_checkout_it_says_where_to_go(mine, monkeypatch, capsys):
    monkeypatch.chdir(mine)
    assert cli.main(command(mine)) == 2
    assert capsys.readouterr().err == (
        f"selfdistill: {mine}: no Snakefile here; run this in the root of the repository\n"
    )


@pytest.mark.parametrize(("positions", "tokens"), [(512, 256), (40960, 4096), (None, 4096)])
def test_responses_fit_into_the_model(mine, positions, tokens):
    save_heads(mine / "Mine", max_position_embeddings=positions)
    assert cli.main(command(mine, model="Mine")) == 0
    written = yaml.safe_load((mine / "mine.yaml").read_text())
    assert {sampling["max_tokens"] for sampling in written["sampling"].values()} == {tokens}
    assert written["sft"]["max_tokens"] == tokens + new_study.PROMPT_TOKENS


def test_a_model_of_the_hub_has_a_commit(mine, capsys):
    written = new_study.text("Qwen/Qwen3-8B", mine / "train.jsonl", [mine / "odd one.jsonl"], Path("mine.yaml"))
    assert yaml.safe_load(written)["models"]["Qwen3-8B"]["revision"] == "locked"
    commit = "0123456789abcdef0123456789abcdef01234567"
    written = new_study.text(f"a/b@{commit}", mine / "train.jsonl", [mine / "odd one.jsonl"], Path("mine.yaml"))
    assert yaml.safe_load(written)["models"] == {"b": {"source": "hub", "repo": "a/b", "revision": commit}}
    with pytest.raises(UserError, match=r"no revision of 'a/b'.*--kind model"):
        new_study.text("a/b", mine / "train.jsonl", [mine / "odd one.jsonl"], Path("mine.yaml"))


def test_a_path_below_a_folder_that_is_here_is_no_repository(mine):
    with pytest.raises(UserError, match=r"^docs/Mine: no such folder"):
        new_study.text("docs/Mine", mine / "train.jsonl", [mine / "odd one.jsonl"], Path("mine.yaml"))


def without_template(mine: Path) -> None:
    (mine / "My Model" / "tokenizer_config.json").write_text("{}")


def without_weights(mine: Path) -> None:
    (mine / "My Model" / "model.safetensors").write_bytes(b"")


def without_answers(mine: Path) -> None:
    (mine / "odd one.jsonl").write_text(json.dumps({"question": "?", "answr": 1}))


def there_already(mine: Path) -> None:
    (mine / "mine.yaml").write_text("")


def with_another_study(mine: Path) -> None:
    (mine / "other.yaml").write_text("study: mine\n")
    (mine / "broken.yaml").write_text("study: [")


WRONG = {
    "an unknown path": ({"model": "No Model"}, None, "No Model: no such folder"),
    "no chat template": (
        {},
        without_template,
        "no chat template (expected chat_template.jinja, or the key in tokenizer_",
    ),
    "no weights": (
        {},
        without_weights,
        "My Model/model.safetensors: no safetensors file, or one that is cut (0 bytes)",
    ),
    "a misspelt file": ({"problems": "tran.jsonl"}, None, "tran.jsonl: no such file"),
    "a wrong kind": ({"problems": "My Model"}, None, "My Model: a folder, where a file of problems is expected"),
    "a missing column": ({}, without_answers, "odd one.jsonl: no answer column"),
    "one file for both": (
        {"benchmarks": "train.jsonl"},
        None,
        "is the set trained on; a benchmark holds other problems",
    ),
    "the name of a study of the checkout": (
        {"out": "Smoke.yaml"},
        None,
        "config/smoke.yaml: a study 'smoke' is there already; --out names another file, and by it the study",
    ),
    "the name of the default study": ({"out": "microcosm.yaml"}, None, "config.yaml: a study 'microcosm' is there"),
    "the name of a study beside it": ({}, with_another_study, "other.yaml: a study 'mine' is there already"),
    "the name of the results that are shipped": (
        {"out": "reference.yaml"},
        None,
        "results/reference: a study 'reference' is there already",
    ),
    "no name": ({"out": "--.yaml"}, None, "--.yaml: a study is called as its file, in letters from a to z"),
    "a file that is there": ({}, there_already, "mine.yaml: is there already; --out names another file"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said_in_a_sentence_before_anything_is_written(case, mine, capsys):
    other, damage, sentence = WRONG[case]
    if damage:
        damage(mine)
    before = {path: path.read_bytes() for path in mine.rglob("*") if path.is_file()}
    assert cli.main(command(mine, **other)) == 2
    assert sentence in capsys.readouterr().err
    assert {path: path.read_bytes() for path in mine.rglob("*") if path.is_file()} == before


def test_files_with_one_name_are_told_apart(mine):
    (mine / "b").mkdir()
    (mine / "b" / "train.jsonl").write_text((mine / "odd one.jsonl").read_text())
    files = [mine / "odd one.jsonl", mine / "b" / "train.jsonl"]
    written = yaml.safe_load(new_study.text(str(mine / "My Model"), mine / "train.jsonl", files, Path("mine.yaml")))
    assert written["problem_sets"]["train_2"]["file"] == str(files[1])
    assert written["evaluation"]["benchmarks"] == ["odd_one", "train_2"]


def test_layers_merge_but_for_entries_of_a_source_and_lists():
    below = {"a": {"x": 1, "y": [1, 2]}, "models": {"one": {"source": "hub", "repo": "r"}, "two": {"source": "hub"}}}
    above = {"a": {"y": [3]}, "models": {"one": {"source": "folder", "folder": "f"}, "two": {"seed": 1}}}
    assert laid_over([below, above]) == {
        "a": {"x": 1, "y": [3]},
        "models": {"one": {"source": "folder", "folder": "f"}, "two": {"source": "hub", "seed": 1}},
    }
    assert below["a"] == {"x": 1, "y": [1, 2]}
