"""Whether a response accepts its answer, and whether it shows the accepted answer to hold."""

import re
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from selfdistill.microcosm import world
from selfdistill.microcosm.scanner import HEDGES
from selfdistill.verification.lexicon import verifies

# How a microcosm's response concludes: it accepts a number, or guesses one.
_CONCLUSION = re.compile(r"\b(so x =|likely) (\d\d?) \.")
_ACCEPTS = "so x ="
# A check of a clue: ``a 17 = 6 ok``; in the carrier world a claim, which holds where a hedge follows: ``a 17 6 maybe``.
_CHECK = re.compile(rf"\b([a-z]) (\d\d?) (?:= (\d) (ok|no)\b|(\d)\b( (?:{'|'.join(word for word, _ in HEDGES)})\b)?)")
Flags = npt.NDArray[np.bool_]


def measure(problems: Sequence[str], responses: Iterable[str], answers: Sequence[str | None]) -> tuple[Flags, Flags]:
    """Accepted and verified, by response [responses], of the text of its problem, its own and its extracted answer.

    In the microcosm an answer is accepted where the response concludes with it instead of guessing, and verified where
    the number satisfies the anchor clue and the last check of every table clue shows it to hold; in the carrier world
    it is a hedge that shows it. Elsewhere every answer is accepted, and verified where the response says that it
    verifies (`lexicon`): approximate.
    """
    responses = list(responses)
    clues = {problem: world.parsed(problem) for problem in dict.fromkeys(problems)}
    accepted = np.array([answer is not None for answer in answers], dtype=bool)
    verified = np.zeros(len(accepted), dtype=bool)
    elsewhere = []
    for row, (problem, response, answer) in enumerate(zip(problems, responses, answers, strict=True)):
        if (own := clues[problem]) is None:
            elsewhere.append(row)
        else:
            accepted[row] = accepts(response, answer)
            verified[row] = accepted[row] and shows(own, response, int(answer))
    verified[elsewhere] = accepted[elsewhere] & verifies(responses[row] for row in elsewhere)
    return accepted, verified


def accepts(response: str, answer: str | None) -> bool:
    """Whether a response of the microcosm last concludes with ``answer``, and does not guess it."""
    conclusions = _CONCLUSION.findall(response)
    return answer is not None and conclusions[-1:] == [(_ACCEPTS, answer)]


def shows(clues: tuple[world.Clue, ...], response: str, accepted: int) -> bool:
    """Whether the last checks of the number ``accepted`` in ``response`` show all ``clues`` to hold.

    The anchor is arithmetic and need not be checked.
    """
    last = {
        name: (int(value or claimed), bool(hedge) or verdict == "ok")
        for name, x, value, verdict, claimed, hedge in _CHECK.findall(response)
        if x == str(accepted)
    }
    (anchor, rest), *table = clues
    return world.value(anchor, accepted) == rest and all(last.get(name) == (value, True) for name, value in table)
