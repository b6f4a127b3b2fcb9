"""Numbers that are known roughly: a low, a typical and a high value."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from selfdistill.errors import UserError


@dataclass(frozen=True)
class Range:
    """``low`` <= ``typical`` <= ``high``; sums and products bound by bound, as if all were low, or high, together."""

    low: float
    typical: float
    high: float

    def __add__(self, other: "Range") -> "Range":
        return Range(self.low + other.low, self.typical + other.typical, self.high + other.high)

    def __mul__(self, other: "Range | float") -> "Range":
        factor = exactly(other) if isinstance(other, (int, float)) else other
        return Range(self.low * factor.low, self.typical * factor.typical, self.high * factor.high)

    def __truediv__(self, other: "Range | float") -> "Range":
        """Low is divided by high, and high by low."""
        divisor = exactly(other) if isinstance(other, (int, float)) else other
        return Range(self.low / divisor.high, self.typical / divisor.typical, self.high / divisor.low)

    def map(self, function: Callable[[float], float]) -> "Range":
        """The range of an increasing ``function``."""
        return Range(function(self.low), function(self.typical), function(self.high))


ZERO = Range(0.0, 0.0, 0.0)


def exactly(value: float) -> Range:
    """A number known exactly."""
    return Range(float(value), float(value), float(value))


def total(ranges: Iterable[Range]) -> Range:
    """The sum, bound by bound."""
    return sum(ranges, ZERO)


def parse(value: Any, where: str) -> Range:
    """A number, or [low, typical, high]; `UserError` naming ``where`` for anything else."""
    bounds = value if isinstance(value, list) else [value] * 3
    if len(bounds) == 3 and all(isinstance(bound, (int, float)) and bound >= 0 for bound in bounds):
        low, typical, high = map(float, bounds)
        if low <= typical <= high:
            return Range(low, typical, high)
    raise UserError(f"{where}: expected a number or [low, typical, high] in that order (found {value!r})")
