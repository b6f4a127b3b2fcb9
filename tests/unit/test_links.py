"""Every link of every page that is shipped leads to what it names."""

import re
from pathlib import Path

import links
import pytest

ROOT = Path(__file__).resolve().parents[2]
BESIDE = [path for folder in ("docs", "config", "examples", "findings") for path in (ROOT / folder).rglob("*.md")]
SHIPPED = [path for path in (ROOT / "results" / "reference").rglob("*") if path.suffix in links.KINDS]
PAGES = sorted([*ROOT.glob("*.md"), ROOT / "results" / "README.md", *BESIDE, *SHIPPED])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_what_it_names(page):
    assert links.dead(page) == []


def test_there_are_links_of_every_kind():
    found = {kind: sum(len(links.addresses(page)) for page in PAGES if page.suffix == kind) for kind in links.KINDS}
    assert found[".md"] > 80 and found[".html"] > 200 and found[".svg"] >= 15 and found[".pdf"] >= 15, found


def test_links_to_the_network_are_few_and_encrypted():
    found = {address for page in PAGES for address in links.outside(page)}
    hosts = {re.match(r"https://([^/]+)/", address)[1] for address in found}
    assert hosts <= {"arxiv.org", "github.com", "keepachangelog.com"}


def test_dead_links_are_found(tmp_path):
    (tmp_path / "b.md").write_text("# What `x` is, and why\n\n## V\n")
    (tmp_path / "c.html").write_text("<p id='here'><a href='#here'>a</a><a href='#gone'>b</a><img src='no.png'>")
    page = tmp_path / "a.md"
    page.write_text("[a](b.md) [b](b.md#v) [c](b.md#w) [d](no.md) [e](c.html#here) [f](https://no.such/) `[g](no)`")
    assert links.dead(page) == ["b.md#w", "no.md"]
    assert links.dead(tmp_path / "c.html") == ["#gone", "no.png"]


def test_the_list_of_findings_names_each_of_them():
    folder = ROOT / "findings"
    listed = re.findall(r"^\| `(.+?)` \|", (folder / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert listed == sorted(path.stem for path in folder.glob("*.sh"))
