"""The reading room as a reader meets it: opened from a folder, in a browser, with text that nobody should trust."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd
import pytest
from playwright.sync_api import Page, expect
from selfdistill.errors import UserError
from selfdistill.pages import reading_room
from selfdistill.records import provenance, verification

from browser import rooms

HOSTILE = '</script><script>window.ran = 1</script><img src=x onerror="window.ran = 1">&lt;b&gt; wait 7'
# Where markers are hard to tell: inside words, capitals, letters that change length or kind in lower case.
TRICKY = (
    "Wait, CHECKING unlikely checks; hmm. Check!",
    "waitress wait wait7 wait_ éwait waité wait-wait",
    "İwait perhaps ſeems Maybe MIGHT actually\nalternatively",
    "chec\u212a check seemsseems seems",
    "no marker at all",
)
TEXTS = [f"what is {n} + {7 - n}?" for n in range(7)] + ["<img src=x onerror='window.ran = 1'> how many?"]
SETTINGS = ("unguided", "solution", "solution_without_thinking", "regeneration")


def said(setting: str, text: str, sample: int) -> str:
    """A response: longer and wrong more often without guidance; one in the set is hostile."""
    if text == TEXTS[-1] and sample == 0:
        return HOSTILE
    if text == TEXTS[0] and setting == "unguided":
        return TRICKY[sample]
    number = TEXTS.index(text)
    right = setting != "unguided" or sample < number
    return f"<think> {'hmm ' * number}{setting} {number}-{sample} </think> it is {7 if right else 8}"


def guidance() -> list[pd.DataFrame]:
    samples = range(len(TRICKY))
    return [
        rooms.traces_of({text: [said(setting, text, n) for n in samples] for text in TEXTS}, setting=setting)
        for setting in SETTINGS
    ]


def rollouts() -> list[pd.DataFrame]:
    """Two runs over three steps, on other problems at each."""
    frames = []
    for run in rooms.RUNS:
        steps = [
            rooms.traces_of(
                {text: [f"{run[:4]} at {step}: 7"] * 2 for text in TEXTS[step : step + 2]},
                run=run, stage="training", setting=run, step=step,
            )
            for step in (1, 2, 3)
        ]  # fmt: skip
        frames.append(pd.concat(steps, ignore_index=True))
    return frames


@pytest.fixture(scope="module")
def frames() -> list[pd.DataFrame]:
    return [*guidance(), *rollouts()]


@pytest.fixture(scope="module")
def room(tmp_path_factory, frames) -> Path:
    return rooms.build(tmp_path_factory.mktemp("room"), frames, rooms.problems_of(TEXTS))


def visit(page: Page, room: Path, **address: object) -> Page:
    words = "&".join(f"{name}={quote(str(value), safe='')}" for name, value in address.items())
    page.goto("about:blank")
    page.goto(f"file://{room}#{words}")
    page.wait_for_selector("body[data-ready=true]")
    return page


def rest(page: Page) -> None:
    """Wait until what was asked for is drawn; events that are on their way come first."""
    page.evaluate("new Promise(resolve => setTimeout(resolve, 50))")
    page.wait_for_selector("body:not([data-busy])")


def shown(page: Page) -> list[str]:
    """The responses on the page, column by column, once it is at rest."""
    rest(page)
    return page.locator("#columns article").evaluate_all(
        "all => all.map(one => one.querySelector('.text')?.textContent ?? '')"
    )


def address(page: Page) -> dict[str, Any]:
    rest(page)
    return page.evaluate("Object.fromEntries(new URLSearchParams(location.hash.slice(1)))")


def listed(page: Page) -> int:
    rest(page)
    return page.locator("#problems li").count()


# --- opening and reading -------------------------------------------------------------------------------------------
def test_it_opens_on_the_four_settings_of_a_problem(page: Page, room: Path):
    visit(page, room)
    first = min(TEXTS, key=rooms.problem_id)
    assert shown(page) == [said(setting, first, 0) for setting in SETTINGS]
    assert listed(page) == len(TEXTS)
    assert "study made" in page.title()
    total = 4 * len(TEXTS) * len(TRICKY) + 2 * 3 * 4
    assert f"{total} of the study's {total} responses" in page.inner_text("#about")


def test_text_of_a_model_is_shown_and_never_run(page: Page, room: Path):
    visit(page, room, problem=rooms.problem_id(TEXTS[-1]), sample=0)
    assert shown(page) == [HOSTILE] * 4
    assert TEXTS[-1] in page.inner_text("#problem")
    assert page.evaluate("window.ran") is None
    assert page.locator("main img").count() == 0


@pytest.mark.parametrize("mode", ["word", "substring"])
def test_what_is_highlighted_is_what_the_tables_count(page: Page, room: Path, frames, mode: str):
    counted = frames[0][frames[0]["problem_id"] == rooms.problem_id(TEXTS[0])].set_index("sample")
    columns = [name for name in counted if name.startswith(f"{mode}_")]
    for sample, text in enumerate(TRICKY):
        visit(page, room, problem=rooms.problem_id(TEXTS[0]), sample=sample, count=mode)
        assert shown(page)[0] == text
        expected = int(counted.loc[sample, columns].sum())
        first = page.locator("#columns article").first
        assert first.locator("mark.marker").count() == expected, text
        assert f"{expected} markers" in first.inner_text()
    assert counted.filter(like="substring_").to_numpy().sum() > counted.filter(like="word_").to_numpy().sum()


def test_each_response_bears_its_facts(page: Page, room: Path):
    visit(page, room, problem=rooms.problem_id(TEXTS[3]), sample=4)
    columns = page.locator("#columns article")
    assert "✗ wrong · answer 8" in columns.nth(0).inner_text()
    assert "✓ correct · answer 7" in columns.nth(1).inner_text()
    assert columns.nth(0).locator(".thinking").inner_text().endswith("</think>")
    assert "accepted, not verified" in columns.nth(0).inner_text()
    assert "accepted, verified" in columns.nth(1).inner_text()
    assert "3/5 · 5/5 · 5/5 · 5/5" in page.inner_text("#problems [aria-current=true]")


# --- finding -------------------------------------------------------------------------------------------------------
FILTERS = {
    "correct": ({"correct": "wrong"}, lambda row: not row["correct"]),
    "length": ({"tokens": "6-8"}, lambda row: 6 <= row["response_tokens"] <= 8),
    "markers": ({"markers": "3-4"}, lambda row: 3 <= sum(row[c] for c in row.index if c.startswith("word_")) <= 4),
    "text": ({"text": "Guided 5-2"}, lambda row: "guided 5-2" in row["response"].lower()),
}


@pytest.mark.parametrize("name", FILTERS)
def test_a_filter_leaves_the_responses_that_satisfy_it(page: Page, room: Path, frames, name: str):
    words, condition = FILTERS[name]
    visit(page, room, **words)
    passing = pd.concat(frames[:4])
    passing = passing[passing.apply(condition, axis=1)]
    assert 0 < passing["problem_id"].nunique() < len(TEXTS)
    assert listed(page) == passing["problem_id"].nunique()
    seen = {text for text in shown(page) if text}
    assert seen and seen <= set(passing["response"])


@pytest.mark.parametrize(
    ("value", "condition"),
    [
        ("verified", lambda row: row["verified"]),
        ("unverified", lambda row: row["accepted"] and not row["verified"]),
        ("not", lambda row: not row["accepted"]),
    ],
)
def test_answers_are_filtered_by_whether_they_are_accepted_and_verified(
    page: Page, room: Path, frames, value, condition
):
    """By key and by link alike, response by response."""
    place = ["verified", "unverified", "not"].index(value) + 1
    visit(page, room, problem=rooms.problem_id(TEXTS[3]))
    for _ in range(place):
        page.keyboard.press("v")
    assert address(page)["accepted"] == value and page.input_value("#accepted") == value
    own = frames[0][frames[0]["problem_id"] == rooms.problem_id(TEXTS[3])]
    passing = own[own.apply(condition, axis=1)]
    visit(page, room, problem=rooms.problem_id(TEXTS[3]), accepted=value)
    assert f"1 of {len(passing)} ({len(own)} unfiltered)" in page.locator("#columns article").first.inner_text()
    assert shown(page)[0] in set(passing["response"])


def test_problems_are_filtered_by_the_solve_rate_in_the_first_column(page: Page, room: Path, frames):
    visit(page, room, rate="0.3-0.7")
    rates = frames[0].groupby("problem_id")["correct"].mean()
    assert listed(page) == rates.between(0.3, 0.7).sum() > 0


def test_filters_are_set_by_hand_and_cleared(page: Page, room: Path):
    visit(page, room)
    page.click("#filters summary")
    page.select_option("#correct", "wrong")
    page.fill("#text", "unguided 2")
    page.press("#text", "Enter")
    expect(page.locator("#problems li")).to_have_count(1)
    assert shown(page)[0].startswith("<think> hmm hmm unguided 2-2")
    assert page.locator("mark.found").first.inner_text() == "unguided 2"
    assert address(page)["correct"] == "wrong" and address(page)["text"] == "unguided 2"
    page.click("text=Clear")
    expect(page.locator("#problems li")).to_have_count(len(TEXTS))
    page.fill("#text", "is in no response")
    page.press("#text", "Enter")
    expect(page.locator("#problems li")).to_have_count(0)
    assert "No problem has a response" in page.inner_text("#problem")


# --- moving about --------------------------------------------------------------------------------------------------
def test_a_link_leads_back_to_what_was_shown(page: Page, room: Path):
    visit(page, room, view="guidance/m", problem=rooms.problem_id(TEXTS[4]), sample="4,1,0,2", markers="1-")
    before = shown(page)
    assert before == [said(s, TEXTS[4], n) for s, n in zip(SETTINGS, (4, 1, 0, 2), strict=True)]
    link = page.url
    page.keyboard.press("j")
    assert shown(page) != before and page.url != link
    page.goto(link)
    rest(page)
    assert shown(page) == before
    visit(page, room)
    page.evaluate(f"location.hash = {json.dumps(link.partition('#')[2])}")
    expect(page.locator("#problem")).to_contain_text(TEXTS[4])
    assert shown(page) == before


def test_a_link_may_name_the_beginning_of_a_comparison_and_foreign_words_do_no_harm(page: Page, room: Path):
    visit(page, room, view="training")
    assert address(page)["view"] == "training/all/m-on/m"
    visit(
        page, room, view="no such", problem="zz", step="x", correct="perhaps", tokens="a-b", columns="<img>", sample="q"
    )
    assert shown(page) and address(page)["view"] == "guidance/m"


def test_keys_move_between_problems_and_responses(page: Page, room: Path):
    visit(page, room)
    ordered = sorted(TEXTS, key=rooms.problem_id)
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    assert ordered[1] in page.inner_text("#problem")
    page.keyboard.press("ArrowRight")
    assert shown(page) == [said(setting, ordered[1], 1) for setting in SETTINGS]
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert shown(page) == [said(setting, ordered[1], len(TRICKY) - 1) for setting in SETTINGS]
    page.keyboard.press("/")
    page.keyboard.type("jjj")  # typing is not moving
    assert ordered[1] in page.inner_text("#problem")
    page.keyboard.press("Escape")
    page.locator("#text").blur()
    page.keyboard.press("?")
    assert page.locator("#help").is_visible()


def test_grpo_stands_beside_sdpo_at_a_step(page: Page, room: Path):
    visit(page, room, view="training/all/m-on/m")
    assert shown(page) == ["grpo at 3: 7", "sdpo at 3: 7"]
    page.keyboard.press("[")
    expect(page.locator("#step-now")).to_have_text("2")
    assert shown(page) == ["grpo at 2: 7", "sdpo at 2: 7"]
    assert listed(page) == 2 and address(page)["step"] == "2"
    page.locator("#step").fill("0")
    expect(page.locator("#step-now")).to_have_text("1")
    assert shown(page) == ["grpo at 1: 7", "sdpo at 1: 7"]


def test_any_source_can_stand_in_any_column(page: Page, room: Path):
    visit(page, room)
    page.locator("#columns select").nth(1).select_option(label="m: unguided (c = ∅)")
    assert "columns" in address(page)
    texts = shown(page)
    assert texts[0] == texts[1] != texts[2]
    page.reload()
    page.wait_for_selector("body[data-ready=true]")
    assert shown(page) == texts


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_readable_on_a_phone_by_day_and_by_night(page: Page, room: Path, scheme: str):
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": 360, "height": 700})
    visit(page, room, problem=rooms.problem_id(TEXTS[5]))
    page.click("#filters summary")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    boxes = [box for box in (one.bounding_box() for one in page.locator("#columns article").all()) if box]
    assert len({box["x"] for box in boxes}) == 1 and all(box["width"] > 300 for box in boxes)  # below one another
    ground, ink = (page.evaluate(f"getComputedStyle(document.body).{name}") for name in ("backgroundColor", "color"))
    brightness = [sum(map(int, colour[4:-1].split(","))) for colour in (ground, ink)]
    assert (brightness[0] > brightness[1]) == (scheme == "light") and abs(brightness[0] - brightness[1]) > 450


# --- the data beside the page --------------------------------------------------------------------------------------
def index_of(room: Path) -> Path:
    return room.parent / room.read_text().partition('<script src="')[2].partition('"')[0]


def test_opening_loads_what_is_shown_and_no_more(page: Page, tmp_path: Path):
    problems = [f"problem {n}" for n in range(30)]
    frames = [
        rooms.traces_of({p: [f"{'word ' * 4000}{s} {p}-{n} 7" for n in range(3)] for p in problems}, setting=s)
        for s in SETTINGS
    ]
    room = rooms.build(tmp_path, frames, rooms.problems_of(problems))
    shards = list((room.parent / "data").iterdir())
    assert len(shards) > 30  # an index, and texts of 200,000 characters at most
    loaded: list[str] = []
    page.on("request", lambda request: loaded.append(request.url))
    visit(page, room)
    assert len([url for url in loaded if "/data/" in url]) == 1 + len(SETTINGS)


def test_a_folder_that_lost_a_file_says_so(browser, room: Path, tmp_path: Path):
    shutil.copytree(room.parent, tmp_path / "room")
    for script in (tmp_path / "room/data").iterdir():
        if script.name != index_of(room).name:
            script.unlink()
    page = browser.new_page()
    visit(page, tmp_path / "room/index.html")
    assert "is missing: the folder of this page is not complete" in page.inner_text("#columns")
    page.close()


def test_names_are_digests_and_equal_inputs_give_equal_bytes(room: Path, frames, tmp_path: Path):
    def files(page_file: Path) -> dict[str, bytes]:
        return {
            str(p.relative_to(page_file.parent)): p.read_bytes() for p in page_file.parent.rglob("*") if p.is_file()
        }

    scripts = {name: content for name, content in files(room).items() if name.startswith("data/")}
    assert all(Path(name).stem == hashlib.sha256(content).hexdigest()[:16] for name, content in scripts.items())
    assert files(rooms.build(tmp_path, frames, rooms.problems_of(TEXTS))) == files(room)


def test_verify_knows_the_data_that_a_page_needs(room: Path, tmp_path: Path):
    shutil.copytree(room.parent, tmp_path / "reading_room")
    page = tmp_path / "reading_room/index.html"
    provenance.write_sidecar(page, command=["selfdistill", "x"], inputs={}, parameters={}, seconds=1.0)
    assert verification.verify(tmp_path) == []
    texts = next(p for p in (tmp_path / "reading_room/data").iterdir() if p.name != index_of(room).name)
    content = texts.read_text()
    texts.unlink()
    assert verification.verify(tmp_path) == [f"reading_room/data/{texts.name}: missing, though the page shows it"]
    texts.write_text(content + " ")
    assert verification.verify(tmp_path) == [f"reading_room/data/{texts.name}: differs from its digest"]


def test_limits_leave_out_by_number_and_keep_the_same_problems_everywhere(tmp_path: Path, frames):
    room = rooms.build(tmp_path, frames, rooms.problems_of(TEXTS), reading_room.Limits(problems=3, samples=2, steps=2))
    index = reading_room._read_script(index_of(room))
    first = sorted(map(rooms.problem_id, TEXTS))[:3]
    guidance_rows = 4 * 3 * 2
    kept = [index["problems"][p][0] for p in index["problem"][:guidance_rows]]
    assert kept == [p for p in first for _ in range(2)] * 4
    assert {step for _, _, step in index["blocks"]} == {None, 1, 3}
    assert index["responses"] == guidance_rows + 2 * 2 * 4 and index["drawn"] == sum(map(len, frames))


def test_the_problem_of_figure_2_is_shown_whole(tmp_path: Path, frames):
    """Its page leads to two of the responses to it, whichever problems and samples the limits leave out."""
    *_, last = sorted(map(rooms.problem_id, TEXTS))
    limits = reading_room.Limits(problems=1, samples=1, steps=1)
    room = rooms.build(tmp_path, frames[:4], rooms.problems_of(TEXTS), limits, {last})
    index = reading_room._read_script(index_of(room))
    kept = [index["problems"][place][0] for place in index["problem"]]
    assert kept.count(last) == 4 * len(TRICKY) and len(kept) == 4 * len(TRICKY) + 4


def test_what_cannot_be_shown_is_told(tmp_path: Path, frames):
    with pytest.raises(UserError, match="no problems table holds problem"):
        rooms.build(tmp_path, frames, rooms.problems_of(TEXTS[:2]))
    with pytest.raises(UserError, match="two traces tables hold responses of the same model"):
        rooms.build(tmp_path, [frames[0], frames[0]], rooms.problems_of(TEXTS))
    with pytest.raises(UserError, match="no response to show"):
        rooms.build(tmp_path, [frames[0].iloc[:0]], rooms.problems_of(TEXTS))
