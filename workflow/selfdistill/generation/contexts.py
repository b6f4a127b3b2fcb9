"""The context c of each guidance setting (Section 3), and the prompts that carry it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any

import pandas as pd

from selfdistill import entries
from selfdistill.errors import UserError
from selfdistill.generation.requests import Prompt
from selfdistill.prompts import (
    filled,
    guided_prompt,
    prompt_opens_thinking,
    remove_thinking,
    render,
    render_shortened,
    shows_solution,
    user_prompt,
)
from selfdistill.settings import Among, key, settings


@dataclass(frozen=True)
class Context:
    """A solution that is shown to the model, and the number of the sample that it comes from."""

    text: str
    sample: int
    template: str | None = None  # a user turn of one's own that shows it


def first_correct(traces: pd.DataFrame) -> dict[str, Context]:
    """s: each problem's first correct response (authors' eval_with_hint.py, ``correct_solutions[0]``)."""
    return _first(traces[traces["correct"]])


def first_correct_else_first(traces: pd.DataFrame) -> dict[str, Context]:
    """y~ as the authors choose it (eval_with_hint.py:220-225): the first correct response, else the first."""
    return _first(traces) | _first(traces[traces["correct"]])


def first(traces: pd.DataFrame) -> dict[str, Context]:
    """y~ without selection by its outcome: sample 0, right or wrong."""
    return _first(traces)


def _first(traces: pd.DataFrame) -> dict[str, Context]:
    earliest = traces.sort_values("sample", kind="stable").drop_duplicates("problem_id")
    rows = zip(earliest["problem_id"], earliest["response"], earliest["sample"], strict=True)
    return {problem: Context(response, int(sample)) for problem, response, sample in rows}


def without_thinking(chosen: dict[str, Context], *, opened: bool) -> dict[str, Context]:
    """Each context without its thinking; ``opened``: prompts end inside thinking."""
    return {
        problem: Context(remove_thinking(context.text, opened=opened).strip(), context.sample)
        for problem, context in chosen.items()
    }


def beginning(text: str, percent: int) -> str:
    """The first ``percent`` of a hundred words of ``text``, rounded up, as they stand."""
    words = list(re.finditer(r"\S+", text))
    kept = -(-percent * len(words) // 100)
    return text[: words[kept - 1].end()] if kept else ""


# How one response of each problem is chosen, by name; a registry (`entries`).
CHOICES = {
    "first_correct": "selfdistill.generation.contexts:first_correct",
    "first_correct_else_first": "selfdistill.generation.contexts:first_correct_else_first",
    "first": "selfdistill.generation.contexts:first",
}


@settings
class Guidance:
    """Where a setting's context c comes from; `analysis.words` names the setting."""

    provided_by: str | None = key(
        None,
        doc="Traces whose responses serve as context: `selection`, which found the problems, or another setting's; "
        "null without context.",
    )
    choose: Annotated[str, Among(CHOICES)] = key("first_correct", doc="Which response of each problem is the context.")
    drop_thinking: bool = key(False, doc="Show only what follows the thinking.")
    percent: int | None = key(None, doc="Show only so many of a hundred words of it, from its beginning.", ge=1, lt=100)
    template: str | None = key(None, doc="A user turn of one's own in place of the authors' words (`contexts`).")


# Section 3. s comes from the rollouts that selected the problems, y~ from solution-guided generation: "unselected"
# takes y~ as it comes, the authors the first correct one.
GUIDANCE: dict[str, Guidance] = {
    "unguided": Guidance(),
    "solution": Guidance("selection"),
    "solution_without_thinking": Guidance("selection", drop_thinking=True),
    "regeneration": Guidance("solution", "first_correct_else_first"),
    "regeneration_unselected": Guidance("solution", "first"),
}


def templated(template: str) -> Guidance:
    """The setting that shows s in a template of one's own; one that shows no solution takes what there is."""
    choose = "first_correct" if shows_solution(template) else "first"
    return Guidance("selection", choose, template=template)


def parts_of_solution(percents: Iterable[int]) -> dict[str, Guidance]:
    """Settings that show the beginning of s alone, by name."""
    return {f"solution_first_{percent}": Guidance("selection", percent=percent) for percent in percents}


def contexts_for(guidance: Guidance, traces: pd.DataFrame | None, *, opened: bool) -> dict[str, Context] | None:
    """Context by problem_id under ``guidance``; ``traces`` are those that provide it."""
    if guidance.provided_by is None:
        return None
    if traces is None:
        raise UserError(f"the context comes from the traces of '{guidance.provided_by}', and none are given")
    chosen = entries.load("choice of a context", guidance.choose, CHOICES)(traces)
    if guidance.template is not None:
        chosen = {problem: replace(context, template=guidance.template) for problem, context in chosen.items()}
    if guidance.percent is not None:
        chosen = {
            problem: replace(context, text=beginning(context.text, guidance.percent))
            for problem, context in chosen.items()
        }
    return without_thinking(chosen, opened=opened) if guidance.drop_thinking else chosen


def build_prompts(
    problems: pd.DataFrame,
    tokenizer: Any,
    *,
    instruction: str,
    contexts: dict[str, Context] | None = None,
    max_prompt_tokens: int | None = None,
    **options: Any,
) -> list[Prompt]:
    """One prompt per problem, in order, rendered with ``options`` (see `prompts.render`).

    A context that makes a prompt longer than ``max_prompt_tokens`` loses its end, so that the problem and the
    instruction stay whole; such prompts are marked `shortened`, to be counted. Raises `UserError` when a problem
    lacks its context, or does not fit even without.
    """
    prompts = []
    for row in problems.itertuples(index=False):
        problem_id, asked = row.problem_id, user_prompt(row.problem, instruction)
        if contexts is not None and problem_id not in contexts:
            raise UserError(f"problem {problem_id} has no correct response to serve as its context")
        context = contexts[problem_id] if contexts is not None else None
        turn = partial(_user_turn, asked, context is not None)
        if context is not None and context.template is not None:
            turn = partial(filled, context.template, asked, row.answer)
            if not shows_solution(context.template):
                context = None
        ids, given = render_shortened(
            tokenizer,
            turn,
            context.text if context else "",
            max_tokens=max_prompt_tokens,
            what=f"the prompt of problem {problem_id}",
            **options,
        )
        sample, shortened = (context.sample, given != context.text) if context else (None, False)
        prompts.append(Prompt(problem_id, tokenizer.decode(ids), tuple(ids), sample, shortened))
    return prompts


def _user_turn(asked: str, guided: bool, given: str) -> str:
    return guided_prompt(asked, given) if guided else asked


def opens_thinking(tokenizer: Any, *, enable_thinking: bool | None = None) -> bool:
    """True if the model's prompts end inside thinking, as with DeepSeek's template."""
    return prompt_opens_thinking(tokenizer, render(tokenizer, "x", enable_thinking=enable_thinking))
