"""The digest follows code that a stage reaches, and nothing else."""

import ast
import os
from pathlib import Path

import pytest
from selfdistill import code_digest as digest_module
from selfdistill import environment, stages, tables
from selfdistill.code_digest import code_digest, packages

STAGE = '''"""A stage."""
from selfdistill import helpers
from selfdistill.constants import LIMIT, OTHER

# a comment
def stage(x):
    """Docstring."""
    return helpers.double(x) + LIMIT


def unrelated():
    return OTHER
'''
HELPERS = """from selfdistill.constants import FACTOR

def double(x):
    from selfdistill import lazy
    return FACTOR * x + lazy.value()

def never_called():
    return 0
"""
CONSTANTS = "FACTOR = 2\nLIMIT = 10\nOTHER = 3\n"
LAZY = "def value():\n    return 5\n"


def forget() -> None:
    """Sources are read once in a process."""
    for function in vars(digest_module).values():
        if hasattr(function, "cache_clear"):
            function.cache_clear()


@pytest.fixture
def package(tmp_path, monkeypatch):
    folder = tmp_path / "selfdistill"
    folder.mkdir()
    files = {"__init__": "", "stage": STAGE, "helpers": HELPERS, "constants": CONSTANTS, "lazy": LAZY}
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    monkeypatch.setattr(digest_module, "PACKAGE_ROOT", tmp_path)
    forget()
    yield folder
    forget()


def edited(package, module, old, new):
    before = code_digest("selfdistill.stage:stage")
    path = package / f"{module}.py"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    forget()
    return before, code_digest("selfdistill.stage:stage")


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        ("stage", "# a comment", "# another comment\n\n"),
        ("stage", "Docstring.", "Another docstring."),
        ("stage", "A stage.", "The stage."),
        ("stage", "return OTHER", "return OTHER + 1"),
        ("constants", "OTHER = 3", "OTHER = 4"),
        ("helpers", "return 0", "return 1"),
        ("stage", "return helpers.double(x) + LIMIT", "return (helpers.double(x)\n            + LIMIT)"),
    ],
)
def test_what_the_stage_does_not_reach_leaves_the_digest(package, module, old, new):
    before, after = edited(package, module, old, new)
    assert before == after


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        ("constants", "FACTOR = 2", "FACTOR = 3"),
        ("constants", "LIMIT = 10", "LIMIT = 11"),
        ("helpers", "FACTOR * x", "FACTOR - x"),
        ("lazy", "return 5", "return 6"),
        ("stage", "+ LIMIT", "- LIMIT"),
        ("helpers", "FACTOR\n", "FACTOR\n\nprint('imported')\n"),
    ],
)
def test_what_the_stage_reaches_changes_the_digest(package, module, old, new):
    before, after = edited(package, module, old, new)
    assert before != after


MOVED = {
    "a module into a package, re-exported": {
        "helpers": "from selfdistill.deep.tools import double\n",
        "deep/__init__": "",
        "deep/tools": HELPERS,
    },
    "a definition to a module of its own": {
        "stage": STAGE.replace("helpers.double", "double").replace("import helpers", "import other")
        .replace("from selfdistill import other", "from selfdistill.doubling import double"),
        "doubling": HELPERS.replace("from selfdistill import lazy", "from selfdistill.lazy import value")
        .replace("lazy.value()", "value()"),
    },
    "a constant under another local name": {
        "stage": STAGE.replace("import LIMIT, OTHER", "import LIMIT as MOST, OTHER").replace("+ LIMIT", "+ MOST")
    },
}  # fmt: skip


@pytest.mark.parametrize("moved", MOVED)
def test_where_a_definition_lives_leaves_the_digest(package, moved):
    before = code_digest("selfdistill.stage:stage")
    for name, text in MOVED[moved].items():
        (package / name).parent.mkdir(exist_ok=True)
        (package / f"{name}.py").write_text(text)
    forget()
    assert code_digest("selfdistill.stage:stage") == before
    (package / "constants.py").write_text(CONSTANTS.replace("FACTOR = 2", "FACTOR = 9"))
    forget()
    assert code_digest("selfdistill.stage:stage") != before


def test_imports_beside_the_one_that_is_used_leave_the_digest(package):
    def importing(line):
        (package / "helpers.py").write_text(f"{line}\n\ndef double(x):\n    return Counter(x)\n")
        forget()
        return code_digest("selfdistill.stage:stage")

    alone = importing("from collections import Counter")
    assert importing("from collections import Counter, deque") == alone
    assert importing("from collections import deque, Counter") == alone
    assert importing("from typing import Counter") != alone


def test_a_name_that_is_re_exported_is_an_entry(package):
    (package / "front.py").write_text("from selfdistill.stage import stage\n")
    assert code_digest("selfdistill.front:stage") == code_digest("selfdistill.stage:stage")


@pytest.mark.parametrize(
    ("old", "new", "changes"),
    [
        ('doc="How far."', 'doc="How far, in steps."', False),
        ('paper="3"', 'paper="4"', False),
        ("key(3", "key(4", True),
    ],
)
def test_what_a_setting_says_to_readers_leaves_the_digest(package, old, new, changes):
    declared = 'LIMIT = key(3, doc="How far.", paper="3")\n'
    (package / "constants.py").write_text(CONSTANTS.replace("LIMIT = 10\n", declared))
    forget()
    before, after = edited(package, "constants", old, new)
    assert (before != after) is changes


def test_a_new_name_in_a_registry_leaves_the_digest_and_an_entry_has_its_own(package):
    registry = 'LIMIT = {"a": "selfdistill.lazy:value"}'
    (package / "constants.py").write_text(CONSTANTS.replace("LIMIT = 10", registry))
    forget()
    before, after = edited(package, "constants", "}", ', "b": "selfdistill.helpers:never_called"}')
    assert before == after
    before, after = edited(package, "constants", '"selfdistill.lazy:value"', '"not an entry"')
    assert before != after
    entry = code_digest("selfdistill.lazy:value")
    (package / "lazy.py").write_text(LAZY.replace("5", "6"))
    forget()
    assert code_digest("selfdistill.lazy:value") != entry


def test_script_counts_itself_and_what_it_imports(package, tmp_path):
    script = tmp_path / "draw.py"
    script.write_text("from selfdistill.constants import FACTOR\ncolour = 'red'\nprint(FACTOR)\n")
    first = code_digest(script)
    script.write_text("from selfdistill.constants import FACTOR\ncolour = 'blue'\nprint(FACTOR)\n")
    forget()
    second = code_digest(script)
    (package / "constants.py").write_text(CONSTANTS.replace("OTHER = 3", "OTHER = 9"))
    forget()
    third = code_digest(script)
    (package / "constants.py").write_text(CONSTANTS.replace("FACTOR = 2", "FACTOR = 9"))
    forget()
    assert first != second == third != code_digest(script)


@pytest.mark.parametrize(("parameters", "changes"), [([], False), ([ast.Name("T", ast.Load())], True)])
def test_fields_that_older_pythons_do_not_have_change_the_digest_where_they_say_something(
    package, monkeypatch, parameters, changes
):
    (package / "lazy.py").write_text(LAZY + "\nclass Lazy:\n    pass\n\ndef value():\n    return Lazy()\n")
    forget()
    before, parse = code_digest("selfdistill.stage:stage"), ast.parse

    def with_type_parameters(*source):
        tree = parse(*source)
        for node in ast.walk(tree):
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                node._fields = tuple(dict.fromkeys((*node._fields, "type_params")))
                node.type_params = parameters
        return tree

    monkeypatch.setattr(ast, "parse", with_type_parameters)
    (package / digest_module.KEPT).unlink()
    forget()
    assert (code_digest("selfdistill.stage:stage") != before) is changes


def test_unknown_entry_is_an_error(package):
    with pytest.raises(LookupError, match="no definition 'missing'"):
        code_digest("selfdistill.stage:missing")


KINDS_OF = {
    "load_problems": ["PROBLEMS"],
    "sample_guidance": ["PROBLEMS", "TRACES"],
    "evaluate_checkpoints": ["PROBLEMS", "TRACES"],
    "train_sft": ["SFT_EXAMPLES", "TRAINING_STEPS"],
    "train_onpolicy": ["PROBLEMS", "TRACES", "TRAINING_STEPS"],
    "make_table_1": ["SUMMARY", "TRACES"],
}


@pytest.mark.parametrize("stage", KINDS_OF)
def test_a_column_counts_for_the_stages_that_read_or_write_its_kind_of_table(stage):
    reached = digest_module.reachable([("selfdistill.stages", stage)])
    kinds = {name for name, value in vars(tables).items() if isinstance(value, tables.Kind)}
    assert len(kinds) == len(tables.KINDS)
    assert sorted(name for module, name in reached if module == tables.__name__ and name in kinds) == KINDS_OF[stage]


# --- what is kept from one start to the next ---


def found_anew(monkeypatch):
    """The entries that are followed in what comes next."""
    followed, texts = [], digest_module._texts
    monkeypatch.setattr(digest_module, "_texts", lambda *entries: followed.append(entries) or texts(*entries))
    forget()
    return followed


def test_what_was_found_is_kept_for_the_next_start(package, tmp_path, monkeypatch):
    script = tmp_path / "draw.py"
    script.write_text("import numpy\n")
    entries = [("selfdistill.stage:stage",), ("selfdistill.stage:stage", "selfdistill.lazy:value"), (script,)]
    before = [(code_digest(*each), packages(*each)) for each in entries]
    followed = found_anew(monkeypatch)
    assert [(code_digest(*each), packages(*each)) for each in entries] == before
    assert followed == []
    script.write_text("import torch\n")
    forget()
    assert packages(script) == {"torch"}
    assert followed == [(script,)]


@pytest.mark.parametrize("change", ["a byte", "a module more", "a module less"])
def test_nothing_is_kept_for_other_sources(package, monkeypatch, change):
    (package / "unused.py").write_text("")
    code_digest("selfdistill.stage:stage")
    if change == "a byte":
        (package / "unused.py").write_text("#")
    elif change == "a module more":
        (package / "double.py").write_text("")
    else:
        (package / "unused.py").unlink()
    followed = found_anew(monkeypatch)
    code_digest("selfdistill.stage:stage")
    assert followed == [("selfdistill.stage:stage",)]


@pytest.mark.parametrize("damage", ["", "{", "[]", "{}", '{"sources": "SOURCES", "found": {"a": 1}}'])
def test_a_damaged_file_of_what_is_kept_is_made_anew(package, damage):
    before, kept = code_digest("selfdistill.stage:stage"), package / digest_module.KEPT
    whole = kept.read_text()
    kept.write_text(damage.replace("SOURCES", digest_module._sources()))
    forget()
    assert code_digest("selfdistill.stage:stage") == before
    assert kept.read_text() == whole


def test_digests_need_no_place_to_be_kept(package):
    (package / Path(digest_module.KEPT).parent).write_text("a file where the folder would be")
    assert len(code_digest("selfdistill.stage:stage")) == 16


def test_another_variable_of_jobs_leaves_no_earlier_work_to_go_on_from(package):
    variables = Path(environment.__file__).read_text()
    (package / "environment.py").write_text(variables)
    before = environment.made_with("selfdistill.stage:stage")
    (package / "environment.py").write_text(variables.replace('"passive"', '"active"'))
    forget()
    assert environment.made_with("selfdistill.stage:stage") != before


# --- packages ---


def test_packages_are_those_that_the_reached_code_imports(package):
    edit = package / "stage.py"
    edit.write_text("import json\nimport numpy as np\nimport torch.nn\nfrom selfdistill import helpers\n\n"
                    "def run():\n    from scipy.stats import t\n    return np, helpers.double(t)\n\n"
                    "def other():\n    return torch.nn\n")  # fmt: skip
    forget()
    assert packages("selfdistill.stage:run") == {"numpy", "scipy"}
    assert packages("selfdistill.stage:other") == {"torch"}
    assert packages("selfdistill.stage:run", "selfdistill.stage:other") == {"numpy", "scipy", "torch"}


def test_every_package_that_a_stage_computes_with_has_a_version():
    entries = [
        f"selfdistill.stages:{function.__name__}" for function, group in stages.STAGES.values() if group == stages.STEP
    ]
    scripts = sorted((digest_module.PACKAGE_ROOT / "scripts").glob("*.py"))
    found = environment.versions(packages(*entries, *scripts), {"vllm"})
    assert {"torch", "numpy", "tokenizers", "sympy", "seaborn"} <= {entry.split()[0] for entry in found.split(", ")}
    assert "none" not in found.split()


def header(number: bytes) -> bytes:
    """Of a SIF by its layout: launch line, magic, versions, the image's own number, times and places of contents."""
    return b"#!/usr/bin/env run-singularity\n\0" + b"SIF_MAGIC\0" + b"01\0" + b"02\0" + number.ljust(16) + bytes(64)


def test_an_image_that_is_built_again_is_another_one_and_a_copy_is_not(tmp_path):
    def identity(name: str, content: bytes) -> str:
        (tmp_path / name).write_bytes(content)
        return environment.image_identity(tmp_path / name)

    assert len(header(b"one")) == environment.SIF_HEADER
    first = identity("first.sif", header(b"one") + b"contents")
    os.utime(tmp_path / "first.sif", (1, 1))
    assert identity("copy.sif", header(b"one") + b"contents") == environment.image_identity(tmp_path / "first.sif")
    assert identity("again.sif", header(b"two") + b"contents") != first
    assert identity("other.simg", b"hsqs" + bytes(300)) == identity("other2.simg", b"hsqs" + bytes(300)) != first
    assert identity("other.simg", b"hsqs" + bytes(301)) != environment.image_identity(tmp_path / "other2.simg")
    assert environment.image_identity(tmp_path) == environment.image_identity(tmp_path / "missing.sif") == ""


def test_what_a_package_computes_with_has_a_version_but_for_what_is_left_out():
    def names(found):
        return [entry.split()[0] for entry in found.split(", ")]

    assert names(environment.versions({"trl"})) == ["accelerate", "trl", "vllm"]
    assert names(environment.versions({"trl", "vllm"}, {"vllm"})) == ["accelerate", "trl"]
