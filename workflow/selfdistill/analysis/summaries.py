"""Tables 1, A.1.1 and 2 as tidy summaries: one row per number, with its interval and its origin.

A number is a mean over the base models of a family; each base model has responses of its own.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import special

from selfdistill.analysis import quantities
from selfdistill.analysis.arms import DIFFERENCE
from selfdistill.analysis.estimates import ratio_values
from selfdistill.analysis.quantities import Quantity
from selfdistill.analysis.responses import MARKER_MEANS, MEANS, PASS, Responses
from selfdistill.errors import UserError
from selfdistill.tables import COUNT_MODES, SUMMARY

SELECTION_DRAW = "selection draw"
# Metric -> (numerator, denominator, factor): ratios of totals over problems, so that long responses count by length.
DENSITIES = {f"E_per_1000_tokens_{mode}": (f"E_{mode}", "L", 1000.0) for mode in COUNT_MODES}
# The same of shares: V is verified answers among the accepted ones.
V = "V"
TOTALS = {**DENSITIES, V: ("verified", "accepted", 1.0)}
INFORMATION = "information"  # I(y; c | x), nats
DEEP = "avg_deep"  # over the problems with the most samples
RELATIVE = "avg_relative_to_base"  # borrows no spread: it grows with how little the base model solves
REFERENCE = "unguided"
# Ratio to the setting `REFERENCE` -> what is divided.
RATIOS = {f"{name}_ratio": name for name in ("L", *(f"E_{mode}" for mode in COUNT_MODES), *DENSITIES)}
Values = dict[str, pd.Series]  # by base model, one number per problem


def table_1(
    settings: Mapping[str, Mapping[str, Responses]],
    selection: Mapping[str, Responses],
    *,
    family: str,
    confidence: float,
) -> pd.DataFrame:
    """Table 1: score, L, E and E per 1,000 tokens in each setting, and the last three as ratios to unguided.

    ``settings``: by base model of ``family``, responses by setting. ``selection``: by base model, all of the draw that
    selected its problems; that row covers the selected problems and shows what taking score and selection from one
    draw would have done.
    """
    by_setting: dict[str, dict[str, Responses]] = {SELECTION_DRAW: {}}
    for model, own in settings.items():
        if REFERENCE not in own:
            raise UserError(
                f"Table 1 needs traces of the setting '{REFERENCE}'; found of '{model}': {', '.join(own) or 'none'}"
            )
        reference = own[REFERENCE].sums.index
        for name, responses in {SELECTION_DRAW: selection[model].of(reference), **own}.items():
            if not responses.sums.index.equals(reference):
                raise UserError(
                    f"Table 1: '{name}' was not sampled on the same problems as '{REFERENCE}' (model '{model}')"
                )
            by_setting.setdefault(name, {})[model] = responses
    found: list[Quantity] = []
    for name, responses_by_model in by_setting.items():
        labels = _labels(responses_by_model, "table_1", family, name)
        problems = {model: responses.means for model, responses in responses_by_model.items()}
        reference_problems = {model: by_setting[REFERENCE][model].means for model in problems}
        is_draw = name == SELECTION_DRAW
        found += _measure(problems, labels, standard=not is_draw)
        found += _ratios(problems, reference_problems, labels, standard=not is_draw and name != REFERENCE)
    return _frame(quantities.rows(found, confidence))


def table_a1(settings: Mapping[str, Mapping[str, Responses]], *, family: str, confidence: float) -> pd.DataFrame:
    """Appendix A.1.1: mean count of every marker per response in each setting; ``settings`` as of `table_1`."""
    found: list[Quantity] = []
    for name, responses in _by_setting(settings).items():
        labels = _labels(responses, "table_a1", family, name)
        problems = {model: each.means for model, each in responses.items()}
        found += [_quantity(labels, marker, column(problems, marker)) for marker in MARKER_MEANS]
    return _frame(quantities.rows(found, confidence))


def table_information(
    settings: Mapping[str, Mapping[str, Responses]], told: pd.DataFrame, *, family: str, confidence: float
) -> pd.DataFrame:
    """I(y; c | x) in nats, a response and a token, and the other measures of the same responses.

    ``settings`` as of `table_1`; ``told``: rows of the `information` schema. A setting without a context has none, and
    stands without: there the quantity is 0 by definition.
    """
    found: list[Quantity] = []
    for name, responses in _by_setting(settings).items():
        labels = _labels(responses, "table_information", family, name)
        problems = {model: each.means for model, each in responses.items()}
        found += _measure(problems, labels)
        of_setting = told[(told["setting"] == name) & told["model"].isin(responses)]
        if of_setting.empty:
            continue
        nats = of_setting.assign(nats=of_setting["given"] - of_setting["alone"])
        means = nats.groupby(["model", "problem_id"])[["nats", "tokens"]].mean()
        by_model = {model: means.loc[model] for model in responses}
        found.append(_quantity(labels, INFORMATION, column(by_model, "nats")))
        density = divided(column(by_model, "nats"), column(by_model, "tokens"))
        found += [_quantity(labels, f"{INFORMATION}_per_token", density)] if density else []
    return _frame(quantities.rows(found, confidence))


def selection_histogram(selection: Mapping[str, Responses], *, family: str, confidence: float) -> pd.DataFrame:
    """Number of drawn problems by number of correct rollouts, a mean over base models (``selection``, by base model).

    The interval is that of as many other problems.
    """
    labels = _labels(selection, "selection", family, "")
    correct = {model: responses.sums["score"] for model, responses in selection.items()}
    most = max(int(responses.sums["samples"].max()) for responses in selection.values())
    found = []
    for number in range(most + 1):
        counts = {model: len(own) * (own == number).astype(float) for model, own in correct.items()}
        found.append(_quantity({**labels, "row": str(number)}, "problems", counts))
    return _frame(quantities.rows(found, confidence))


def table_2(
    evaluations: Mapping[str, Mapping[tuple[str, str], Responses]], *, family: str, confidence: float
) -> pd.DataFrame:
    """Table 2: avg@k (percent), L and E of every run on every benchmark, and its paired difference to the base.

    Also pass@k, with its difference, and the change of avg in percent of the base's.
    ``evaluations``: by base model, responses by (run, benchmark); run ``base`` must be among them for every benchmark.
    """
    found: list[Quantity] = []
    for (run, benchmark), responses in _by_setting(evaluations).items():
        labels = {**_labels(responses, "table_2", family, run), "benchmark": benchmark}
        problems = {model: each.means for model, each in responses.items()}
        found += [each for each in _measure(problems, labels) if each.labels["metric"] != "score"]
        found += _accuracies(labels, "", {model: each.points for model, each in responses.items()}, confidence)
        found += _passes(labels, "", responses, {model: own[[*PASS]] for model, own in problems.items()})
        bases = {model: _base(evaluations[model], run, benchmark, model) for model in responses}
        if run != "base":
            before = {model: base.means for model, base in bases.items()}
            changes = {model: _difference(responses[model], bases[model]) for model in responses}
            found += _accuracies(labels, DIFFERENCE, changes, confidence)
            gained = {model: own[[*PASS]] - before[model][[*PASS]] for model, own in problems.items()}
            found += _passes(labels, DIFFERENCE, responses, gained)
            change = relative(column(problems, "score"), column(before, "score"))
            found += [_quantity(labels, RELATIVE, change)] if change else []
    return _frame(quantities.rows(found, confidence))


def families(found: Iterable[str], models: Mapping[str, Mapping[str, str]]) -> dict[str, list[str]]:
    """The base models ``found``, by what they are averaged under: the family, and thinking where it is off.

    ``models``: by name, family and "thinking" ("on" or "off").
    """
    members: dict[str, list[str]] = {}
    for model in sorted(found):
        family, thinking = models[model]["family"], models[model]["thinking"]
        members.setdefault(family if thinking == "on" else f"{family}, thinking {thinking}", []).append(model)
    return members


def _by_setting(responses: Mapping) -> dict:
    """``responses`` regrouped: first by setting (or run and benchmark), then by base model."""
    found: dict = {}
    for model, own in responses.items():
        for name, each in own.items():
            found.setdefault(name, {})[model] = each
    return found


def _measure(
    problems: Mapping[str, pd.DataFrame], labels: Mapping[str, object], *, standard: bool = True
) -> Iterator[Quantity]:
    """Every metric of responses; ``problems``: by base model, their means per problem."""
    for metric in MEANS:
        yield _quantity(labels, metric, column(problems, metric), standard)
    for metric, (numerator, denominator, factor) in TOTALS.items():
        values = divided(column(problems, numerator), column(problems, denominator), factor)
        if values:
            yield _quantity(labels, metric, values, standard)


def _ratios(
    problems: Mapping[str, pd.DataFrame],
    reference: Mapping[str, pd.DataFrame],
    labels: Mapping[str, object],
    *,
    standard: bool,
) -> Iterator[Quantity]:
    """Ratios to the reference over the same problems of the same base model."""
    for metric, name in RATIOS.items():
        top, bottom, _ = DENSITIES.get(name, (name, "", 1.0))
        values = divided(column(problems, top), column(reference, top))
        if values and bottom:  # (E / E') / (L / L'), each side linear in its problems
            lengths = divided(column(problems, bottom), column(reference, bottom))
            values = lengths and divided(values, lengths)
        if values:
            yield _quantity(labels, metric, values, standard)


def divided(above: Values, below: Values, factor: float = 1.0) -> Values | None:
    """The ratio of each base model, per problem, times ``factor``; None where one has none, as to zero."""
    if any(own.mean() == 0 for own in below.values()):
        return None
    return {model: factor * ratio_values(own, below[model]) for model, own in above.items()}


def relative(after: Values, before: Values) -> Values | None:
    """The change of accuracy in percent of the base model's; None where one has none to lose."""
    shares = divided(after, before)
    return shares and {model: 100 * (own - 1) for model, own in shares.items()}


def _accuracies(
    labels: Mapping[str, object], suffix: str, points: Mapping[str, pd.DataFrame], confidence: float
) -> Iterator[Quantity]:
    """avg over all problems and, where some have fewer samples than others, over those with the most."""
    yield _accuracy(labels, "avg" + suffix, points, confidence)
    deep = {model: own.dropna() for model, own in points.items()}
    if any(len(deep[model]) < len(own) for model, own in points.items()):
        behind = {"problems": min(map(len, deep.values())), "samples": sum(own.size for own in deep.values())}
        yield _accuracy({**labels, **behind}, DEEP + suffix, deep, confidence)


def _passes(
    labels: Mapping[str, object],
    suffix: str,
    responses: Mapping[str, Responses],
    problems: Mapping[str, pd.DataFrame],
) -> Iterator[Quantity]:
    """pass@k in percent, or its change, over the problems with so many samples; none where there are none."""
    for name in PASS:
        values = {model: 100 * own[name].dropna() for model, own in problems.items()}
        if all(len(own) for own in values.values()):
            behind = {model: responses[model].sums.loc[own.index, "samples"] for model, own in values.items()}
            counts = {"problems": min(map(len, behind.values())), "samples": int(sum(map(sum, behind.values())))}
            yield _quantity({**labels, **counts}, name + suffix, values)


def _accuracy(
    labels: Mapping[str, object], metric: str, points: Mapping[str, pd.DataFrame], confidence: float
) -> Quantity:
    """Percent or percentage points [problems, samples] by base model, with what other samples could have given."""
    low, high = sampling_interval(_drawn_apart(list(points.values())), confidence)
    both = {**labels, "sampling_low": low, "sampling_high": high}
    return _quantity(both, metric, {model: own.mean(axis=1) for model, own in points.items()})


def _drawn_apart(points: Sequence[pd.DataFrame]) -> list[np.ndarray]:
    """``points``, by base model, as arrays that share no random numbers.

    The n-th sample of a problem is drawn by the same random numbers in every base model. So where these have the same
    problems and samples, only their mean is one independent sample.
    """
    first = points[0]
    if all(own.index.equals(first.index) and own.notna().equals(first.notna()) for own in points):
        return [np.mean([own.to_numpy() for own in points], axis=0)]
    return [own.to_numpy() for own in points]


def sampling_interval(points: Sequence[np.ndarray], confidence: float) -> tuple[float, float]:
    """Interval of the mean over arrays of the mean of ``points``, each [problems, samples], for redrawn samples.

    Base models and problems are held fixed: the variance is that within problems, by a t. Arrays are drawn
    independently (`_drawn_apart`). A problem with fewer samples has null (NaN) in place of others. Null where a problem
    has one sample.
    """
    numbers = [(~np.isnan(own)).sum(axis=1) for own in points]
    if any(number.min() < 2 for number in numbers):
        return math.nan, math.nan
    df = sum(int((number - 1).sum()) for number in numbers)
    variances = [
        (np.nanvar(own, axis=1, ddof=1) / number).sum() / len(own) ** 2
        for own, number in zip(points, numbers, strict=True)
    ]
    reach = float(special.stdtrit(df, (1 + confidence) / 2)) * math.sqrt(sum(variances)) / len(points)
    value = float(np.mean([np.nanmean(own, axis=1).mean() for own in points]))
    return value - reach, value + reach


def _base(own: Mapping[tuple[str, str], Responses], run: str, benchmark: str, model: str) -> Responses:
    if ("base", benchmark) not in own:
        raise UserError(f"Table 2: '{run}' was evaluated on '{benchmark}', the base model was not (model '{model}')")
    return own["base", benchmark]


def _difference(responses: Responses, base: Responses) -> pd.DataFrame:
    """The difference to the base model in points, problem by problem and sample by sample."""
    run, baseline = responses.points, base.points
    if not run.index.equals(baseline.index) or not run.notna().equals(baseline.notna()):
        raise UserError("a run and the base model were not evaluated on the same problems, equally often")
    return run - baseline


def column(problems: Mapping[str, pd.DataFrame], name: str) -> Values:
    """One column of each base model's frame."""
    return {model: frame[name] for model, frame in problems.items()}


def _quantity(labels: Mapping[str, object], metric: str, values: Values, standard: bool = True) -> Quantity:
    return Quantity({**labels, "metric": metric}, values, None if metric == RELATIVE else metric, standard)


def _labels(responses: Mapping[str, Responses], artifact: str, family: str, row: str) -> dict[str, object]:
    study = next(iter(responses.values())).study
    labels = {"study": study, "model": family, "artifact": artifact, "row": row, "benchmark": ""}
    problems = min(len(each.sums) for each in responses.values())
    return labels | {"problems": problems, "samples": sum(len(each.sample) for each in responses.values())}


def _frame(rows: Iterator[dict[str, object]]) -> pd.DataFrame:
    return pd.DataFrame(rows).assign(origin="measured").reindex(columns=SUMMARY.columns)
