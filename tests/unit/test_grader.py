"""Extraction and equivalence, on ordinary and on hostile answers."""

import json
import os
import signal
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest
from selfdistill.grading import grader
from selfdistill.grading.equivalence import compare
from selfdistill.grading.grader import Worker, extract_answer, grade_many, is_equivalent, tagged_answer

PMATRIX = r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}"

TAGGED = [
    ("<reasoning>\nIt is B.\n</reasoning>\n<answer>\nC\n</answer>", "C"),
    ("<answer>A</answer> no, <answer> B </answer>", "B"),
    (r"<answer>\boxed{D}</answer>", r"\boxed{D}"),
    ("It is C.", None),
    ("<answer>C", None),
    ("<answer>A</answer> no, <answer>B", None),
    ("C</answer>", None),
    ("<answer> </answer>", None),
    (r"\boxed{C}", None),
    ("<think><answer>A</answer></think><answer>B</answer>", "B"),
    ("<think><answer>A</answer>", None),
]
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
    # units, currency, percent
    ("15", r"15\mbox{ cm}^2"),
    (r"15\text{ cm}^{2}", r"15\mbox{ cm}^2"),
    (r"15\,\mathrm{cm}^2", "15"),
    (r"5\ \mathrm{m}", "5"),
    ("15 cm", "15"),
    ("12 square units", "12"),
    ("864", r"864 \mbox{ inches}^2"),
    (r"\frac{270}7\text{ degrees}", r"\frac{270}{7}"),
    ("18.9", r"\$18.90"),
    ("32,348 dollars", r"\$32,\!348"),
    (r"5^{\text{th}}", "5"),
    (r"5.4 \text{ cents}", "5.4"),
    ("0.42", r"42\%"),
    # numbers
    (r"\frac 34", "0.75"),
    (r"\frac9{19}", "9/19"),
    (r"\frac{24}{-25}", r"-\frac{24}{25}"),
    ("137.5", r"137 \frac{1}{2}"),
    (r"1\frac{4}{5}", "9/5"),
    (r"11,\! 111,\! 111,\! 100", "11111111100"),
    (r"-1\,234\,567", "-1,234,567"),
    (r"1,234\pi", r"1234\pi"),
    ("−5", "-5"),
    ("- 5", "-5"),
    ("+5", "5"),
    (r".0000672", r"6.72 \times 10^{-5}"),
    ("0.333333", "1/3"),
    ("1.414214", r"\sqrt{2}"),
    (r"2516_{8}", "2516_8"),
    ("2516", "2516_8"),
    ("{5}", "5"),
    ("(5)", "5"),
    # roots and complex numbers
    ("2√5", r"2\sqrt{5}"),
    ("2*sqrt(5)", r"\sqrt{20}"),
    (r"\sqrt[3]{8}", "2"),
    (r"\frac{3+2i}{5}", r"\frac35+\frac25i"),
    ("(1+i)^2", "2i"),
    (r"3+4\mathrm{i}", "3+4i"),
    (r"\sqrt{-4}", "2i"),
    (r"\frac{-1 + i\sqrt{3}}{2}", r"-\frac12+\frac{\sqrt3}{2}i"),
    # lists
    (r"1 \pm \sqrt{19}", r"1+\sqrt{19}, 1-\sqrt{19}"),
    (r"x = \pm 2", r"\{-2,2\}"),
    (r"\frac{-1\pm\sqrt5}{2}", r"\frac{-1+\sqrt{5}}{2},\frac{-1-\sqrt{5}}{2}"),
    (r"x\in\{-2,1\pm\sqrt{5}\}", r"\{1\pm\sqrt{5},-2\}"),
    (r"x = 1 \text{ or } x = 2", "2,1"),
    (r"3, 5, \text{ and } 7", r"\{7,5,3\}"),
    ("7 and 5", "5,7"),
    ("1,16", "(1,16)"),
    ("(1,2),(3,4)", "(3,4),(1,2)"),
    ("100,200", "200, 100"),
    (r"\{5\}", "5"),
    (r"\varnothing", r"\{\}"),
    (r"\langle 1,2\rangle", "(1,2)"),
    (r"\begin{bmatrix} 1 \\ 2 \end{bmatrix}", PMATRIX),
    (r"\begin{pmatrix} \frac{1}{2} & -0.5 \end{pmatrix}", r"\begin{pmatrix} 1/2 & -1/2 \end{pmatrix}"),
    # intervals
    (r"x \in [-2,7]", "[-2,7]"),
    (r"-2 \le x \le 7", r"x \in [-2,7]"),
    (r"x > 3", r"(3,\infty)"),
    (r"(3,\infty)\cup(-\infty,2)", r"(-\infty, 2) \cup (3, \infty)"),
    ("(-∞, 2) ∪ (3, ∞)", r"(-\infty, 2) \cup (3, \infty)"),
    (r"\left(\frac{3}{5},\frac{8}{3}\right]", r"(0.6,\frac83]"),
    # names and equations
    (r"\theta = 30^\circ", "30"),
    (r"x_1 = 3", "3"),
    ("(x,y)=(1,2)", "(1,2)"),
    (r"P(X) = \frac12", "1/2"),
    ("x=5.0", "x = 5"),
    ("x=5", "x = 10/2"),
    ("-5x+7y-11z-4=0", "5x - 7y + 11z + 4 = 0"),
    ("y-2x=3", "y = 2x + 3"),
    ("3 < x", "x > 3"),
    # words
    ("Ellipse", r"\text{ellipse}"),
    (r"\mathrm{even}", r"\textbf{Even}"),
    (r"\text{no real solutions}", "No real  solutions"),
    ("C.", "(C)"),
    (r"\text{C}", r"\text{(C)}"),
    # expressions
    ("(b+2)(a+5)", "ab+2a+5b+10"),
    (r"\frac{\cos x}{\sin x}", r"\cot x"),
    (r"\binom{5}{2}", "10"),
    (r"\log_2 8", "3"),
    (r"|-5|", "5"),
    (r"\frac{20000}{\pi}", r"20000/\pi"),
    (r"\frac{5}{2}\pi", r"\frac{5\pi}{2}"),
    ("x^{2}\n+1", "1+x^2"),
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
    # numbers are exact
    ("3 1/2", "31/2"),
    (r"\{3 1/2, 1\}", r"\{31/2, 1\}"),
    ("1 2", "12"),
    ("0.0000671", ".0000672"),
    (r"6.71 \times 10^{-5}", ".0000672"),
    ("0.3333", "1/3"),
    ("0.333334", "1/3"),
    ("0.666666", "2/3"),
    ("0.42%", "42%"),
    ("42%", "4200"),
    ("2516_9", "2516_8"),
    ("11_2", "3"),
    ("12,34", "1234"),
    # what math-verify drops as a unit or a sentence's end is part of the answer
    ("3t", "3"),
    ("5h", "5"),
    ("2k", "2"),
    ("hello 42", "42"),
    ("42 ~~ &", "42"),
    # complex
    ("-2-7i", "-2+7i"),
    ("3i", "3"),
    ("2i", "2j"),
    # lists
    ("2,1", "(1,2)"),
    ("[1,2]", "1,2"),
    (r"[1,2]", r"\{1,2\}"),
    (r"1 \pm \sqrt{19}", r"1+\sqrt{19}"),
    (r"1 \pm \sqrt{19}", r"1 \pm \sqrt{17}"),
    ("(1,2),(3,4)", "(2,1),(3,4)"),
    ("1,2,3", "1,2"),
    # intervals
    (r"-2 \le x < 7", "[-2,7]"),
    (r"x \ge 3", r"(3,\infty)"),
    (r"(-\infty, 2] \cup (3, \infty)", r"(-\infty, 2) \cup (3, \infty)"),
    (r"(-\infty,2)", r"(2,\infty)"),
    # names and equations
    ("x=5", "y=5"),
    ("5x-7y+11z+5=0", "5x - 7y + 11z + 4 = 0"),
    ("2x+3y=5", "2x+3y=6"),
    # words
    ("odd", r"\text{even}"),
    (r"\text{(D)}", r"\text{(C)}"),
    ("(x)(x+1)", "x"),
    (r"\text{ellipse}", r"\text{parabola}"),
    # matrices
    (r"\begin{pmatrix} -1 & 0 \\ 0 & 1 \end{pmatrix}", r"\begin{pmatrix} -1 & 0 \\ 0 & -1 \end{pmatrix}"),
]
# The answer may be more than the gold answer, not less.
ONE_WAY = [
    (r"\textbf{(C)}\ 12", r"\text{(C)}"),
    (r"\text{(C) ellipse}", "C"),
    ("17 + 25 = 42", "42"),
]
# Longer than any answer that is read as mathematics.
OVERLONG = ["9" * 1_000_000, "^" + " " * 1_000_000, r"\text" + " " * 1_000_000]
# For our own rules: what could make them slow or break them.
BROKEN = [
    "$" * 500,
    "=" * 400,
    r"\pm" * 160,
    "√" * 400,
    "_" * 400,
    " or " * 120,
    ", " * 240,
    "\x00\ud800",
    "1/0",
    "7e999",
]


# --- equivalence ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("answer", "gold"), EQUAL)
def test_equal(answer, gold):
    assert is_equivalent(answer, gold)
    assert is_equivalent(gold, answer)


@pytest.mark.parametrize(("response", "answer"), TAGGED)
def test_an_answer_between_tags_is_the_last_that_is_closed_outside_thinking(response, answer):
    assert tagged_answer(response) == answer
    if "</think>" not in response:
        assert tagged_answer(response, opened=True) is None


@pytest.mark.parametrize(("answer", "gold"), UNEQUAL)
def test_unequal(answer, gold):
    assert not is_equivalent(answer, gold)
    assert not is_equivalent(gold, answer)


@pytest.mark.parametrize(("answer", "gold"), ONE_WAY)
def test_equal_one_way(answer, gold):
    assert is_equivalent(answer, gold)
    assert not is_equivalent(gold, answer)


def test_no_answer_is_wrong():
    assert not is_equivalent(None, "1")


def test_only_the_answer_is_evaluated():
    text = "We want 17 + 25."  # which math-verify grades as 42
    assert not is_equivalent(extract_answer(text), "42")


# --- hostile answers and the worker -----------------------------------------------------------------------------------
@pytest.fixture
def worker(monkeypatch):
    """A worker of this test's own, with little patience."""
    monkeypatch.setattr(grader, "LIMIT_SECONDS", 0.5)
    worker = Worker()
    yield worker
    worker.close()


@pytest.mark.parametrize("answer", OVERLONG, ids=range(len(OVERLONG)))
def test_overlong_answers_are_wrong(answer):
    assert not is_equivalent(answer, "7 + x")


@pytest.mark.parametrize("answer", BROKEN, ids=range(len(BROKEN)))
def test_broken_answers_are_decided_or_left_to_algebra(answer):
    assert compare(answer, "7 + x", leaf=lambda *_: False) is False
    assert compare("7 + x", answer, leaf=lambda *_: False) is False


# Stands in for math-verify: reads sums, and is slow, greedy or gone where the answer says so.
STAND_IN = """
import os
import sympy

class LatexExtractionConfig:
    def __init__(self, **settings): pass

def parse(text, *settings, **more):
    text = text.strip("$")
    while "slow" in text: pass
    while "busy" in text: sum(range(10**9))  # in C: no handler of Python's runs meanwhile
    if "greedy" in text: bytearray(8 * 1024**3)
    if "gone" in text: os._exit(3)
    parts = text.replace("greedy", "7").replace(" ", "").split("+")
    return [sum(sympy.Integer(part) if part.isdigit() else sympy.Symbol(part) for part in parts)]
"""


@pytest.fixture
def stand_in(worker, monkeypatch, tmp_path):
    """A worker whose algebra is made up."""
    (tmp_path / "math_verify.py").write_text(STAND_IN)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert worker.verdict("x + 7", "7 + x")
    return worker


@pytest.mark.parametrize("answer", ["slow + x", "busy + x", "greedy + x"])
def test_answers_beyond_the_limits_of_time_and_memory_are_wrong(stand_in, answer):
    process = stand_in._process
    assert stand_in._ask(json.dumps([answer, "7 + x"])) == "false"
    assert stand_in.verdict("x + 7", "7 + x")
    assert stand_in._process is process  # nothing had to start again


def test_an_answer_that_ends_its_process_is_wrong(stand_in):
    assert stand_in._ask(json.dumps(["gone + x", "7 + x"])) == "died"
    assert not stand_in.verdict("gone + x", "7 + x")
    assert stand_in.verdict("x + 7", "7 + x")


def test_a_long_answer_is_compared_as_a_string():
    assert is_equivalent("x + " * 1000 + "1", "x+" * 1000 + "1")
    assert not is_equivalent("0" + "1" * 1000, "1" * 1000)


def test_a_worker_that_was_killed_is_replaced(worker):
    assert worker.verdict("x + 7", "7 + x")
    os.killpg(worker._process.pid, signal.SIGKILL)
    assert worker.verdict("x + 7", "7 + x")


def test_an_answer_that_kills_its_process_is_wrong(worker, monkeypatch):
    replies = iter(["died", "died", "died", "true"])
    monkeypatch.setattr(worker, "_ask", lambda question: next(replies))
    assert not worker.verdict("x + 7", "7 + x")
    assert worker.verdict("x + 7", "7 + x")  # asked a second time, as the first may have died of a full machine


def test_an_interrupted_question_is_not_answered_to_the_next(worker, monkeypatch):
    def interrupt():
        raise KeyboardInterrupt

    assert worker.verdict("x + 7", "7 + x")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(worker._process.stdout, "readline", interrupt)
        worker.verdict("x + 7", "7 + x")
    assert not worker.verdict("x + 7", "8 + x")


def test_a_worker_that_cannot_start_is_no_verdict(worker, monkeypatch):
    monkeypatch.setattr(grader, "sys", SimpleNamespace(executable="/bin/false"))
    with pytest.raises(RuntimeError, match="does not start"):
        worker.verdict("x + 7", "7 + x")


def test_grading_works_from_threads():
    verdicts = []
    threads = [threading.Thread(target=lambda: verdicts.append(is_equivalent("x + 7", "7 + x"))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert verdicts == [True, True]


FORKING = """
import os
from selfdistill.grading import grader
from selfdistill.grading.equivalence import compare
assert grader.is_equivalent("x + 7", "7 + x")
child = os.fork()
verdict = grader.is_equivalent("x + 8", "8 + x")
processes = [worker._process.pid for worker in grader._workers]
print(verdict, *processes, flush=True)
if child:
    assert os.waitpid(child, 0)[1] == 0
    assert grader.is_equivalent("x + 9", "9 + x")
"""


def test_a_forked_process_has_its_own_worker_and_none_outlives_its_process():
    # From another folder, as scripts run: the worker must find this package.
    run = subprocess.run([sys.executable, "-c", FORKING], capture_output=True, text=True, check=True, cwd="/")
    verdicts, workers = zip(*(line.split() for line in run.stdout.splitlines()), strict=True)
    assert verdicts == ("True", "True")
    assert len(set(workers)) == 2
    for pid in workers:
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid), 0)


@pytest.fixture
def asked(monkeypatch):
    """The questions that went to a worker, which never starts; nothing is known at first."""
    questions = []
    grader.close()
    monkeypatch.setattr(Worker, "verdict", lambda self, *pair: questions.append(pair) or pair[0] == "7 + x")
    yield questions
    grader.close()


def test_grade_many_keeps_order_and_asks_for_equal_pairs_once(asked):
    pairs = [("1", "1"), ("2", "1"), (None, "1"), ("7 + x", "x + 7"), ("1", "1"), ("x", "x + 7"), ("7 + x", "x + 7")]
    assert grade_many(pairs, workers=2) == [True, False, False, True, True, False, True]
    assert sorted(asked) == [("7 + x", "x + 7"), ("x", "x + 7")]
    assert grade_many([]) == []


def test_what_a_worker_said_is_remembered(asked):
    assert is_equivalent("7 + x", "x + 7")
    assert is_equivalent("7 + x", "x + 7") and grade_many([("7 + x", "x + 7")]) == [True]
    assert asked == [("7 + x", "x + 7")]
    assert not is_equivalent("x + 7", "7 + x")  # the other way round is another question
    assert len(asked) == 2


# --- extraction -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"The answer is \boxed{ 17 }", "17"),
        (r"\boxed{1} then \boxed{2}", "2"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{\{1,2\}}", r"\{1,2\}"),
        (r"\boxed{\left\{x\right.}", r"\left\{x\right."),
        (r"\boxed{\boxed{5}}", "5"),
        ("\\boxed{\n1 \\\\{2}\n} and more", "1 \\\\{2}"),
        ("\\boxed\n{3}", "3"),
        (r"\fbox{3}", "3"),
        (r"$\boxed 5$.", "5"),
        (r"\boxed 17.", "17"),
        (r"\boxed{5} \boxedtext{6}", "5"),
        ("\\boxed\n\nThen", None),
        (r"<think>\boxed{3}</think> so \boxed{4}", "4"),
        (r"thinking \boxed{3}</think> so \boxed{4}", "4"),
        (r"<think>\boxed{3}</think> nothing", None),
        (r"<think> unfinished \boxed{3}", None),
        (r"\boxed{4} <think> unfinished \boxed{3}", "4"),
        (r"a </think> \boxed{4} <think> again \boxed{3}", "4"),
        (r"\boxed{}", None),
        (r"\boxed{  }", None),
        (r"\boxed{1", None),
        (r"\boxed{1\}", None),
        (r"\boxed{1} \boxed{2", None),
        (r"\boxed{1} \boxed{}", None),
        (r"\boxed", None),
        ("We want 17 + 25.", None),
        ("", None),
    ],
)
def test_extract_answer(text, answer):
    assert extract_answer(text) == answer


def test_box_in_thinking_that_the_prompt_opened_does_not_count():
    assert extract_answer(r"so \boxed{3}", opened=True) is None
    assert extract_answer(r"so \boxed{3}</think> \boxed{4}", opened=True) == "4"
    assert extract_answer(r"so \boxed{3}</think> nothing", opened=True) is None


def test_extraction_is_linear_in_hostile_text():
    assert extract_answer("\\boxed{" * 100_000) is None
    assert extract_answer("</think>" * 100_000 + r"\boxed{1}") == "1"
    assert extract_answer("\\boxed " * 100_000 + "{" * 100_000) is None
