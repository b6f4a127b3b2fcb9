"""A first look at a model's responses: shares with an answer, cut, right; and whether to go on with it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pandas as pd

from selfdistill.errors import UserError

MOSTLY = 0.5  # share of responses


def shares(traces: pd.DataFrame) -> str:
    """Of responses (`traces` schema): how many are right, have an answer in a box, and were cut at the limit."""
    right, boxed, cut = _shares(traces)
    return f"{len(traces):,} responses, {right:.1%} right, {boxed:.1%} with a box, {cut:.1%} cut at the limit"


def check_boxed(traces: pd.DataFrame, *, max_tokens: int) -> None:
    """`UserError` with the likeliest cause where no response has an answer in a box."""
    if traces["answer"].isna().all():
        raise UserError(f"no response has an answer in a box: {shares(traces)}; {_mute(traces, max_tokens)}")


def check_solved(traces: pd.DataFrame, problems: pd.DataFrame, *, max_tokens: int) -> None:
    """The same, and where none is right. ``problems``: those that were asked, with their answers."""
    check_boxed(traces, max_tokens=max_tokens)
    if not traces["correct"].any():
        boxed = traces.dropna(subset="answer").iloc[0]
        gold = problems.set_index("problem_id")["answer"][boxed["problem_id"]]
        raise UserError(
            f"no response is right: {shares(traces)}; the problems are too hard for the model, or their answers have "
            f"another form than its own, as '{boxed['answer']:.60}' where '{gold:.60}' is expected (docs/data.md)"
        )


@contextmanager
def told(go_on: bool) -> Iterator[None]:
    """Turn a check's `UserError` into a warning if jobs should ``go_on``."""
    try:
        yield
    except UserError as error:
        if not go_on:
            raise
        logging.warning("%s", error)


def _shares(traces: pd.DataFrame) -> tuple[float, float, float]:
    cut = (traces["finish_reason"] == "length").mean()
    return float(traces["correct"].mean()), float(traces["answer"].notna().mean()), float(cut)


def _mute(traces: pd.DataFrame, max_tokens: int) -> str:
    """The likeliest cause of responses without a box."""
    if _shares(traces)[2] >= MOSTLY:
        return f"most were cut: sampling needs more than max_tokens {max_tokens:,}, or the model never ends its turn"
    return (
        "most end by themselves: the model does not follow the instruction (models.*.instruction) to put its answer in "
        r"\boxed{} (or in <answer>: models.*.answer_in), or was tuned to another chat template"
    )
