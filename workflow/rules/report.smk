"""The files of tables and figures, and how the report lists them; no rules."""


def shown(artifact, form):
    """How the report lists a table or figure: with the statements of the ledger that it is about."""
    ids = [each.id for each in STATEMENTS if artifact in each.shown_in]
    return {"shows": artifact, "as": form, "claims": ", ".join(ids)}


def figure_files(figure):
    """A figure in its three formats, its rows, caption and page, if it has one; the report shows SVG, rows and page."""
    about = {"caption": "../report/figure.rst", "category": figure.section}
    forms = {"svg": "figure", "csv": "data table"} | (
        {"html": "page"} if figure.page else {}
    )
    files = {
        kind: STUDY.figure(figure.name, kind) for kind in ("png", "pdf", "txt", *forms)
    }
    for kind, form in forms.items():
        files[kind] = report(files[kind], labels=shown(figure.name, form), **about)
    return files


def table_section(wildcards):
    """The section of the paper that a table belongs to."""
    return TABLES[wildcards.table].section


def table_labels(wildcards):
    """How the report lists a table."""
    return shown(wildcards.table, "data table")


def table_files(tables):
    """Tables as readers take them."""
    return expand(
        STUDY.table("{table}", "{kind}"), table=tables, kind=["csv", "md", "tex"]
    )


def drawn_files(figures):
    """Figures in all formats, with their rows."""
    return expand(
        STUDY.figure("{figure}", "{kind}"),
        figure=figures,
        kind=["png", "svg", "pdf", "csv", "txt"],
    )


def section_files(section):
    """What a section alone is made of."""
    figures, tables = of_section(section)
    drawn = [each.name for each in figures if each.name in STUDY.figures]
    return drawn_files(drawn) + table_files(
        [each.name for each in tables if each.name in STUDY.tables]
    )
