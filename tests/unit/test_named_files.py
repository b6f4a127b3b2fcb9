"""What README, CONTRIBUTING and docs name exists: files, folders, definitions of the library, keys."""

import re
import tomllib
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

import pytest
import yaml
from selfdistill.config import document

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = ROOT / "workflow" / "selfdistill"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
DEVIATIONS = ROOT / "docs" / "deviations.md"
FOLDERS = ("workflow", "config", "docs", "tests", "benchmarks", "envs", "profiles", "examples", "findings")
# From the root of the checkout, in running text, in code and in commands.
FROM_ROOT = re.compile(rf"(?<![\w./-])(?:{'|'.join(FOLDERS)})/[\w./*-]*[\w*]")
CODE_FILE = re.compile(r"`([\w./]+\.(?:py|smk))(?::[\d,-]+)?`")
FOLDER = re.compile(r"`([\w/]+)/`")
DOTTED = re.compile(r"`(\w+(?:\.[\w*]+)+)`")
MADE_BY_A_RUN = ("benchmarks/results/", "results/", "work/", "logs/")
AUTHORS = {  # files of the authors' code, and their folder
    "change_math_prompts.py", "check_epistemic_tokens.py", "eval.py", "eval/utils/grader.py", "eval_dapo_dataset.py",
    "eval_with_hint.py", "eval_with_hint_remove_think_tag.py",
    "make_report.py", "make_sft_dataset.py", "math.py", "ray_trainer.py", "reward_score/feedback/__init__.py", "utils",
    "utils/utils.py", "verl/utils/reward_score/feedback/math.py",
}  # fmt: skip


@cache
def paths() -> list[str]:
    """Files and folders of the checkout, without what runs and tools leave in it."""
    below = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*")]
    return [path.relative_to(ROOT).as_posix() for path in below if "__pycache__" not in path.parts]


def meant(name: str) -> list[str]:
    """The files or folders that end in ``name``: one, where it is said well."""
    return [path for path in paths() if path == name or path.endswith(f"/{name}")]


def found(pattern: re.Pattern[str], page: Path) -> list[str]:
    return sorted(set(pattern.findall(page.read_text(encoding="utf-8"))))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_path_from_the_root_exists(page):
    named = [name for name in found(FROM_ROOT, page) if not f"{name}/".startswith(MADE_BY_A_RUN)]
    assert [name for name in named if not list(ROOT.glob(name))] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_code_file_and_folder_is_one_of_the_checkout(page):
    named = [name for name in found(CODE_FILE, page) if name not in AUTHORS]
    assert {name: meant(name) for name in named if len(meant(name)) != 1} == {}
    named = [name for name in found(FOLDER, page) if name not in AUTHORS and not f"{name}/".startswith(MADE_BY_A_RUN)]
    assert {name: meant(name) for name in named if name not in FOLDERS and len(meant(name)) != 1} == {}


def test_the_pages_name_enough_to_be_tested():
    assert sum(len(found(FROM_ROOT, page)) for page in PAGES) > 50
    assert set().union(*(found(CODE_FILE, page) for page in PAGES)) >= AUTHORS - {"utils"}


def test_files_of_the_deviations_lie_in_the_library():
    named = [name for name in found(CODE_FILE, DEVIATIONS) if name not in AUTHORS]
    assert named and [name for name in named if not (LIBRARY / name).is_file()] == []


def test_where_the_deviations_are_made_is_a_key_or_a_definition():
    keys = {name.replace("[]", "") for name in re.findall(r"^\| `([^`]+)`", document(), re.MULTILINE)}
    page = DEVIATIONS.read_text(encoding="utf-8")
    where = [line.rstrip("| ").rpartition("|")[2] for line in page.splitlines() if line.startswith("| ")]
    named = {name for cell in where for name in DOTTED.findall(cell) if not name.endswith((".py", ".yaml"))}
    assert len(named) > 15
    assert [name for name in sorted(named) if not is_key(name, keys) and not is_defined(name)] == []


def is_key(name: str, keys: set[str]) -> bool:
    """Whether the table of keys has ``name``, or its entries; an entry's own name stands for the table's ``*``."""
    return any(fnmatchcase(each, key) for key in keys for each in (name, f"{name}.entry"))


def is_defined(name: str) -> bool:
    """Whether a module of the library, called by its last part, defines ``name``."""
    module, _, definition = name.partition(".")
    texts = [path.read_text(encoding="utf-8") for path in LIBRARY.rglob(f"{module}.py")]
    return any(re.search(rf"^(?:def |class )?{definition}\b", text, re.MULTILINE) for text in texts)


def test_licence_and_version_are_said_alike():
    package = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert (citation["license"], citation["version"]) == (package["license"], package["version"])
    assert [author["name"] for author in citation["authors"]] == [author["name"] for author in package["authors"]]
    assert "Apache License\n                           Version 2.0" in (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache-2.0 ([LICENSE](../LICENSE))" in (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
