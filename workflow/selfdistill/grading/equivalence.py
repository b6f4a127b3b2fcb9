"""Equality of two written answers: exact rules on text, and a hook for pairs that only algebra can decide.

The rules decide numbers, roots and multiples of π, words, tuples, intervals, sets, matrices and assignments; the
caller's ``leaf`` decides the rest (`grading.algebra`, in `grading.worker`). Nothing here evaluates an answer, so it is
cheap on any text of at most `LONGEST` characters. Verdicts are True, False or None (undecided).
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import chain

from selfdistill.grading.choices import chooses, letter
from selfdistill.grading.monomials import Monomial, read_monomial
from selfdistill.grading.ranges import join_ranges
from selfdistill.grading.tidying import join_words, name_pi, respell, squeeze, unwrap_texts
from selfdistill.grading.units import drop_noun, drop_units, in_other_units

LONGEST = 500  # characters of an answer that is read as mathematics; a longer one is compared as a string
# A decimal of at least so many places and significant digits equals the exact number that it rounds.
ROUNDED_PLACES, ROUNDED_DIGITS = 6, 4

Leaf = Callable[[str, str], bool | None]

_NUMBER = re.compile(
    r"([+-]?)\s*(\d+\.?\d*|\.\d+)"
    r"(?:\s*(?:\\times|\\cdot|\*)\s*10\s*\^\s*(?:\{\s*([+-]?\d{1,3})\s*\}|(\d))|[eE]([+-]?\d{1,3}))?",
    re.ASCII,
)
_E_NOTATION = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))[eE]([+-]?\d{1,3})", re.ASCII)
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
_SHORT_WORDS = frozenset("yes no odd even none true all one two red blue up down left right east west".split())
_ANY_INTEGER = re.compile(r"\s*,\s*(?:where\s*|for\s*)?([a-z])\s*\\in\s*\\mathbb\{Z\}\s*$")


def compare(answer: str, gold: str, leaf: Leaf) -> bool | None:
    """True if ``answer`` means ``gold``; None if that depends on a ``leaf`` that is undecided."""
    if max(len(answer), len(gold)) > LONGEST:
        return squeeze(answer) == squeeze(gold)
    numbers = read_number(answer.strip()), read_number(gold.strip())
    if all(numbers):  # nearly every pair, and decided without respelling it
        return _same_number(*numbers)
    answer, gold = name_pi(_respelled(answer), _respelled(gold))
    if chooses(answer, gold):
        return True
    if in_other_units(answer, gold):
        return False
    if squeeze(unwrap_texts(answer)) == squeeze(unwrap_texts(gold)):
        return bool(answer)
    return _same(*_of_any_integer(*_without_noun(answer, gold)), leaf)


@lru_cache(maxsize=2**12)  # a gold answer comes once for every response
def _respelled(text: str) -> str:
    return respell(text)


@lru_cache(maxsize=2**12)
def _bare(text: str) -> str:
    """``text`` without words between its parts and without units."""
    return drop_units(join_words(join_ranges(text)))


def _without_noun(answer: str, gold: str) -> tuple[str, str]:
    """Both `_bare`, and without the counted noun that one of them has behind a number, where the other is a number."""
    bare, bare_gold = _bare(answer), _bare(gold)
    if (count := drop_noun(bare)) and read_number(count) and read_number(gold.rstrip(".")):
        bare = count
    elif (count := drop_noun(bare_gold)) and read_number(count) and read_number(answer.rstrip(".")):
        bare_gold = count
    return bare, bare_gold


def _of_any_integer(answer: str, gold: str) -> tuple[str, str]:
    """Both without "k in Z" where one may leave it out, with one name for k where both have it."""
    found, wanted = _ANY_INTEGER.search(answer), _ANY_INTEGER.search(gold)
    if found and wanted and not re.search(rf"(?<![A-Za-z]){wanted.group(1)}(?![A-Za-z])", answer):
        answer = re.sub(rf"(?<!\\)\b{found.group(1)}\b|(?<=\d){found.group(1)}\b", wanted.group(1), answer)
    elif found and not wanted:
        answer = answer[: found.start()]
    elif wanted and not found:
        gold = gold[: wanted.start()]
    return answer, gold


def _undecided(answer: str, gold: str) -> None:
    """The leaf that decides nothing, for the cheap first comparison of two sets."""


def _same(answer: str, gold: str, leaf: Leaf) -> bool | None:
    if not answer or not gold:
        return False
    left, right = read_number(answer), read_number(gold)
    if left and right:
        return _same_number(left, right)
    if squeeze(answer) == squeeze(gold):
        return True
    for decide in (_by_base, _by_words, _by_monomials, _by_kind, _by_unions, _by_matrices, _by_lists, _by_assignment):
        verdict = decide(answer, gold, leaf)
        if verdict is not _NOT_MINE:
            return verdict
    return leaf(_plain(answer, gold), _plain(gold, answer))


_NOT_MINE = object()  # a rule that does not apply


def _plain(text: str, other: str) -> str:
    """``text`` for a leaf: without percent signs and separators of thousands; 1e6 as a power of 10, if that is sure."""
    if (found := _E_NOTATION.fullmatch(text)) and "e" not in re.sub(r"\\[A-Za-z]+", "", other):
        return rf"{found.group(1)} \cdot 10^{{{found.group(2)}}}"
    return _ungrouped(text.replace("%", ""))


def _ungrouped(text: str) -> str:
    return _GROUPED_INSIDE.sub(lambda found: found.group().replace(",", ""), text)


# --- numbers: exact -------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Number:
    value: Fraction
    places: int = 0  # digits after the decimal point
    percent: bool = False


def read_number(text: str) -> Number | None:
    """An integer, decimal, fraction or mixed number, each perhaps with a percent sign."""
    bare = text.removesuffix("%").strip()
    percent = bare != text.strip()
    if _GROUPED_NUMBER.fullmatch(bare):
        bare = re.sub("[, ]", "", bare)
    if found := _NUMBER.fullmatch(bare):
        sign, digits, *exponents = found.groups()
        value = Fraction(int(sign + digits) if digits.isdigit() else sign + digits)
        if exponent := next(filter(None, exponents), None):
            value *= Fraction(10) ** int(exponent)
        return Number(value, len(digits.partition(".")[2]), percent)
    if found := _FRACTION.fullmatch(bare):
        sign, whole, above, above_digit, below, below_digit = found.groups()
        return _mixed(sign, whole, above or above_digit, below or below_digit, percent)
    if found := _SLASH.fullmatch(bare):
        return _mixed(*found.groups(), percent)
    return None


def _mixed(sign: str, whole: str | None, above: str, below: str, percent: bool) -> Number | None:
    if int(below) == 0:
        return None
    value = int(whole or 0) + Fraction(int(above), int(below))
    return Number(-value if sign == "-" else value, percent=percent)


def _same_number(a: Number, b: Number) -> bool:
    """True if equal; a percent sign on one side only counts or not (42 % = 42 = 0.42)."""
    if a.percent == b.percent:
        return _equal_or_rounded(a, b)
    return any(_equal_or_rounded(p, q) for p in _readings(a) for q in _readings(b))


def _readings(number: Number) -> list[Number]:
    return [number, Number(number.value / 100, number.places + 2)] if number.percent else [number]


def _equal_or_rounded(a: Number, b: Number) -> bool:
    if a.value == b.value:
        return True
    for decimal, fraction in ((a, b), (b, a)):
        if may_be_rounded(decimal) and fraction.places == 0 and fraction.value.denominator > 1:
            return rounds(decimal, fraction.value)
    return False


def may_be_rounded(decimal: Number) -> bool:
    """Whether ``decimal`` has enough digits to stand for a number that it rounds."""
    return decimal.places >= ROUNDED_PLACES and abs(decimal.value) * 10**decimal.places >= 10 ** (ROUNDED_DIGITS - 1)


def rounds(decimal: Number, exact: Fraction) -> bool:
    """Whether ``decimal`` is ``exact``, rounded to its last place."""
    return abs(decimal.value - exact) * 2 * 10**decimal.places <= 1


def _by_base(answer: str, gold: str, leaf: Leaf) -> object:
    """2516_8 equals 2516_8 and, without a base, 2516; math-verify accepts 2516_9 too."""
    left, right = _BASED.fullmatch(answer), _BASED.fullmatch(gold)
    if not (left and right and (left.group(2) or right.group(2))):
        return _NOT_MINE
    bases = {base for base in (left.group(2), right.group(2)) if base}
    return left.group(1).lstrip("0") == right.group(1).lstrip("0") and len(bases) == 1


# --- words and multiple choice --------------------------------------------------------------------------------------
def _by_words(answer: str, gold: str, leaf: Leaf) -> object:
    """Words and single letters, ignoring case. Two or three letters may be a product of variables, so no rule here."""
    left, right = letter(answer), letter(gold)
    if left and right:
        return left.casefold() == right.casefold()
    if all(map(_is_word, (answer, gold))) or {answer.casefold(), gold.casefold()} & _SHORT_WORDS:
        return answer.casefold().split() == gold.casefold().split()
    return _NOT_MINE


def _is_word(text: str) -> bool:
    """Whether ``text`` is words and no product: four letters in a row, or one of the usual short ones."""
    return bool(_WORDS.fullmatch(text)) and (bool(_WORD.search(text)) or text.casefold() in _SHORT_WORDS)


# --- numbers with roots and π, and other kinds ---------------------------------------------------------------------
def _by_monomials(answer: str, gold: str, leaf: Leaf) -> object:
    left, right = _constant(answer), _constant(gold)
    return left == right if left and right else _NOT_MINE


def _constant(text: str) -> Monomial | None:
    """An exact number; None for a decimal that may be rounded, and for a number with a percent sign."""
    number = read_number(text)
    if number is None:
        return read_monomial(text)
    return None if number.percent or may_be_rounded(number) else Monomial(number.value)


def _by_kind(answer: str, gold: str, leaf: Leaf) -> object:
    """False for such a number and a word, a letter but e and i, a tuple or an open interval ([3, 3] would be 3)."""
    for number, other in ((answer, gold), (gold, answer)):
        if _constant(number) and (_WORD.fullmatch(other) or _is_letter(other) or _is_ordered(other)):
            return False
    return _NOT_MINE


def _is_letter(text: str) -> bool:
    found = letter(text)
    return found is not None and found not in "eEiI"


def _is_ordered(text: str) -> bool:
    found = _split_list(text)
    return bool(found) and found[0] in ("()", "(]", "[)") and not _GROUPED_NUMBER.fullmatch(text[1:-1])


# --- unions, matrices, tuples, intervals, sets ------------------------------------------------------------------------
def _by_unions(answer: str, gold: str, leaf: Leaf) -> object:
    """True if the parts are equal in any order; otherwise they may overlap, which is for algebra."""
    left, right = (re.split(r"\\cup(?![A-Za-z])", text) for text in (answer, gold))
    if len(left) < 2 or len(right) < 2:
        return _NOT_MINE
    left, right = ([part.strip() for part in parts] for parts in (_unnamed(left), _unnamed(right)))
    return True if _same_set(left, right, leaf) else _NOT_MINE


def _unnamed(parts: list[str]) -> list[str]:
    r"""The parts of a union without the ``x \in`` before the first."""
    return [re.sub(r"^\s*[A-Za-z]\s*\\in(?![A-Za-z])", "", parts[0]), *parts[1:]]


_MATRIX = re.compile(r"\\begin\{pmatrix\}((?:(?!\\begin).)*)\\end\{pmatrix\}")


def _by_matrices(answer: str, gold: str, leaf: Leaf) -> object:
    left, right = (_MATRIX.fullmatch(text) for text in (answer, gold))
    if not (left and right):
        return _NOT_MINE
    rows, gold_rows = _rows(left.group(1)), _rows(right.group(1))
    if [len(row) for row in rows] != [len(row) for row in gold_rows]:
        return False
    return _all(_same(a, b, leaf) for a, b in zip(chain(*rows), chain(*gold_rows), strict=True))


def _rows(content: str) -> list[list[str]]:
    rows = [row.strip() for row in content.split("\\\\")]
    return [[entry.strip() for entry in row.split("&")] for row in rows if row]


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
    kinds = {kind, gold_kind}
    if kinds == {_BARE} and _gives_values(parts) == _gives_values(gold_parts):
        return _same_collection(parts, gold_parts, leaf)
    if kinds in ({_SET}, {_SET, _BARE}):
        return _same_set(parts, gold_parts, leaf)
    # A tuple may be written without its parentheses, as math-verify has it; an interval's brackets count.
    if len(kinds) > 1 and kinds != {_BARE, "()"}:
        return False
    if len(parts) != len(gold_parts):
        return False
    return _all(_same(a, b, leaf) for a, b in zip(parts, gold_parts, strict=True))


def _gives_values(parts: list[str]) -> bool:
    """Whether every part names another unknown: the order of x = 2, y = 7 counts where the names are left out."""
    names = [squeeze(_sides(part)[0]) for part in parts if len(_sides(part)) > 1]
    return len(set(names)) == len(parts) > 1


def _same_set(parts: list[str], gold_parts: list[str], leaf: Leaf) -> bool | None:
    """Equal as sets: every element of either has an equal in the other."""
    return _all(
        [
            *(_any_same([(a, b) for b in gold_parts], leaf) for a in parts),
            *(_any_same([(a, b) for a in parts], leaf) for b in gold_parts),
        ]
    )


def _same_collection(parts: list[str], gold_parts: list[str], leaf: Leaf) -> bool | None:
    """Equal as collections, in which the order does not count and how often an element stands does."""
    if len(parts) != len(gold_parts):
        return False
    parts, gold_parts = _unpaired(*_unpaired(parts, gold_parts, _undecided), leaf)
    if not parts:
        return True
    verdicts = [_any_same([(a, b) for b in gold_parts], leaf) for a in parts]
    return False if False in verdicts else None if None in verdicts else False


def _unpaired(parts: list[str], gold_parts: list[str], leaf: Leaf) -> tuple[list[str], list[str]]:
    """What is left when each element is taken away with one that is the same."""
    left, gold_left = [], list(gold_parts)
    for part in parts:
        found = next((index for index, other in enumerate(gold_left) if _same(part, other, leaf)), None)
        if found is None:
            left.append(part)
        else:
            del gold_left[found]
    return left, gold_left


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
def _sides(text: str) -> list[str]:
    r"""What equality signs, and ``\in``, outside braces part; the sum in ``\sum_{k=1}`` is one."""
    sides, start = [], 0
    for found in _EQUALS.finditer(text):
        before = text[: found.start()]
        if before.count("{") == before.count("}"):
            sides.append(text[start : found.start()].strip())
            start = found.end()
    return [*sides, text[start:].strip()]


def _are_several(side: str) -> bool:
    found = _split_list(_ungrouped(side))
    return found is not None and found[0] == _BARE


def _by_assignment(answer: str, gold: str, leaf: Leaf) -> object:
    """Names in front of a value do not matter, unless both have one and they differ. Several values are not one."""
    left, right = _sides(answer), _sides(gold)
    if any(map(_are_several, (*left[:-1], *right[:-1]))):  # x = 1, x = 2
        return False
    if len(left) > 1 and len(right) > 1:
        same_name = squeeze(left[0]) == squeeze(right[0]) and _NAME.fullmatch(left[0])
        return _same(left[-1], right[-1], leaf) if same_name else _NOT_MINE
    if len(left) > 1:
        return _same(left[-1], gold, leaf)
    if len(right) > 1 and _NAME.fullmatch(right[0]):
        return _same(answer, right[-1], leaf)
    return _NOT_MINE
