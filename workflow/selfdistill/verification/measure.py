"""Whether a response accepts its answer, and whether it shows the accepted answer to hold."""

import re
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from selfdistill.microcosm import world
from selfdistill.verification import lexicon

# How a microcosm's response concludes: it accepts a number, or guesses one.
CONCLUSION = re.compile(r"\b(?:so x =|likely) (\d+) \.")
ACCEPTS = "so"
CHECK = re.compile(r"\b([a-z]\d*) (\d+) = (\d+) (ok|no)\b")
Flags = npt.NDArray[np.bool_]


def measure(problems: Sequence[str], responses: Iterable[str], answers: Iterable[str | None]) -> tuple[Flags, Flags]:
    """Accepted and verified, by response [responses], of the text of its problem, its own and its extracted answer.

    In the microcosm an answer is accepted where the response concludes with it instead of guessing, and verified where
    the number satisfies the anchor clue and the last check of every table clue shows it to hold. Elsewhere every
    answer is accepted, and verified where the response says that it verifies (`lexicon`): approximate.
    """
    clues = {problem: world.parsed(problem) for problem in dict.fromkeys(problems)}
    found = [_measured(clues[problem], *given) for problem, *given in zip(problems, responses, answers, strict=True)]
    flags = np.array(found, dtype=bool).reshape(-1, 2)
    return flags[:, 0], flags[:, 1]


def _measured(clues: tuple[world.Clue, ...] | None, response: str, answer: str | None) -> tuple[bool, bool]:
    if answer is None:
        return False, False
    if clues is None:
        return True, lexicon.verifies(response)
    conclusion = None
    for conclusion in CONCLUSION.finditer(response):
        pass
    if conclusion is None or not conclusion[0].startswith(ACCEPTS) or conclusion[1] != answer.strip():
        return False, False
    return True, _shown(clues, response, conclusion[1])


def _shown(clues: tuple[world.Clue, ...], response: str, accepted: str) -> bool:
    """Whether ``response`` shows all ``clues`` to hold for the ``accepted`` number; the anchor is arithmetic."""
    last = {name: (int(value), verdict) for name, x, value, verdict in CHECK.findall(response) if x == accepted}
    anchor, *table = clues
    holds = world.value(anchor[0], int(accepted)) == anchor[1]
    return holds and all(last.get(name) == (value, "ok") for name, value in table)
