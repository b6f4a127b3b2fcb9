"""Numbers that are shown, as rows with their intervals: those of one kind lend each other their spread."""

import json
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import pandas as pd

from selfdistill.analysis.estimates import Estimate, Spread, estimate, spread_of

# Significant digits of a base model's own value, which is drawn and compared but enters no further number.
DIGITS = 6


@dataclass(frozen=True)
class Quantity:
    """A number to show, before its interval.

    ``labels``: columns of its row; ``values``: as of `estimates.estimate`. Quantities of one ``kind`` are alike in how
    base models differ; the spread of a kind is that of those which are ``standard``. One without a kind has its own
    alone.
    """

    labels: Mapping[str, object]
    values: Mapping[str, pd.Series]
    kind: Hashable | None
    standard: bool = True


def rows(quantities: Iterable[Quantity], confidence: float) -> Iterator[dict[str, object]]:
    """Each quantity's labels with value, interval (also the plain one), level, base models and the value of each."""
    listed = list(quantities)
    plain = [estimate(quantity.values, confidence=confidence) for quantity in listed]
    alike: dict[Hashable | None, list[Estimate]] = defaultdict(list)
    for quantity, found in zip(listed, plain, strict=True):
        if quantity.standard and quantity.kind is not None:
            alike[quantity.kind].append(found)
    spreads = {kind: spread_of(found) for kind, found in alike.items()}
    for quantity, found in zip(listed, plain, strict=True):
        yield {**quantity.labels, **_row(_moderated(found, quantity, spreads, confidence)), "confidence": confidence}


def by_model(frame: pd.DataFrame) -> pd.DataFrame:
    """``frame`` (a summary, or curves) with one row per base model in place of one per number, without intervals.

    Column base_model says whose value it is. Rows of a single base model, and quoted ones, are left out.
    """
    several = frame[frame["models"] > 1]
    own = [
        (place, name, float(value))
        for place, text in enumerate(several["by_model"])
        for name, value in json.loads(text).items()
    ]
    places, names, values = zip(*own, strict=True) if own else ((), (), ())
    return several.iloc[list(places)].assign(
        base_model=list(names), value=list(values), low=float("nan"), high=float("nan")
    )


def _moderated(
    plain: Estimate, quantity: Quantity, spreads: Mapping[Hashable | None, Spread | None], confidence: float
) -> Estimate:
    spread = spreads.get(quantity.kind)
    if spread is None or plain.models == 1:
        return plain
    return estimate(quantity.values, confidence=confidence, spread=spread)


def _row(found: Estimate) -> dict[str, object]:
    own = {model: float(f"{value:.{DIGITS}g}") for model, value in found.by_model.items()}
    return {
        "value": found.value,
        "low": found.low,
        "high": found.high,
        "plain_low": found.plain_low,
        "plain_high": found.plain_high,
        "models": found.models,
        "by_model": json.dumps(own),
    }
