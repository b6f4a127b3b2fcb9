"""The context of each setting of Section 3, and the prompts that carry it."""

import pandas as pd
import pytest
from selfdistill.errors import UserError
from selfdistill.generation.contexts import (
    GUIDANCE,
    Context,
    Guidance,
    beginning,
    build_prompts,
    contexts_for,
    opens_thinking,
    parts_of_solution,
    templated,
)
from selfdistill.microcosm.tokenizer import build_tokenizer
from selfdistill.prompts import check_template, filled, guided_prompt
from tiny import problems_of

# Problem "mixed" is right at samples 3 and 5, "wrong" never; rows are in no order.
TRACES = pd.DataFrame(
    [("mixed", 5, True), ("wrong", 1, False), ("mixed", 0, False), ("mixed", 3, True), ("wrong", 0, False)],
    columns=["problem_id", "sample", "correct"],
)
TRACES["response"] = [f"{p} {n}" for p, n in zip(TRACES["problem_id"], TRACES["sample"], strict=True)]


@pytest.mark.parametrize(
    ("setting", "chosen"),
    [
        ("solution", {"mixed": 3}),
        ("regeneration", {"mixed": 3, "wrong": 0}),
        ("regeneration_unselected", {"mixed": 0, "wrong": 0}),
    ],
)
def test_which_sample_is_the_context(setting: str, chosen: dict[str, int]):
    wanted = {problem: Context(f"{problem} {sample}", sample) for problem, sample in chosen.items()}
    assert contexts_for(GUIDANCE[setting], TRACES, opened=False) == wanted


def test_unguided_has_no_context():
    assert contexts_for(GUIDANCE["unguided"], None, opened=False) is None
    assert contexts_for(GUIDANCE["unguided"], TRACES, opened=False) is None


@pytest.mark.parametrize(
    ("response", "opened", "left"),
    [
        ("<think> so 3 </think> The answer is 7", False, "The answer is 7"),
        ("so 3 </think> The answer is 7", True, "The answer is 7"),
        ("so 3 </think> The answer is 7", False, "The answer is 7"),
        ("The answer is 7", False, "The answer is 7"),
        ("The answer is 7 <think> so 3", False, "The answer is 7"),
        ("so 3", True, ""),
    ],
)
def test_a_solution_without_thinking_keeps_only_the_answer_part(response: str, opened: bool, left: str):
    traces = pd.DataFrame({"problem_id": ["p"], "sample": [2], "correct": [True], "response": [response]})
    assert contexts_for(GUIDANCE["solution_without_thinking"], traces, opened=opened) == {"p": Context(left, 2)}
    assert contexts_for(GUIDANCE["solution"], traces, opened=opened) == {"p": Context(response, 2)}


@pytest.mark.parametrize(
    ("text", "percent", "left"),
    [
        ("a b c d", 25, "a"),
        ("a b c d", 26, "a b"),
        ("a  b\nc d", 75, "a  b\nc"),
        ("  a b", 1, "  a"),
        ("a b c", 99, "a b c"),
        ("", 50, ""),
    ],
)
def test_a_part_of_a_solution_is_its_first_words_as_they_stand(text: str, percent: int, left: str):
    assert beginning(text, percent) == left
    traces = pd.DataFrame({"problem_id": ["p"], "sample": [2], "correct": [True], "response": [text]})
    (guidance,) = parts_of_solution([percent]).values()
    assert contexts_for(guidance, traces, opened=False) == {"p": Context(left, 2)}


def test_an_unknown_choice_is_named_with_the_nearest_spelling():
    with pytest.raises(UserError, match=r"choose: unknown 'first_corect' \(did you mean 'first_correct'\?\)"):
        Guidance("selection", "first_corect")


def test_a_guided_setting_without_traces_is_refused():
    with pytest.raises(UserError, match="the context comes from the traces of 'solution', and none are given"):
        contexts_for(GUIDANCE["regeneration"], None, opened=False)


class RecordingTokenizer:
    """Keeps the messages that it is asked to render."""

    def __init__(self):
        self.tokenizer, self.turns, self.switches = build_tokenizer(), [], []

    def apply_chat_template(self, messages: list[dict[str, str]], **options: object) -> str:
        self.turns.append(messages)
        self.switches.append(options.get("enable_thinking"))
        return self.tokenizer.apply_chat_template(messages, **options)

    def __call__(self, text: str, **options: object):
        return self.tokenizer(text, **options)

    def decode(self, ids: list[int]) -> str:
        return self.tokenizer.decode(ids)


class TestPrompts:
    problems = problems_of(["Find a", "Find b"])
    ids = problems["problem_id"].tolist()

    def build(self, **options: object):
        tokenizer = RecordingTokenizer()
        return build_prompts(self.problems, tokenizer, **{"instruction": ""} | options), tokenizer

    def test_unguided_is_the_problem_and_the_instruction_in_one_user_turn(self):
        _, tokenizer = self.build(instruction="Think.")
        assert tokenizer.turns == [[{"role": "user", "content": f"{text}\nThink."}] for text in ("Find a", "Find b")]

    def test_guided_is_worded_as_the_authors_did(self):
        contexts = {self.ids[0]: Context("one", 4), self.ids[1]: Context("two", 0)}
        prompts, tokenizer = self.build(instruction="Think.", contexts=contexts)
        assert [turn[0]["content"] for turn in tokenizer.turns] == [
            "Find a\nThink.\n\nCorrect solution: one\n\nCorrectly solve the original question.",
            "Find b\nThink.\n\nCorrect solution: two\n\nCorrectly solve the original question.",
        ]
        assert [prompt.context_sample for prompt in prompts] == [4, 0]

    def test_prompts_keep_the_order_and_name_of_problems_and_the_context_survives_encoding(self):
        context = r"<think> so 3 </think> The answer is \boxed{ 7 }"
        prompts, tokenizer = self.build(contexts=dict.fromkeys(self.ids, Context(context, 0)))
        assert [prompt.problem_id for prompt in prompts] == self.ids
        assert all(context in prompt.text for prompt in prompts)
        assert all(prompt.text == tokenizer.decode(list(prompt.token_ids)) for prompt in prompts)
        assert prompts[0].sha256 != prompts[1].sha256

    def test_thinking_is_switched_as_asked(self):
        for switch in (None, True, False):
            prompts, tokenizer = self.build(enable_thinking=switch)
            assert tokenizer.switches == [switch, switch]
            assert prompts[0].text.endswith("<think> </think>") == (switch is False)

    def test_a_long_context_loses_its_end_and_nothing_else_and_is_marked(self):
        contexts = {self.ids[0]: Context("a b a b a b a b", 4), self.ids[1]: Context("a b", 0)}
        whole, _ = self.build(instruction="so maybe", contexts=contexts)
        limit = len(whole[0].token_ids) - 3
        cut, tokenizer = self.build(instruction="so maybe", contexts=contexts, max_prompt_tokens=limit)
        assert tokenizer.turns[-2][0]["content"].split("\n") == [
            "Find a", "so maybe", "", "Correct solution: a b a b a", "", "Correctly solve the original question.",
        ]  # fmt: skip
        assert len(cut[0].token_ids) == limit
        assert [prompt.shortened for prompt in cut] == [True, False]
        assert cut[1] == whole[1] and not whole[0].shortened

    def test_a_prompt_too_long_even_without_context_is_refused(self):
        contexts = dict.fromkeys(self.ids, Context("a b a b", 0))
        shortest = len(self.build(contexts=dict.fromkeys(self.ids, Context("", 0)))[0][0].token_ids)
        assert self.build(contexts=contexts, max_prompt_tokens=shortest)[0][0].shortened
        for options in ({"contexts": contexts, "max_prompt_tokens": shortest - 1}, {"max_prompt_tokens": 3}):
            with pytest.raises(UserError, match=rf"problem {self.ids[0]} has \d+ tokens, over \d+$"):
                self.build(**options)

    def test_a_problem_without_its_context_is_named_in_one_sentence(self):
        with pytest.raises(UserError) as error:
            self.build(contexts={self.ids[0]: Context("one", 0)})
        assert str(error.value) == f"problem {self.ids[1]} has no correct response to serve as its context"


@pytest.mark.parametrize("enable_thinking", [None, True, False])
def test_a_template_that_opens_thinking_is_recognised(enable_thinking: bool | None):
    assert opens_thinking(build_tokenizer(opens_thinking=True), enable_thinking=enable_thinking)
    assert not opens_thinking(build_tokenizer(), enable_thinking=enable_thinking)


# --- contexts of one's own ---


def prompts_in(template: str, contexts: list[str]) -> list[str]:
    traces = pd.DataFrame({"problem_id": PAIR["problem_id"][: len(contexts)], "response": contexts})
    given = contexts_for(templated(template), traces.assign(sample=3, correct=True), opened=False)
    built = build_prompts(PAIR, build_tokenizer(), instruction="so", contexts=given)
    return [(prompt.text, prompt.context_sample) for prompt in built]


PAIR = problems_of(["a = 1 .", "b = 2 ."])


def test_the_authors_words_as_a_template_are_the_setting_solution():
    own = prompts_in(guided_prompt("{problem}", "{solution}"), ["so 1 .", "so {answer} 2 ."])
    traces = pd.DataFrame({"problem_id": PAIR["problem_id"], "response": ["so 1 .", "so {answer} 2 ."], "sample": 3})
    given = contexts_for(GUIDANCE["solution"], traces.assign(correct=True), opened=False)
    paper = build_prompts(PAIR, build_tokenizer(), instruction="so", contexts=given)
    assert own == [(prompt.text, prompt.context_sample) for prompt in paper]


def test_a_template_without_a_solution_needs_none_and_shows_the_answer():
    traces = pd.DataFrame({"problem_id": PAIR["problem_id"], "response": "so", "sample": 0, "correct": False})
    given = contexts_for(templated("{problem} the answer is {answer} ."), traces, opened=False)
    built = build_prompts(PAIR, build_tokenizer(), instruction="so", contexts=given)
    plain = build_prompts(PAIR, build_tokenizer(), instruction="so the answer is 7 .")
    assert [prompt.context_sample for prompt in built] == [None, None]
    assert ["".join(prompt.text.split()) for prompt in built] == ["".join(prompt.text.split()) for prompt in plain]
    with pytest.raises(UserError, match="has no correct response to serve as its context"):
        build_prompts(
            PAIR,
            build_tokenizer(),
            instruction="",
            contexts=contexts_for(templated("{solution}"), traces, opened=False),
        )


@pytest.mark.parametrize(
    ("template", "sentence"),
    [
        ("{problm}", "unknown {problm} (did you mean 'problem'?); a template may hold {problem}, {solution}, {answer}"),
        ("{problem} {0}", "unknown {0}; a template"),
        (r"\boxed{x}", "unknown {x}; a template"),
    ],
)
def test_another_word_in_braces_is_refused(template: str, sentence: str):
    with pytest.raises(UserError) as refused:
        check_template(template)
    assert sentence in str(refused.value)


def test_what_stands_in_a_template_is_not_read_again():
    assert check_template(r"{} \boxed{} {two words}") == r"{} \boxed{} {two words}"
    assert filled("{problem}|{solution}", "say {answer}", "7", "{problem}") == "say {answer}|{problem}"
