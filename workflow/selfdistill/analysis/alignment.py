"""What a step along the gradient of a loss does to success, in all and by the tokens that do it."""

from collections.abc import Iterator

import pandas as pd

from selfdistill.analysis import quantities
from selfdistill.analysis.quantities import Quantity
from selfdistill.analysis.words import GUIDANCE
from selfdistill.tables import SUMMARY

GAIN = "gain"
OUTCOMES = {"": None, "right": True, "wrong": False}  # of the response
PLACES = ("", "decision", "verification", "other")  # in it; "" is all of it


def by_problem(rows: pd.DataFrame, *, outcome: str = "", place: str = "") -> pd.Series:
    """The gain of each problem in ``rows`` of the `alignment` schema, all of one model, loss and success.

    Of tokens in right or in wrong responses, or of one kind of place, where that is said. Its mean is the change of
    success, in points; parts add up.
    """
    counted = pd.Series(True, index=rows.index)
    if outcome:
        counted &= rows["correct"] == OUTCOMES[outcome]
    if place:
        counted &= rows["place"] == place
    return rows["gain"].where(counted, 0.0).groupby(rows["problem_id"]).sum()


def parts() -> Iterator[tuple[str, str]]:
    """Outcome and place of every part of which there is a gain."""
    return ((outcome, place) for outcome in OUTCOMES for place in PLACES)


def metric_of(outcome: str, place: str) -> str:
    return "_".join(filter(None, [GAIN, outcome, place]))


def loss_label(method: str, context: str) -> str:
    """A loss in words: GRPO, SDPO c=s."""
    return f"{method.upper()} {GUIDANCE[context].short}" if context else method.upper()


def table_alignment(rows: pd.DataFrame, *, study: str, family: str, confidence: float) -> pd.DataFrame:
    """The gains of each loss for each success; ``rows`` of the `alignment` schema, of the base models of a family."""
    found: list[Quantity] = []
    for (method, context, benchmark), own in rows.groupby(["method", "context", "benchmark"]):
        models = {str(model): of_model for model, of_model in own.groupby("model")}
        labels = {
            "study": study,
            "artifact": "table_alignment",
            "model": family,
            "row": loss_label(str(method), str(context)),
            "benchmark": benchmark,
            "problems": min(of_model["problem_id"].nunique() for of_model in models.values()),
            "samples": len(own.drop_duplicates(["model", "problem_id", "sample"])),
        }
        for outcome, place in parts():
            values = {model: by_problem(of_model, outcome=outcome, place=place) for model, of_model in models.items()}
            metric = metric_of(outcome, place)
            found.append(Quantity({**labels, "metric": metric}, values, kind=metric, standard=True))
    rows_of_table = pd.DataFrame(quantities.rows(found, confidence))
    return rows_of_table.assign(origin="measured").reindex(columns=SUMMARY.columns)
