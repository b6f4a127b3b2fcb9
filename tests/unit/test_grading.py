"""Extraction and equivalence, on ordinary and on hostile answers."""

import threading
import time

import pytest

from selfdistill import grading
from selfdistill.grading import extract_answer, grade_many, is_equivalent

PMATRIX = r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}"

EQUAL = [
    ("17", "17"),
    (" 17 ", "17"),
    (r"\frac12", "0.5"),
    (r"\frac{1}{2}", r"\dfrac{1}{2}"),
    (r"\tfrac{3}{4}", "0.75"),
    (r"\dfrac{1}{2}", "1/2"),
    ("3/56", r"\frac{3}{56}"),
    (r"-\frac{3}{4}", "-0.75"),
    (r"\frac{-3}{4}", r"-\frac34"),
    ("2/4", "1/2"),
    (r"3\frac{1}{2}", "7/2"),
    ("3 1/2", "3.5"),
    (r"-1\frac{1}{4}", "-1.25"),
    (r"\sqrt{8}", r"2\sqrt{2}"),
    (r"11\sqrt2", r"11\sqrt{2}"),
    (r"\frac{\sqrt{3}}{2}", r"\sqrt{3}/2"),
    (r"\frac{1}{\sqrt{2}}", r"\frac{\sqrt{2}}{2}"),
    ("3+4i", "4i+3"),
    ("6 - 5i", "6-5i"),
    ("1,234", "1234"),
    ("1{,}234", "1234"),
    (r"1\,234", "1234"),
    (r"1,\!234,\!567", "1234567"),
    ("12,345.5", "12345.5"),
    ("033", "33"),
    ("007", "7"),
    ("1.50", "1.5"),
    (".5", "0.5"),
    ("5.", "5"),
    ("x = 5", "5"),
    ("n=12", "12"),
    ("f(x) = 2x", "2x"),
    (r"90^\circ", "90"),
    (r"90^{\circ}", "90"),
    ("90°", "90"),
    (r"42\%", "42"),
    ("42%", "42"),
    (r"\$12", "12"),
    ("$12$", "12"),
    (r"5\text{ cm}", "5"),
    (r"5 \text{ square units}", "5"),
    (r"\text{east}", "East"),
    ("Evelyn", "evelyn"),
    (r"\text{(C)}", "C"),
    ("(C)", "C"),
    ("C", "(C)"),
    (r"\textbf{(B)}", "B"),
    ("(1,2)", "(1, 2)"),
    (r"\left(3,\frac{\pi}{2}\right)", r"(3,\pi/2)"),
    (r"( \frac12, 2 )", "(0.5,2)"),
    (r"\{1,2\}", r"\{2,1\}"),
    (r"\left\{1, 2, 3\right\}", r"\{3,1,2\}"),
    ("1,2", "2,1"),
    ("1,-2", "-2, 1"),
    ("(0,1]", "(0, 1]"),
    (r"(-\infty, 2)", r"(-\infty,2)"),
    (r"[-2,\frac{1}{2}]", "[-2,0.5]"),
    (PMATRIX, r"\begin{pmatrix}1\\2\end{pmatrix}"),
    (r"2\pi", r"\pi\cdot 2"),
    ("x^2+2x+1", "(x+1)^2"),
    ("p - q", "-q+p"),
    ("10!", "3628800"),
    ("2^{10}", "1024"),
    (r"\frac{x}{2}", "0.5x"),
    (r"\sin 30^\circ", r"\sin 30^{\circ}"),
    (r"y = 2x + 3", "2x+3"),
]
UNEQUAL = [
    ("2", "3"),
    ("-5", "5"),
    ("", ""),
    ("", "0"),
    ("0.333", "1/3"),
    ("0.5", "0.05"),
    ("1234", "123"),
    ("1/0", "1"),
    (r"\frac{1}{0}", "0"),
    (r"\pi", "3.14159"),
    (r"\sqrt{2}", "1.414"),
    (r"\sqrt{2}", r"\sqrt{3}"),
    ("3+4i", "3-4i"),
    ("(1,2)", "(2,1)"),
    ("(1,2)", "(1,2,3)"),
    ("(0,1]", "[0,1]"),
    ("(0,1)", "(0,1]"),
    ("[0,1)", "(0,1]"),
    (r"\{1,2\}", r"\{1,3\}"),
    (r"\{1,2\}", r"\{1,2,3\}"),
    ("1,2", "1,3"),
    ("(1,2)", r"\{1,2\}"),
    ("1", "1,2"),
    ("(1,2)", "1"),
    ("D", "(C)"),
    ("east", "west"),
    (r"\text{yes}", "no"),
    ("5x", "5"),
    ("x", "y"),
    ("x^2", "x^3"),
    (PMATRIX, r"\begin{pmatrix}2\\1\end{pmatrix}"),
    ("17 + 25", "43"),
    ("hello world", "42"),
    ("12", r"\text{twelve}"),
    ("__import__('os')", "0"),
    ("2^10", "1000"),
]
HOSTILE = [
    "9^9^9",
    "9^{9^{9^{9}}}",
    "100000000!",
    "9" * 1_000_000,
    r"\frac{1}{" * 3000 + "1" + "}" * 3000,
    "{" * 5000,
    "(" * 390,
    "\\" * 399,
    r"10^{10^{10}}",
    "\x00\ud800",
    r"\int_0^{10^9} x^x dx",
]


@pytest.mark.parametrize(("answer", "gold"), EQUAL)
def test_equal(answer, gold):
    assert is_equivalent(answer, gold)
    assert is_equivalent(gold, answer)


@pytest.mark.parametrize(("answer", "gold"), UNEQUAL)
def test_unequal(answer, gold):
    assert not is_equivalent(answer, gold)
    assert not is_equivalent(gold, answer)


@pytest.mark.parametrize("answer", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_answers_are_wrong_soon_and_leave_the_grader_usable(answer):
    started = time.monotonic()
    assert not is_equivalent(answer, "7 + x")
    assert time.monotonic() - started < grading.LIMIT_SECONDS + 20  # a new worker may have to start first
    assert is_equivalent("x + 7", "7 + x")


def test_no_answer_is_wrong():
    assert not is_equivalent(None, "1")


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"The answer is \boxed{ 17 }", "17"),
        (r"\boxed{1} then \boxed{2}", "2"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{\{1,2\}}", r"\{1,2\}"),
        (r"\boxed{\left\{x\right.}", r"\left\{x\right."),
        (r"\fbox{3}", "3"),
        (r"\boxed 5", "5"),
        (r"<think>\boxed{3}</think> so \boxed{4}", "4"),
        (r"thinking \boxed{3}</think> so \boxed{4}", "4"),
        (r"<think>\boxed{3}</think> nothing", None),
        (r"<think> unfinished \boxed{3}", None),
        (r"\boxed{}", None),
        (r"\boxed{  }", None),
        (r"\boxed{1", None),
        (r"\boxed{1} \boxed{2", None),
        ("We want 17 + 25.", None),
        ("", None),
    ],
)
def test_extract_answer(text, answer):
    assert extract_answer(text) == answer


def test_box_in_thinking_that_the_prompt_opened_does_not_count():
    assert extract_answer(r"so \boxed{3}", opened=True) is None
    assert extract_answer(r"so \boxed{3}</think> \boxed{4}", opened=True) == "4"


def test_only_the_answer_is_evaluated():
    assert not is_equivalent(extract_answer("We want 17 + 25."), "42")


def test_grade_many_keeps_order_and_grades_equal_pairs_once(monkeypatch):
    graded = []
    monkeypatch.setattr(grading, "is_equivalent", lambda a, g: graded.append((a, g)) or a == g)
    pairs = [("1", "1"), ("2", "1"), (None, "1"), ("1", "1"), ("2", "1")]
    assert grade_many(pairs, workers=2) == [True, False, False, True, False]
    assert sorted(graded, key=str) == sorted(set(pairs), key=str)


def test_grading_works_from_threads():
    verdicts = []
    threads = [threading.Thread(target=lambda: verdicts.append(is_equivalent("x + 7", "7 + x"))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert verdicts == [True, True]
