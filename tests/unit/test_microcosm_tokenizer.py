"""The tokenizer: round trips, the chat template and its variants."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from selfdistill.microcosm.documents import Mix, sample_document
from selfdistill.microcosm.tokenizer import build_tokenizer
from selfdistill.microcosm.vocabulary import VOCABULARY
from selfdistill.prompts import guided_prompt, prompt_opens_thinking, remove_thinking, render

TOKENIZER = build_tokenizer()


def encode(text: str) -> list[int]:
    return TOKENIZER(text, add_special_tokens=False)["input_ids"]


@settings(max_examples=300)
@given(st.lists(st.integers(0, len(VOCABULARY) - 1)))
def test_encoding_what_was_decoded_gives_the_same_tokens(ids):
    assert encode(TOKENIZER.decode(ids)) == ids


@settings(max_examples=100)
@given(st.integers(0, 2**32))
def test_documents_have_no_unknown_word(seed):
    document = sample_document(random.Random(seed), Mix())
    for text in (document.prompt, document.response):
        ids = encode(text)
        assert TOKENIZER.unk_token_id not in ids
        assert "".join(TOKENIZER.decode(ids).split()) == "".join(text.split())


def test_thinking_survives_skipping_special_tokens():
    ids = encode("<think> maybe 17 : </think> The answer is \\boxed{ 17 } <|im_end|>")
    text = TOKENIZER.decode(ids, skip_special_tokens=True)
    assert text == "<think> maybe 17 : </think> The answer is \\boxed{ 17 }"
    assert encode(remove_thinking(text)) == encode("The answer is \\boxed{ 17 }")


@pytest.mark.parametrize(
    ("opens_thinking", "enable_thinking", "end"),
    [
        (False, None, "<|im_start|> assistant"),
        (False, True, "<|im_start|> assistant"),
        (False, False, "<|im_start|> assistant <think> </think>"),
        (True, None, "<|im_start|> assistant <think>"),
    ],
)
def test_generation_prompt(opens_thinking, enable_thinking, end):
    tokenizer = build_tokenizer(opens_thinking=opens_thinking)
    ids = render(tokenizer, "Find x with m5 = 2 .", enable_thinking=enable_thinking)
    assert tokenizer.decode(ids) == f"<|im_start|> user Find x with m5 = 2 . <|im_end|> {end}"
    assert prompt_opens_thinking(tokenizer, ids) == opens_thinking


def test_the_line_breaks_of_a_guided_prompt_leave_no_trace():
    solution = "The answer is \\boxed{ 17 }"
    ours = guided_prompt("Find x with m5 = 2 .", solution)
    sdpo = f"Find x with m5 = 2 .\n\nCorrect solution:\n\n{solution}\n\nCorrectly solve the original question.\n"
    assert encode(ours) == encode(sdpo)
    assert TOKENIZER.unk_token_id not in encode(ours)


def test_saved_tokenizer_is_the_same(tmp_path):
    TOKENIZER.save_pretrained(tmp_path)
    loaded = type(TOKENIZER).from_pretrained(tmp_path)
    for thinking in (None, False):
        assert render(loaded, "Find x", enable_thinking=thinking) == render(
            TOKENIZER, "Find x", enable_thinking=thinking
        )
    assert (loaded.pad_token, loaded.eos_token) == ("<pad>", "<|im_end|>")
