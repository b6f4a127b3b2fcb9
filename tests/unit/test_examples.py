from html.parser import HTMLParser

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from selfdistill import tables
from selfdistill.errors import UserError
from selfdistill.figures import examples
from selfdistill.markers.counting import MARKERS, count_markers, count_table

HOSTILE = '<script>alert(1)</script> wait <img src=x onerror="alert(2)"> & </div> {body}'


def traces(rows: list[tuple[str, int, str, bool]], model: str = "base") -> pd.DataFrame:
    """Rows are (problem_id, sample, response, correct)."""
    frame = pd.DataFrame(rows, columns=["problem_id", "sample", "response", "correct"]).assign(
        model=model, run="run", stage="evaluation", setting="easy", response_tokens=5, finish_reason="stop", answer="17"
    )
    for mode in tables.COUNT_MODES:
        frame[tables.MARKER_COLUMNS[mode]] = count_table(frame["response"], mode).to_numpy()
    return frame


def markers(count: int) -> str:
    return "wait " * count + "so x = 17"


def problems(*identifiers: str, text: str = "Find x") -> pd.DataFrame:
    return pd.DataFrame({"problem_id": identifiers, "problem": text, "answer": "17"})


# --- the rule ---


def test_the_problem_of_median_marker_count_is_chosen():
    base = traces(
        [
            row
            for problem, count in {"a": 9, "b": 1, "c": 4}.items()
            for row in [(problem, 0, markers(count), True), (problem, 1, markers(count), False)]
        ]
    )
    trained = traces([(problem, 0, "x", False) for problem in "abc"], model="trained")
    chosen = examples.choose_examples(base, trained)
    assert chosen["problem_id"].tolist() == ["c", "c"]
    assert chosen[["panel", "model", "correct"]].to_numpy().tolist() == [["2a", "trained", False], ["2b", "base", True]]


def test_of_an_even_number_and_of_ties_the_smaller_problem_id_is_chosen():
    base = traces([row for p in "dcba" for row in [(p, 0, markers(2), True), (p, 1, markers(2), False)]])
    trained = traces([(problem, 0, "x", False) for problem in "abcd"])
    assert examples.choose_examples(base, trained)["problem_id"].tolist() == ["b", "b"]


def test_responses_of_median_marker_count_are_chosen():
    base = traces([("a", n, markers(count), n < 3) for n, count in enumerate([7, 3, 5, 0])])
    trained = traces([("a", n, markers(count), False) for n, count in enumerate([2, 0, 1, 3])])
    chosen = examples.choose_examples(base, trained).set_index("panel")
    assert chosen.loc["2b", "sample"] == 2 and chosen.loc["2b", "E"] == 5
    assert chosen.loc["2a", "sample"] == 2 and chosen.loc["2a", "E"] == 1


def test_row_order_does_not_matter():
    base = traces([(p, n, markers(n + 1), n > 0) for p in "abcde" for n in range(4)])
    trained = traces([(p, n, "x", False) for p in "abcde" for n in range(3)])
    straight = examples.choose_examples(base, trained)
    turned = examples.choose_examples(base.iloc[::-1], trained.iloc[::-1])
    pd.testing.assert_frame_equal(straight, turned)


@pytest.mark.parametrize(
    ("base", "trained"),
    [
        ([("a", 0, markers(1), True)], [("a", 0, "x", False)]),  # the base model never misses
        ([("a", 0, markers(1), False)], [("a", 0, "x", False)]),  # ... never solves
        ([("a", 0, "x", True), ("a", 1, "x", False)], [("a", 0, "x", False)]),  # ... solves without a marker
        ([("a", 0, markers(1), True), ("a", 1, "x", False)], [("a", 0, "x", True)]),  # trained: always right
        ([("a", 0, markers(1), True), ("a", 1, "x", False)], [("b", 0, "x", False)]),  # another problem
    ],
)
def test_ineligible_problems_give_no_example(base, trained):
    assert examples.choose_examples(traces(base), traces(trained)).empty


@pytest.mark.parametrize("unfinished", [{"finish_reason": "length"}, {"answer": None}])
def test_a_response_that_commits_to_no_answer_is_not_an_example(unfinished):
    base = traces([("a", 0, markers(1), True), ("a", 1, "x", False)])
    trained = traces([("a", 0, "x", False)]).assign(**unfinished)
    assert examples.choose_examples(base, trained).empty


# --- highlighting ---


pieces = st.sampled_from(
    [*MARKERS, *[m.title() for m in MARKERS], "İ", "K", "ß", "checking", "unlikely", " ", "\n", "-"]
)


@pytest.mark.parametrize("mode", tables.COUNT_MODES)
@given(text=st.lists(pieces | st.text(max_size=3), max_size=12).map("".join))
def test_highlighted_are_the_markers_that_are_counted(mode, text):
    chunks = examples.highlight(text, mode)
    assert "".join(chunk for chunk, _ in chunks) == text
    found = [chunk.lower() for chunk, is_marker in chunks if is_marker]
    assert {marker: found.count(marker) for marker in MARKERS} == count_markers(text, mode)


def test_chunks_are_as_long_as_can_be():
    assert examples.highlight("Wait, checked. Maybe") == [("Wait", True), (", checked. ", False), ("Maybe", True)]
    assert examples.highlight("checked", "substring") == [("check", True), ("ed", False)]


def test_unknown_way_of_counting_is_refused():
    with pytest.raises(UserError, match="did you mean 'word'"):
        examples.highlight("", "words")


# --- text for display ---


def test_control_characters_are_replaced():
    assert examples.printable("a\tb\x00c\x1b[1m\u2028d\n") == "a   b�c�[1m d\n"


def test_long_text_is_cut_in_the_middle_and_says_how_much():
    text = " ".join(f"word{n:03d}" for n in range(100))
    lines = examples.wrap(text, width=17, limit=10)  # two words to a line: 50 lines
    assert len(lines) == 10 and max(map(len, lines)) <= max(17, len(lines[6]))
    assert lines[6] == "[… 41 lines left out …]"
    assert (lines[0], lines[-1]) == ("word000 word001", "word098 word099")


def test_short_text_keeps_its_lines():
    assert examples.wrap("one\n\ntwo three", width=5, limit=9) == ["one", "", "two", "three"]


# --- the page ---


class Page(HTMLParser):
    """The tags of a page, and its text by tag."""

    def __init__(self, page: str):
        super().__init__()
        self.tags, self.marked, self.text = [], [], ""
        self._inside = ""
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self._inside = "marker" if ("class", "marker") in attributes else ""

    def handle_endtag(self, tag):
        self._inside = ""

    def handle_data(self, data):
        self.text += data
        if self._inside:
            self.marked.append(data)


def hostile_page() -> Page:
    base = traces([("a", 0, HOSTILE, True), ("a", 1, "x", False)], model="<b>base</b>")
    trained = traces([("a", 0, HOSTILE.replace("wait", "x"), False)]).assign(answer="<i>1</i>")
    chosen = examples.choose_examples(base, trained)
    page = examples.to_html(
        chosen, problems("a", text=f"Find {HOSTILE}"), stamp="not the <paper's>", description='{"a": "<>"}'
    )
    return Page(page)


def test_model_text_is_shown_and_never_becomes_markup():
    page = hostile_page()
    assert not {"script", "img", "b", "i", "paper's"} & set(page.tags)
    assert page.tags.count("article") == 2 and page.tags.count("div") == 4
    for shown in (
        HOSTILE,
        f"Find {HOSTILE}",
        HOSTILE.replace("wait", "x"),
        "<b>base</b>",
        "<i>1</i>",
        "not the <paper's>",
    ):
        assert shown in page.text


def test_the_page_leads_to_the_responses_in_the_reading_room():
    base, trained = (
        traces([("a", 4, "wait 17", True), ("a", 5, "1", False)]),
        traces([("a", 2, "3", False)], model="trained"),
    )
    page = examples.to_html(examples.choose_examples(base, trained), problems("a"), stamp="", description="")
    columns = "trained/run/evaluation/easy,base/run/evaluation/easy"
    assert f'href="../reading_room/index.html#columns={columns}&amp;problem=a&amp;sample=2,4"' in page


def test_markers_are_marked():
    assert hostile_page().marked == ["wait"]


def test_a_page_without_examples_says_so():
    page = examples.to_html(traces([]).assign(panel=""), problems(), stamp="", description="{}")
    assert "No problem of this run satisfies the rule" in page and examples.RULE.split(";")[0] in Page(page).text


def test_traces_of_an_unknown_problem_are_refused():
    chosen = examples.choose_examples(
        traces([("a", 0, markers(1), True), ("a", 1, "x", False)]), traces([("a", 0, "x", False)])
    )
    with pytest.raises(UserError, match="no problem 'a'"):
        examples.to_html(chosen, problems("b"), stamp="", description="{}")
