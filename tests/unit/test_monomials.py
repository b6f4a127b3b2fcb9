r"""Exact reading of q √n π^k: against decimal values, and what must be left to algebra."""

import itertools
import math

import pytest
from selfdistill.grading.equivalence import compare
from selfdistill.grading.monomials import LARGEST_RADICAND, Monomial, read_monomial

# Written forms by value. Equal values read as equal, different ones as different.
FORMS = {
    2 * math.pi: [r"2\pi", r"2 \pi", r"\pi \cdot 2", r"\frac{4\pi}{2}", r"\frac{4 \pi}{ 2 }", r"2\times\pi"],
    -math.pi / 6: [r"-\pi/6", r"\frac{-\pi}{6}", r"\frac{\pi}{-6}", r"-\frac{\pi}{6}"],
    20000 / math.pi: [r"\frac{20000}{\pi}", r"20000/\pi"],
    3 * math.sqrt(3) / 4: [r"\frac{3\sqrt{3}}{4}", r"3\sqrt3/4", r"\sqrt{27}/4", r"\sqrt{\frac{27}{16}}"],
    math.sqrt(0.5): [r"\frac{1}{\sqrt{2}}", r"\frac{\sqrt2}{2}", r"\sqrt{\frac{1}{2}}"],
    math.sqrt(12): [
        r"\sqrt{12}",
        r"2\sqrt{3}",
        r"2 \sqrt 3",
        r"\sqrt2\sqrt6",
        r"\sqrt{2} \cdot \sqrt{6}",
        r"\sqrt{2\cdot 6}",
    ],
    math.sqrt(2) * math.pi**2: [r"\sqrt2\pi\pi", r"\pi\sqrt{2}\cdot\pi"],
    2.0: ["2", "+2", r"\sqrt{4}", r"\frac{\sqrt{8}}{\sqrt{2}}", "4/2", r"2\cdot\sqrt{1}"],
    0.0: ["0", r"0\pi", r"\sqrt{0}", r"0\cdot\sqrt{3}\pi"],
}
OTHERS = [
    "", "x", "1.5", "2 3", "12 000", r"3\frac{1}{2}", r"\frac12", r"1/2\pi", "1/2/3", r"\sqrt12\pi 3", r"\sqrt[3]{2}",
    r"\sqrt{-1}", r"\sqrt{\pi}", r"\sqrt{1+\sqrt{2}}", "1+2", "2^3", r"\frac{1}{0}", r"1/0", r"\frac{1}{2", "{2}", "2}",
    r"\pi 2", "-", "--2", r"\pii", r"\sqrt", r"\frac{1}", rf"\sqrt{{{LARGEST_RADICAND + 1}}}", r"\cdot 2", r"2\cdot",
    "٣",
]  # fmt: skip


@pytest.mark.parametrize(("value", "text"), [(value, text) for value, texts in FORMS.items() for text in texts])
def test_value(value, text):
    read = read_monomial(text)
    assert float(read.rational) * math.sqrt(read.radicand) * math.pi**read.pi == pytest.approx(value, rel=1e-12)


def test_equal_exactly_when_the_values_are():
    texts = [(value, text) for value, forms in FORMS.items() for text in forms]
    for (a, left), (b, right) in itertools.product(texts, repeat=2):
        assert (read_monomial(left) == read_monomial(right)) is (a == b), (left, right)


@pytest.mark.parametrize("text", OTHERS)
def test_other_and_ambiguous_numbers_are_not_read(text):
    assert read_monomial(text) is None


def test_square_factors_leave_the_root():
    for number in range(1, 2000):
        read = read_monomial(rf"\sqrt{{{number}}}")
        assert read.rational**2 * read.radicand == number
        assert all(read.radicand % (divisor * divisor) for divisor in range(2, 45))
    assert read_monomial(r"\sqrt{50}") == Monomial(5, 2)


@pytest.mark.parametrize(
    ("answer", "gold", "verdict"),
    [
        (r"\frac{3\sqrt{3}}{4}", "3", False),
        (r"-\pi/6", r"-\frac{\pi}{6}", True),
        ("1.5", r"\frac{3\sqrt{4}}{4}", True),
        ("(2, 4)", r"12\pi", False),
        (r"(3, 4]", "5", False),
        (r"\text{Evelyn}", "9", False),
        (r"\text{(C)}", "3", False),
        ("3.141593", r"\pi", None),  # may be what was rounded
        (r"50\%", r"\frac{\pi}{2}", None),  # may be 50 or a half
        ("[3, 3]", "3", None),
        ("(1,234)", "1234", None),
        ("e", r"2\pi", None),
    ],
)
def test_what_is_decided_without_algebra(answer, gold, verdict):
    assert compare(answer, gold, leaf=lambda *_: None) is verdict
    assert compare(gold, answer, leaf=lambda *_: None) is verdict
