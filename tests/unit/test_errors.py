"""The sentence about an unknown name."""

import pytest
from selfdistill.errors import MOST_LISTED, UserError, one_of, shortened


def test_a_mapping_gives_its_value_and_a_sequence_the_name():
    assert one_of("engine", "a", {"a": 1, "b": 2}) == 1
    assert one_of("engine", "b", ("a", "b")) == "b"


def test_an_unknown_name_is_answered_with_the_nearest_and_all_others():
    with pytest.raises(UserError) as error:
        one_of("engine", "vlm", {"transformers": 1, "vllm": 2})
    assert str(error.value) == "unknown engine 'vlm' (did you mean 'vllm'?); known: transformers, vllm"


def test_a_place_comes_first_and_nothing_near_gives_no_hint():
    with pytest.raises(UserError) as error:
        one_of("source", "xyz", ["file", "hub"], where="problem set")
    assert str(error.value) == "problem set: unknown source 'xyz'; known: file, hub"


def test_a_long_list_of_names_gives_way_to_the_nearest_or_ends_in_how_many_others_there_are():
    names = [f"n{number}" for number in range(MOST_LISTED + 3)]
    few, many = (f"a: unknown 'x'; known: {', '.join(listed)}" for listed in (names[:MOST_LISTED], names))
    assert shortened(few) == few
    assert shortened(many) == f"{few} and 3 others"
    near = many.replace("'x'", "'n' (did you mean 'n1'?)")
    assert shortened(near) == "a: unknown 'n' (did you mean 'n1'?)"
    assert shortened("a: is wrong") == "a: is wrong"
