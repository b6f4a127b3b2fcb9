"""The claims ledger and the reading room."""

from pathlib import Path

from selfdistill.pages.reading_room import Limits


def make_ledger(
    *,
    claims: Path,
    guidance: list[Path],
    sft: list[Path],
    runs: Path,
    rollouts: list[Path],
    evaluations: list[Path],
    bases: list[Path],
    roles: str,
    families: list[str],
    thinking: list[str],
    window: int,
    confidence: float,
    resamples: int,
    seed: int,
    out: Path,
) -> None:
    """Test the paper's statements on a study's responses; ``roles`` (JSON) says which models stand for the paper's."""
    import json

    from selfdistill import tables
    from selfdistill.analysis.intervals import Bootstrap
    from selfdistill.claims import units
    from selfdistill.claims.ledger import Role, ledger
    from selfdistill.claims.statements import read_claims

    tested = units.read_units(
        guidance=guidance,
        sft=sft,
        runs=runs,
        rollouts=rollouts,
        evaluations=evaluations,
        bases=bases,
        families=dict(pair.split("=", 1) for pair in families),
        thinking=dict(pair.split("=", 1) for pair in thinking),
        window=window,
    )
    known = {name: None if role is None else Role(**role) for name, role in json.loads(roles).items()}
    table = ledger(read_claims(claims), tested, known, bootstrap=Bootstrap(confidence, resamples, seed))
    tables.write(table, out, "ledger")


def render_ledger(*, ledger: Path, study: str, out_markdown: Path, out_html: Path, out_front: Path) -> None:
    """Write the claims ledger as Markdown, as a page, and as the part of a page that the report begins with."""
    from selfdistill import tables
    from selfdistill.files import write_text
    from selfdistill.pages import ledger_page

    table = tables.read(ledger, "ledger")
    write_text(out_markdown, ledger_page.markdown(table, study))
    write_text(out_html, ledger_page.html(table, study))
    write_text(out_front, ledger_page.front(table))


def build_reading_room(
    *,
    traces: list[Path],
    problem_sets: list[Path],
    runs: Path,
    page: Path,
    style: Path,
    script: Path,
    limits: Limits,
    study: str,
    out: Path,
    out_data: Path,
) -> None:
    """Make the page on which all responses can be read side by side, with its data beside it."""
    from selfdistill import tables
    from selfdistill.pages import reading_room

    parts = reading_room.Parts(page, style, script)
    known = tables.read(runs, "runs")
    reading_room.build(traces, problem_sets, known, parts=parts, study=study, limits=limits, out=out, data=out_data)


def record_config(*, values: str, out: Path) -> None:
    """Write the configuration of a study (JSON) beside its results."""
    import json

    import yaml

    from selfdistill.files import write_text

    write_text(out, yaml.safe_dump(json.loads(values), sort_keys=False))
