r"""Public graders beside ours: `python benchmarks/graders.py [--golds FILE ...] [--per-form N] [--json FILE]`.

Each grader judges the pairs of `grading_forms`: the same answer in other forms, which is right, and near misses, which
are wrong. Its own entry point is given what it expects: a response that ends in the box or in its "Answer:" line, or
the two answers. A table says how many of either it judges right; a verdict that takes more than `LIMIT` seconds, or an
error, counts as "wrong".

Packages that are not in this environment are put into a temporary folder, pinned and without their own requirements,
and only their graders are imported (needs a package index). docs/graders.md says what came out.
"""

import argparse
import contextlib
import importlib
import io
import json
import runpy
import signal
import subprocess
import sys
import tempfile
import types
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import grading_forms
from selfdistill.grading import grader

PACKAGES = ["verl==0.9.1", "lm_eval==0.4.13", "pylatexenc==2.11"]
LIMIT = 5
Judge = Callable[[str, str], bool]  # answer, gold


def response(answer: str) -> str:
    return rf"The answer is $\boxed{{{answer}}}$."


@contextlib.contextmanager
def within(seconds: int) -> Iterator[None]:
    def stop(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def bounded(judge: Judge) -> Judge:
    """``judge`` with a limit, silent, and "wrong" where it fails."""

    def judged(answer: str, gold: str) -> bool:
        try:
            with within(LIMIT), contextlib.redirect_stdout(io.StringIO()):
                return bool(judge(answer, gold))
        except Exception:
            return False

    return judged


def math_verify() -> Judge:
    from math_verify import parse, verify

    def judge(answer: str, gold: str) -> bool:
        return verify(
            parse(f"${gold}$", parsing_timeout=None),
            parse(response(answer), parsing_timeout=None),
            timeout_seconds=None,
        )

    return judge


def trl() -> Judge:
    from trl.rewards import accuracy_reward

    def judge(answer: str, gold: str) -> bool:
        completion = [{"role": "assistant", "content": response(answer)}]
        return accuracy_reward([completion], [f"${gold}$"])[0] == 1.0

    return judge


def of_verl(folder: Path) -> dict[str, Judge]:
    """Graders of verl, whose package imports its trainer: empty modules stand for the folders above them."""
    for name in ("verl", "verl.utils", "verl.utils.reward_score"):
        package = types.ModuleType(name)
        package.__path__ = [str(folder.joinpath(*name.split(".")))]
        sys.modules[name] = package
    limits = types.ModuleType("verl.utils.py_functional")
    limits.timeout_limit = lambda seconds: lambda function: function  # `within` bounds it
    sys.modules[limits.__name__] = limits
    prime = importlib.import_module("verl.utils.reward_score.prime_math").grade_answer
    dapo = importlib.import_module("verl.utils.reward_score.math_dapo").compute_score
    hendrycks = importlib.import_module("verl.utils.reward_score.math_reward").compute_score
    return {
        "verl prime_math": lambda answer, gold: prime(answer, gold),
        "verl math_dapo": lambda answer, gold: dapo(f"Answer: {answer}", gold)["acc"],
        "verl math_reward": lambda answer, gold: hendrycks(response(answer), gold) == 1.0,
    }


def of_lm_eval(folder: Path) -> Judge:
    sys.modules.setdefault("datasets", types.SimpleNamespace(Dataset=object))
    return runpy.run_path(str(folder / "lm_eval" / "tasks" / "hendrycks_math" / "utils.py"))["is_equiv"]


def judges(folder: Path) -> dict[str, Judge]:
    subprocess.run(
        [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--no-deps", "--target", folder, *PACKAGES],
        check=True,
    )
    sys.path.append(str(folder))
    found = {
        f"math-verify {version('math-verify')}": math_verify(),
        f"trl {version('trl')} accuracy_reward": trl(),
        **of_verl(folder),
        "lm-eval hendrycks_math": of_lm_eval(folder),
    }
    return {name: bounded(judge) for name, judge in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--golds", type=Path, nargs="+", help="problem files, in place of the golds made here")
    parser.add_argument("--per-form", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    golds = grading_forms.read_golds(arguments.golds) if arguments.golds else grading_forms.own_golds()
    tried = {
        (title, right): [pair[1:] for pair in grading_forms.pairs(golds, rewrites, arguments.per_form, arguments.seed)]
        for title, rewrites, right in (
            ("forms", grading_forms.FORMS, True),
            ("near misses", grading_forms.MISSES, False),
        )
    }
    report = {
        "selfdistill": {
            title: sum(verdict is right for verdict in grader.grade_many(pairs, workers=grading_forms.WORKERS))
            for (title, right), pairs in tried.items()
        }
    }
    with tempfile.TemporaryDirectory() as folder:
        for name, judge in judges(Path(folder)).items():
            report[name] = {
                title: sum(judge(*pair) is right for pair in pairs) for (title, right), pairs in tried.items()
            }
            print(name, report[name], flush=True)
    numbers = {title: len(pairs) for (title, _), pairs in tried.items()}
    print(
        "\n| grader | accepted, of "
        + f"{numbers['forms']} in another form | refused, of {numbers['near misses']} near misses |"
    )
    print("|---|---|---|")
    for name, counts in report.items():
        shares = [f"{counts[title]} ({100 * counts[title] / number:.0f} %)" for title, number in numbers.items()]
        print(f"| {name} | {' | '.join(shares)} |")
    if arguments.json:
        arguments.json.write_text(json.dumps({"tried": numbers, "right": report}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
