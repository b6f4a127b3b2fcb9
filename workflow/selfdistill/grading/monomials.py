r"""Numbers q √n π^k, with q rational, n a square-free integer and k an integer, read exactly from LaTeX.

Two of them are equal only when q, n and k are: square roots of different square-free integers are linearly independent
over the rationals, and π is transcendental. So ``\frac{3\sqrt{3}}{4}`` and ``2\pi`` are told apart without algebra.
"""

import re
from dataclasses import dataclass
from fractions import Fraction

LARGEST_RADICAND = 10**6  # factors are found by trial division

_TOKEN = re.compile(r"(\d+|\\(?:sqrt|frac|pi|cdot|times)(?![a-zA-Z])|[-+*/{}])\s*", re.ASCII)
_TIMES = ("\\cdot", "\\times", "*")
_FACTORS = ("\\sqrt", "\\frac", "\\pi")


@dataclass(frozen=True)
class Monomial:
    """``rational`` · √``radicand`` · π^``pi``; zero has radicand 1 and power 0."""

    rational: Fraction
    radicand: int = 1
    pi: int = 0


def read_monomial(text: str) -> Monomial | None:
    """The number ``text``; None if it has another form, or two readings, as 1/2π and 3 1/2."""
    tokens, end = [], 0
    for found in _TOKEN.finditer(text):
        if found.start() != end:
            return None
        tokens.append(found.group(1))
        end = found.end()
    if not tokens or end != len(text):
        return None
    try:
        reader = _Reader(tokens)
        value = reader.product()
    except (_OtherNumber, ZeroDivisionError):
        return None
    return value if not reader.tokens else None


class _OtherNumber(Exception):
    """Not of this form, or ambiguous."""


class _Reader:
    def __init__(self, tokens: list[str]):
        self.tokens = tokens[::-1]  # the next one is the last

    @property
    def next(self) -> str:
        return self.tokens[-1] if self.tokens else ""

    def product(self) -> Monomial:
        sign = {"-": -1, "+": 1}.get(self.next)
        if sign:
            self.tokens.pop()
        value = _times(Monomial(Fraction(sign or 1)), self.factor())
        while self.next in (*_TIMES, *_FACTORS):
            explicit = self.next in _TIMES
            if explicit:
                self.tokens.pop()
            value = _times(value, self.factor())
            if not explicit and self.next.isdigit():
                raise _OtherNumber
        if self.next == "/":
            self.tokens.pop()
            value = _times(value, _inverse(self.factor()))
        return value

    def factor(self) -> Monomial:
        token = self.tokens.pop() if self.tokens else ""
        if token.isdigit():
            if self.next == "\\frac":  # a mixed number, or a product
                raise _OtherNumber
            return Monomial(Fraction(int(token)))
        if token == "\\pi":
            return Monomial(Fraction(1), pi=1)
        if token == "\\frac":
            above = self.group()
            return _times(above, _inverse(self.group()))
        if token == "\\sqrt":
            return _root(Monomial(Fraction(int(self.tokens.pop()))) if re.fullmatch(r"\d", self.next) else self.group())
        raise _OtherNumber

    def group(self) -> Monomial:
        """The content of braces."""
        if self.next != "{":
            raise _OtherNumber
        self.tokens.pop()
        value = self.product()
        if self.next != "}":
            raise _OtherNumber
        self.tokens.pop()
        return value


def _times(a: Monomial, b: Monomial) -> Monomial:
    rational, pi = a.rational * b.rational, a.pi + b.pi
    if rational == 0:
        return Monomial(rational)
    outside, radicand = _square_free(a.radicand * b.radicand)
    return Monomial(rational * outside, radicand, pi)


def _inverse(a: Monomial) -> Monomial:
    """1 / (q √n π^k) = √n / (q n π^k)."""
    return Monomial(1 / (a.rational * a.radicand), a.radicand, -a.pi)


def _root(a: Monomial) -> Monomial:
    """The square root of a rational number from 0 on: √(p / q) = √(p q) / q."""
    if a.radicand != 1 or a.pi or a.rational < 0:
        raise _OtherNumber
    outside, radicand = _square_free(a.rational.numerator * a.rational.denominator)
    return Monomial(Fraction(outside, a.rational.denominator), radicand)


def _square_free(number: int) -> tuple[int, int]:
    """(a, b) with ``number`` = a² b and b square-free; of 0: (0, 1)."""
    if number > LARGEST_RADICAND:
        raise _OtherNumber
    if number == 0:
        return 0, 1
    outside, divisor = 1, 2
    while divisor * divisor <= number:
        while number % (divisor * divisor) == 0:
            number //= divisor * divisor
            outside *= divisor
        divisor += 1
    return outside, number
