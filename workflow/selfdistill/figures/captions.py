"""Captions of figures: what the report shows below a figure, and the text file beside it, from the same words.

They stand in the docstring of the figure's script; what all figures of on-policy runs have in common stands in
``workflow/report/curves.rst``. The report puts both together in ``workflow/report/figure.rst``.
"""

import ast

from selfdistill.code_digest import PACKAGE_ROOT

SCRIPTS = PACKAGE_ROOT / "scripts"
COMMON = PACKAGE_ROOT / "report" / "curves.rst"
# Figures of on-policy runs by the beginning of their names, and those among them that are of something else.
OF_CURVES, OTHERS = "fig_", ("fig_2",)


def source(figure: str) -> str:
    """The caption of a figure in reStructuredText."""
    own = ast.get_docstring(ast.parse((SCRIPTS / f"draw_{figure}.py").read_text(encoding="utf-8"))) or ""
    # Found by name and not through the list of figures: otherwise a new figure would change the code of all others.
    common = COMMON.read_text(encoding="utf-8") if figure.startswith(OF_CURVES) and figure not in OTHERS else ""
    return f"{own}\n\n{common}"


def text(figure: str) -> str:
    """The caption of a figure without marks, paragraphs parted by empty lines."""
    from docutils.core import publish_doctree

    return publish_doctree(source(figure)).astext() + "\n"
