"""The functions that the command line offers, in groups. `stage` adds one."""

from collections.abc import Callable
from typing import TypeVar

Stage = Callable[..., int | None]
Function = TypeVar("Function", bound=Stage)

STEP, QUESTION, EXPORT = "steps of the workflow", "questions of a reader", "results for other programs"
UPKEEP = "upkeep"
STAGES: dict[str, tuple[Stage, str]] = {}  # function and group, by command


def stage(group: str) -> Callable[[Function], Function]:
    """Offer a function as a command of ``group``, called as the function is."""

    def add(function: Function) -> Function:
        STAGES[function.__name__.replace("_", "-")] = (function, group)
        return function

    return add
