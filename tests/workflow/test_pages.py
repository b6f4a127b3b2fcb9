"""The pages of a finished study in a browser: report, ledger, Figure 2, reading room, and the links between them."""

import zipfile
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import links
import pandas as pd
import pytest
from playwright.sync_api import Page
from project import FIGURES
from selfdistill import tables
from selfdistill.exports.report import add_room
from selfdistill.records import lineage, verification
from selfdistill.records.bundle import Records

STUDY = "smoke"


@pytest.fixture(scope="module")
def results(finished) -> Path:
    return finished.folder / "results" / STUDY


@pytest.fixture(scope="module")
def report(finished, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    finished.snakemake("--report", str(folder / "report.zip"))
    made = finished.folder / "results" / STUDY
    assert add_room(folder / "report.zip", made) > 2 and add_room(folder / "report.zip", made) == 0
    with zipfile.ZipFile(folder / "report.zip") as packed:
        packed.extractall(folder)
    return folder / "report" / "report.html"


def in_room(page: Page) -> dict[str, list[str]]:
    """What the reading room's address says once it is open."""
    page.wait_for_selector("body[data-ready=true]:not([data-busy])")
    return parse_qs(urlsplit(page.url).fragment)


def test_the_report_begins_with_the_ledger(page: Page, report: Path, results: Path):
    page.goto(f"file://{report}")
    page.wait_for_selector(".ledger")
    heading = page.get_by_text("The claims ledger of study").bounding_box()
    assert heading["y"] >= 0 and heading["height"] > 0  # nothing above it is cut off
    ledger = tables.read(results / "claims" / "ledger.parquet", tables.LEDGER)
    shown = page.locator(".ledger tbody tr")
    assert shown.count() == len(ledger.drop_duplicates(["id", "variant"]))
    first = shown.first.inner_text()
    primary = ledger[ledger["primary"]].iloc[0]
    assert primary["id"] in first and primary["verdict"] in first


def test_the_report_shows_a_figure_with_its_caption_data_and_claims(page: Page, report: Path, results: Path):
    page.goto(f"file://{report}")
    page.get_by_text("Section 5", exact=True).click()
    rows = page.locator("tr", has_text="fig_3")
    assert rows.count() == 2 and "data table" in rows.nth(0).inner_text()
    assert "grpo-improves-training" in rows.nth(1).inner_text()
    buttons = rows.nth(1).locator("a")
    buttons.nth(1).click()  # what it is
    page.get_by_text("GRPO and SDPO with the whole solution").wait_for()
    page.go_back()
    page.goto(f"file://{report}")
    page.get_by_text("Section 5", exact=True).click()
    page.locator("tr", has_text="fig_3").nth(1).locator("a").nth(0).click()  # to see it
    page.wait_for_function("[...document.images].some(image => image.naturalWidth > 400)")
    data = pd.read_csv(results / "figures" / "fig_3.csv")
    assert len(data) > 20 and set(data.columns) == set(tables.CURVES.columns)


def test_every_figure_has_the_rows_that_it_shows(results: Path):
    assert {path.stem for path in (results / "figures").glob("*.svg")} == FIGURES.keys()
    for figure in FIGURES:
        rows = results / "figures" / f"{figure}.csv"
        assert len(pd.read_csv(rows)) > 0, figure
        assert lineage.read_record(rows, Records(results)).parameters["figure"] == figure


@pytest.mark.parametrize("place", ["results", "report"])
def test_every_link_of_a_finished_study_leads_to_what_it_names(request, place: str):
    folder = request.getfixturevalue(place) if place == "results" else request.getfixturevalue(place).parent
    pages = [path for path in sorted(folder.rglob("*")) if path.suffix in links.KINDS]
    assert sum(len(links.addresses(page)) for page in pages) > 50
    assert {str(page): dead for page in pages if (dead := links.dead(page))} == {}


def test_the_ledger_leads_to_the_responses_of_a_test(page: Page, results: Path):
    page.goto(f"file://{results}/claims/ledger.html")
    for kind in ("guidance", "sft", "training", "evaluation"):
        page.goto(f"file://{results}/claims/ledger.html")
        page.locator(f"a[href*='view={kind}']").first.click()
        assert in_room(page)["view"][0].startswith(kind)
        assert page.locator("#columns article .text").count() >= 2


def test_figure_2_leads_to_its_two_responses(page: Page, results: Path):
    page.goto(f"file://{results}/figures/fig_2.html")
    texts = page.locator("article .text").all_inner_texts()
    assert len(texts) == 2
    page.get_by_text("side by side").click()
    in_room(page)
    assert page.locator("#columns article .text").all_inner_texts() == texts


def test_the_foot_of_each_figure_leads_to_a_comparison_that_exists(page: Page, results: Path):
    for figure in ("table_1", "table_2", "fig_1", "fig_3", "fig_5", "fig_8"):
        drawn = (results / "figures" / f"{figure}.svg").read_text()
        address = unquote(drawn.partition('xlink:href="../')[2].partition('"')[0])
        wanted = parse_qs(urlsplit(address).fragment)["view"][0]
        page.goto("about:blank")
        page.goto(f"file://{results}/{address}")
        assert in_room(page)["view"][0].startswith(f"{wanted}/") or in_room(page)["view"][0] == wanted, figure


def test_the_reading_room_holds_every_response_of_a_small_study(page: Page, results: Path):
    page.goto(f"file://{results}/reading_room/index.html")
    in_room(page)
    traces = [path for folder in ("traces", "evaluations") for path in (results / folder).rglob("*.parquet")]
    drawn = sum(len(tables.read(path, tables.TRACES, ["sample"])) for path in traces)
    assert f"of the study's {drawn:,} responses" in page.inner_text("#about")
    assert not [problem for problem in verification.verify(results) if "reading_room" in problem]
