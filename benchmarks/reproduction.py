"""How often `selfdistill compare` passes correct runs and finds faults, in simulated studies.

    python benchmarks/reproduction.py [--studies 100] [--repetitions 8 12 16] [--json FILE]

A study has 24 arms with 20 values each. Values are sums of what a base model does to all arms (three causes), of what
it does to an arm (two causes) and of noise, with three divisions of the variance. Causes are normal, heavy-tailed (the
1.6th power of a normal), or of the kind that one base model in five has (a collapse). A fault moves all values of some
arms by so many standard deviations, each in a direction of its own. Shares of studies in percent: correct runs that
fail, by either number and in all; faulty runs that are found.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd
from selfdistill.records import reproduction

ARMS, VALUES = 24, 20
SHARES = {"mostly all arms": (0.9, 0.07, 0.03), "both": (0.6, 0.3, 0.1), "mostly noise and arms": (0.3, 0.4, 0.3)}
FAULTS = {"6 arms by 2.5": (6, 2.5), "6 arms by 4": (6, 4.0), "2 arms by 6": (2, 6.0)}
INDEX = pd.MultiIndex.from_product([range(ARMS), range(VALUES)], names=["row", "metric"])
INDEX = pd.MultiIndex.from_frame(INDEX.to_frame(index=False).astype(str).assign(artifact="table"))


def causes(rng: np.random.Generator, shape: tuple[int, ...], kind: str) -> np.ndarray:
    if kind == "collapse":
        return np.where(rng.random(shape) < 0.2, 2.0, -0.5)
    normal = rng.normal(size=shape)
    return normal if kind == "normal" else np.sign(normal) * np.abs(normal) ** 1.6


def loads(rng: np.random.Generator, number: int) -> np.ndarray:
    """How much each of ``number`` causes moves each value [number, arms, values]; the sum of squares is 1."""
    drawn = rng.normal(size=(number, ARMS, VALUES))
    return drawn / np.sqrt((drawn**2).sum(axis=0))


def study(rng: np.random.Generator, runs: int, shares: tuple[float, float, float], kind: str) -> np.ndarray:
    """Values [runs, arms, values] of unit variance (of normal causes)."""
    of_model = np.einsum("rc,cav->rav", causes(rng, (runs, 3), kind), loads(rng, 3))
    of_arm = np.einsum("rca,cav->rav", causes(rng, (runs, 2, ARMS), kind), loads(rng, 2))
    parts = (of_model, of_arm, rng.normal(size=(runs, ARMS, VALUES)))
    return sum(np.sqrt(share) * part for share, part in zip(shares, parts, strict=True))


def judged(repetitions: np.ndarray, run: np.ndarray) -> tuple[bool, bool]:
    """Whether the run fails by the number of values outside, and by what no mixture explains."""
    columns = pd.DataFrame(repetitions.reshape(len(repetitions), -1).T, INDEX)
    found = reproduction.judge(columns, pd.Series(run.ravel(), INDEX))
    return found.run.outside > found.most_outside, found.run.unexplained > found.most_unexplained


def faulty(rng: np.random.Generator, run: np.ndarray, arms: int, by: float) -> np.ndarray:
    moved = run.copy()
    moved[:arms] += by * rng.choice([-1.0, 1.0], size=(arms, VALUES))
    return moved


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=100)
    parser.add_argument("--repetitions", type=int, nargs="+", default=[8, 12, 16])
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    rng, rows = np.random.default_rng(0), []
    for name, shares in SHARES.items():
        for kind in ("normal", "heavy tails", "collapse"):
            for repetitions in given.repetitions:
                found: dict[str, list[tuple[bool, bool]]] = {"correct": []} | {fault: [] for fault in FAULTS}
                for _ in range(given.studies):
                    *others, run = study(rng, repetitions + 1, shares, kind)
                    found["correct"].append(judged(np.array(others), run))
                    for fault, (arms, by) in FAULTS.items():
                        found[fault].append(judged(np.array(others), faulty(rng, run, arms, by)))
                row: dict[str, object] = {"variance": name, "causes": kind, "repetitions": repetitions}
                for what, fails in found.items():
                    outside, unexplained = np.mean(fails, axis=0) * 100
                    row[what] = [
                        round(value, 1) for value in (outside, unexplained, np.any(fails, axis=1).mean() * 100)
                    ]
                rows.append(row)
                print(json.dumps(row), flush=True)
    if given.json:
        given.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
