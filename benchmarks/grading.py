"""How fast answers are graded: `python benchmarks/grading.py [--golds FILE.parquet] [--show] [--json FILE]`.

Answers as models give them to integers as in AIME and to the kinds of answers of MATH500 (fractions, radicals,
intervals, tuples, units, percentages, their LaTeX variants, wrong ones), 16 to a problem, so that most repeat. The
baseline parses and compares every pair with math-verify, in this process. ``--golds`` takes gold answers from a problem
set instead, with answers made of them. Verdicts that differ from math-verify's are counted, and listed with ``--show``.
"""

import argparse
import json
import logging
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from selfdistill import tables
from selfdistill.grading import grader

PROBLEMS, SAMPLES, REPEATS = 120, 16, 3
WORKERS = 2
Pair = tuple[str, str]
# A gold answer about the number N, M = N + 1 with the ways in which models write it.
KINDS = [
    (r"\frac{N}{M}", ["N/M", r"\dfrac{N}{M}", r"\frac{2 \cdot N}{2 \cdot M}", r"\frac{-N}{-M}"]),
    (r"N\sqrt{3}", [r"N \sqrt{3}", r"N\sqrt3", r"\sqrt{3 \cdot N^2}"]),
    (r"(N, M)", ["(N,M)", r"\left( N, M \right)"]),
    (r"[0, N)", ["[0,N)", r"\left[0, N\right)"]),
    (r"x^2 + 2Nx + N^2", ["(x+N)^2", "N^2 + 2Nx + x^2"]),
    (r"N\%", ["N", r"N \%", "N%"]),
    (r"N^\circ", ["N", r"N^{\circ}", r"N\text{ degrees}"]),
    (r"N\text{ cm}", ["N", r"N \text{ cm}", r"N\mathrm{cm}"]),
    (r"N{,}024", ["N024", "N,024"]),
    (r"\text{Monday N}", ["Monday N", r"\text{ Monday N }"]),
    (r"-\frac{\pi}{M}", [r"-\pi/M", r"\frac{-\pi}{M}"]),
    (r"M, -N", ["-N, M", "M,-N"]),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--golds", type=Path)
    parser.add_argument("--show", action="store_true")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)  # math-verify warns of every answer that it cannot parse
    sets = {"as AIME": integers(), "as MATH500": [written(index) for index in range(PROBLEMS)]}
    if arguments.golds:
        sets = {str(arguments.golds): from_golds(tables.read(arguments.golds, tables.PROBLEMS)["answer"].tolist())}
    grader.grade_many([("x+1", "1+x")])  # starts a worker, and imports
    plain([("x+1", "1+x")])
    report = {}
    print(f"load {os.getloadavg()[0]:.1f}; pairs/s: median [least, most] of {REPEATS}; {WORKERS} workers")
    for name, problems in sets.items():
        pairs = [pair for answers in problems for pair in answers]
        rates = {"ours": rate(ours, pairs), "math-verify": rate(plain, pairs)}
        differing = [pair for pair, a, b in zip(pairs, ours(pairs), plain(pairs), strict=True) if a != b]
        shown = {side: f"{middle(found):,.0f} [{min(found):,.0f}, {max(found):,.0f}]" for side, found in rates.items()}
        ratio = middle(rates["ours"]) / middle(rates["math-verify"])
        print(
            f"{name:<12} {len(pairs)} pairs, {len(set(pairs))} distinct: ours {shown['ours']}, "
            f"math-verify {shown['math-verify']}, ratio {ratio:.1f}; {len(set(differing))} distinct verdicts differ"
        )
        for answer, gold in sorted(set(differing)) if arguments.show else []:
            print(f"    {answer!r} for {gold!r}: ours {grader.is_equivalent(answer, gold)}")
        report[name] = rates | {"pairs": len(pairs), "distinct": len(set(pairs)), "differ": len(set(differing))}
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def middle(found: list[float]) -> float:
    return statistics.median(found)


def integers() -> list[list[Pair]]:
    """Integers from 0 to 999; half of the answers right."""
    random = np.random.default_rng(0)
    golds = random.integers(0, 1000, PROBLEMS)
    return [
        [
            (str(gold if right else wrong), f"{gold}")
            for right, wrong in zip(*right_and_wrong(random, gold), strict=True)
        ]
        for gold in golds
    ]


def right_and_wrong(random: np.random.Generator, gold: int) -> tuple[np.ndarray, np.ndarray]:
    return random.random(SAMPLES) < 0.5, random.choice([gold + 1, 2 * gold, 42], SAMPLES)


def written(index: int) -> list[Pair]:
    """One of the `KINDS`: in each of its ways, and with another number."""
    random = np.random.default_rng(index)
    gold, ways = KINDS[index % len(KINDS)]
    right = [numbered(way, index) for way in (gold, gold, *ways)]
    wrong = [numbered(way, index + len(KINDS)) for way in (gold, *ways)]
    return [(str(answer), numbered(gold, index)) for answer in random.choice(right + wrong, SAMPLES)]


def numbered(text: str, index: int) -> str:
    number = 2 + index // len(KINDS)
    return text.replace("N", str(number)).replace("M", str(number + 1)).replace(f"{number + 1}onday", "Monday")


def from_golds(golds: list[str]) -> list[list[Pair]]:
    """Each gold answer as it stands, with spaces, and against the next one's."""
    others = [*golds[1:], golds[0]]
    return [
        [(gold, gold)] * 8 + [(f" {gold} ", gold)] * 2 + [(other, gold)] * 6
        for gold, other in zip(golds, others, strict=True)
    ]


def ours(pairs: list[Pair]) -> list[bool]:
    return grader.grade_many(pairs, workers=WORKERS)


def plain(pairs: list[Pair]) -> list[bool]:
    """math-verify as its documentation calls it."""
    from math_verify import parse, verify

    return [bool(verify(parse(f"${gold}$"), parse(f"${answer}$"))) for answer, gold in pairs]


def rate(grade: Callable[[list[Pair]], list[bool]], pairs: list[Pair]) -> list[float]:
    """Pairs per second of wall clock, which counts the worker processes too."""
    found = []
    for _ in range(REPEATS):
        grader.close()  # verdicts are remembered; what workers and math-verify need to start is not counted
        grade([(f"{number} + x", f"x + {number}") for number in range(2 * WORKERS)])
        started = time.perf_counter()
        grade(pairs)
        found.append(len(pairs) / (time.perf_counter() - started))
    return found


if __name__ == "__main__":
    main()
