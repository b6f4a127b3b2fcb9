"""The claims ledger as Markdown and as a page of its own."""

from html import escape

import pandas as pd

from selfdistill.claims.verdicts import CONFLICT, CONTRADICTED, HOLDS, INCONCLUSIVE, NOT_TESTABLE
from selfdistill.errors import UserError
from selfdistill.pages import reading_room
from selfdistill.pages.stamp import stamp_text

MARKS = ("<!-- ledger -->", "<!-- end of ledger -->")
ORDER = (HOLDS, CONTRADICTED, INCONCLUSIVE, NOT_TESTABLE, CONFLICT)
UNITS = {"score": "", "avg": " points", "L": " tokens", "E": " markers"}
DIGITS = {"score": 2, "avg": 1, "L": 1, "E": 1}
# Colours that differ in lightness too, and words beside them: nobody has to tell red from green.
COLOURS = {
    HOLDS: "#1a7f4b",
    CONTRADICTED: "#b3261e",
    INCONCLUSIVE: "#6b6b6b",
    NOT_TESTABLE: "#9a9a9a",
    CONFLICT: "#8a5a00",
}
PAGE_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1rem; }
body { color: #1c1c1c; background: #fff; }
@media (prefers-color-scheme: dark) { body { color: #e8e8e8; background: #161616; } }
"""
TABLE_STYLE = """
.ledger table { border-collapse: collapse; width: 100%; }
.ledger th, .ledger td { text-align: left; vertical-align: top; padding: .5rem .6rem; border-bottom: 1px solid #8886; }
.ledger .verdict { font-weight: 600; } .ledger .small { font-size: .87em; opacity: .8; }
.ledger li { list-style: none; } .ledger ul { margin: 0; padding: 0; } .ledger a { color: inherit; }
@media (max-width: 50rem) {
  .ledger thead { display: none; } .ledger td { display: block; border: 0; }
  .ledger tr { border-bottom: 1px solid #888; }
}
"""


def summary_line(ledger: pd.DataFrame) -> str:
    """How many statements have which verdict."""
    counts = _claims(ledger)["verdict"].value_counts()
    return "; ".join(f"{counts[verdict]} {verdict}" for verdict in ORDER if verdict in counts)


def explanation(ledger: pd.DataFrame) -> str:
    """How verdicts come about, with this ledger's numbers."""
    tested = ledger["p"].notna()
    level = ledger.loc[tested, "confidence"].max() if tested.any() else 0.95
    return (
        f"Brackets are {100 * level:.0f} % bootstrap intervals over problems, and over runs where there are several. A "
        f"verdict needs significance at {1 - level:.2g} after Holm's correction over all {int(tested.sum())} tests of "
        "this ledger; a statement holds when all its tests do. Published values are quoted second-hand, and decide "
        "nothing."
    )


def markdown(ledger: pd.DataFrame, study: str) -> str:
    """One line per statement and learning rate."""
    lines = [
        f"# Claims ledger: study {study}",
        "",
        stamp_text(study),
        "",
        summary_line(ledger) + ".",
        "",
        explanation(ledger),
    ]
    lines += ["", *table_lines(ledger), ""]
    return "\n".join(line for line in lines if line is not None)


def table_lines(ledger: pd.DataFrame) -> list[str]:
    """The ledger as lines of a Markdown table."""
    lines = ["| claim | section | statement | verdict | evidence | published (quoted) |", "|---|---|---|---|---|---|"]
    for claim, tests in _groups(ledger):
        name = claim["id"] + (f" ({claim['variant']})" if claim["variant"] else "")
        cells = [
            name,
            claim["section"],
            claim["statement"],
            f"**{claim['verdict']}**",
            "<br>".join(map(_test_line, tests)),
        ]
        cells.append(claim["published"] or "")
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return lines


def with_verdicts(page: str, ledger: pd.DataFrame) -> str:
    """``page`` with a short table of all verdicts between its two marks; `UserError` where it has none."""
    begin, end = MARKS
    if page.count(begin) != 1 or page.count(end) != 1:
        raise UserError(f"the page has no place for the ledger (expected {begin} and {end}, once each)")
    lines = ["| section | statement | verdict |", "|---|---|---|"]
    for claim, _ in _groups(ledger):
        variant = f" ({claim['variant']})" if claim["variant"] else ""
        cells = [claim["section"], claim["statement"] + variant, claim["verdict"]]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    before, rest = page.split(begin)
    return f"{before}{begin}\n{summary_line(ledger)}.\n\n" + "\n".join(lines) + f"\n{end}{rest.split(end)[1]}"


def html(ledger: pd.DataFrame, study: str) -> str:
    """A page without scripts or outside resources, readable in print, on a phone and in the dark."""
    return (
        "<!doctype html><html lang='en'><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>Claims ledger: {escape(study)}</title><style>{PAGE_STYLE}</style>"
        f"<h1>Claims ledger: study {escape(study)}</h1><p>{escape(stamp_text(study))}</p>"
        f"{_ledger(ledger, linked=True)}</html>\n"
    )


def front(ledger: pd.DataFrame) -> str:
    """The ledger as a part of another page, which may lie anywhere: without links to the study's folder."""
    return _ledger(ledger, linked=False) + "\n"


def _ledger(ledger: pd.DataFrame, *, linked: bool) -> str:
    rows = "".join(_row(claim, tests, linked) for claim, tests in _groups(ledger))
    return (
        f"<style>{TABLE_STYLE}</style><div class='ledger'>"
        f"<p><strong>{escape(summary_line(ledger))}.</strong></p><p class='small'>{escape(explanation(ledger))}</p>"
        "<table><thead><tr><th>claim<th>section<th>statement<th>verdict<th>evidence</tr></thead>"
        f"<tbody>{rows}</tbody></table></div>"
    )


def _row(claim: dict, tests: list[dict], linked: bool) -> str:
    evidence = "".join(f"<li>{escape(_test_line(test))}{_responses(test) if linked else ''}</li>" for test in tests)
    published = f"published (quoted): {claim['published']}" if claim["published"] else ""
    return (
        f"<tr id='{escape(claim['id'])}'><td><code>{escape(claim['id'])}</code>{_aside(claim['variant'])}</td>"
        f"<td>{escape(claim['section'])}</td><td>{escape(claim['statement'])}{_aside(published)}</td>"
        f"<td class='verdict' style='color:{COLOURS[claim['verdict']]}'>{escape(claim['verdict'])}</td>"
        f"<td class='small'><ul>{evidence}</ul></td></tr>"
    )


def _aside(text: str) -> str:
    return f"<br><span class='small'>{escape(text)}</span>" if text else ""


def _claims(ledger: pd.DataFrame) -> pd.DataFrame:
    return ledger.drop_duplicates(["id", "variant"])


def _groups(ledger: pd.DataFrame):
    """Each statement and variant with its tests, in the list's order."""
    for _, tests in ledger.groupby(["place", "variant"], sort=True):
        yield tests.iloc[0].to_dict(), tests.to_dict("records")


def _responses(test: dict) -> str:
    """A link to the responses that a test is about; none where nothing was tested."""
    if pd.isna(test["value"]):
        return ""
    view = f"{test['of']}/{test['benchmark']}" if test["benchmark"] else test["of"]
    return f" <a href='{escape(reading_room.link(view=view))}'>responses</a>"


def _test_line(test: dict) -> str:
    """A test in words, its effect and interval, its verdict, and what would decide it."""
    if pd.isna(test["value"]):
        return test["test"]
    where = ", ".join(filter(None, [test["benchmark"], f"|D| = {test['sizes']}" if test["sizes"] else ""]))
    digits = DIGITS[test["metric"]]
    interval = "" if pd.isna(test["low"]) else f" [{test['low']:.{digits}f}, {test['high']:.{digits}f}]"
    found = f"{test['value']:.{digits}f}{interval}{UNITS[test['metric']]}: {test['test_verdict']}"
    decide = f"; would need {test['would_decide']}" if isinstance(test["would_decide"], str) else ""
    return f"{test['test']}{f' ({where})' if where else ''}: {found}{decide}"
