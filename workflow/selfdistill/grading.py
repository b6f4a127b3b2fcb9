"""Answer extraction and equivalence: one grader for rewards and evaluation, bounded on hostile text.

Cheap exact comparisons come first; what they cannot decide goes to math-verify in a worker process that is killed
after `LIMIT_SECONDS`. Only the extracted answer is ever parsed: on whole texts math-verify evaluates any expression
that it sees.
"""

import atexit
import json
import re
import select
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from fractions import Fraction

from selfdistill.prompts import split_thinking

LIMIT_SECONDS = 3.0
START_SECONDS = 120.0  # for the worker's imports, which do not count against an answer
LONGEST = 400  # characters of an answer that is parsed; longer ones are compared as strings

_BOX = re.compile(r"\\(?:boxed|fbox)\s*")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)")
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(?:(?:,|\{,\}|\\,|\\!|,\\!|\s)\d{3})+(?:\.\d+)?")
_FRACTION = re.compile(r"([+-]?)(\d*)\s*\\frac\s*(?:\{\s*([+-]?\d+)\s*\}|(\d))\s*(?:\{\s*([+-]?\d+)\s*\}|(\d))")
_SLASH = re.compile(r"([+-]?)(?:(\d+)\s+)?(\d+)\s*/\s*(\d+)")
_LEADING_NAME = re.compile(r"^\s*[A-Za-z](?:\([A-Za-z]\))?\s*=\s*")
_TEXT = re.compile(r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mbox)\s*\{([^{}]*)\}")
_CHOICE = re.compile(r"\(?\s*([A-Za-z])\s*\)?")


# --- extraction -----------------------------------------------------------------------------------------------
def extract_answer(text: str, *, opened: bool = False) -> str | None:
    """The content of the last box outside thinking; None when it is missing, empty or never closed.

    ``opened``: the prompt already opened ``<think>``, so the text begins inside thinking.
    """
    visible = split_thinking(text, opened=opened)[1]
    boxes = list(_BOX.finditer(visible))
    if not boxes:
        return None
    rest = visible[boxes[-1].end() :]
    content = _braced(rest) if rest.startswith("{") else _bare(rest)
    return content.strip() or None if content is not None else None


def _braced(text: str) -> str | None:
    """The content of the group that opens at the start of ``text``; None when it never closes."""
    depth, i = 0, 0
    while i < len(text):
        if text[i] == "\\":  # an escaped brace is text
            i += 2
            continue
        depth += {"{": 1, "}": -1}.get(text[i], 0)
        if depth == 0:
            return text[1:i]
        i += 1
    return None


def _bare(text: str) -> str:
    r"""The word after ``\boxed`` without braces."""
    return re.split(r"[\s$]", text, maxsplit=1)[0].rstrip(".")


# --- equivalence ----------------------------------------------------------------------------------------------
def is_equivalent(answer: str | None, gold: str) -> bool:
    """Whether ``answer`` equals ``gold`` as mathematics; never raises, never takes much longer than 3 s."""
    if answer is None:
        return False
    left, right = _normalise(answer), _normalise(gold)
    decided = _decide(left, right)
    if decided is not None:
        return decided
    with _borrowed_verifier() as verifier:
        return verifier.verify(left, right)


def grade_many(pairs: Iterable[tuple[str | None, str]], workers: int = 1) -> list[bool]:
    """`is_equivalent` of every (answer, gold) pair, in order; equal pairs are graded once."""
    listed = list(pairs)
    distinct = list(dict.fromkeys(listed))
    with ThreadPoolExecutor(max(1, workers)) as pool:
        verdicts = dict(zip(distinct, pool.map(lambda pair: is_equivalent(*pair), distinct), strict=True))
    return [verdicts[pair] for pair in listed]


def _normalise(text: str) -> str:
    """``text`` without what never matters: spacing commands, sizing, currency, degree and percent signs, a name."""
    text = text.strip().strip("$").strip()
    text = re.sub(r"\\left(?![a-z])|\\right(?![a-z])|\\(?:displaystyle|limits)|(?<!\\)\\[!;: ]|~", "", text)
    text = re.sub(r"\\(?:dfrac|tfrac|cfrac)", r"\\frac", text)
    text = re.sub(r"\\\$|\\%|%|\^\s*\{?\s*\\circ\s*\}?|\\degree|\\circ\b|°|\\textdegree", "", text)
    text = re.sub(r"\\(?:quad|qquad)", " ", text)
    text = _drop_texts(text)
    text = _LEADING_NAME.sub("", text, count=1)
    if not _THOUSANDS.fullmatch(text.strip()):
        text = text.replace("\\,", "")
    return text.strip().rstrip(".").strip()


def _drop_texts(text: str) -> str:
    r"""``\text{...}`` removed as a unit beside something else; its content kept where it is the whole answer."""
    without = _TEXT.sub(" ", text).strip()
    whole = not re.search(r"[0-9A-Za-z]", without)
    return _TEXT.sub(lambda found: found.group(1), text) if whole else without


def _decide(left: str, right: str) -> bool | None:
    """The verdict of the cheap exact comparisons, or None when mathematics is needed."""
    if _squeeze(left) == _squeeze(right):
        return bool(left)
    if max(len(left), len(right)) > LONGEST:
        return False
    numbers = _number(left), _number(right)
    if None not in numbers:
        return numbers[0] == numbers[1]
    if _is_words(left) or _is_words(right):
        return _words(left) == _words(right)
    return _decide_lists(_split_list(left), _split_list(right))


def _squeeze(text: str) -> str:
    return re.sub(r"\s+", "", text)


def _number(text: str) -> Fraction | None:
    """The exact value of an integer, decimal, fraction or mixed number; None for anything else."""
    text = text.strip()
    if _THOUSANDS.fullmatch(text):
        text = re.sub(r"[^\d.+-]", "", text)
    if _NUMBER.fullmatch(text):
        return Fraction(text)
    if found := _FRACTION.fullmatch(text):
        sign, whole, top, digit, bottom, other = found.groups()
        return _mixed(sign, whole, top or digit, bottom or other)
    if found := _SLASH.fullmatch(text):
        return _mixed(*found.groups())
    return None


def _mixed(sign: str, whole: str | None, numerator: str, denominator: str) -> Fraction | None:
    if int(denominator) == 0:
        return None
    value = int(whole or 0) + Fraction(int(numerator), int(denominator))
    return -value if sign == "-" else value


def _is_words(text: str) -> bool:
    """Plain words, or the letter of a multiple choice; a lone letter may as well be a variable, which is one too."""
    return re.fullmatch(r"\(?[A-Za-z]\)?|[A-Za-z][A-Za-z .'-]*[A-Za-z]{2}[A-Za-z .'-]*", text) is not None


def _words(text: str) -> str:
    choice = _CHOICE.fullmatch(text)
    return " ".join((choice.group(1) if choice else text).casefold().split())


# Kind of a bracketed list by its ends; a bare list is a collection of solutions, whose order does not matter.
_ORDERED = {"()", "[]", "(]", "[)"}
_SETS = {"{}", ""}


def _split_list(text: str) -> tuple[str, list[str]] | None:
    """(ends, elements) of a tuple, interval, set or bare list; None when ``text`` is a single expression."""
    text = text.replace("\\{", "{").replace("\\}", "}") if text.startswith("\\{") else text
    ends = text[:1] + text[-1:]
    inner = text[1:-1] if ends in _ORDERED or ends == "{}" else text
    parts = _top_level_parts(inner)
    if parts is None:
        return None
    if inner is text:
        return ("", parts) if len(parts) > 1 else None
    return (ends, parts) if len(parts) > 1 or ends == "{}" else None


def _top_level_parts(text: str) -> list[str] | None:
    """``text`` cut at commas outside brackets; None when the brackets do not match."""
    parts, depth = [""], 0
    for char in text:
        depth += (char in "([{") - (char in ")]}")
        if depth < 0:
            return None
        if char == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += char
    return [part.strip() for part in parts] if depth == 0 else None


def _decide_lists(left: tuple[str, list[str]] | None, right: tuple[str, list[str]] | None) -> bool | None:
    if left is None or right is None:
        return None if left is right else False if "()" in (left or right)[0] else None
    (left_ends, left_parts), (right_ends, right_parts) = left, right
    if left_ends in _SETS and right_ends in _SETS:
        return _same_set(left_parts, right_parts)
    if left_ends != right_ends or len(left_parts) != len(right_parts):
        return False
    return all(is_equivalent(a, b) for a, b in zip(left_parts, right_parts, strict=True))


def _same_set(left: list[str], right: list[str]) -> bool:
    """Equal as sets: every element of either has an equal in the other."""
    return all(any(is_equivalent(a, b) for b in right) for a in left) and all(
        any(is_equivalent(a, b) for a in left) for b in right
    )


# --- mathematics, in a process of its own ---------------------------------------------------------------------
class Verifier:
    """math-verify in a worker process, started when first needed and replaced after an answer that hung it."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def verify(self, answer: str, gold: str) -> bool:
        """The worker's verdict; False when it takes longer than `LIMIT_SECONDS` or dies."""
        try:
            process = self._running()
            process.stdin.write(json.dumps([answer, gold]) + "\n")
            process.stdin.flush()
            reply = self._reply(process, LIMIT_SECONDS)
        except (OSError, ValueError):
            reply = None
        if reply is None:
            self.close()
        return reply == "true"

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "selfdistill.grading_worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            if self._reply(self._process, START_SECONDS) != "ready":
                raise OSError("the grading worker did not start")
        return self._process

    @staticmethod
    def _reply(process: subprocess.Popen[str], seconds: float) -> str | None:
        ready, _, _ = select.select([process.stdout], [], [], seconds)
        return process.stdout.readline().strip() if ready else None

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


_verifiers: list[Verifier] = []  # all that were ever started
_idle: list[Verifier] = []
_lock = threading.Lock()


@contextmanager
def _borrowed_verifier() -> Iterator[Verifier]:
    """A worker that no other thread is using."""
    with _lock:
        if not _idle:
            _verifiers.append(Verifier())
            _idle.append(_verifiers[-1])
        verifier = _idle.pop()
    try:
        yield verifier
    finally:
        with _lock:
            _idle.append(verifier)


@atexit.register
def _close_all() -> None:
    for verifier in _verifiers:
        verifier.close()
