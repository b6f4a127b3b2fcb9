"""How the report lists tables and figures; no rules."""


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
