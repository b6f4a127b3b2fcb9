"""Where code lives is nobody's input: a moved module or definition reruns nothing."""

import ast
from pathlib import Path


def test_a_moved_module_reruns_nothing(project):
    package = project.folder / "workflow" / "selfdistill"
    (package / "uncertainty").mkdir()
    (package / "uncertainty" / "__init__.py").write_text('"""Intervals."""\n')
    (package / "analysis" / "estimates.py").rename(package / "uncertainty" / "base_models.py")
    old, new = "selfdistill.analysis.estimates", "selfdistill.uncertainty.base_models"
    renamed = replace(project.folder / "workflow", old, new)
    assert renamed > 5
    assert project.pending() == {}


def test_a_definition_in_another_module_reruns_nothing(project):
    folder = project.folder / "workflow" / "selfdistill" / "generation"
    source, text = folder / "selection.py", (folder / "selection.py").read_text()
    (moved,) = (n for n in ast.parse(text).body if isinstance(n, ast.FunctionDef) and n.name == "solve_rates")
    definition = ast.get_source_segment(text, moved)
    (folder / "rates.py").write_text(f'"""Solve rates."""\n\nimport pandas as pd\n\n\n{definition}\n')
    imported = "from selfdistill.generation.rates import solve_rates\nfrom selfdistill"
    source.write_text(text.replace(definition, "").replace("from selfdistill", imported, 1))
    assert project.pending() == {}
    (folder / "rates.py").write_text((folder / "rates.py").read_text().replace("astype(int)", "astype('int64')"))
    assert project.pending()["select_borderline"] == 1


def replace(folder: Path, old: str, new: str) -> int:
    """Put ``new`` for ``old`` in every source file; the number of files."""
    files = [path for path in folder.rglob("*") if path.suffix in (".py", ".smk") and old in path.read_text()]
    for path in files:
        path.write_text(path.read_text().replace(old, new))
    return len(files)
