"""Tables 1, A.1.1 and 2 as tidy summaries: one row per number, with its interval and its origin."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from selfdistill.analysis.intervals import Array, Bootstrap
from selfdistill.analysis.responses import MARKER_MEANS, MEANS, Responses
from selfdistill.errors import UserError
from selfdistill.tables import COUNT_MODES, SUMMARY

SELECTION_DRAW = "selection draw"
# Metric -> (numerator, denominator, factor): ratios of totals over problems, so that long responses count by length.
DENSITIES = {f"E_per_1000_tokens_{mode}": (f"E_{mode}", "L", 1000.0) for mode in COUNT_MODES}
REFERENCE = "unguided"
# Ratio to the setting `REFERENCE` -> what is divided.
RATIOS = {f"{name}_ratio": name for name in ("L", *(f"E_{mode}" for mode in COUNT_MODES), *DENSITIES)}


def table_1(settings: Mapping[str, Responses], selection: Responses, *, bootstrap: Bootstrap) -> pd.DataFrame:
    """Table 1: score, L, E and E per 1,000 tokens in each setting, and the last three as ratios to unguided.

    ``settings``: responses by setting. ``selection``: all of the draw that selected the problems; its row covers the
    selected problems and shows what taking score and selection from one draw would have done.
    """
    if REFERENCE not in settings:
        raise UserError(f"Table 1 needs traces of the setting '{REFERENCE}'; found: {', '.join(settings) or 'none'}")
    reference = settings[REFERENCE].means
    rows = []
    for name, responses in {SELECTION_DRAW: selection.of(reference.index), **settings}.items():
        labels, problems = _labels(responses, "table_1", name), responses.means
        if not problems.index.equals(reference.index):
            raise UserError(f"Table 1: '{name}' was not sampled on the same problems as '{REFERENCE}'")
        rows += [{**labels, **row} for row in _measure(problems, bootstrap)]
        rows += [{**labels, **row} for row in _ratios(problems, reference, bootstrap)]
    return _frame(rows)


def table_a1(settings: Mapping[str, Responses], *, bootstrap: Bootstrap) -> pd.DataFrame:
    """Appendix A.1.1: mean count of every marker per response in each setting."""
    rows = []
    for name, responses in settings.items():
        labels, problems = _labels(responses, "table_a1", name), responses.means
        rows += [{**labels, **_mean_row(problems, column, bootstrap)} for column in MARKER_MEANS]
    return _frame(rows)


def selection_histogram(selection: Responses, *, bootstrap: Bootstrap = Bootstrap()) -> pd.DataFrame:  # noqa: B008
    """Number of drawn problems by number of correct rollouts; the interval is that of as many other problems."""
    labels = _labels(selection, "selection", "")
    rows = []
    for number in range(int(selection.sums["samples"].max()) + 1):
        share = (selection.sums["score"] == number).to_numpy().astype(float)
        interval = bootstrap.interval(len(share) * share)
        rows.append({**labels, "row": str(number), **_row("problems", share.sum(), *interval, bootstrap)})
    return _frame(rows)


def table_2(evaluations: Mapping[tuple[str, str], Responses], *, bootstrap: Bootstrap) -> pd.DataFrame:
    """Table 2: avg@k (percent), L and E of every run on every benchmark, and its paired difference to the base.

    ``evaluations``: responses by (run, benchmark); run ``base`` must be among them for every benchmark.
    """
    rows = []
    for (run, benchmark), responses in evaluations.items():
        if ("base", benchmark) not in evaluations:
            raise UserError(f"Table 2: '{run}' was evaluated on '{benchmark}', the base model was not")
        labels = {**_labels(responses, "table_2", run), "benchmark": benchmark}
        rows += [{**labels, **row} for row in _measure(responses.means, bootstrap) if row["metric"] != "score"]
        rows.append({**labels, **_average(responses, bootstrap)})
        if run != "base":
            rows.append({**labels, **_difference(responses, evaluations["base", benchmark], bootstrap)})
    return _frame(rows)


def _measure(problems: pd.DataFrame, bootstrap: Bootstrap) -> Iterator[dict[str, object]]:
    """Every metric of one set of traces, with its interval over problems."""
    for metric in MEANS:
        yield _mean_row(problems, metric, bootstrap)
    for metric, (numerator, denominator, factor) in DENSITIES.items():
        columns = factor * problems[numerator].to_numpy(), problems[denominator].to_numpy()
        yield from _statistic_row(metric, np.divide, columns, bootstrap)


def _ratios(problems: pd.DataFrame, reference: pd.DataFrame, bootstrap: Bootstrap) -> Iterator[dict[str, object]]:
    """Ratios to the reference over the same problems, which numerator and denominator share in every resample."""
    for metric, name in RATIOS.items():
        parts = DENSITIES[name][:2] if name in DENSITIES else (name,)
        columns = [frame[part].to_numpy() for frame in (problems, reference) for part in parts]
        yield from _statistic_row(metric, _ratio_of_ratios if name in DENSITIES else np.divide, columns, bootstrap)


def _ratio_of_ratios(markers: Array, tokens: Array, reference_markers: Array, reference_tokens: Array) -> Array:
    return (markers / tokens) / (reference_markers / reference_tokens)


def _statistic_row(
    metric: str, statistic: Callable[..., Array], columns: Sequence[Array], bootstrap: Bootstrap
) -> Iterator[dict[str, object]]:
    """One row, or none where the statistic does not exist: nothing has a ratio to zero."""
    with np.errstate(divide="ignore", invalid="ignore"):
        value = statistic(*(column.mean() for column in columns))
    if np.isfinite(value):
        yield _row(metric, value, *bootstrap.interval_of(statistic, *columns), bootstrap)


def _average(responses: Responses, bootstrap: Bootstrap) -> dict[str, object]:
    """avg@k in percent, with the interval over problems and the one with problems held fixed."""
    points = responses.points.to_numpy()
    row = _row("avg", points.mean(), *bootstrap.interval(points.mean(axis=1)), bootstrap)
    return row | _sampling(points, bootstrap)


def _difference(responses: Responses, base: Responses, bootstrap: Bootstrap) -> dict[str, object]:
    """The same for the difference to the base model, problem by problem and sample by sample."""
    run, baseline = responses.points, base.points
    if not run.index.equals(baseline.index) or not run.columns.equals(baseline.columns):
        raise UserError("a run and the base model were not evaluated on the same problems, equally often")
    points = (run - baseline).to_numpy()
    interval = bootstrap.difference(run.to_numpy().mean(axis=1), baseline.to_numpy().mean(axis=1))
    return _row("avg_difference_to_base", points.mean(), *interval, bootstrap) | _sampling(points, bootstrap)


def _sampling(points: Array, bootstrap: Bootstrap) -> dict[str, float]:
    low, high = bootstrap.sampling_interval(points)
    return {"sampling_low": low, "sampling_high": high}


def _mean_row(problems: pd.DataFrame, metric: str, bootstrap: Bootstrap) -> dict[str, object]:
    values = problems[metric].to_numpy()
    return _row(metric, values.mean(), *bootstrap.interval(values), bootstrap)


def _row(metric: str, value: float, low: float, high: float, bootstrap: Bootstrap) -> dict[str, object]:
    return {"metric": metric, "value": value, "low": low, "high": high, "confidence": bootstrap.confidence}


def _labels(responses: Responses, artifact: str, row: str) -> dict[str, object]:
    labels = {"study": responses.study, "model": responses.model, "artifact": artifact, "row": row, "benchmark": ""}
    return labels | {"problems": len(responses.sums), "samples": len(responses.sample)}


def _frame(rows: list[dict[str, object]]) -> pd.DataFrame:
    return pd.DataFrame(rows).assign(origin="measured").reindex(columns=SUMMARY.names)
