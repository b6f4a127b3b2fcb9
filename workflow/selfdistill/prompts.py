"""Every prompt, in one place, and the split of a response into thinking and answer."""

import re
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

from selfdistill.errors import UserError, nearest

# Authors' experiments/math/change_math_prompts.py:22, joined to the problem by one newline.
AUTHORS_INSTRUCTION = "Please reason step by step, and put your final answer within \\boxed{}."

OPEN, CLOSE = "<think>", "</think>"
_TAG = re.compile(f"({OPEN}|{CLOSE})")
_CONTROL = re.compile(r"<[^<>\s]+>")  # the form of the models' control tokens
# Fields allowed in a user's template.
PARTS = ("problem", "solution", "answer")
_PART = re.compile(r"\{(\w+)\}")
# A field in double braces, or with spaces in them; a LaTeX command's may be the outer ones.
_FIELD = f"({'|'.join(PARTS)})"
_OTHERWISE = re.compile(rf"(?<![A-Za-z])\{{(?:\{{{_FIELD}\}}|\s+{_FIELD}\s*|{_FIELD}\s+)\}}")
_PROBE = "\ue000"  # a private character, which no template writes


def user_prompt(problem: str, instruction: str = AUTHORS_INSTRUCTION) -> str:
    """The unguided user turn: the problem and, below it, the instruction (an empty one adds nothing)."""
    return f"{problem}\n{instruction}" if instruction else problem


def guided_prompt(prompt: str, solution: str) -> str:
    """The user turn of solution-guided generation and regeneration (authors' eval_with_hint.py:65-69)."""
    return f"{prompt}\n\nCorrect solution: {solution}\n\nCorrectly solve the original question."


def sdpo_reprompt(prompt: str, demonstration: str) -> str:
    """The user turn of SDPO's teacher (authors' actor.yaml:131-148, whose block scalars end in no newline)."""
    solution = f"\nCorrect solution:\n\n{demonstration}"
    return f"{prompt}{solution}\n\nCorrectly solve the original question."


def check_template(template: str) -> str:
    """A user turn of one's own with some of `PARTS` in braces, as it is.

    `UserError` for any other word in braces, for a part that spaces or a second pair of braces set apart, as other
    languages of templates have it, and for one whose braces are a LaTeX command's: they are replaced.
    """
    for part in _PART.findall(template):
        if part not in PARTS:
            known = ", ".join(f"{{{name}}}" for name in PARTS)
            raise UserError(f"unknown {{{part}}}{nearest(part, PARTS)}; a template may hold {known}")
    if found := re.search(r"(\\[A-Za-z]+)(\{\w+\})", template):
        raise UserError(f"{found[0]} would lose its braces; write {found[1]}{{ {found[2]} }}")
    if found := _OTHERWISE.search(template):
        told = " ".join(found[0].split())
        raise UserError(f"{told} is no place for a text; write {{{found[found.lastindex or 0]}}}")
    return template


def shows_solution(template: str) -> bool:
    """Whether a template has a place for a solution: without one it needs none."""
    return "solution" in _PART.findall(template)


def filled(template: str, problem: str, answer: str, solution: str) -> str:
    """The user turn of a template: ``problem`` is the unguided turn. What it is filled with is not filled again."""
    parts = {"problem": problem, "solution": solution, "answer": answer}
    return _PART.sub(lambda found: parts[found[1]], template)


def split_thinking(text: str, *, opened: bool = False) -> tuple[str, str]:
    """``(thinking, answer part)`` of a response, without the tags.

    ``opened``: the prompt already opened ``<think>``, as DeepSeek's template does. A closing tag ends the thinking,
    however often it was opened; without an opening tag, all text before it is thinking. After a tag that is never
    closed, the rest is thinking: a response cut at its token limit has no answer part.
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


def render(
    tokenizer: Any,
    user_text: str,
    *,
    enable_thinking: bool | None = None,
    system: str = "",
    second_bos: bool = False,
) -> list[int]:
    """Token ids of one user turn and the generation prompt, behind a ``system`` turn if there is one.

    ``enable_thinking`` goes to the chat template unless it is None. Control tokens in ``user_text`` stay text: a
    demonstration that contains the end of a turn must not end it. Thinking tags become tokens, as they were in the
    response that ``user_text`` shows. ``second_bos``: the tokens come first that the tokenizer puts before any text,
    though the template has written them. `UserError` for a template without a system turn.
    """
    chat = partial(_chat, tokenizer, enable_thinking=enable_thinking, system=system)
    text = chat(user_text)
    parts = [text]
    if set(_CONTROL.findall(user_text)) - {OPEN, CLOSE}:
        before = chat(_PROBE).partition(_PROBE)[0]
        if text.startswith(before + user_text):  # else the template rewrites the turn, and it is rendered as it is
            parts = _parted(tokenizer, before, user_text, text.removeprefix(before + user_text))
    first, *others = parts
    ids = tokenizer(first, add_special_tokens=second_bos)["input_ids"]
    return [*ids, *(token for part in others for token in tokenizer(part, add_special_tokens=False)["input_ids"])]


def _chat(tokenizer: Any, user_text: str, *, enable_thinking: bool | None, system: str) -> str:
    from jinja2 import TemplateError

    switch = {} if enable_thinking is None else {"enable_thinking": enable_thinking}
    messages = [{"role": "system", "content": system}] if system else []
    messages.append({"role": "user", "content": user_text})
    try:
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, **switch)
    except (TemplateError, ValueError) as error:  # of a tokenizer without template: ValueError
        roles = ", ".join(message["role"] for message in messages)
        raise UserError(f"the model's chat template refuses the turns {roles}: {error}") from None
    if system.strip() not in text:
        raise UserError("the model's chat template leaves out the system turn (models.*.system)")
    return text


def _parted(tokenizer: Any, before: str, user_text: str, after: str) -> list[str]:
    """The three texts in parts, which are encoded one by one and cut each control token of ``user_text`` in two.

    Control tokens are the special ones and those that the template writes around the turn: DeepSeek's turn markers
    are not marked as special.
    """
    tokens = tokenizer.added_tokens_decoder.values()
    control = {token.content for token in tokens if token.special or token.content in before + after} - {OPEN, CLOSE}
    found = [match.start() + 1 for match in _CONTROL.finditer(user_text) if match[0] in control]
    text = before + user_text + after
    return [text[start:end] for start, end in pairwise([0, *(len(before) + cut for cut in found), len(text)])]


def render_shortened(
    tokenizer: Any,
    wrap: Callable[[str], str],
    text: str,
    *,
    max_tokens: int | None,
    what: str,
    **options: Any,
) -> tuple[list[int], str]:
    """Token ids of the user turn ``wrap(text)``, and the part of ``text`` in it; ``options`` are those of `render`.

    A ``text`` that makes the prompt longer than ``max_tokens`` (None: no limit) loses its end; the text around it stays
    whole. Raises `UserError`, which names ``what``, if even an empty one does not fit.
    """
    while True:
        ids = render(tokenizer, wrap(text), **options)
        if max_tokens is None or len(ids) <= max_tokens:
            return ids, text
        if not text:
            raise UserError(f"{what} has {len(ids)} tokens, over {max_tokens}")
        text = _without_end(tokenizer, text, len(ids) - max_tokens)


def _without_end(tokenizer: Any, text: str, tokens: int) -> str:
    """``text`` without its last ``tokens`` tokens; at least one character shorter.

    Cut by offset, not decoded: half of a character's bytes would decode to a replacement character.
    """
    offsets = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    kept = offsets[: max(0, len(offsets) - tokens)]
    return text[: min(kept[-1][1], len(text) - 1)] if kept else ""


def prompt_opens_thinking(tokenizer: Any, prompt_ids: list[int]) -> bool:
    """True if the prompt ends inside thinking, so that a response begins there."""
    return tokenizer.decode(prompt_ids).rstrip().endswith(OPEN)
