"""Marker counts against independent references."""

import re
import subprocess
import sys

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from selfdistill.errors import UserError
from selfdistill.markers.counting import MARKERS, count_markers, count_table, count_tables
from selfdistill.markers.scan import patterns

# Words that tell the two ways of counting apart, and things that must not confuse either.
PIECES = (
    *MARKERS,
    *(marker.upper() for marker in MARKERS),
    *("unlikely", "checking", "checked", "awaits", "waiting", "mighty", "seem", "seemseems", "hmmm", "maybes"),
    *(" ", "\n", ",", "'", "-", "_", "wait.", "wait-check", "ⅣWAIT", "éwait", "等wait", "İ", "ß", "1check", "𝔸"),
    *("\u212a", "li\u212aely", "chec\u212a", "un\u212aLI\u212aELY", "ª", "İwait", "waitİ", "\u0307wait"),
)
TEXTS = st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=3))).map("".join)


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    """The first count loads the compiled search, or compiles it: no example of a test shall be timed with it."""
    count_markers("")


def test_markers_are_the_papers_ten():
    assert " ".join(MARKERS) == "wait hmm perhaps maybe actually alternatively seems might likely check"


@given(TEXTS)
def test_substring_counts_equal_a_search_in_the_lower_cased_text(text):
    expected = {marker: len(re.findall(marker, text.lower())) for marker in MARKERS}
    assert count_markers(text) == count_markers(text, "substring") == expected


@given(TEXTS)
def test_word_counts_equal_whole_words_of_the_text(text):
    words = re.findall(r"\w+", text.lower())
    assert count_markers(text, "word") == {marker: words.count(marker) for marker in MARKERS}


@pytest.mark.parametrize(
    ("text", "marker", "substring", "word"),
    [
        ("unlikely", "likely", 1, 0),
        ("Checking, checked, checkmate. Check!", "check", 4, 1),
        ("He awaits; wait-and-see; WAIT's waiting", "wait", 4, 2),
        ("a mighty might", "might", 2, 1),
        ("It seem to work, it seems.", "seems", 1, 1),
        ("seemseems", "seems", 1, 0),
        ("Hmm... hmmm, hmm_", "hmm", 3, 1),
        ("等一下 wait，也许 maybe", "wait", 1, 1),
        ("maybe", "perhaps", 0, 0),
    ],
)
def test_the_two_ways_differ_where_a_marker_is_part_of_a_word(text, marker, substring, word):
    assert count_markers(text, "substring")[marker] == substring
    assert count_markers(text, "word")[marker] == word


@pytest.mark.parametrize("mode", ["substring", "word"])
def test_table_has_one_row_per_text_and_one_column_per_marker(mode):
    texts = ["wait, wait: unlikely", "", "Check."]
    table = count_table(iter(texts), mode)
    assert list(table.columns) == list(MARKERS)
    assert table.to_dict("records") == [count_markers(text, mode) for text in texts]
    empty = count_table([], mode)
    assert empty.shape == (0, 10)
    assert set(map(str, [*table.dtypes, *empty.dtypes])) == {"int32"}


@given(st.lists(TEXTS, max_size=8))
def test_each_text_is_counted_alone_in_a_list_and_in_a_column_however_it_lies_in_memory(texts):
    expected = {mode: [count_markers(text, mode) for text in texts] for mode in ("substring", "word")}
    column = pd.Series(["wait", *texts, "wait"], dtype="str")[1:-1]
    pieces = pa.chunked_array([pa.array([text], pa.large_string()) for text in texts], pa.large_string())
    chunked = pd.Series(pieces, dtype=pd.ArrowDtype(pa.large_string()), index=range(7, 7 + len(texts)))
    for given_texts in (texts, iter(texts), column, column.astype(object), chunked):
        counted = count_tables(given_texts)
        assert {mode: table.to_dict("records") for mode, table in counted.items()} == expected
        assert all(list(table.index) == list(range(len(texts))) for table in counted.values())


def test_half_a_surrogate_pair_is_in_no_word():
    for text in ("\ud83dwait\udc00", "wa\ud83dit"):
        assert count_markers(text)["wait"] == count_markers(text, "word")["wait"] == text.count("wait")
    counts = count_table(["perhaps", "\ud83d maybe"])
    assert counts[["perhaps", "maybe"]].to_numpy().tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize("texts", [["wait", None], pd.Series(["wait", None], dtype="str")])
def test_a_missing_text_is_not_taken_for_an_empty_one(texts):
    with pytest.raises(TypeError, match="1 texts are missing"):
        count_tables(texts)


def test_only_two_characters_become_letters_of_ascii_and_one_joins_or_leaves_a_word_in_lower_case():
    """What `markers.scan` knows of Unicode."""
    beyond = [chr(code) for code in range(128, sys.maxunicode + 1)]
    lowered = {letter: letter.lower() for letter in beyond if any(small.isascii() for small in letter.lower())}
    assert lowered == {"\u0130": "i\u0307", "\u212a": "k"}
    assert {letter for letter in beyond if letter.isalnum() != letter.lower()[-1].isalnum()} == {"\u0130"}
    assert {letter for letter in beyond if letter.isalnum() != letter.lower()[0].isalnum()} == set()
    assert not any(marker.endswith("i") for marker in MARKERS)  # or "İ" would end one


@pytest.mark.parametrize("markers", [("wait", "await"), ("Wait",), ("wait?",), ("kick",), tuple("abcdefgh" * 9)])
def test_markers_that_cannot_be_looked_for_at_once_are_refused(markers):
    with pytest.raises(ValueError, match="cannot be searched for"):
        patterns(markers)


def test_the_markers_can_be_had_without_a_compiler():
    program = "import sys, selfdistill.markers.counting; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_unknown_way_of_counting_is_refused_with_the_nearest_spelling():
    with pytest.raises(UserError, match=r"'words'.*did you mean 'word'.*substring, word"):
        count_markers("wait", "words")
