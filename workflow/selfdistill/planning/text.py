"""Numbers and tables as text for a terminal of 120 columns."""

import textwrap
from collections.abc import Iterable, Sequence

from selfdistill.planning.ranges import Range

WIDTH = 120
LABEL = 22
MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0


def duration(seconds: Range) -> str:
    """ "34 min [17-68]": the typical value and its range, in the unit that suits the typical one."""
    if seconds.typical < 0.95 * MINUTE:
        unit, name = 1.0, "s"
    elif seconds.typical < 2 * HOUR:
        unit, name = MINUTE, "min"
    else:
        unit, name = (HOUR, "h") if seconds.typical < 3 * DAY else (DAY, "d")
    return bracketed(seconds / unit, f" {name}")


def count(number: Range) -> str:
    """A number with its range, shortened: "1.7G [0.9-2.7]"; a dash for none."""
    if number.high == 0:
        return "-"
    for unit, name in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number.typical >= unit:
            return bracketed(number / unit, name)
    return bracketed(number)


def bracketed(number: Range, unit: str = "") -> str:
    """The typical value with its unit, and the range, if there is one."""
    low, typical, high = digits(number.low), digits(number.typical), digits(number.high)
    return f"{typical}{unit}" if low == high else f"{typical}{unit} [{low}-{high}]"


def digits(number: float) -> str:
    """Two significant digits below ten, whole numbers above."""
    return f"{number:,.0f}" if number >= 9.95 or number == 0 else f"{number:.1f}" if number >= 0.95 else f"{number:.1g}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> list[str]:
    """Aligned columns, the first ``left`` of them flush left, and the last."""
    lines = [list(head), *map(list, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    flush = [column < left or column == len(head) - 1 for column in range(len(head))]
    return [
        "  ".join(
            cell.ljust(width) if is_left else cell.rjust(width)
            for cell, width, is_left in zip(line, widths, flush, strict=True)
        ).rstrip()
        for line in lines
    ]


def wrapped(text: str, indent: str = "") -> list[str]:
    """``text`` in lines of at most 120 columns."""
    return textwrap.wrap(text, WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)


def entry(label: str, text: str) -> list[str]:
    """``text`` beside a label that is flush right in a column of its own."""
    lines = wrapped(text, " " * (LABEL + 2))
    return [f"{label:>{LABEL}}  {lines[0].lstrip()}", *lines[1:]]
