"""The digest follows code that a stage reaches, and nothing else."""

import pytest
from selfdistill import code_digest as digest_module
from selfdistill.code_digest import code_digest

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
    digest_module._load.cache_clear()
    digest_module._expand.cache_clear()


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


def test_script_counts_itself_and_what_it_imports(package, tmp_path):
    script = tmp_path / "draw.py"
    script.write_text("from selfdistill.constants import FACTOR\ncolour = 'red'\nprint(FACTOR)\n")
    first = code_digest(script)
    script.write_text("from selfdistill.constants import FACTOR\ncolour = 'blue'\nprint(FACTOR)\n")
    second = code_digest(script)
    (package / "constants.py").write_text(CONSTANTS.replace("OTHER = 3", "OTHER = 9"))
    forget()
    third = code_digest(script)
    (package / "constants.py").write_text(CONSTANTS.replace("FACTOR = 2", "FACTOR = 9"))
    forget()
    assert first != second == third != code_digest(script)


def test_unknown_entry_is_an_error(package):
    with pytest.raises(LookupError, match="no definition 'missing'"):
        code_digest("selfdistill.stage:missing")
