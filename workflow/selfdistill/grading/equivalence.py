"""Equality of two written answers: exact rules on text, and a hook for pairs that only algebra can decide.

The rules decide numbers, roots and multiples of π, words, tuples, intervals, sets and assignments; the caller's
``leaf`` decides the rest (math-verify, in `grading.worker`). Nothing here evaluates an answer, so it is cheap on any
text of at most `LONGEST` characters. Verdicts are True, False or None (undecided).
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction

from selfdistill.grading.monomials import Monomial, read_monomial
from selfdistill.grading.tidying import drop_units, respell, squeeze, unwrap_texts

LONGEST = 500  # characters of an answer that is read as mathematics; a longer one is compared as a string
# math-verify's float_rounding: a decimal with at least so many places equals the fraction that it rounds.
ROUNDED_PLACES = 6

Leaf = Callable[[str, str], bool | None]

_NUMBER = re.compile(
    r"([+-]?)\s*(\d+\.?\d*|\.\d+)(?:\s*(?:\\times|\\cdot|\*)\s*10\s*\^\s*(?:\{\s*([+-]?\d{1,3})\s*\}|(\d)))?", re.ASCII
)
_GROUPED = r"\d{1,3}(?:,\d{3})+"
_GROUPED_NUMBER = re.compile(rf"[+-]?(?:{_GROUPED}|\d{{1,3}}(?: \d{{3}})+)(?:\.\d+)?", re.ASCII)
_GROUPED_INSIDE = re.compile(rf"(?<![\d,.]){_GROUPED}(?![\d,])", re.ASCII)
_TERM = r"\s*(?:\{\s*([+-]?\d+)\s*\}|(\d))"
_FRACTION = re.compile(rf"([+-]?)\s*(\d*)\s*\\frac{_TERM}{_TERM}", re.ASCII)
_SLASH = re.compile(r"([+-]?)\s*(?:(\d+)\s+)?(\d+)\s*/\s*(\d+)", re.ASCII)

_BASED = re.compile(r"([\dA-F]+)(?:_\{?\s*(\d+)\s*\}?)?", re.ASCII)
_EQUALS = re.compile(r"(?<![<>!:=])=(?!=)|\\in(?![a-zA-Z])")
_NAME = re.compile(r"\\?[A-Za-z]+(?:_\w|_\{\w+\})?(?:\([\w,\\ ]+\))?|\([\w, ]+\)")
_WORDS = re.compile(r"[A-Za-z][A-Za-z .'-]*")
_WORD = re.compile(r"[A-Za-z]{4,}")
_LETTER = re.compile(r"\(?\s*([A-Za-z])\s*\)?[.:]?")
_OPTION = re.compile(r"\(([A-J])\)\s")


def compare(answer: str, gold: str, leaf: Leaf) -> bool | None:
    """True if ``answer`` means ``gold``; None if that depends on a ``leaf`` that is undecided."""
    if max(len(answer), len(gold)) > LONGEST:
        return squeeze(answer) == squeeze(gold)
    numbers = _number(answer.strip()), _number(gold.strip())
    if all(numbers):  # nearly every pair, and decided without respelling it
        return _same_number(*numbers)
    answer, gold = respell(answer), respell(gold)
    if _chooses(answer, gold):
        return True
    return _same(drop_units(answer), drop_units(gold), leaf)


def _undecided(answer: str, gold: str) -> None:
    """The leaf that decides nothing, for the cheap first comparison of two sets."""


def _same(answer: str, gold: str, leaf: Leaf) -> bool | None:
    if not answer or not gold:
        return False
    left, right = _number(answer), _number(gold)
    if left and right:
        return _same_number(left, right)
    if squeeze(answer) == squeeze(gold):
        return True
    for decide in (_by_base, _by_words, _by_monomials, _by_kind, _by_lists, _by_assignment):
        verdict = decide(answer, gold, leaf)
        if verdict is not _NOT_MINE:
            return verdict
    return leaf(_plain(answer), _plain(gold))


_NOT_MINE = object()  # a rule that does not apply


def _plain(text: str) -> str:
    """``text`` for a leaf: without percent signs and thousands separators."""
    return _GROUPED_INSIDE.sub(lambda found: found.group().replace(",", ""), text.replace("%", ""))


# --- numbers: exact -------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class _Number:
    value: Fraction
    places: int = 0  # digits after the decimal point
    percent: bool = False


def _number(text: str) -> _Number | None:
    """An integer, decimal, fraction or mixed number, each perhaps with a percent sign."""
    bare = text.removesuffix("%").strip()
    percent = bare != text.strip()
    if _GROUPED_NUMBER.fullmatch(bare):
        bare = re.sub("[, ]", "", bare)
    if found := _NUMBER.fullmatch(bare):
        sign, digits, exponent, digit = found.groups()
        value = Fraction(sign + digits) * Fraction(10) ** int(exponent or digit or 0)
        return _Number(value, len(digits.partition(".")[2]), percent)
    if found := _FRACTION.fullmatch(bare):
        sign, whole, above, above_digit, below, below_digit = found.groups()
        return _mixed(sign, whole, above or above_digit, below or below_digit, percent)
    if found := _SLASH.fullmatch(bare):
        return _mixed(*found.groups(), percent)
    return None


def _mixed(sign: str, whole: str | None, above: str, below: str, percent: bool) -> _Number | None:
    if int(below) == 0:
        return None
    value = int(whole or 0) + Fraction(int(above), int(below))
    return _Number(-value if sign == "-" else value, percent=percent)


def _same_number(a: _Number, b: _Number) -> bool:
    """True if equal; a percent sign on one side only counts or not (42 % = 42 = 0.42)."""
    if a.percent == b.percent:
        return _equal_or_rounded(a, b)
    return any(_equal_or_rounded(p, q) for p in _readings(a) for q in _readings(b))


def _readings(number: _Number) -> list[_Number]:
    return [number, _Number(number.value / 100, number.places + 2)] if number.percent else [number]


def _equal_or_rounded(a: _Number, b: _Number) -> bool:
    if a.value == b.value:
        return True
    for decimal, fraction in ((a, b), (b, a)):
        if decimal.places >= ROUNDED_PLACES and fraction.places == 0 and fraction.value.denominator > 1:
            return abs(decimal.value - fraction.value) * 2 * 10**decimal.places <= 1
    return False


def _by_base(answer: str, gold: str, leaf: Leaf) -> object:
    """2516_8 equals 2516_8 and, without a base, 2516; math-verify accepts 2516_9 too."""
    left, right = _BASED.fullmatch(answer), _BASED.fullmatch(gold)
    if not (left and right and (left.group(2) or right.group(2))):
        return _NOT_MINE
    bases = {base for base in (left.group(2), right.group(2)) if base}
    return left.group(1).lstrip("0") == right.group(1).lstrip("0") and len(bases) == 1


# --- words and multiple choice --------------------------------------------------------------------------------------
def _chooses(answer: str, gold: str) -> bool:
    r"""Whether ``answer`` names the letter ``gold``, perhaps with the option's text: ``\textbf{(C)}\ 12`` for C."""
    letter, option = _LETTER.fullmatch(unwrap_texts(gold)), _OPTION.match(unwrap_texts(answer))
    return bool(letter and option) and letter.group(1) == option.group(1)


def _by_words(answer: str, gold: str, leaf: Leaf) -> object:
    """Words and single letters, ignoring case. Two or three letters may be a product of variables, so no rule here."""
    left, right = _LETTER.fullmatch(answer), _LETTER.fullmatch(gold)
    if left and right:
        return left.group(1).casefold() == right.group(1).casefold()
    if all(_WORDS.fullmatch(text) and re.search("[A-Za-z]{4}", text) for text in (answer, gold)):
        return answer.casefold().split() == gold.casefold().split()
    return _NOT_MINE


# --- numbers with roots and π, and other kinds ---------------------------------------------------------------------
def _by_monomials(answer: str, gold: str, leaf: Leaf) -> object:
    left, right = _constant(answer), _constant(gold)
    return left == right if left and right else _NOT_MINE


def _constant(text: str) -> Monomial | None:
    """An exact number; None for a decimal that may be rounded, and for a number with a percent sign."""
    number = _number(text)
    if number is None:
        return read_monomial(text)
    return Monomial(number.value) if number.places < ROUNDED_PLACES and not number.percent else None


def _by_kind(answer: str, gold: str, leaf: Leaf) -> object:
    """False for such a number and a word, a letter but e and i, a tuple or an open interval ([3, 3] would be 3)."""
    for number, other in ((answer, gold), (gold, answer)):
        if _constant(number) and (_WORD.fullmatch(other) or _is_letter(other) or _is_ordered(other)):
            return False
    return _NOT_MINE


def _is_letter(text: str) -> bool:
    found = _LETTER.fullmatch(text)
    return bool(found) and found.group(1) not in "eEiI"


def _is_ordered(text: str) -> bool:
    found = _split_list(text)
    return bool(found) and found[0] in ("()", "(]", "[)") and not _GROUPED_NUMBER.fullmatch(text[1:-1])


# --- tuples, intervals, sets ----------------------------------------------------------------------------------------
# A list's kind is its brackets; one without brackets is a collection of solutions, whose order does not matter.
_ORDERED = ("()", "[]", "(]", "[)")
_SET, _BARE = "{}", ""


def _by_lists(answer: str, gold: str, leaf: Leaf) -> object:
    left, right = _split_list(answer), _split_list(gold)
    if left and right:
        return _same_list(left, right, leaf)
    if left and left[0] == _SET and len(left[1]) == 1:
        return _same(left[1][0], gold, leaf)
    if right and right[0] == _SET and len(right[1]) == 1:
        return _same(answer, right[1][0], leaf)
    return _NOT_MINE


def _same_list(left: tuple[str, list[str]], right: tuple[str, list[str]], leaf: Leaf) -> bool | None:
    (kind, parts), (gold_kind, gold_parts) = left, right
    if {kind, gold_kind} <= {_SET, _BARE}:
        return _same_set(parts, gold_parts, leaf)
    # A tuple may be written without its parentheses, as math-verify has it; an interval's brackets count.
    if kind != gold_kind and {kind, gold_kind} != {_BARE, "()"}:
        return False
    if len(parts) != len(gold_parts):
        return False
    return _all(_same(a, b, leaf) for a, b in zip(parts, gold_parts, strict=True))


def _same_set(parts: list[str], gold_parts: list[str], leaf: Leaf) -> bool | None:
    """Equal as sets: every element of either has an equal in the other."""
    return _all(
        [
            *(_any_same([(a, b) for b in gold_parts], leaf) for a in parts),
            *(_any_same([(a, b) for a in parts], leaf) for b in gold_parts),
        ]
    )


def _any_same(pairs: list[tuple[str, str]], leaf: Leaf) -> bool | None:
    """Whether any pair is the same; the leaf is asked only when the cheap rules find none."""
    if any(_same(a, b, _undecided) for a, b in pairs):
        return True
    verdicts = [_same(a, b, leaf) for a, b in pairs]
    return True if True in verdicts else None if None in verdicts else False


def _all(verdicts: Iterable[bool | None]) -> bool | None:
    undecided = False
    for verdict in verdicts:
        if verdict is False:
            return False
        undecided |= verdict is None
    return None if undecided else True


def _split_list(text: str) -> tuple[str, list[str]] | None:
    r"""(kind, elements) of a tuple, interval, set or bare list; None for a single expression. ``\pm`` makes two."""
    text = text.replace("\\{", "{").replace("\\}", "}")
    kind = text[:1] + text[-1:]
    parts = _top_level_parts(text[1:-1]) if kind in (*_ORDERED, _SET) else None
    if parts is None:
        kind, parts = _BARE, _top_level_parts(text)
    if parts is None:
        return None
    if kind in (_SET, _BARE):
        parts = [signed for part in parts for signed in _both_signs(part)]
    return (kind, parts) if len(parts) > 1 or kind == _SET else None


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
    return [part.strip() for part in parts if part.strip()] if depth == 0 else None


def _both_signs(text: str) -> list[str]:
    if "\\pm" not in text or "," in text:  # a comma: a list inside this one
        return [text]
    return [text.replace("\\pm", a).replace("\\mp", b).strip().removeprefix("+") for a, b in (("+", "-"), ("-", "+"))]


# --- assignments: x = 5, x \in [0, 1] -------------------------------------------------------------------------------
def _by_assignment(answer: str, gold: str, leaf: Leaf) -> object:
    """Names in front of a value do not matter, unless both have one and they differ."""
    left, right = ([part.strip() for part in _EQUALS.split(text)] for text in (answer, gold))
    if len(left) > 1 and len(right) > 1:
        same_name = squeeze(left[0]) == squeeze(right[0]) and _NAME.fullmatch(left[0])
        return _same(left[-1], right[-1], leaf) if same_name else _NOT_MINE
    if len(left) > 1:
        return _same(left[-1], gold, leaf)
    if len(right) > 1 and _NAME.fullmatch(right[0]):
        return _same(answer, right[-1], leaf)
    return _NOT_MINE
