"""Whether tests make sense: that the responses they are of have what is asked for, and that every key counts."""

from collections.abc import Collection, Iterable, Iterator
from functools import cache
from typing import get_args

import pandas as pd

from selfdistill.claims.effects import ALONG, BENCHMARKS, CHOSEN_BY, OF_SELF_TAUGHT, columns_of
from selfdistill.claims.statements import Cell, Claim, Contrast, Metric, Test, When, cells_of
from selfdistill.claims.units import measured, moments, windows
from selfdistill.errors import nearest
from selfdistill.markers.counting import MARKERS
from selfdistill.training.methods import SELF_TAUGHT

# The times that responses have, by what they are of; others have none.
TIMES = {
    "training": {when for when, _, _ in windows(pd.Series([1]), 1, 1)},
    "evaluation": {when for step in (1, 2) for when, _ in moments(step, (1, 2))},
}
# Keys of a test that count with some responses only. A correlation needs base models beside runs.
MEANINGFUL: dict[str, Collection[str]] = {
    "over": ALONG, "along": ALONG, "when": TIMES, "benchmark": BENCHMARKS, "correlation": ("evaluation",),
}  # fmt: skip
OF_CORRELATION = {"of", "benchmark", "correlation", "margin"}  # the keys of a test that count there
NAMED = {"setting", "data", "words", "method"}  # the keys of a cell of which it has one

Faults = Iterator[str]


def senseless(claims: Iterable[Claim]) -> Faults:
    """A sentence for each thing that tests of ``claims`` ask in vain."""
    for claim in claims:
        for number, test in enumerate(claim.tests):
            yield from (f"claim '{claim.id}': tests.{number}.{fault}" for fault in _faults(test))


def _faults(test: Test) -> Faults:
    given = _given(test)
    meaningless = [name for name, of in MEANINGFUL.items() if name in given and test.of not in of]
    for name in meaningless:
        yield f"{name}: means nothing of {test.of}; it is for {', '.join(MEANINGFUL[name])}"
    if meaningless:
        return
    yield from _of_metrics(test)
    yield from _of_markers(test)
    yield from _among("benchmark", test.benchmark, BENCHMARKS.get(test.of, ()), f"benchmark of {test.of}")
    yield from _among("when", test.when if "when" in given else None, _times(test), f"time of {test.of}")
    for name, beside in _idle(test, given):
        yield f"{name}: does not count beside {beside}"
    if test.correlation is None:
        yield from _of_sides(test)


def _given(keys: Test | Cell) -> set[str]:
    """The names of keys that say something else than what goes without saying."""
    return {name for name, declared in type(keys).model_fields.items() if getattr(keys, name) != declared.default}


def _among(place: str, name: str | None, known: Collection[str], what: str) -> Faults:
    if name is not None and name not in known:
        yield f"{place}: '{name}' is no {what}{nearest(name, known)}; known there: {', '.join(known)}"


@cache
def _metrics(of: str) -> list[str]:
    return [metric for metric in get_args(Metric) if measured(of).issuperset(columns_of(metric))]


def _times(test: Test) -> list[str]:
    return [when for when in get_args(When) if when in TIMES.get(test.of, ())]


def _of_metrics(test: Test) -> Faults:
    asked: dict[str, str | None] = {"metric": test.metric}
    if test.correlation is not None:
        asked = {"correlation.of": test.correlation.of, "correlation.with": test.correlation.with_}
    for place, metric in asked.items():
        yield from _among(place, metric, _metrics(test.of), f"metric of {test.of}")


def _of_markers(test: Test) -> Faults:
    if test.each != "marker":
        return
    if not measured(test.of).issuperset(MARKERS):
        yield f"each: single markers are not counted in {test.of}"
    elif test.metric not in ("E", None):
        yield f"metric: 'each: marker' counts markers, which is E (found '{test.metric}')"


def _idle(test: Test, given: set[str]) -> Iterator[tuple[str, str]]:
    """Keys that do not count, and beside what."""
    if test.correlation is not None:
        yield from ((name, "a correlation") for name in sorted(given - OF_CORRELATION))
        if test.benchmark == "hardest_against_others":
            yield "benchmark", "a correlation, which is on one benchmark"
        if isinstance(test.margin, Contrast):
            yield "margin", "a correlation, unless it is a number"
        return
    if "when" in given and _timing(test):
        yield "when", f"'{_timing(test)}'"
    if test.each == "tenth" and ("tenth" not in TIMES.get(test.of, ()) or test.along == "steps"):
        yield "each", f"'along: {test.along}'" if test.along == "steps" else f"'of: {test.of}', which has no tenths"
    if test.over is not None and test.benchmark == "hardest_against_others":
        yield "benchmark", "'over', which is on each one"
    if test.over is not None and all(cell.method in (None, "base") or cell.problems for cell in cells_of(test)):
        yield "over", "runs on the whole set and base models alone"
    if test.than and test.out_of is None and (test.more is None) == (test.less is None):
        yield "than", "two sides: it stands in place of one"


def _timing(test: Test) -> str:
    """What says in place of ``when`` which responses of a run are meant."""
    return "along: steps" if test.along == "steps" else "each: tenth" if test.each == "tenth" else ""


# --- cells ------------------------------------------------------------------------------------------------------------


def _of_sides(test: Test) -> Faults:
    """Faults of the cells that are compared."""
    contrasts = {"": Contrast(more=test.more, less=test.less)} if test.more or test.less else {}
    shares = {"out_of.": test.out_of, "margin.": test.margin}
    contrasts |= {place: each for place, each in shares.items() if isinstance(each, Contrast)}
    cells = {f"{place}{side}": getattr(each, side) for place, each in contrasts.items() for side in ("more", "less")}
    cells |= {side: getattr(test, side) for side in ("rising", "falling")}
    for place, cell in cells.items():
        if cell is not None:
            yield from (f"{place}{fault}" for fault in _of_cell(test, cell))
    for place, each in contrasts.items():
        if each.more is not None and each.less is not None and _meant(each.more, test) == _meant(each.less, test):
            yield f"{place}more: the same as 'less', from which it does not differ"


def _meant(cell: Cell, test: Test) -> Cell:
    return cell.model_copy(update={"when": cell.when or test.when})


def _of_cell(test: Test, cell: Cell) -> Faults:
    given, known = _given(cell), ("thinking", *CHOSEN_BY[test.of])
    strange = sorted(given - set(known))
    for name in strange:
        yield f".{name}: means nothing of {test.of}; known there: {', '.join(known)}"
    if strange:
        return
    if len(given & NAMED) != 1:
        names = " or ".join(f"'{name}'" for name in known if name in NAMED)
        yield f": expected {names}, {'found both' if given & NAMED else 'which says what responses are compared'}"
        return
    if cell.method == "base" and test.of == "training":
        yield ".method: 'base' has no responses of training; those that a run begins with are 'when: first'"
        return
    for name, beside in _idle_in(cell, test, given):
        yield f".{name}: does not count beside {beside}"
    yield from _among(".when", cell.when, _times(test), f"time of {test.of}")


def _idle_in(cell: Cell, test: Test, given: set[str]) -> Iterator[tuple[str, str]]:
    """Keys of a cell that do not count, and beside what."""
    idle: set[str] = set()
    if cell.method == "base":
        idle = given - {"method", "thinking"}
    elif cell.method not in SELF_TAUGHT:
        idle = given & set(OF_SELF_TAUGHT)
    yield from ((name, f"'method: {cell.method}'") for name in sorted(idle))
    if cell.when is not None and _timing(test):
        yield "when", f"'{_timing(test)}'"
    if cell.problems is not None and test.over is None and cell.method != "base":
        yield "problems", "a test without 'over'"
