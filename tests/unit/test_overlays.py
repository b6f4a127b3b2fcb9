"""Configuration files of profiles and of the command line, one over the other."""

from pathlib import Path

import pytest
from selfdistill.errors import UserError
from selfdistill.overlays import composed, executors_of, files_of, profiles_of


@pytest.fixture
def profiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, content in {
        "a": "configfile: low.yaml",
        "b": "jobs: 3",
        "c": "configfile: [low.yaml, high.yaml]",
    }.items():
        Path(name).mkdir()
        Path(name, "config.yaml").write_text(content)


@pytest.mark.parametrize(
    ("named", "given", "expected"),
    [
        ([], ["mine.yaml"], ["mine.yaml"]),
        (["a"], [], ["low.yaml"]),
        (["a", "b"], ["mine.yaml"], ["low.yaml", "mine.yaml"]),
        (["c"], ["mine.yaml", "low.yaml"], ["low.yaml", "high.yaml", "mine.yaml"]),
        (["a", "c"], [], ["low.yaml", "high.yaml"]),
    ],
)
def test_files_of_profiles_lie_below_those_of_the_command_line(profiles, tmp_path, named, given, expected):
    assert composed(named, list(map(Path, given))) == [tmp_path / name for name in expected]
    assert composed(named, composed(named, list(map(Path, given)))) == [tmp_path / name for name in expected]


def test_a_profile_that_is_not_there_is_told(profiles):
    with pytest.raises(UserError, match=r"^d: no profile there"):
        composed(["d"], [])


def test_profiles_are_named_by_the_command_line_or_else_by_the_environment(monkeypatch):
    monkeypatch.setenv("SNAKEMAKE_PROFILE", "of/site")
    assert profiles_of(["-n", "--cores", "2", "target"]) == ["of/site"]
    assert profiles_of(["--profile", "a", "-n", "--profile=b", "--workflow-profile", "c"]) == ["a", "b"]


def test_a_repeated_flag_drops_no_file():
    words = ["--configfile", "low.yaml", "high.yaml", "--cores", "2", "--configfile=mine.yaml", "-n"]
    assert files_of(words) == [Path("low.yaml"), Path("high.yaml"), Path("mine.yaml")]
    assert files_of(["--cores", "2"]) == []


def test_executors_are_named_by_the_command_line_or_else_by_profiles(profiles, tmp_path):
    (tmp_path / "cluster").mkdir()
    (tmp_path / "cluster" / "config.yaml").write_text("executor: lsf\n")
    assert executors_of(["-n", "--profile", "a"]) == set()
    assert executors_of(["--profile", "a", "--profile", "cluster"]) == {"lsf"}
    assert executors_of(["--profile", "cluster", "-e", "local"]) == {"local"}
