"""How settings of guidance and what numbers rest on are named, in every table, figure and page.

Apart from `generation.contexts`, which says what they do: another name or colour samples nothing again.
"""

from collections.abc import Collection
from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True)
class Words:
    """A setting's name in a sentence, its label in figures and lists, its colour, and whether the paper has it."""

    short: str
    label: str
    colour: str
    in_paper: bool = True  # statements of the paper are about it


# In the paper's order. Colours are Okabe and Ito's, told apart by colour-blind readers.
GUIDANCE: dict[str, Words] = {
    "unguided": Words("unguided", "unguided (c = ∅)", "#0072B2"),
    "solution": Words("c = s", "solution-guided (c = s)", "#D55E00"),
    "solution_without_thinking": Words("c = s without think", "c = s without think", "#009E73"),
    "regeneration": Words("regeneration", "regeneration (c = ỹ)", "#CC79A7"),
    "regeneration_unselected": Words(
        "regeneration, unselected", "regeneration (c = ỹ, unselected)", "#8f4a73", in_paper=False
    ),
}


def rate_label(rate: float) -> str:
    """A learning rate in short, with all of its digits: 0.0003 as ``3e-4``."""
    number = Decimal(repr(float(rate))).normalize()
    return f"{number.scaleb(-number.adjusted()).normalize()}e{number.adjusted()}"


def benchmark_label(name: str) -> str:
    """A problem set's name for readers: the paper's benchmarks as it writes them, others without underscores."""
    return {"aime24": "AIME24", "aime25": "AIME25", "amc23": "AMC23", "math500": "MATH500"}.get(
        name, name.replace("_", " ")
    )


# Fewer base models than this say little of others.
FEW_MODELS = 5


def evidence(models: int) -> str:
    """The caveat of a number that averages ``models`` base models; empty from five on."""
    if models == 1:
        return "this base model only"
    return "provisional: fewer than five base models" if models < FEW_MODELS else ""


def interval_over(models: Collection[int]) -> str:
    """What intervals are over, with their caveat; ``models``: how many base models each number averages."""
    least, most = min(models), max(models)
    if most == 1:
        return f"problems; {evidence(1)}"
    number = f"{most}" if least == most else f"{least} to {most}"
    return "; ".join(filter(None, [f"{number} base models and their problems", evidence(least)]))
