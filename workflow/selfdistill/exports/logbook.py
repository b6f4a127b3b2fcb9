"""A claims ledger as pages of Markdown: one with all verdicts at a glance, and one for each statement.

The form in which reproductions of papers are published claim by claim: scope, outcome and cost first, then for every
claim its evidence and what it was made from.
"""

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from selfdistill.errors import UserError
from selfdistill.files import write_text

INDEX = "README.md"
FORMAT = 1
# Characters that would end a cell, or begin a tag or link.
SPECIAL = re.compile(r"([\\`*_\[\]<>|])")


def write(claims: Any, out: Path) -> int:
    """Write pages of ``claims``, the content of `claims.json`, into the folder ``out``; the number of statements.

    `UserError` for any other content.
    """
    if not isinstance(claims, Mapping):
        raise UserError(f"claims.json: expected an object with 'format' and 'statements' (found {claims!r:.40})")
    if claims.get("format") != FORMAT:
        raise UserError(f"claims.json: format {claims.get('format')!r}; this version reads {FORMAT}")
    statements = [{**each, "page": _page_name(each)} for each in claims["statements"]]
    write_text(out / INDEX, "\n".join(_index(claims, statements)) + "\n")
    for each in statements:
        write_text(out / each["page"], "\n".join(_page(each, claims)) + "\n")
    return len(statements)


def _page_name(statement: Mapping[str, Any]) -> str:
    return "_".join(filter(None, (statement["id"], statement["variant"].replace(" ", "_")))) + ".md"


def _index(claims: Mapping[str, Any], statements: list[dict[str, Any]]) -> list[str]:
    counts = Counter(each["public"] for each in statements)
    told = ", ".join(f"{number} {word}" for word, number in counts.most_common())
    files = len(claims["files"])
    return [
        f"# {_text(claims['paper'])}: study {_text(claims['study'])}",
        "",
        "| at a glance | |",
        "|---|---|",
        f"| scale | {_text(claims['scale'])} |",
        f"| statements | {len(statements)}: {told} |",
        f"| evidence | {files} files of responses, each with its SHA-256 |",
        f"| level | {claims['level']:g} in either family of statements |",
        "",
        "| statement | section | in public words | verdict | page |",
        "|---|---|---|---|---|",
        *(
            f"| {_text(each['statement'])} | {_text(each['section'])} | {each['public']} | {_text(each['verdict'])} "
            f"| [{_text(' '.join(filter(None, (each['id'], each['variant']))))}]({each['page']}) |"
            for each in statements
        ),
        "",
        "## Conflicts as published",
        "",
        *(
            f"- {_text(each['section'])}: {_text(each['statement'])} {_text(each['conflict'])}"
            for each in claims["conflicts"]
        ),
    ]


def _page(statement: Mapping[str, Any], claims: Mapping[str, Any]) -> list[str]:
    cost = statement["cost"]
    minutes = cost["processor_minutes"]
    spent = f"{minutes:g} processor minutes in {cost['jobs']} jobs" if minutes is not None else "not measured"
    rows = [
        ("verdict", statement["verdict"]),
        ("in public words", statement["public"]),
        ("scale", claims["scale"]),
        ("learning rate", statement["variant"]),
        ("same as", statement["same_as"]),
        ("taught in pre-training", "yes" if statement["taught"] else "no"),
        ("published", statement["published"]),
        ("note", statement["note"]),
        ("cost of its responses", spent),
    ]
    return [
        f"# {_text(statement['statement'])}",
        "",
        f"Section {_text(statement['section'])} of {_text(claims['paper'])}; study {_text(claims['study'])}.",
        "",
        "| | |",
        "|---|---|",
        *(f"| {name} | {_text(value)} |" for name, value in rows if value),
        "",
        "## Evidence",
        "",
        "| test | effect | interval | base models | problems | remark |",
        "|---|---|---|---|---|---|",
        *(_evidence(test) for test in statement["tests"]),
        "",
        "## Files",
        "",
        *(f"- `{name}` {claims['files'][name]}" for name in statement["files"]),
    ]


def _evidence(test: Mapping[str, Any]) -> str:
    effect = test["effect"]
    low, high = effect["low"], effect["high"]
    cells = [
        _text(" ".join(filter(None, (test["test"], test["benchmark"], test["part"])))),
        f"{_number(effect['value'])} {effect['unit']}".strip(),
        f"[{_number(low)}, {_number(high)}] ({100 * effect['confidence']:g} %)" if low is not None else "",
        _number(test["base_models"]),
        _number(test["problems"]),
        _text(test["remark"]),
    ]
    return f"| {' | '.join(cells)} |"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _text(text: str | None) -> str:
    """Text that Markdown shows as it is, on one line."""
    return SPECIAL.sub(r"\\\1", " ".join((text or "").split()))
