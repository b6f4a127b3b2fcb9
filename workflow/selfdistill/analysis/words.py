"""How the settings of guidance are named and coloured, in every table, figure and page.

Apart from `generation.contexts`, which says what they do: another name or colour samples nothing again.
"""

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
