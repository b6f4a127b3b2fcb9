"""Every page that we make can be read by day and by night: colours far enough apart, names in full."""

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from PIL import Image
from playwright.sync_api import Page
from selfdistill import tables
from selfdistill.claims.ledger import HOLM
from selfdistill.claims.statements import read_statements
from selfdistill.figures import examples
from selfdistill.pages import ledger_page

from browser import rooms

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "results" / "reference" / "microcosm"
LEAST = 4.5  # WCAG 2.2, level AA, of text of any size
NAMES = ("m-with-a-long-name_as-some-of-the-hub-have", "m2")
# The lowest contrast between a text and what is behind it, and that text. Colours as sRGB; opacity counts as paint.
CONTRAST = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data].map((part) => part / 255);
  };
  const over = ([r, g, b, a], under) => [r, g, b].map((part, i) => part * a + under[i] * (1 - a));
  const light = (colour) => colour.map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const ground = (node) => {
    const canvas = getComputedStyle(document.documentElement).colorScheme;
    if (!node) return dark && canvas.includes("dark") ? [0.07, 0.07, 0.07] : [1, 1, 1];
    return over(rgba(getComputedStyle(node).backgroundColor), ground(node.parentElement));
  };
  const opacity = (node) => (node ? Number(getComputedStyle(node).opacity) * opacity(node.parentElement) : 1);
  const found = [];
  const look = (node, text, colour) => {
    const box = node.getBoundingClientRect();
    if (!text.trim() || !box.width || !box.height || getComputedStyle(node).visibility === "hidden") return;
    if (node.matches("select") && opacity(node) === 0) return;
    const behind = ground(node), [r, g, b, a] = rgba(colour);
    const [high, low] = [light(over([r, g, b, a * opacity(node)], behind)), light(behind)].sort((x, y) => y - x);
    found.push([(high + 0.05) / (low + 0.05), text.trim().slice(0, 60)]);
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let text = walker.nextNode(); text; text = walker.nextNode()) {
    look(text.parentElement, text.data, getComputedStyle(text.parentElement).color);
  }
  for (const field of document.querySelectorAll("input, select")) {
    look(field, field.value || "value", getComputedStyle(field).color);
    if (field.placeholder) look(field, field.placeholder, getComputedStyle(field, "::placeholder").color);
  }
  return found.sort((x, y) => x[0] - y[0]);
}"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[str, Path]:
    """The ledger with every verdict that there is, as a page and as the report's front; Figure 2; the reading room."""
    folder = tmp_path_factory.mktemp("pages")
    _, conflicts = read_statements(ROOT / "config" / "claims.yaml")
    ledger = made_ledger()
    texts = {
        "ledger": ledger_page.html(ledger, conflicts, "made", "microcosm"),
        "front": f"<!doctype html><body>{ledger_page.front(ledger, conflicts, 'microcosm')}",
        "fig_2": figure_2(),
    }
    for name, text in texts.items():
        (folder / f"{name}.html").write_text(text, encoding="utf-8")
    return {name: folder / f"{name}.html" for name in texts} | {"room": room(folder)}


def made_ledger() -> pd.DataFrame:
    """A statement of each verdict among the primary ones, and among the others."""
    of_type = {pa.string(): "words", pa.bool_(): False, pa.int32(): 7, pa.float64(): 0.5}
    row = {field.name: of_type.get(field.type, []) for field in tables.LEDGER.schema}
    row |= {"same_as": "", "variant": "lr 0.1", "metric": "avg", "of": "evaluation", "correction": HOLM, "taught": True}
    every = [(primary, verdict) for primary in (True, False) for verdict in ledger_page.ORDER]
    given = [{"primary": primary, "verdict": verdict, "place": place} for place, (primary, verdict) in enumerate(every)]
    return pd.DataFrame([row | each | {"id": f"claim-{each['place']}"} for each in given])


def figure_2() -> str:
    shown = rooms.traces_of({"what is 3 + 4?": ["wait, 8", "hmm 7"]})
    shown = shown.assign(panel=["2a", "2b"], E=1)
    return examples.to_html(shown, rooms.problems_of(["what is 3 + 4?"]), stamp="made study", description="made")


def room(folder: Path) -> Path:
    """Of two models, in two settings each."""
    said = {"what is 3 + 4?": ["<think> hmm </think> 7", "so 8"], "what is 1 + 6 , a long one ?": ["wait 7", "7"]}
    frames = [
        rooms.traces_of(said, model=name, setting=setting) for name in NAMES for setting in ("unguided", "solution")
    ]
    return rooms.build(folder, frames, rooms.problems_of(list(said)))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["ledger", "front", "fig_2", "room"])
def test_every_text_stands_out_from_its_ground(page: Page, pages, name: str, scheme: str):
    page.emulate_media(color_scheme=scheme)
    page.goto(f"file://{pages[name]}" + ("#text=hmm" if name == "room" else ""))
    if name == "room":
        page.wait_for_selector("body[data-ready=true]:not([data-busy])")
        page.click("#filters summary")
    contrasts = page.evaluate(CONTRAST)
    assert len(contrasts) > 10
    assert [found for found in contrasts if found[0] < LEAST] == []
    if name != "front":  # a part of the report, which is light
        assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "light dark"


def test_what_is_hard_to_read_is_found(page: Page):
    page.set_content(
        "<body style='background:#fff'><p style='color:#999'>pale</p><p style='opacity:.5'>faint</p><p>black"
    )
    assert {text for contrast, text in page.evaluate(CONTRAST) if contrast < LEAST} == {"pale", "faint"}


def test_columns_and_problems_are_named_in_full(page: Page, pages):
    page.goto(f"file://{pages['room']}#columns={NAMES[0]}/base/section3/solution,{NAMES[1]}/base/section3/unguided")
    page.wait_for_selector("body[data-ready=true]:not([data-busy])")
    names = page.locator("#columns .source")
    assert [text.partition("\n")[0] for text in names.all_inner_texts()] == [
        f"{NAMES[0]}: solution-guided (c = s)", f"{NAMES[1]}: unguided (c = ∅)",
    ]  # fmt: skip
    cut = "all => all.filter(one => one.scrollWidth > one.clientWidth || one.scrollHeight > one.clientHeight).length"
    page.set_viewport_size({"width": 560, "height": 700})
    assert names.evaluate_all(cut) == page.locator("#problems .text-of").evaluate_all(cut) == 0


@pytest.mark.parametrize("figure", sorted(path.name for path in (REFERENCE / "figures").glob("*.png")))
def test_a_picture_brings_its_own_light_ground(figure: str):
    with Image.open(REFERENCE / "figures" / figure) as picture:
        assert picture.convert("RGBA").getpixel((0, 0)) == (255, 255, 255, 255)
    drawn = (REFERENCE / "figures" / figure).with_suffix(".svg").read_text(encoding="utf-8")
    assert "fill: #ffffff" in drawn.partition("</g>")[0]  # the patch of the whole figure comes first
