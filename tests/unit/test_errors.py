"""The sentence about an unknown name."""

import pytest
from selfdistill.errors import UserError, one_of


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
