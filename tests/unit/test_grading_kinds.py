"""What is graded right and wrong, by kind: usual ways of writing an answer, and near misses of each."""

import pytest
from selfdistill.grading.grader import is_equivalent

EQUAL = {
    "root signs": [
        ("√36", "6"),
        ("√17", r"\sqrt{17}"),
        ("7+√10", r"7+\sqrt{10}"),
        ("√(10)", r"\sqrt{10}"),
        ("√√16", "2"),
        ("√2/2", r"\frac{\sqrt2}{2}"),
        ("3√(x+1)", r"3\sqrt{x+1}"),
        ("∛8", "2"),
        (r"\sqrt{1/m}", r"\frac{1}{\sqrt m}"),
    ],
    "exact numbers": [
        (r"\frac{3^{90}}{2^{90}}", "(3/2)^{90}"),
        (r"\frac{1}{3^{40}}", "3^{-40}"),
        (r"1-\frac{1}{3^{40}}", r"\frac{3^{40}-1}{3^{40}}"),
        ("2^{100}-1", str(2**100 - 1)),
        ("10^-4", "10^{-4}"),
        ("10^-4", "0.0001"),
        ("1.7320508", r"\sqrt3"),
        ("0.083333", r"\frac{1}{12}"),
        ("x=0.333333", r"x=\frac13"),
    ],
    "e-notation": [
        ("2.5e3", "2500"),
        ("2.5e-7", r"2.5 \times 10^{-7}"),
        ("2e-05", "0.00002"),
        ("1e6", "10^6"),
        ("2e-5", "2e - 5"),  # or twice Euler's number, less 5
    ],
    "repeating decimals": [
        (r"0.\overline{6}", r"\frac23"),
        (r"1.2\overline{7}", r"\frac{23}{18}"),
        (r"0.1\overline{6}", r"\frac16"),
        ("0.333333", r"0.\overline{3}"),
        ("0.(6)", r"\frac23"),
        (r"0.\overline{ab}", r"0.\overline{ab}"),
    ],
    "equations": [
        ("3x^2-15x+18=0", "x^2-5x+6=0"),
        ("x^2=4", "2x^2=8"),
        ("f(x)+g(x)=1", "1=g(x)+f(x)"),
        ("x^2+y^2=-1", "-x^2-y^2=1"),
        (r"y=\frac{1}{x}", "xy=1"),
        ("(x-1)^2=0", "x=1"),
        ("p=2, q=7", r"p=2 \quad q=7"),
        ("q=7, p=2", r"p=2 \quad q=7"),
        ("(2,7)", "p=2, q=7"),
    ],
    "bare names": [
        ("5pi/6", r"\frac{5\pi}{6}"),
        ("3*sin(2x)", r"3\sin 2x"),
        ("exp(3)", "e^3"),
        ("sin(x)", r"\sin x"),
        (r"\operatorname{arctan}(x)", r"\arctan x"),
        ("ln(2)", r"\ln 2"),
        ("p i", "i p"),
        (r"\sin 30^\circ", r"\frac12"),
        (r"2\sin 40^\circ", r"2\cos 50^\circ"),
    ],
    "units": [
        ("11 apples", "11"),
        ("36 pens", "36"),
        ("11 people", "11"),
        ("11 years old", "11"),
        ("11 m", "11"),
        ("6 hours.", "6"),
        (r"40 \mathrm{~min}", "40"),
        (r"9.8 \mathrm{~m/s^2}", "9.8"),
        (r"15 \mathrm{~km} / \mathrm{h}", "15"),
        ("9.8 m/s^2", "9.8"),
        ("5 (cm)", "5"),
        (r"5 (\text{square units})", "5"),
        ("3/4 cup", "3/4"),
        ("3 apples", r"3\text{ apples}"),
        (r"10 \text{ cm}", "10 centimeters"),
        ("5 hours", r"5 \text{ hr}"),
        ("11 cm²", "11"),
    ],
    "unions": [
        (r"x<-1 \text{ or } x>5", r"(-\infty,-1)\cup(5,\infty)"),
        ("x ≤ -1 or x ≥ 5", r"(-\infty,-1]\cup[5,\infty)"),
        ("x>5 or x<-1", r"x<-1 \lor x>5"),
        (r"-2<x<1\text{ or } x>5", r"(-2,1)\cup(5,\infty)"),
        (r"x=0 \text{ or } x>5", r"\{0\}\cup(5,\infty)"),
        (r"[1,2]\cup[2,3]", "[1,3]"),
    ],
    "spellings": [
        (r"\{t \mid t \le 8\}", r"\{t \mid t \leq 8\}"),
        (r"\{t | t ≤ 8\}", r"\{t \mid t \leqslant 8\}"),
        ("x^{n}", "x^n"),
        (r"\mathbb R", r"\mathbb{R}"),
        ("（1，2）", "(1,2)"),
        ("３．５", "3.5"),
        ("1、2；3", "1,2,3"),
        (r"\( \frac{1}{2} \)", "0.5"),
        (r"\[x=5\]", "5"),
        ("3½", "3.5"),
    ],
    "bases": [
        ("(312)_5", "312_5"),
        (r"312_{\text{5}}", "312_5"),
        (r"312_{(5)}", "312_5"),
        (r"312_{\text{five}}", "312_5"),
        (r"312 \text{ base } 5", "312_5"),
        ("2516₈", "2516_8"),
    ],
    "lists": [("4,9,4", "4,4,9"), (r"\{1,1,2\}", r"\{1,2\}"), ("x=2, x=3", "3,2")],
    "letters together": [("AC", "A, C"), (r"\text{A and C}", "AC"), ("(A), (C)", "CA")],
    "short words": [("YES", "yes"), ("No", r"\text{no}")],
    "any integer": [
        (r"2k\pi", r"2\pi k, k\in\mathbb{Z}"),
        (r"2\pi n, n \in \mathbb{Z}", r"2\pi k, k\in\mathbb{Z}"),
    ],
    "functions": [
        (r"\frac{x^2-1}{x-1}", "x+1"),
        (r"\cos 2x", r"1-2\sin^2 x"),
        (r"\frac{n!}{(n-1)!}", "n"),
        (r"\sum_{k=1}^n k", r"\frac{n(n+1)}{2}"),
        (r"|x|", r"\sqrt{x^2}"),
        ("R^2+r^2", "r^2+R^2"),
        (r"e^{i\pi}", "-1"),
    ],
}
OPTIONS = [
    "B: 44.05",
    "B. 44.05",
    r"\textbf{B)} 44.05",
    "(B): 44.05",
    r"\text{B) } 44.05",
    r"\text{B}. 44.05",
    "B:CC(C)O",
]
UNEQUAL = {
    "root signs": [
        ("√40", "0"),
        ("√94", "12"),
        ("√36", "36"),
        (r"\sqrt{x^2}", "x"),
        (r"\frac{1}{\sqrt m}", r"\sqrt{m}"),
    ],
    "exact numbers": [
        (r"\frac{1}{3^{40}}", r"\frac{1}{3^{39}}"),
        (r"\frac{3^{90}}{2^{90}}", r"\frac{3^{91}}{2^{90}}"),
        (r"\frac{1}{20!}", r"\frac{1}{21!}"),
        ("0.000000", r"\frac{1}{3^{40}}"),
        ("x+10^{-20}", "x"),
        ("10^{-20}x", "10^{-21}x"),
        (r"\sqrt{10^{80}+1}", "10^{40}"),
        (r"3^{-50}\pi", "0"),
        (r"\frac{\sqrt2}{10^8}", "0.0000001"),
        (r"(\frac{1}{3^{40}}, 1)", r"(\frac{1}{3^{39}}, 1)"),
        (r"x>\frac{1}{3^{40}}", r"x>\frac{1}{3^{39}}"),
        (r"x>\frac{1}{3^{40}}", r"(\frac{1}{3^{39}},\infty)"),
        (r"\begin{pmatrix} 3^{-40}\\1\end{pmatrix}", r"\begin{pmatrix} 3^{-39}\\1\end{pmatrix}"),
        ("10^-4", "10^4"),
        ("1.4142135", r"\sqrt2"),
    ],
    "e-notation": [("2.5e3", "2.5e4"), ("2.5e3", "2.5"), ("2e-5", "2e5")],
    "repeating decimals": [
        (r"0.\overline{6}", "0.6"),
        (r"0.\overline{6}", "0"),
        (r"3.\overline{3}", "3"),
        ("1.5(2)", r"\frac{137}{90}"),  # or 1.5 times 2
    ],
    "equations": [
        ("x^2+3=0", "x^2+7=0"),
        ("x^2+y^2=-1", "x^2+y^2=-2"),
        ("x^2+1=0", "x^4+1=0"),
        ("e^x=0", "e^x=-1"),
        ("x^2<-1", "x^2<-2"),
        (r"p=2 \quad q=7", r"p=9 \quad q=7"),
        ("p=2 q=7", "p=9 q=7"),
        ("7, 2", "p=2, q=7"),
    ],
    "bare names": [("ip", r"\pi"), ("exp(3)", "e^2"), (r"\sin 30", r"\frac12"), (r"\ln(x^2)", r"2\ln x")],
    "units": [
        ("11 apples", "12"),
        ("11 apples", "11 oranges"),
        ("11 apples", r"11 \text{ oranges}"),
        ("5 theta", "5"),
        (r"10 \text{ m}", r"10 \text{ cm}"),
        ("10 minutes", r"10 \mathrm{~h}"),
        ("5 cents", r"5 \text{ dollars}"),
        ("11 million", "11"),
        ("2 dozen", "2"),
        ("2 squared", "2"),
        ("3 t", "3"),
        ("5 sin", "5"),
        (r"2\mathrm{i}", "2"),
        (r"3\mathrm{e}", "3"),
    ],
    "unions": [
        (r"x<-1 \text{ or } x>5", r"(-\infty,-1]\cup(5,\infty)"),
        (r"x<-1 \text{ and } x>5", r"(-\infty,-1)\cup(5,\infty)"),
        ("x<-1 or y>5", r"(-\infty,-1)\cup(5,\infty)"),
        (r"[1,2)\cup(2,3]", "[1,3]"),
    ],
    "spellings": [(r"\{t \mid t \le 8\}", r"\{t \mid t < 8\}"), (r"\mathbb{R}", r"\mathbb{Z}"), ("（1，2）", "(2,1)")],
    "bases": [("(312)_5", "312_6"), (r"312_{\text{five}}", "312_6")],
    "lists": [("4,4,9", "4,9,9"), ("4,4,9", "4,9"), ("1,1", "1")],
    "letters together": [("AC", "A, B"), ("ABC", "A, C"), ("AC", "A")],
    "short words": [("no", "on"), ("yes", "no")],
    "any integer": [(r"k\pi", r"2\pi k, k\in\mathbb{Z}"), (r"2\pi k, k\in\mathbb{N}", r"2\pi k, k\in\mathbb{Z}")],
    "functions": [("R+r", "2r"), (r"\frac{R}{r}", "1"), ("xY+Xy", "2xy"), ("x^{100}+1", "x^{100}")],
}
# For the gold answer A, B or C as named last.
OTHER_CHOICES = [
    ("A: 44.05", "B"),
    ("(A) or (B)", "A"),
    ("A: 12, B: 13", "A"),
    ("A or B", "A"),
    ("A.B", "A"),
    ("C. 12", "B"),
]


def cases(kinds: dict[str, list[tuple[str, str]]]) -> list:
    return [
        pytest.param(*pair, id=f"{kind}-{index}") for kind, pairs in kinds.items() for index, pair in enumerate(pairs)
    ]


@pytest.mark.parametrize(("answer", "gold"), cases(EQUAL))
def test_equal(answer, gold):
    assert is_equivalent(answer, gold)
    assert is_equivalent(gold, answer)


@pytest.mark.parametrize(("answer", "gold"), cases(UNEQUAL))
def test_unequal(answer, gold):
    assert not is_equivalent(answer, gold)
    assert not is_equivalent(gold, answer)


@pytest.mark.parametrize("answer", OPTIONS)
def test_a_letter_may_stand_with_its_option(answer):
    assert is_equivalent(answer, "B") and is_equivalent(answer, r"\text{(B)}")
    assert not is_equivalent(answer, "A")


@pytest.mark.parametrize(("answer", "gold"), OTHER_CHOICES)
def test_another_letter_or_two_are_wrong(answer, gold):
    assert not is_equivalent(answer, gold)


def test_chains_of_equations_end_in_their_value():
    assert is_equivalent("x = 2+3 = 5", "5")
    assert not is_equivalent("x = 2+3 = 5", "6")
    assert is_equivalent("x = 1,234 = 1234", "1234") and is_equivalent("(x, y) = (3, 4)", "(3, 4)")


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        ("x=-2, x=2", "2"),
        (r"x = -2 \text{ or } x = 2", "2"),
        ("x = 3, y = 4", "4"),
        ("42 or x = 7", "7"),
        ("n=1, n=2, n=3", "n=3"),
        ("7", "x=2, x=7"),
    ],
)
def test_several_values_are_not_one_of_them(answer, gold):
    assert not is_equivalent(answer, gold) and is_equivalent(answer, answer)


@pytest.mark.parametrize("words", ["million", "hundred thousand", "dozen", "or less than that", "below zero"])
def test_words_that_change_a_number_are_no_unit(words):
    assert not is_equivalent(rf"5\text{{ {words}}}", "5") and is_equivalent(rf"5\text{{ {words}}}", f"5 {words}")
    assert not is_equivalent(r"\text{at most } 5", "5") and is_equivalent(r"12\text{ in}", "12")


def test_a_bare_pi_is_a_product_where_the_gold_answer_is():
    assert is_equivalent("pi", "p i")
    assert not is_equivalent("pi", "p i e")
