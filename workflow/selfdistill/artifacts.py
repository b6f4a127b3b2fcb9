"""Tables 1, A.1.1 and 2 as tidy summaries: one row per number, with its interval and its origin."""

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from selfdistill.epistemic import MARKERS
from selfdistill.errors import UserError
from selfdistill.statistics import Bootstrap
from selfdistill.tables import COUNT_MODES, MARKER_COLUMNS, SUMMARY

SELECTION_DRAW = "selection draw"
# Metric -> (numerator, denominator, factor): ratios of totals over problems, so that long responses count by length.
DENSITIES = {f"E_per_1000_tokens_{mode}": (f"E_{mode}", "L", 1000.0) for mode in COUNT_MODES}
MEANS = ("score", "L", *(f"E_{mode}" for mode in COUNT_MODES), "truncated")


def per_problem(traces: pd.DataFrame) -> pd.DataFrame:
    """Means over a problem's samples, indexed by problem_id: score, L, E, each marker, share truncated.

    Averaging within problems first is the authors' way (make_report.py).
    """
    totals = {f"E_{mode}": traces[columns].sum(axis=1) for mode, columns in MARKER_COLUMNS.items()}
    frame = traces.assign(
        **totals,
        score=traces["correct"].astype(float),
        L=traces["response_tokens"],
        truncated=(traces["finish_reason"] == "length").astype(float),
    )
    columns = [*MEANS, *(column for mode in COUNT_MODES for column in MARKER_COLUMNS[mode])]
    return frame.groupby("problem_id")[columns].mean().astype(float)


def table_1(settings: Mapping[str, pd.DataFrame], selection: pd.DataFrame, *, bootstrap: Bootstrap) -> pd.DataFrame:
    """Table 1: score, L, E and E per 1,000 tokens in each setting.

    ``settings``: traces by setting. ``selection``: all traces of the draw that selected the problems; its row
    covers the selected problems and shows what taking score and selection from one draw would have done.
    """
    selected = selection[selection["problem_id"].isin(settings["unguided"]["problem_id"])]
    rows = [
        {**_labels(traces, "table_1", name), **row}
        for name, traces in {SELECTION_DRAW: selected, **settings}.items()
        for row in _measure(traces, bootstrap)
    ]
    return _frame(rows)


def table_a1(settings: Mapping[str, pd.DataFrame], *, bootstrap: Bootstrap) -> pd.DataFrame:
    """Appendix A.1.1: mean count of every marker per response in each setting."""
    rows = [
        {**_labels(traces, "table_a1", name), **_mean_row(per_problem(traces), f"{mode}_{marker}", bootstrap)}
        | _sizes(traces)
        for name, traces in settings.items()
        for mode in COUNT_MODES
        for marker in MARKERS
    ]
    return _frame(rows)


def selection_histogram(selection: pd.DataFrame) -> pd.DataFrame:
    """Number of drawn problems by number of correct rollouts."""
    correct = selection.groupby("problem_id")["correct"].agg(["sum", "size"])
    counts = correct["sum"].value_counts().reindex(range(int(correct["size"].max()) + 1), fill_value=0)
    labels = _labels(selection, "selection", "")
    rows = [
        {**labels, **_sizes(selection), "row": str(number), "metric": "problems", "value": float(count)}
        for number, count in counts.items()
    ]
    return _frame(rows)


def table_2(evaluations: Mapping[tuple[str, str], pd.DataFrame], *, bootstrap: Bootstrap) -> pd.DataFrame:
    """Table 2: avg@k (percent), L and E of every run on every benchmark, and its paired difference to the base.

    ``evaluations``: traces by (run, benchmark); run ``base`` must be among them for every benchmark.
    """
    rows = []
    for (run, benchmark), traces in evaluations.items():
        labels = {**_labels(traces, "table_2", run), "benchmark": benchmark}
        rows += [{**labels, **row} for row in _measure(traces, bootstrap) if row["metric"] != "score"]
        rows.append({**labels, **_average(traces, bootstrap)})
        if run != "base":
            base = evaluations["base", benchmark]
            rows.append({**labels, **_difference(traces, base, bootstrap)} | _sizes(traces))
    return _frame(rows)


def _measure(traces: pd.DataFrame, bootstrap: Bootstrap) -> Iterator[dict[str, object]]:
    """Every metric of one set of traces, with its interval over problems."""
    problems, sizes = per_problem(traces), _sizes(traces)
    for metric in MEANS:
        yield _mean_row(problems, metric, bootstrap) | sizes
    for metric, (numerator, denominator, factor) in DENSITIES.items():
        top, bottom = factor * problems[numerator].to_numpy(), problems[denominator].to_numpy()
        low, high = bootstrap.ratio_interval(top, bottom)
        yield _row(metric, top.sum() / bottom.sum(), low, high, bootstrap) | sizes


def _average(traces: pd.DataFrame, bootstrap: Bootstrap) -> dict[str, object]:
    """avg@k in percent, with the interval over problems and the one with problems held fixed."""
    outcomes = 100 * _outcomes(traces)
    low, high = bootstrap.interval(outcomes.mean(axis=1))
    sampling_low, sampling_high = bootstrap.sampling_interval(outcomes)
    row = _row("avg", outcomes.mean(), low, high, bootstrap) | _sizes(traces)
    return row | {"sampling_low": sampling_low, "sampling_high": sampling_high}


def _outcomes(traces: pd.DataFrame) -> np.ndarray:
    """Correct or not [problems, samples]; every problem has the same number of samples."""
    wide = traces.pivot(index="problem_id", columns="sample", values="correct")
    if wide.isna().to_numpy().any():
        raise UserError("some problems of an evaluation have fewer samples than others")
    return wide.to_numpy().astype(float)


def _difference(traces: pd.DataFrame, base: pd.DataFrame, bootstrap: Bootstrap) -> dict[str, object]:
    both = pd.DataFrame({"run": per_problem(traces)["score"], "base": per_problem(base)["score"]})
    if both.isna().to_numpy().any():
        raise UserError("a run and the base model were not evaluated on the same problems")
    run, baseline = 100 * both["run"].to_numpy(), 100 * both["base"].to_numpy()
    low, high, _ = bootstrap.difference(run, baseline)
    return _row("avg_difference_to_base", (run - baseline).mean(), low, high, bootstrap)


def _mean_row(problems: pd.DataFrame, metric: str, bootstrap: Bootstrap) -> dict[str, object]:
    values = problems[metric].to_numpy()
    return _row(metric, values.mean(), *bootstrap.interval(values), bootstrap)


def _row(metric: str, value: float, low: float, high: float, bootstrap: Bootstrap) -> dict[str, object]:
    return {"metric": metric, "value": value, "low": low, "high": high, "confidence": bootstrap.confidence}


def _labels(traces: pd.DataFrame, artifact: str, row: str) -> dict[str, object]:
    first = traces.iloc[0]
    return {"study": first["study"], "model": first["model"], "artifact": artifact, "row": row, "benchmark": ""}


def _sizes(traces: pd.DataFrame) -> dict[str, object]:
    return {"problems": traces["problem_id"].nunique(), "samples": len(traces)}


def _frame(rows: list[dict[str, object]]) -> pd.DataFrame:
    return pd.DataFrame(rows).assign(origin="measured").reindex(columns=SUMMARY.names)
