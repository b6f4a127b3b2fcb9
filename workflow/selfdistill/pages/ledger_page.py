"""The claims ledger as Markdown and as a page of its own."""

from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

import pandas as pd

from selfdistill.claims.export import SCALES
from selfdistill.claims.ledger import BH, BH_OURS, HOLM, HOLM_OURS
from selfdistill.claims.statements import Conflict
from selfdistill.claims.verdicts import (
    CONTRADICTED,
    FIRM,
    FURTHEST,
    HOLDS,
    LEVEL,
    NO_EFFECT,
    NOT_TESTABLE,
    ONE_MODEL,
    OPEN,
    PROVISIONAL,
    Evidence,
    least_certain,
    p_in_words,
    plain,
)
from selfdistill.errors import UserError, one_of
from selfdistill.pages import reading_room

MARKS = ("<!-- ledger -->", "<!-- end of ledger -->")
ORDER = (HOLDS, CONTRADICTED, NO_EFFECT, OPEN, ONE_MODEL, NOT_TESTABLE)
UNITS = {
    "avg": " points", "L": " tokens", "E": " markers", "doubt": " markers", "information": " nats", "gain": " points",
}  # fmt: skip
DIGITS = {
    "score": 2, "avg": 1, "L": 1, "E": 1, "V": 2, "density": 1, "doubt": 1, "kept": 2, "correlation": 2,
    "information": 1, "gain": 2,
}  # fmt: skip
SHARE_DIGITS = 2
PRIMARY, OTHER = "Primary statements", "Other statements"
OF_OURS = "{}, ours and not the paper's"
TAUGHT = "taught: pre-training teaches the microcosm's models to behave so"
FIXED = (
    "Statements, tests, margins and primaries were fixed before the runs (docs/preregistration.md). Taught is what "
    "pre-training teaches the microcosm's models: it holds by construction. Published values are quoted second-hand, "
    "and decide nothing."
)
CORRECTIONS = (
    (HOLM, "Holm", "primary statements"),
    (BH, "Benjamini and Hochberg", "the paper's others"),
    (HOLM_OURS, "Holm", "primary statements of ours"),
    (BH_OURS, "Benjamini and Hochberg", "others of ours"),
)
HEADS = ("claim", "section", "statement", "verdict", "evidence")
# Classes of the style below. Nobody has to tell red from green: words stand in the colours.
CLASSES = {HOLDS: "holds", CONTRADICTED: "contradicted", NO_EFFECT: "no-effect"}
UNDECIDED = "undecided"
PAGE_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1rem; }
body { color: #1c1c1c; background: #fff; }
@media (prefers-color-scheme: dark) {
  body { color: #e8e8e8; background: #161616; }
  :root { --holds: #6fd3a0; --contradicted: #ff9c93; --no-effect: #e3b560; --undecided: #ababab; --quiet: #bdbdbd; }
}
"""
# Also part of the report, which is light at all times: what is dark is the page's matter.
TABLE_STYLE = """
.ledger table { border-collapse: collapse; width: 100%; }
.ledger th, .ledger td { text-align: left; vertical-align: top; padding: .5rem .6rem; border-bottom: 1px solid #8886; }
.ledger .small { font-size: .87em; color: var(--quiet, #4d4d4d); }
.ledger .verdict { font-weight: 600; } .ledger .verdict .small { color: inherit; }
.ledger .holds { color: var(--holds, #1a7f4b); } .ledger .contradicted { color: var(--contradicted, #b3261e); }
.ledger .no-effect { color: var(--no-effect, #8a5a00); } .ledger .undecided { color: var(--undecided, #636363); }
.ledger li { list-style: none; } .ledger ul { margin: 0; padding: 0; } .ledger a { color: inherit; }
@media (max-width: 50rem) {
  .ledger thead { display: none; } .ledger td { display: block; border: 0; }
  .ledger tr { border-bottom: 1px solid #888; }
}
"""


def summary_line(ledger: pd.DataFrame) -> str:
    """How many statements have which verdict: primary ones, others, and how many of those that hold are taught."""
    return ". ".join(f"{name}: {_counted(found)}" for name, found in _parts(_once(ledger)))


def counts(ledger: pd.DataFrame, part: str) -> str:
    """The same of one part of the ledger, by its title; `UserError` with the nearest title where there is none."""
    return _counted(one_of("part of the ledger", part, dict(_parts(_once(ledger)))))


def _once(ledger: pd.DataFrame) -> pd.DataFrame:
    """A row for each statement and variant that has a verdict of its own."""
    return ledger[ledger["same_as"] == ""].drop_duplicates(["id", "variant"])


def _counted(claims: pd.DataFrame) -> str:
    numbers = claims["verdict"].value_counts()
    taught = claims[claims["taught"]]["verdict"].value_counts()
    return "; ".join(
        f"{numbers[name]} {name}{f' ({taught[name]} of them taught)' if taught.get(name, 0) else ''}"
        for name in sorted(numbers.index, key=lambda verdict: (ORDER.index(plain(verdict)), verdict))
    )


def explanation(ledger: pd.DataFrame) -> str:
    """How verdicts come about, with this ledger's numbers."""
    tested = ledger[ledger["value"].notna()]
    confidence = tested["confidence"].max() if len(tested) else 1 - LEVEL
    models = f"{tested['models'].max():.0f}" if len(tested) else "no"
    sizes = ledger.dropna(subset=["family"]).drop_duplicates("correction").set_index("correction")["family"]
    corrections = [
        f"{who} are corrected together by {name} ({sizes[key]:.0f} of them)"
        for key, name, who in CORRECTIONS
        if key in sizes
    ]
    return (
        f"Brackets are {100 * confidence:.0f} % intervals over problems and base models (at most {models}). "
        + (f"At {LEVEL:g}, {', '.join(corrections)}. " if corrections else "")
        + "A statement holds when all its tests do, and is contradicted when one of them is. With one base model there "
        f"is no verdict about a statement; with fewer than {FIRM} a verdict is {PROVISIONAL}. " + FIXED
    )


def markdown(ledger: pd.DataFrame, conflicts: Sequence[Conflict], study: str, scale: str, note: str = "") -> str:
    """One line per statement and learning rate, the primary ones first; conflicts as published apart."""
    lines = [
        one_of("scale", scale, SCALES),
        "",
        f"# Claims ledger: study {study}",
        "",
        *([f"**{note}**", ""] if note else []),
        f"{summary_line(ledger)}.",
        "",
        explanation(ledger),
    ]
    for title, found in _parts(ledger):
        lines += ["", f"## {title}", "", *_table_lines(found)]
    lines += ["", "## Conflicts as published", ""]
    lines += [f"- {each.section}: {each.statement} {each.conflict}" for each in conflicts]
    return "\n".join([*lines, ""])


def _table_lines(ledger: pd.DataFrame) -> list[str]:
    lines = [f"| {' | '.join(HEADS)} |", "|---" * len(HEADS) + "|"]
    for claim, tests in _groups(ledger):
        cells = [claim["id"] + (f" ({claim['variant']})" if claim["variant"] else ""), claim["section"]]
        cells += ["<br>".join([claim["statement"], *_asides(claim)]), f"**{claim['verdict']}**{_p(claim)}"]
        cells.append("<br>".join(map(_test_line, tests)))
        lines.append(_line(cells))
    return lines


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def with_verdicts(page: str, ledger: pd.DataFrame) -> str:
    """``page`` with a short table of all verdicts between its two marks; `UserError` where it has none."""
    begin, end = MARKS
    if page.count(begin) != 1 or page.count(end) != 1:
        raise UserError(f"the page has no place for the ledger (expected {begin} and {end}, once each)")
    lines = ["| section | statement | verdict |", "|---|---|---|"]
    for title, found in _parts(ledger):
        lines.append(_line(["", f"**{title}**", ""]))
        for claim, _ in _groups(found):
            variant = f" ({claim['variant']})" if claim["variant"] else ""
            taught = ", *taught*" if claim["taught"] else ""
            lines.append(_line([claim["section"], claim["statement"] + variant, claim["verdict"] + taught]))
    before, rest = page.split(begin)
    return f"{before}{begin}\n{summary_line(ledger)}.\n\n" + "\n".join(lines) + f"\n{end}{rest.split(end)[1]}"


def html(ledger: pd.DataFrame, conflicts: Sequence[Conflict], study: str, scale: str, note: str = "") -> str:
    """A page without scripts or outside resources, readable in print, on a phone and in the dark."""
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>Claims ledger: {escape(study)}</title><style>{PAGE_STYLE}{TABLE_STYLE}</style></head><body>"
        f"{_scale(scale)}<h1>Claims ledger: study {escape(study)}</h1>{_note(note)}"
        f"{_ledger(ledger, conflicts, linked=True)}</body></html>\n"
    )


def front(ledger: pd.DataFrame, conflicts: Sequence[Conflict], scale: str, note: str = "") -> str:
    """The ledger as a part of another page, which may lie anywhere: without links to the study's folder."""
    return f"{_scale(scale)}{_note(note)}<style>{TABLE_STYLE}</style>{_ledger(ledger, conflicts, linked=False)}\n"


def _scale(scale: str) -> str:
    return f"<p><strong>{escape(one_of('scale', scale, SCALES))}</strong></p>"


def _note(note: str) -> str:
    return f"<p><strong>{escape(note)}</strong></p>" if note else ""


def _ledger(ledger: pd.DataFrame, conflicts: Sequence[Conflict], *, linked: bool) -> str:
    tables = "".join(f"<h2>{title}</h2>{_table(found, linked)}" for title, found in _parts(ledger))
    apart = "".join(
        f"<li id='{escape(each.id)}'>{escape(f'{each.section}: {each.statement}')}{_aside(each.conflict)}</li>"
        for each in conflicts
    )
    return (
        "<div class='ledger'>"
        f"<p><strong>{escape(summary_line(ledger))}.</strong></p><p class='small'>{escape(explanation(ledger))}</p>"
        f"{tables}<h2>Conflicts as published</h2><p class='small'>No run decides between them.</p>"
        f"<ul>{apart}</ul></div>"
    )


def _table(ledger: pd.DataFrame, linked: bool) -> str:
    rows = "".join(_row(claim, tests, linked) for claim, tests in _groups(ledger))
    heads = "".join(f"<th>{head}" for head in HEADS)
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"


def _row(claim: dict[str, Any], tests: list[dict[str, Any]], linked: bool) -> str:
    name = "-".join([claim["id"], *claim["variant"].split()])
    evidence = "".join(f"<li>{escape(_test_line(test))}{_responses(test) if linked else ''}</li>" for test in tests)
    asides = "".join(map(_aside, _asides(claim)))
    return (
        f"<tr id='{escape(name)}'><td><code>{escape(claim['id'])}</code>{_aside(claim['variant'])}</td>"
        f"<td>{escape(claim['section'])}</td><td>{escape(claim['statement'])}{asides}</td>"
        f"<td class='verdict {CLASSES.get(plain(claim['verdict']), UNDECIDED)}'>{escape(claim['verdict'])}"
        f"{_aside(_p(claim).strip())}</td><td class='small'><ul>{evidence}</ul></td></tr>"
    )


def _asides(claim: dict[str, Any]) -> list[str]:
    """The remarks below a statement."""
    told = [TAUGHT] if claim["taught"] else []
    told += [f"expected: {claim['expects']}"] if claim["primary"] else []
    told += [claim["note"]] if claim["note"] else []
    return told + ([f"published (quoted): {claim['published']}"] if claim["published"] else [])


def _aside(text: str) -> str:
    return f"<br><span class='small'>{escape(text)}</span>" if text else ""


def _p(claim: dict[str, Any]) -> str:
    """The statement's corrected p-value."""
    if pd.isna(claim["p_adjusted"]):
        return ""
    p = claim["p_no_effect"] if plain(claim["verdict"]) == NO_EFFECT else claim["p_adjusted"]
    return f" {p_in_words(p)} ({claim['correction']})"


def _parts(ledger: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Primary statements and others, the paper's first, then ours, of those that there are."""
    for ours, name in ((False, "{}"), (True, OF_OURS)):
        for title, primary in ((PRIMARY, True), (OTHER, False)):
            chosen = (ledger["primary"] == primary) & (ledger["ours"] == ours)
            if chosen.any():
                yield name.format(title), ledger[chosen]


def _groups(ledger: pd.DataFrame) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Each statement and variant with its tests, in the list's order."""
    for _, tests in ledger.groupby(["place", "variant"], sort=True):
        listed = tests.to_dict("records")
        if listed[0]["verdict"] == OPEN and not listed[0]["same_as"]:
            listed[least_certain([Evidence(test["p_for"], test["p_against"]) for test in listed])]["decides"] = True
        yield listed[0], listed


def _responses(test: dict[str, Any]) -> str:
    """A link to the responses that a test is about; none where nothing was tested, or where they are no traces."""
    if pd.isna(test["value"]) or test["of"] in ("information", "alignment", "sets", "solutions"):
        return ""
    view = f"{test['of']}/{test['benchmark']}" if test["benchmark"] else test["of"]
    return f" <a href='{escape(reading_room.link(view=view))}'>responses</a>"


def _test_line(test: dict[str, Any]) -> str:
    """A test in words, its effect and interval, what it rests on, and what would decide it."""
    where = ", ".join(filter(None, [test["benchmark"], test["part"]]))
    said = test["test"] + (f" ({where})" if where else "")
    remark = f"; {test['remark']}" if test["remark"] and test["remark"] != test["test"] else ""
    if pd.isna(test["value"]):
        return said + remark
    share = ", as a share of " in test["test"]
    digits = SHARE_DIGITS if share else DIGITS[test["metric"]]
    unit = "" if share else UNITS.get(test["metric"], "")
    found = f"{test['value']:.{digits}f}{_interval(test['low'], test['high'], digits)}{unit}"
    own = _interval(test["plain_low"], test["plain_high"], digits)
    if own != _interval(test["low"], test["high"], digits):
        found += f", by its own variance alone{own}"
    if pd.notna(test["margin"]):
        found += f", margin {test['margin']:.{digits}f}"
    found += f"; {_number(test['models'], 'base model')}, {_number(test['problems'], 'problem')}"
    return f"{said}: {found}{_needed(test)}{remark}"


def _interval(low: float, high: float, digits: int) -> str:
    return "" if pd.isna(low) else f" [{low:.{digits}f}, {high:.{digits}f}]"


def _number(count: float, what: str) -> str:
    return f"{count:.0f} {what}{'' if count == 1 else 's'}"


def _needed(test: dict[str, Any]) -> str:
    """How many base models would decide an open statement, at its least certain test."""
    if not test.get("decides"):
        return ""
    if pd.isna(test["models_needed"]):
        return f"; would need other problems, or more than {FURTHEST:,} base models"
    return f"; would need {test['models_needed']:.0f} base models"
