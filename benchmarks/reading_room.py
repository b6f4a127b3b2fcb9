"""How long the reading room takes to open: `python benchmarks/reading_room.py [--responses 50000] [--json FILE]`.

A page of made-up responses is opened in Chromium several times, until the first comparison is on the screen. The
baseline is the same page with all its texts loaded, as a page without shards would have to.
"""

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from playwright.sync_api import Browser, sync_playwright

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from browser import rooms
from browser.conftest import SWITCHES

SETTINGS = ("unguided", "solution", "solution_without_thinking", "regeneration")
SAMPLES, WORDS, REPEATS = 8, 60, 7
EVERYTHING = "Promise.all(room.index.shards.map((_, number) => loadShard(number))).then(() => true)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--responses", type=int, default=50_000)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        started = time.perf_counter()
        page, responses = make(Path(folder), arguments.responses)
        made = time.perf_counter() - started
        size = sum(path.stat().st_size for path in page.parent.rglob("*") if path.is_file()) / 1e6
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=SWITCHES)
        times = [opening(browser, page) for _ in range(REPEATS)]
        browser.close()
    rows = {"opened": [first for first, _ in times], "with all texts loaded": [both for _, both in times]}
    baseline = statistics.median(rows["with all texts loaded"])
    print(f"load {os.getloadavg()[0]:.1f}; {responses} responses, {size:.1f} MB on disk, made in {made:.1f} s")
    print(f"{'page':<24}{'seconds: median':>17}{'least':>8}{'most':>8}{'ratio':>8}")
    for name, seconds in rows.items():
        middle = statistics.median(seconds)
        print(f"{name:<24}{middle:>17.2f}{min(seconds):>8.2f}{max(seconds):>8.2f}{middle / baseline:>8.2f}")
    if arguments.json:
        report = {"responses": responses, "megabytes": size, "made_seconds": made, "seconds": rows}
        arguments.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def make(folder: Path, wanted: int) -> tuple[Path, int]:
    """A page of at least ``wanted`` responses, of the length and vocabulary of the microcosm's."""
    random = np.random.default_rng(0)
    words = np.array("perhaps maybe wait hmm check x = no ok so answer : , 1 2 3 4 5 6 7 8 9".split())
    problems = [f"problem {number}" for number in range(-(-wanted // (len(SETTINGS) * SAMPLES)))]
    frames = []
    for setting in SETTINGS:
        drawn = random.choice(words, (len(problems), SAMPLES, WORDS))
        texts = {p: [" ".join(said) for said in samples] for p, samples in zip(problems, drawn, strict=True)}
        frames.append(rooms.traces_of(texts, setting=setting))
    page = rooms.build(folder, frames, rooms.problems_of(problems))
    return page, len(pd.concat(frames))


def opening(browser: Browser, page: Path) -> tuple[float, float]:
    """Seconds until the first comparison is shown, and until all texts are there as well, in a fresh window."""
    window = browser.new_context().new_page()
    started = time.perf_counter()
    window.goto(f"file://{page}")
    window.wait_for_selector("body[data-ready=true]")
    opened = time.perf_counter() - started
    window.evaluate(EVERYTHING)
    everything = time.perf_counter() - started
    window.context.close()
    return opened, everything


if __name__ == "__main__":
    main()
