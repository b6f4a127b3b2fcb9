r"""Equality of two parsed expressions: numbers exactly, functions by their values, equations by their zero sets.

Numbers made of integers, decimals, powers, factorials and fractions are computed as fractions. The difference of any
other two is computed to more and more digits until it is seen not to be zero. Nothing is ever rounded to zero first, so
numbers that are both tiny are not equal for that. Functions are compared at rational points, which are the same every
time; where both are not real (a square root of a negative number) a point says nothing.
"""

import math
import random
from collections.abc import Iterator, Mapping
from fractions import Fraction

from latex2sympy2_extended.logic import And
from sympy import (
    Add,
    Basic,
    Derivative,
    Eq,
    Expr,
    FiniteSet,
    Float,
    I,
    Integer,
    Interval,
    Limit,
    MatrixBase,
    MatrixExpr,
    Mul,
    Ne,
    Poly,
    Pow,
    Rational,
    S,
    Set,
    Symbol,
    Tuple,
    UnevaluatedExpr,
    factor_list,
    factorial,
    nan,
    simplify,
    together,
    zoo,
)
from sympy.concrete.expr_with_limits import ExprWithLimits
from sympy.core.relational import Ge, Gt, Le, Lt, Relational

BITS = 2**18  # of a number that is computed exactly; a larger one equals nothing
DIGITS = 400  # to which a difference of constants is computed before it counts as zero
POINT_DIGITS = 200  # the same for a difference of functions at a point
POINTS = 12  # where two functions are compared at most
SURE, ENOUGH = 6, 3  # of them where both are real and equal: to stop at once; to be equal in the end
_STRICT, _WEAK = (Gt, Lt), (Ge, Le)

Values = Mapping[Symbol, Fraction]


def same_expression(a: Basic, b: Basic) -> bool:
    """Whether ``a`` and ``b`` mean the same: two values, relations, sets, tuples or matrices."""
    a, b = _last_value(a, b), _last_value(b, a)
    if isinstance(a, Expr) and isinstance(b, Expr) and not isinstance(a, MatrixExpr) and not isinstance(b, MatrixExpr):
        return same_value(a, b)
    if _is_relation(a) and _is_relation(b):
        return _same_relation(a, b)
    if isinstance(a, Set) or isinstance(b, Set):
        left, right = _as_set(a), _as_set(b)
        return left is not None and right is not None and _same_set(left, right)
    if isinstance(a, Tuple) and isinstance(b, Tuple):
        return len(a) == len(b) and all(map(same_expression, a, b))
    return _same_matrix(a, b)


# --- values -----------------------------------------------------------------------------------------------------------
def same_value(a: Expr, b: Expr) -> bool:
    """Whether two numbers or functions are equal, wherever either is real."""
    if a.has(nan, zoo) or b.has(nan, zoo):
        return False
    if a == b:
        return True
    a, b = (part.doit() if part.has(ExprWithLimits, Limit, Derivative) else part for part in (a, b))
    if a.is_infinite or b.is_infinite:
        return False
    symbols = a.free_symbols | b.free_symbols
    try:
        return _same_function(a, b, symbols) if symbols else _same_constant(a, b, {}, DIGITS)
    except _Unknown:
        return simplify(a - b) == 0


def _same_function(a: Expr, b: Expr, symbols: set[Symbol]) -> bool:
    plain = a.has(I) or b.has(I)  # a complex function, whose values count everywhere
    agreed = 0
    for values in _points(symbols):
        if _same_constant(a, b, values, POINT_DIGITS):
            agreed += plain or _is_real(a, values)
        elif plain or _is_real(a, values) or _is_real(b, values):
            return False
        if agreed == SURE or a - b == 0:  # not before a point has shown that no number in them is too large
            return True
    return agreed >= ENOUGH or simplify(a - b) == 0


def _points(symbols: set[Symbol]) -> Iterator[Values]:
    """Rational points: of four, two have positive coordinates alone, and one has negative ones alone."""
    source = random.Random(0)
    ordered = sorted(symbols, key=lambda symbol: symbol.name)
    for index in range(POINTS):
        signs = ((1,), (-1,), (1,), (1, -1))[index % 4]
        yield {symbol: Fraction(source.choice(signs) * source.randrange(1, 10_000), 997) for symbol in ordered}


def _same_constant(a: Expr, b: Expr, values: Values, digits: int) -> bool:
    try:
        return _exact(a, values) == _exact(b, values)
    except _Irrational:
        pass
    except _TooLarge:
        return False
    a, b = _at(a, values), _at(b, values)
    if a.has(nan, zoo) or b.has(nan, zoo):
        return False
    return _is_zero(a - b, digits, beside=a)


def _is_zero(number: Expr, digits: int, beside: Expr = S.Zero) -> bool:
    """Whether ``number`` cannot be told from zero with as many as ``digits`` digits, also of those of ``beside``."""
    parts = _parts(number, digits)
    if all(part == 0 or part._prec == 1 for part in parts):
        return True
    return bool(max(map(abs, parts)) * 10**digits < max(map(abs, _parts(beside, digits))))


def _is_real(a: Expr, values: Values) -> bool:
    imaginary = _parts(_at(a, values), POINT_DIGITS)[1]
    return imaginary == 0 or imaginary._prec == 1


def _parts(number: Expr, digits: int) -> tuple[Expr, Expr]:
    """Real and imaginary part as decimals; one that is lost in rounding has the precision 1."""
    parts = number.evalf(10, maxn=digits).as_real_imag()
    if not all(part == 0 or isinstance(part, Float) for part in parts):
        raise _Unknown
    return parts


def _at(a: Expr, values: Values) -> Expr:
    return a.xreplace({symbol: Rational(value.numerator, value.denominator) for symbol, value in values.items()})


class _Irrational(Exception):
    """Not made of rational numbers by rational operations."""


class _TooLarge(Exception):
    """Has more than `BITS` bits."""


class _Unknown(Exception):
    """No decimal number."""


def _exact(a: Expr, values: Values) -> Fraction:
    if isinstance(a, Rational):
        return Fraction(a.p, a.q)
    if isinstance(a, Symbol):
        return values[a]
    if isinstance(a, Add):
        return _bounded(sum((_exact(part, values) for part in a.args), Fraction(0)))
    if isinstance(a, Mul):
        product = Fraction(1)
        for part in a.args:
            product = _bounded(product * _exact(part, values))
        return product
    if isinstance(a, Pow):
        return _power(_exact(a.base, values), _exact(a.exp, values))
    if isinstance(a, factorial):
        return _factorial(_exact(a.args[0], values))
    if isinstance(a, UnevaluatedExpr):
        return _exact(a.args[0], values)
    raise _Irrational


def _power(base: Fraction, exponent: Fraction) -> Fraction:
    if exponent.denominator > 1 or (base == 0 and exponent <= 0):
        raise _Irrational
    if abs(base) != 1 and abs(exponent) * _bits(base) > BITS:
        raise _TooLarge
    return base ** (exponent.numerator if abs(base) != 1 else exponent.numerator % 2)


def _factorial(number: Fraction) -> Fraction:
    if number.denominator > 1 or number < 0:
        raise _Irrational
    if number * _bits(number) > BITS:
        raise _TooLarge
    return Fraction(math.factorial(number.numerator))


def _bounded(number: Fraction) -> Fraction:
    if _bits(number) > BITS:
        raise _TooLarge
    return number


def _bits(number: Fraction) -> int:
    return max(number.numerator.bit_length(), number.denominator.bit_length())


# --- relations --------------------------------------------------------------------------------------------------------
def _is_relation(a: Basic) -> bool:
    return isinstance(a, Relational) or (isinstance(a, And) and all(map(_is_relation, a._unsorted_args)))


def _last_value(a: Basic, other: Basic) -> Basic:
    """The value behind a name, beside a value: 5 of m = 5."""
    last = a._unsorted_args[-1] if isinstance(a, And) and _is_relation(a) else a
    first = a._unsorted_args[0] if last is not a else a
    names = isinstance(first, Eq) and isinstance(last, Eq) and isinstance(first.lhs, Symbol)
    return last.rhs if names and not _is_relation(other) else a


def _same_relation(a: Basic, b: Basic) -> bool:
    if isinstance(a, And) and isinstance(b, And):
        parts, others = a._unsorted_args, b._unsorted_args
        if len(parts) == len(others) and all(map(_same_relation, parts, others)):
            return True
    elif type(a) is type(b) and isinstance(a, (Eq, Ne)):
        return _same_zeros(a.lhs - a.rhs, b.lhs - b.rhs)
    elif any(isinstance(a, kind) and isinstance(b, kind) for kind in (_STRICT, _WEAK)) and _ratio(
        _positive(a), _positive(b), signed=True
    ):
        return True
    if any(part.has(Eq, Ne) for part in (a, b)):
        return False
    left, right = _as_set(a), _as_set(b)
    return None not in (left, right) and not left.is_empty and _same_set(left, right)


def _positive(a: Relational) -> Expr:
    """What an inequality says to be positive, or not negative."""
    return a.lhs - a.rhs if isinstance(a, (Gt, Ge)) else a.rhs - a.lhs


def _same_zeros(a: Expr, b: Expr) -> bool:
    """Whether ``a`` and ``b`` vanish at the same points, complex ones included.

    Polynomials do if they have the same irreducible factors; other functions must be multiples of each other.
    """
    if a.free_symbols and 0 in (a - b, a + b):
        return True
    return _ratio(a, b, signed=False) or (_factors(a, b) is not None and _factors(a, b) == _factors(b, a))


def _ratio(a: Expr, b: Expr, *, signed: bool) -> bool:
    """Whether ``a`` is a constant times ``b``, and if ``signed`` a positive one."""
    symbols = a.free_symbols | b.free_symbols
    if not a.free_symbols or a.free_symbols != b.free_symbols:
        return False
    values = next(_points(symbols))
    left, right = _at(a, values), _at(b, values)
    if _is_zero(left, POINT_DIGITS) or _is_zero(right, POINT_DIGITS):
        return False
    if signed and not (left * right).evalf().is_positive:
        return False
    return same_value(a * right, b * left)


def _factors(a: Expr, b: Expr) -> frozenset[Poly] | None:
    """The irreducible factors that make ``a`` vanish; None for anything but a rational function over the rationals."""
    symbols = sorted(a.free_symbols | b.free_symbols, key=lambda symbol: symbol.name)
    above, below = together(a).as_numer_denom()
    if not symbols or not all(part.is_polynomial(*symbols) for part in (above, below)):
        return None
    found = [{Poly(factor, *symbols) for factor, _ in factor_list(part, *symbols)[1]} for part in (above, below)]
    if not all(number.is_Rational for poly in (*found[0], *found[1]) for number in poly.coeffs()):
        return None
    return frozenset(poly.monic() for poly in found[0]) - {poly.monic() for poly in found[1]} or None


# --- sets and matrices ------------------------------------------------------------------------------------------------
def _as_set(a: Basic) -> Set | None:
    """A set, or what an inequality describes; None for anything else: a list of one value twice is not that value."""
    if isinstance(a, Set):
        return a
    try:
        return a.as_set() if _is_relation(a) and not a.has(Eq) else None
    except NotImplementedError:  # of several unknowns
        return None


def _same_set(a: Set, b: Set) -> bool:
    if a == b:
        return True
    if isinstance(a, Interval) and isinstance(b, Interval):
        open_ends = (a.left_open, a.right_open) == (b.left_open, b.right_open)
        return bool(open_ends) and same_value(a.start, b.start) and same_value(a.end, b.end)
    if isinstance(a, FiniteSet) and isinstance(b, FiniteSet):
        return all(any(same_expression(x, y) for y in b) for x in a) and all(
            any(same_expression(x, y) for x in a) for y in b
        )
    return a.symmetric_difference(b).is_empty is True


def _same_matrix(a: Basic, b: Basic) -> bool:
    a, b = (part.doit() if isinstance(part, MatrixExpr) else part for part in (a, b))
    if not (isinstance(a, MatrixBase) and isinstance(b, MatrixBase)):
        return False
    return a.shape == b.shape and all(map(same_value, a.flat(), b.flat()))


def without_floats(a: Basic) -> Basic:
    """``a`` with decimals as the fractions that they are."""
    return a.xreplace({number: Rational(str(number)) for number in a.atoms(Float)})


def as_decimal(a: Expr, places: int) -> Fraction | None:
    """A real constant to more than ``places`` decimal places; None for any other expression."""
    value = a.evalf(places + 30) if isinstance(a, Expr) and not a.free_symbols else None
    return Fraction(str(value)) if isinstance(value, (Float, Integer, Rational)) else None
