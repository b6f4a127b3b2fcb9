"""Every prompt, in one place, and the split of a response into thinking and answer."""

import re
from typing import Any

# Authors' experiments/math/change_math_prompts.py:22, joined to the problem by one newline.
AUTHORS_INSTRUCTION = "Please reason step by step, and put your final answer within \\boxed{}."

OPEN, CLOSE = "<think>", "</think>"
_TAG = re.compile(f"({OPEN}|{CLOSE})")


def user_prompt(problem: str, instruction: str = AUTHORS_INSTRUCTION) -> str:
    """The unguided user turn: the problem and, below it, the instruction (an empty one adds nothing)."""
    return f"{problem}\n{instruction}" if instruction else problem


def guided_prompt(prompt: str, solution: str) -> str:
    """The user turn of solution-guided generation and regeneration (authors' eval_with_hint.py:65-69)."""
    return f"{prompt}\n\nCorrect solution: {solution}\n\nCorrectly solve the original question."


def split_thinking(text: str, *, opened: bool = False) -> tuple[str, str]:
    """``(thinking, answer part)`` of a response, without the tags.

    ``opened`` says that the prompt already opened ``<think>``, as DeepSeek's template does. Every closing tag ends
    the thinking, however often it was opened. One that nothing opened shows that all before it was thinking. A tag
    that is never closed makes the rest thinking: a response cut at its token limit has no answer part.
    """
    inside = opened
    parts: list[tuple[bool, str]] = []  # (is thinking, text)
    revealed = 0  # parts before this one are thinking, as a later closing tag shows
    for piece in _TAG.split(text):
        if piece == CLOSE and not inside:
            revealed = len(parts)
        if piece in (OPEN, CLOSE):
            inside = piece == OPEN
        else:
            parts.append((inside, piece))
    hidden = [is_thinking or i < revealed for i, (is_thinking, _) in enumerate(parts)]
    thinking = "".join(part for (_, part), is_hidden in zip(parts, hidden, strict=True) if is_hidden)
    answer = "".join(part for (_, part), is_hidden in zip(parts, hidden, strict=True) if not is_hidden)
    return thinking, answer


def remove_thinking(text: str, *, opened: bool = False) -> str:
    """The response without its thinking, tags included; empty when it is all thinking (see `split_thinking`)."""
    return split_thinking(text, opened=opened)[1]


def render(tokenizer: Any, user_text: str, *, enable_thinking: bool | None = None) -> list[int]:
    """Token ids of one user turn and the generation prompt; no system turn is added.

    ``enable_thinking`` is handed to the chat template unless it is None.
    """
    switch = {} if enable_thinking is None else {"enable_thinking": enable_thinking}
    messages = [{"role": "user", "content": user_text}]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, **switch)
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def prompt_opens_thinking(tokenizer: Any, prompt_ids: list[int]) -> bool:
    """Whether the prompt ends inside thinking, so that a response begins there."""
    return tokenizer.decode(prompt_ids).rstrip().endswith(OPEN)
