"""The process in which `grader` compares answers: one JSON pair [answer, gold] per line in, a verdict per line out.

Answers come from models. A forked child compares them: a pair that uses too much processor time ends the child (the
kernel sends SIGPROF, which also stops code that a Python timer would not), and the next child starts at once, with
everything imported. With a limit on the clock, a verdict would depend on the load of the machine. Memory is limited
too.
"""

import contextlib
import json
import logging
import os
import re
import resource
import signal
import sys
from functools import lru_cache
from typing import TextIO

from selfdistill.grading.equivalence import compare, may_be_rounded, read_number, rounds

# math-verify reads i as a variable, and only I as the imaginary unit.
_IMAGINARY = re.compile(r"(?<![a-zA-Z\\])i(?![a-zA-Z])")

MEMORY_BYTES = 4 * 1024**3


def verdict(answer: str, gold: str) -> bool:
    """True if the two are equal; False for an answer that cannot be parsed or breaks a symbolic library."""
    try:
        return compare(answer, gold, leaf=_algebra) is True
    except Exception:  # RecursionError, MemoryError and whatever else a hostile expression provokes
        return False


def _algebra(answer: str, gold: str) -> bool:
    """Whether two expressions are equal, read by math-verify and compared by `grading.algebra`."""
    from selfdistill.grading import algebra

    left, right = (_parse(text) for text in _of_one_case(answer, gold))
    if left is None or right is None:
        return False
    for decimal, exact in ((read_number(answer), right), (read_number(gold), left)):
        if decimal and may_be_rounded(decimal):
            value = algebra.as_decimal(exact, decimal.places)
            return value is not None and rounds(decimal, value)
    return bool(algebra.same_expression(left, right))


@lru_cache(maxsize=1024)  # a gold answer comes once for every response
def _parse(text: str) -> object:
    """The expression that ``text`` is; None if it cannot be read. The search for units would take t of ``3t``."""
    from latex2sympy2_extended import NormalizationConfig
    from math_verify import LatexExtractionConfig, parse

    from selfdistill.grading import algebra

    rules = NormalizationConfig(basic_latex=True, units=False, malformed_operators=True, nits=True, boxed="none")
    # Only LaTeX: the other extractor would pick a number out of an answer that it cannot parse.
    config = [LatexExtractionConfig(normalization_config=rules)]
    found = parse(f"${_IMAGINARY.sub(' I ', text)}$", config, fallback_mode="no_fallback", parsing_timeout=None)
    return algebra.without_floats(found[0]) if found and not isinstance(found[0], str) else None


def _of_one_case(*texts: str) -> tuple[str, ...]:
    """The texts with capitals renamed that stand beside their small letters: math-verify makes all letters small."""
    letters = [set("".join(re.sub(r"\\[A-Za-z]+", "", text))) for text in texts]
    both = {letter for found in letters for letter in found if letter.isupper() and letter.lower() in found} - {"I"}
    return tuple(
        re.sub(r"\\[A-Za-z]+|[A-Z]", lambda found: _renamed(found.group(), both), text) if both else text
        for text in texts
    )


def _renamed(word: str, letters: set[str]) -> str:
    return f" {word.lower()}_{{99}} " if word in letters else word


def main(seconds: float) -> None:
    """Answer until the input ends, using at most ``seconds`` of processor time per pair.

    A reply is true, false (also when the time is up) or died: the child ended for another reason.
    """
    replies = _private_output()
    with contextlib.suppress(ValueError, OSError):  # a system with a lower limit, or without limits
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    logging.disable(logging.CRITICAL)
    _algebra("x", "x + 0")  # imports
    print("ready", file=replies, flush=True)
    while status := _serve_in_child(seconds, replies):
        print("false" if os.waitstatus_to_exitcode(status) == -signal.SIGPROF else "died", file=replies, flush=True)


def _serve_in_child(seconds: float, replies: TextIO) -> int:
    """The wait status of a child that answers until the input ends (then 0) or a pair ends it."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    code = 1
    try:
        _serve(seconds, replies)
        code = 0
    finally:
        os._exit(code)


def _serve(seconds: float, replies: TextIO) -> None:
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    for line in sys.stdin:
        signal.setitimer(signal.ITIMER_PROF, seconds)
        reply = verdict(*json.loads(line))
        signal.setitimer(signal.ITIMER_PROF, 0)
        print(json.dumps(reply), file=replies, flush=True)


def _private_output() -> TextIO:
    """The standard output for replies alone: what a library prints goes to standard error."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return replies


if __name__ == "__main__":
    main(float(sys.argv[1]))
