"""Prompts, their rendering through chat templates, and the split of a response into thinking and answer."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from selfdistill.errors import UserError
from selfdistill.prompts import (
    AUTHORS_INSTRUCTION,
    guided_prompt,
    prompt_opens_thinking,
    remove_thinking,
    render,
    render_shortened,
    sdpo_reprompt,
    split_thinking,
    user_prompt,
)
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

# As Qwen3's template: an empty thinking block when thinking is switched off.
QWEN = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
# As DeepSeek-R1-Distill's: thinking is opened, whatever enable_thinking says.
DEEPSEEK = (
    "{{ bos_token }}{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|><think>\n{% endif %}"
)
TELLTALE = "{{ messages | length }}{{ 'given' if enable_thinking is defined else 'not given' }}"


def tokenizer_with(template: str) -> PreTrainedTokenizerFast:
    """One token per character, so that text and ids carry the same information."""
    vocabulary = {chr(code): code for code in range(128)} | {"<unk>": 128}
    characters = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    characters.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    characters.decoder = decoders.Fuse()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=characters, unk_token="<unk>", bos_token="<s>")
    tokenizer.add_tokens(["<think>", "</think>"])
    tokenizer.chat_template = template
    return tokenizer


def byte_tokenizer(template: str) -> PreTrainedTokenizerFast:
    """One token per byte, as byte-level BPE cuts unseen text; turn markers are control tokens, as in real models."""
    alphabet = {letter: i for i, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    by_byte = Tokenizer(models.BPE(alphabet, []))
    by_byte.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    by_byte.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=by_byte,
        bos_token="<s>",
        additional_special_tokens=["<|im_start|>", "<|im_end|>", "<|user|>", "<|assistant|>"],
    )
    tokenizer.add_tokens(["<think>", "</think>"])
    tokenizer.chat_template = template
    return tokenizer


# --- prompts ----------------------------------------------------------------------------------------------------------
def test_user_prompt_is_the_authors():
    assert user_prompt("What is 1+1?", AUTHORS_INSTRUCTION) == (
        "What is 1+1?\nPlease reason step by step, and put your final answer within \\boxed{}."
    )


def test_an_empty_instruction_adds_nothing():
    assert user_prompt("What is 1+1?", "") == "What is 1+1?"


def test_guided_prompt_is_the_authors_of_section_3():
    assert guided_prompt("P\nI", "S {x} %s") == (
        "P\nI\n\nCorrect solution: S {x} %s\n\nCorrectly solve the original question."
    )


def test_sdpo_reprompt_is_the_authors_byte_for_byte():
    assert sdpo_reprompt("P\nI", "S {x} %s") == (
        "P\nI\nCorrect solution:\n\nS {x} %s\n\nCorrectly solve the original question."
    )
    assert sdpo_reprompt("", "") == "\nCorrect solution:\n\n\n\nCorrectly solve the original question."


# --- rendering --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("enable_thinking", [None, True, False])
@pytest.mark.parametrize("template", [QWEN, DEEPSEEK])
def test_render_equals_the_tokenizers_own_chat_template(template, enable_thinking):
    tokenizer = tokenizer_with(template)
    switch = {} if enable_thinking is None else {"enable_thinking": enable_thinking}
    expected = tokenizer.apply_chat_template(
        [{"role": "user", "content": "1+1 <think> {{ x }}?"}], add_generation_prompt=True, return_dict=False, **switch
    )
    ids = render(tokenizer, "1+1 <think> {{ x }}?", enable_thinking=enable_thinking)
    assert isinstance(ids, list)
    assert ids == expected


def test_render_gives_one_user_turn_and_the_generation_prompt():
    tokenizer = tokenizer_with(QWEN)
    assert tokenizer.decode(render(tokenizer, "Hi")) == "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    off = tokenizer.decode(render(tokenizer, "Hi", enable_thinking=False))
    assert off.endswith("<|im_start|>assistant\n<think>\n\n</think>\n\n")


def test_enable_thinking_reaches_the_template_only_when_given():
    tokenizer = tokenizer_with(TELLTALE)
    assert tokenizer.decode(render(tokenizer, "Hi")) == "1not given"
    assert tokenizer.decode(render(tokenizer, "Hi", enable_thinking=False)) == "1given"


@pytest.mark.parametrize("text", ["Hi", "Hi<|im_end|>\n<|im_start|>user\nHi"])
def test_a_system_turn_stands_before_the_user_turn_and_nothing_else_changes(text):
    tokenizer = byte_tokenizer(QWEN)
    with_system = render(tokenizer, text, system="Answer in <answer>.")
    turn = tokenizer("<|im_start|>system\nAnswer in <answer>.<|im_end|>\n", add_special_tokens=False)["input_ids"]
    assert with_system == turn + render(tokenizer, text)


@pytest.mark.parametrize(
    ("template", "told"),
    [
        ("{{ raise_exception('System role not supported') }}", "refuses the turns system, user: System role not"),
        ("{{ messages[-1].content }}", "leaves out the system turn"),
    ],
)
def test_a_template_without_a_system_turn_is_told(template, told):
    with pytest.raises(UserError, match=told):
        render(tokenizer_with(template), "Hi", system="Be brief.")


def test_a_tokenizer_without_a_template_is_told():
    tokenizer = byte_tokenizer(QWEN)
    tokenizer.chat_template = None
    with pytest.raises(UserError, match=r"chat template refuses the turns user: .*chat_template is not set"):
        render(tokenizer, "Hi")


@pytest.mark.parametrize("text", ["Hi", "Hi<|user|>Hi"])
def test_a_second_bos_is_what_the_tokenizer_puts_before_a_text_that_has_one(text):
    """As vLLM does with rendered text; a tokenizer without a BOS of its own adds nothing."""
    tokenizer = byte_tokenizer(DEEPSEEK)
    once = render(tokenizer, text)
    assert once.count(tokenizer.bos_token_id) == 1 and render(tokenizer, text, second_bos=True) == once
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", tokenizer.bos_token_id)]
    )
    assert render(tokenizer, text) == once
    assert render(tokenizer, text, second_bos=True) == [tokenizer.bos_token_id, *once]


@pytest.mark.parametrize(
    ("template", "enable_thinking", "opens"),
    [(QWEN, None, False), (QWEN, True, False), (QWEN, False, False), (DEEPSEEK, None, True), (DEEPSEEK, False, True)],
)
def test_prompt_opens_thinking(template, enable_thinking, opens):
    tokenizer = tokenizer_with(template)
    # Thinking in the question is not the template's.
    for question in ("Hi", "What does <think> mean?", "<think>"):
        ids = render(tokenizer, question, enable_thinking=enable_thinking)
        assert prompt_opens_thinking(tokenizer, ids) is opens


class TestShortening:
    tokenizer = byte_tokenizer(QWEN)

    def shorten(self, text: str, space: int | None) -> tuple[str, str]:
        """The decoded prompt with ``space`` bytes for ``text``, and what is kept of it."""
        empty = len(render(self.tokenizer, "[]"))
        limit = None if space is None else empty + space
        ids, kept = render_shortened(self.tokenizer, "[{}]".format, text, max_tokens=limit, what="it")
        assert limit is None or len(ids) <= limit
        return self.tokenizer.decode(ids), kept

    @pytest.mark.parametrize(
        ("space", "kept"),
        [
            (None, "abc def"), (8, "abc def"), (7, "abc def"), (6, "abc de"), (3, "abc"), (1, "a"), (0, ""),
        ],
    )  # fmt: skip
    def test_text_loses_as_many_tokens_of_its_end_as_are_over(self, space: int | None, kept: str):
        prompt = f"<|im_start|>user\n[{kept}]<|im_end|>\n<|im_start|>assistant\n"
        assert self.shorten("abc def", space) == (prompt, kept)

    def test_no_character_is_torn(self):
        # 3 bytes each: what fits is a whole number of them.
        assert [self.shorten("√√√", space)[1] for space in range(10)] == [
            "", "", "", "√", "√", "√", "√√", "√√", "√√", "√√√",
        ]  # fmt: skip

    def test_a_prompt_too_long_without_any_text_is_refused(self):
        with pytest.raises(UserError, match=r"^it has 51 tokens, over 50$"):
            render_shortened(self.tokenizer, lambda text: "x" * 32 + text, "abc", max_tokens=50, what="it")

    @pytest.mark.parametrize("enable_thinking", [None, True, False])
    def test_thinking_is_switched_as_asked(self, enable_thinking: bool | None):
        ids, _ = render_shortened(
            self.tokenizer, str, "abc", max_tokens=None, what="it", enable_thinking=enable_thinking
        )
        assert ids == render(self.tokenizer, "abc", enable_thinking=enable_thinking)


# --- thinking ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "opened", "thinking", "answer"),
    [
        ("no tags", False, "", "no tags"),
        ("", False, "", ""),
        ("  spaced\n", False, "", "  spaced\n"),
        ("<think>a</think>b", False, "a", "b"),
        ("<think>a</think>\n\nb\n", False, "a", "\n\nb\n"),
        ("x<think>a</think>b", False, "a", "xb"),
        ("a</think>b", False, "a", "b"),
        ("a</think>b", True, "a", "b"),
        ("a</think>b</think>c", False, "ab", "c"),
        ("a</think>b</think>c", True, "ab", "c"),
        ("<think>a", False, "a", ""),
        ("a", True, "a", ""),
        ("", True, "", ""),
        ("<think>a</think>b<think>c", False, "ac", "b"),
        ("a</think>b<think>c", True, "ac", "b"),
        ("<think>a</think>b<think>c</think>d", False, "ac", "bd"),
        ("a</think>b<think>c</think>d", True, "ac", "bd"),
        ("<think>a<think>b</think>c", False, "ab", "c"),
        ("<think>a<think>b</think>c</think>d", False, "abc", "d"),
        ("<think>a<think>b", False, "ab", ""),
        ("<think>a", True, "a", ""),
        ("<think></think>", False, "", ""),
        ("<Think>a</THINK>", False, "", "<Think>a</THINK>"),
    ],
)
def test_split_thinking(text, opened, thinking, answer):
    assert split_thinking(text, opened=opened) == (thinking, answer)
    assert remove_thinking(text, opened=opened) == answer


def reference_removal(text: str) -> str:
    """By regular expressions: what a closing tag without an opening one ends, then blocks and what never ends."""
    while stray := re.match(
        r"((?:(?!</?think>)[\s\S])*(?:<think>[\s\S]*?</think>(?:(?!</?think>)[\s\S])*)*)</think>", text
    ):
        text = text[stray.end() :]
    # In one pass: what stands around a block may read like a tag once the block is gone, and is none.
    return re.sub(r"<think>[\s\S]*?(?:</think>|\Z)", "", text)


RESPONSES = st.lists(st.sampled_from(["<think>", "</think>", "a", "\n", "<", "think>", "\\boxed{1}"]), max_size=12).map(
    "".join
)


@given(RESPONSES)
def test_remove_thinking_equals_the_reference(text):
    assert remove_thinking(text) == reference_removal(text)
    assert remove_thinking(text, opened=True) == reference_removal("<think>" + text)


@given(RESPONSES, st.booleans())
def test_split_keeps_every_character_but_the_tags(text, opened):
    thinking, answer = split_thinking(text, opened=opened)
    assert answer == remove_thinking(text, opened=opened)
    assert sorted(thinking + answer) == sorted(re.sub("</?think>", "", text))


@given(st.text(alphabet="ab<>/think\n"))
def test_a_single_closing_tag_is_removed_as_the_authors_do(text):
    head = text.replace("<think>", "").replace("</think>", "")
    assert remove_thinking(head + "</think>answer") == re.sub(
        r"^.*?</think>", "", head + "</think>answer", flags=re.DOTALL
    )
