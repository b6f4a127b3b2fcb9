"""Links of pages and pictures: what each of them names, and whether that is there."""

import re
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from selfdistill.pages import reading_room

KINDS = (".md", ".html", ".svg", ".pdf")
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`\n]*`")
MARKDOWN = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
SVG = re.compile(r'xlink:href="([^"]+)"')
PDF = re.compile(rb"/URI \(((?:[^()\\]|\\.)*)\)")


class _Html(HTMLParser):
    """Addresses that a page names, and the ids within it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.ids: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value for name, value in attrs if name in ("href", "src") and value]
        self.ids |= {value for name, value in attrs if name == "id" and value}


def prose(page: Path) -> str:
    """A Markdown page without its code."""
    return CODE.sub("", FENCED.sub("", page.read_text(encoding="utf-8")))


@cache
def addresses(page: Path) -> list[str]:
    """What ``page`` links to or shows: Markdown, HTML, SVG or PDF; pictures that it holds itself are no links."""
    if page.suffix == ".pdf":
        return [address.replace(b"\\", b"").decode() for address in PDF.findall(page.read_bytes())]
    if page.suffix == ".md":
        return MARKDOWN.findall(prose(page))
    text = page.read_text(encoding="utf-8")
    named = SVG.findall(text) if page.suffix == ".svg" else _Html(text).addresses
    inside = ("#", "data:") if page.suffix == ".svg" else ("data:",)  # glyphs; embedded pictures
    return [address for address in named if not address.startswith(inside)]


def dead(page: Path) -> list[str]:
    """The addresses of ``page`` in this checkout or results folder that lead nowhere."""
    local = (address for address in addresses(page) if not urlsplit(address).scheme)
    return [address for address in dict.fromkeys(local) if not _leads(page, address)]


def outside(page: Path) -> Iterator[str]:
    """The addresses of ``page`` that a network is needed for."""
    return (address for address in addresses(page) if urlsplit(address).scheme)


def _leads(page: Path, address: str) -> bool:
    place, _, part = address.partition("#")
    target = (page.parent / unquote(place)).resolve() if place else page
    if not target.exists():
        return False
    if not part:
        return True
    if target.parent.name == "reading_room":
        return _shown(target, parse_qs(part))
    return unquote(part) in _parts(target)


@cache
def _parts(page: Path) -> set[str]:
    """What ``#...`` can name in a page: ids, or the headings of Markdown as GitHub writes them."""
    if page.suffix != ".md":
        return _Html(page.read_text(encoding="utf-8")).ids
    headings = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in HEADING.findall(prose(page)))
    return {heading.strip().replace(" ", "-") for heading in headings}


@cache
def _room(page: Path) -> tuple[list[str], set[str], set[str]]:
    """Names of the comparisons, sources and problems of a reading room."""
    index = reading_room._read_script(reading_room.index_of(page))
    views = [view["id"] for view in index["views"]]
    return views, {source["id"] for source in index["sources"]}, {problem[0] for problem in index["problems"]}


def _shown(page: Path, wanted: dict[str, list[str]]) -> bool:
    """Whether a reading room has what is wanted: a comparison, or the beginning of its name, sources, a problem."""
    views, sources, problems = _room(page)
    (view,), columns, (problem,) = (wanted.get(name, [""]) for name in ("view", "columns", "problem"))
    return (
        (not view or any(f"{name}/".startswith(f"{view}/") for name in views))
        and {name for several in columns for name in several.split(",") if name} <= sources
        and (not problem or problem in problems)
    )
