"""Values of parsed expressions: what is computed exactly, at points, by zero sets; and what is too large."""

from fractions import Fraction

import pytest
from selfdistill.grading import algebra
from sympy import (
    Abs,
    EmptySet,
    Eq,
    Float,
    Ge,
    Gt,
    Integer,
    Interval,
    Lt,
    Matrix,
    Mul,
    Pow,
    Rational,
    Symbol,
    Tuple,
    cos,
    cot,
    exp,
    factorial,
    log,
    oo,
    pi,
    sin,
    sqrt,
    symbols,
    zoo,
)

x, y = symbols("x y", real=True)


def power(base: int, exponent: int) -> Pow:
    return Pow(Integer(base), Integer(exponent), evaluate=False)


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        (power(3, 100), power(9, 50), True),
        (power(3, 100), power(9, 51), False),
        (1 / power(3, 400), 1 / power(3, 401), False),
        (factorial(Integer(30), evaluate=False), factorial(Integer(29), evaluate=False) * 30, True),
        (sqrt(2) * sqrt(3), sqrt(6), True),
        (sqrt(10**80 + 1), Integer(10**40), False),
        (pi * Rational(1, 10**60), Integer(0), False),
        (sin(pi / 7) ** 2 + cos(pi / 7) ** 2, Integer(1), True),
        (zoo, zoo, False),
        (oo, -oo, False),
        (oo, oo, True),
        ((x**2 - 1) / (x - 1), x + 1, True),
        (sqrt(x**2), Abs(x), True),
        (sqrt(x**2), x, False),
        (log(x**2), 2 * log(x), False),
        (sqrt(1 / x), 1 / sqrt(x), True),  # both are real for the same x
        (sqrt(x**2 - 2 * x + 1), x - 1, False),
        (cos(x) / sin(x), cot(x), True),
        (x + Rational(1, 10**30), x, False),
        (exp(x) * exp(y), exp(x + y), True),
        (x, y, False),
    ],
)
def test_values(a, b, same):
    assert algebra.same_expression(a, b) is same
    assert algebra.same_expression(b, a) is same


def test_numbers_of_too_many_bits_equal_nothing_else(monkeypatch):
    assert algebra.same_value(power(3, 100), power(9, 50))
    monkeypatch.setattr(algebra, "BITS", 64)
    for factor in (Integer(1), x, sqrt(2)):
        products = [Mul(power(*pair), factor, evaluate=False) for pair in ((3, 100), (9, 50))]
        assert not algebra.same_value(*products)
    assert not algebra.same_value(factorial(Integer(40), evaluate=False), factorial(Integer(39), evaluate=False) * 40)
    assert algebra.same_value(power(-1, 101), Integer(-1))


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        (Eq(x**2, 4), Eq(2 * x**2, 8), True),
        (Eq(x**2 + 3, 0, evaluate=False), Eq(x**2 + 7, 0, evaluate=False), False),
        (Eq((x - 1) ** 2, 0), Eq(x, 1), True),
        (Eq(y, 1 / x), Eq(x * y, 1), True),
        (Eq(x**2 / x, 0, evaluate=False), Eq(x, 0), True),
        (Eq(exp(x), y), Eq(y, exp(x)), True),
        (Eq(exp(x), y), Eq(exp(2 * x), y**2), False),  # y may be negative there
        (Gt(x, 3), Lt(3, x), True),
        (Gt(x, 3), Ge(x, 3), False),
        (Gt(x, y), Gt(2 * x, 2 * y), True),
        (Gt(x, y), Gt(y, x), False),
        (Gt(x, 3), Interval.open(3, oo), True),
        (Lt(x**2, -1, evaluate=False), EmptySet, True),
        (Lt(x**2, -1, evaluate=False), Lt(x**2, -2, evaluate=False), False),
        (Interval(0, 1), Interval.Lopen(0, 1), False),
        (Interval(0, 1 / power(3, 40)), Interval(0, 1 / power(3, 41)), False),
        (Matrix([1, x + x]), Matrix([1, 2 * x]), True),
        (Matrix([1, 2]), Matrix([[1, 2]]), False),
        (Tuple(x, 2), Tuple(x, 2), True),
        (Symbol("m"), Integer(5), False),
    ],
)
def test_relations_sets_and_matrices(a, b, same):
    assert algebra.same_expression(a, b) is same
    assert algebra.same_expression(b, a) is same


def test_a_value_behind_a_name_stands_beside_a_value():
    assert algebra.same_expression(Eq(Symbol("m"), 5), Integer(5))
    assert not algebra.same_expression(Eq(Symbol("m") + 1, 5), Integer(5))


def test_decimals_are_what_is_written():
    assert algebra.without_floats(Float("0.1") * x) == x / 10
    assert algebra.as_decimal(sqrt(2), 6) == pytest.approx(Fraction(14142135623730951, 10**16), rel=1e-15)
    assert algebra.as_decimal(x, 6) is None and algebra.as_decimal(sqrt(-2), 6) is None
