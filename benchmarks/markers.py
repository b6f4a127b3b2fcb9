"""How fast markers are counted, both ways: `python benchmarks/markers.py [--json FILE]`.

On made-up responses as the microcosm's model writes them (every fourth word is a marker) and on long English ones with
accented letters, in a list and in a column of pandas. The baseline counts each marker with `str.count` and whole words
with one regular expression. Processor time of one core; what the first call compiles is not in it.
"""

import argparse
import json
import os
import re
import statistics
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from selfdistill.markers.counting import MARKERS, count_tables

REPEATS = 7
WORD = re.compile(rf"\b(?:{'|'.join(MARKERS)})\b")
SMALL = "perhaps maybe wait hmm check x = no ok so likely : , 1 2 3 4 5 6 7 8 9 a b c d actually alternatively might"
ENGLISH = (
    "we need the sum of all angles in this triangle so let us call its café corner A and note that wait the other one "
    "is unlikely to be acute because perhaps it was checked before naïve although every side seems shorter than five"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    random = np.random.default_rng(0)
    texts = {
        "microcosm, 120 words": [" ".join(random.choice(SMALL.split(), 120)) for _ in range(20_000)],
        "English, 9,000 words": [" ".join(random.choice(ENGLISH.split(), 9_000)) for _ in range(250)],
    }
    report = {}
    print(f"load {os.getloadavg()[0]:.1f}; MB/s of UTF-8, one core: median [least, most] of {REPEATS}")
    for name, some in texts.items():
        assert all(ours.equals(theirs) for ours, theirs in zip(count_tables(some).values(), plain(some), strict=True))
        column = pd.Series(some, dtype="str")
        rates = {
            "ours": speeds(count_tables, some),
            "column": speeds(count_tables, column),
            "plain": speeds(plain, some),
        }
        middle = {side: statistics.median(found) for side, found in rates.items()}
        shown = {side: f"{middle[side]:.0f} [{min(found):.0f}, {max(found):.0f}]" for side, found in rates.items()}
        ratio = middle["ours"] / middle["plain"]
        sides = " ".join(f"{side} {found:<16}" for side, found in shown.items())
        print(f"{name:<24} {sides} ratio {ratio:.1f}")
        report[name] = rates
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def plain(texts: list[str]) -> list[pd.DataFrame]:
    """Substrings and whole words, text by text."""
    lowered = [text.lower() for text in texts]
    both = (lowered, [WORD.findall(text) for text in lowered])  # a string and a list count alike
    counts = ([[one.count(marker) for marker in MARKERS] for one in side] for side in both)
    return [pd.DataFrame(rows, columns=list(MARKERS), dtype="int32") for rows in counts]


def speeds(count: Callable[[Iterable[str]], object], texts: Iterable[str]) -> list[float]:
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    found = []
    for _ in range(REPEATS):
        started = time.process_time()
        count(texts)
        found.append(megabytes / (time.process_time() - started))
    return found


if __name__ == "__main__":
    main()
