"""Marker counts against independent references."""

import re
import sys
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st
from selfdistill import epistemic
from selfdistill.epistemic import MARKERS, count_markers, count_table
from selfdistill.errors import UserError

# Words that tell the two ways of counting apart, and things that must not confuse either.
PIECES = (
    *MARKERS,
    *(marker.upper() for marker in MARKERS),
    *("unlikely", "checking", "checked", "awaits", "waiting", "mighty", "seem", "seemseems", "hmmm", "maybes"),
    *(" ", "\n", ",", "'", "-", "_", "wait.", "wait-check", "ⅣWAIT", "éwait", "等wait", "İ", "ß", "1check"),
)
TEXTS = st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=3))).map("".join)


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


@given(st.lists(TEXTS, max_size=8), st.integers(1, 40))
def test_texts_are_counted_alone_wherever_a_chunk_ends(texts, size):
    with patch.object(epistemic, "CHUNK_CHARACTERS", size):
        counted = epistemic.count_tables(texts)
    for mode, table in counted.items():
        assert table.to_dict("records") == [count_markers(text, mode) for text in texts]


def test_only_two_characters_become_letters_of_ascii_and_no_other_joins_or_leaves_a_word_in_lower_case():
    beyond = [chr(code) for code in range(128, sys.maxunicode + 1)]
    like_ascii = {letter for letter in beyond if any(small.isascii() for small in letter.lower())}
    assert like_ascii == set(epistemic._LIKE_ASCII)
    assert {letter for letter in beyond if letter.isalnum() != letter.lower()[-1].isalnum()} <= like_ascii


def test_unknown_way_of_counting_is_refused_with_the_nearest_spelling():
    with pytest.raises(UserError, match=r"'words'.*did you mean 'word'.*substring, word"):
        count_markers("wait", "words")
