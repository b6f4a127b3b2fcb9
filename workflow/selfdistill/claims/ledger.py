"""The claims ledger: the empirical statements of the paper, tested on a study's responses, with a verdict.

`config/claims.yaml` says what is claimed and how it is tested; roles say which of a study's models a statement is
about. `effects` finds what a test compares, `analysis.estimates` gives its interval over base models and problems, and
`verdicts` says what follows. All rules were fixed beforehand: docs/preregistration.md.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from selfdistill.analysis.estimates import Estimate, Undefined
from selfdistill.claims.effects import Effects, Instance, instances, mean_of, rests_on_one_problem, shifted, variants
from selfdistill.claims.statements import PRIMARIES, Claim, Role, in_words, role_of
from selfdistill.claims.units import Units
from selfdistill.claims.verdicts import (
    LEVEL,
    NOT_TESTABLE,
    ONE_MODEL,
    OPEN,
    Evidence,
    benjamini_hochberg,
    holm,
    least_certain,
    models_needed,
    p_contradicted,
    p_holds,
    p_no_effect,
    verdict_of,
)
from selfdistill.tables import EFFECTS, LEDGER

Correction = Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]
HOLM, BH = "Holm", "Benjamini-Hochberg"
HOLM_OURS, BH_OURS = f"{HOLM}, ours", f"{BH}, ours"
CORRECTIONS = {HOLM: holm, BH: benjamini_hochberg, HOLM_OURS: holm, BH_OURS: benjamini_hochberg}


KEYS = ["place", "id", "variant"]  # of a statement at one rate
Key = tuple[int, str, str]
TEXTS = ["of", "metric", "benchmark", "part", "claim", "remark"]  # empty where a test has none
JUDGED = ["verdict", "correction", "family", "p", "p_adjusted", "p_no_effect"]


@dataclass
class _Statement:
    """A statement at one rate: its rows in the ledger, and the effects of each base model."""

    labels: dict[str, Any]
    rows: list[dict[str, Any]] = field(default_factory=list)
    by_model: list[dict[str, Any]] = field(default_factory=list)

    @property
    def tested(self) -> bool:
        """Whether any of its tests could be made."""
        return any("value" in row for row in self.rows)


def ledger(
    claims: Sequence[Claim], units: Units, roles: Mapping[str, Role | None], *, confidence: float
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """One row per test of each claim, in the `ledger` schema, and one per test and base model, in that of `effects`.

    A claim about SDPO, or fine-tuning, is tested once for each rate, as a variant with a verdict of its own.
    `UserError` when a claim names an unknown role.
    """
    effects = Effects(units, confidence)
    found = [each for place, claim in enumerate(claims) for each in _tested(place, claim, effects, roles)]
    rows = pd.DataFrame([row for statement in found for row in statement.rows])
    frame = rows.reindex(columns=[*LEDGER.columns, "distance", "decisive_se", "decisive_se_problems"])
    frame[TEXTS] = frame[TEXTS].fillna("")
    frame = judged(frame)
    frame["models_needed"] = _needed(frame)
    each = pd.DataFrame([row for statement in found for row in statement.by_model], columns=EFFECTS.columns)
    return frame[LEDGER.columns], each


def _tested(place: int, claim: Claim, effects: Effects, roles: Mapping[str, Role | None]) -> Iterator[_Statement]:
    """A claim at each of its rates; those of which no test can be made are left out where others can be."""
    labels = {"place": place, "confidence": effects.confidence, "files": []} | claim.model_dump(
        include={"id", "section", "statement", "ours", "taught", "published", "note", "same_as"}
    )
    labels |= {"variant": "", "primary": False, "expects": "" if claim.primary is None else claim.primary.expects}
    if not claim.tests:
        said = claim.untestable or f"says the same as '{claim.same_as}'"
        yield _Statement(labels, [{**labels, "test": said, "remark": said}])
        return
    role = role_of(claim, roles)
    if role is None:
        tests = [{"test": in_words(test), "of": test.of, "metric": _metric(test)} for test in claim.tests]
        remark = "no model of this study plays the part that the statement is about"
        yield _Statement(labels, [{**labels, **test, "remark": remark} for test in tests])
        return
    cells = effects.units.cells
    rates = variants(claim, role, cells)
    found = []
    for name, rate in rates:
        primary = claim.primary is not None and rate == _primary_rate(claim, role, [each for _, each in rates])
        statement = _Statement({**labels, "variant": name, "primary": primary})
        for test in claim.tests:
            for instance in instances(test, role, cells, rate):
                _test(statement, instance, role, effects)
        found.append(statement)
    some = [statement for statement in found if statement.tested]
    if some:
        yield from some
    else:
        yield _Statement(labels, [{**row, "variant": ""} for row in found[0].rows])


def _primary_rate(claim: Claim, role: Role, rates: Sequence[float | None]) -> float | None:
    """The rate at which a statement is primary: GRPO's, the highest, or none where no rate plays a part."""
    if claim.primary is None or claim.primary.rate is None:
        return None
    return role.rates["grpo"][0] if claim.primary.rate == "matched" else max(rate for rate in rates if rate is not None)


def _metric(test: Any) -> str:
    return "correlation" if test.correlation is not None else str(test.metric)


def _test(statement: _Statement, instance: Instance, role: Role, effects: Effects) -> None:
    """Add a row, and where it can be tested its evidence, to a statement."""
    test, instance = instance.test, effects.shared(instance)
    row: dict[str, Any] = {
        **statement.labels, "test": in_words(test), "of": test.of, "metric": _metric(test), "claim": test.claim,
        "benchmark": instance.benchmark, "part": instance.part, "remark": instance.left_out,
    }  # fmt: skip
    statement.rows.append(row)
    if instance.missing:
        row["remark"] = instance.missing
        return
    try:
        found, values = effects.effect(instance, role)
        margin = effects.margin(instance, values)
    except Undefined as error:
        row["remark"] = str(error).removeprefix("claims: ")
        return
    said = {
        "which lack some of the runs compared": instance.lacking,
        "whose responses do not define it": sorted(set(instance.bases) - values.keys()),
    }
    without = [f"without {', '.join(bases)}, {why}" for why, bases in said.items() if bases]
    row["remark"] = "; ".join(filter(None, [instance.left_out, *without, effects.over_arms(instance, list(values))]))
    row |= {
        "value": found.value, "low": found.low, "high": found.high, "plain_low": found.plain_low,
        "plain_high": found.plain_high, "se": found.se, "df": found.df, "models": found.models,
        "problems": effects.problems(instance, found), "margin": mean_of(margin),
        "files": sorted(set(effects.units.cells.loc[list(instance.rows), "file"])),
    }  # fmt: skip
    keys = {name: row[name] for name in ("id", "variant", "test", "benchmark", "part")}
    statement.by_model += [
        {**keys, "model": base, "value": value, "problems": len(values[base])} for base, value in found.by_model.items()
    ]
    if rests_on_one_problem(values) and _metric(test) != "correlation":
        row["remark"] = "rests on one problem, from which nothing follows about others"
        return
    evidence, distance, decisive = _evidence(instance, found, values, margin, role, effects)
    row |= {"p_for": evidence.supports, "p_against": evidence.opposes, "p_within": evidence.within}
    row |= {"distance": distance, "decisive_se": decisive.se, "decisive_se_problems": decisive.se_problems}


def _evidence(
    instance: Instance,
    found: Estimate,
    values: Mapping[str, pd.Series],
    margin: Mapping[str, pd.Series] | float | None,
    role: Role,
    effects: Effects,
) -> tuple[Evidence, float, Estimate]:
    """The p-values of a test, and what decides it with its distance from the null."""

    def beside(sign: float) -> Estimate:
        assert margin is not None
        return effects.estimated(shifted(values, sign, margin), instance, role)

    test = instance.test
    above_margin = beside(1.0) if margin is not None else None  # effect + margin
    below_margin = beside(-1.0) if margin is not None else None  # margin - effect
    if test.claim == "more":
        null = test.than if test.out_of is not None else 0.0
        within = 1.0
        if above_margin is not None and below_margin is not None:
            within = _known(max(above_margin.p_above(), below_margin.p_above()))
        return Evidence(_known(found.p_above(null)), _known(found.p_below(null)), within), found.value - null, found
    assert above_margin is not None and below_margin is not None
    # A share of an effect that may be none is no margin to lie beyond.
    known = 0.0
    if isinstance(margin, Mapping):
        known = _known(effects.estimated(margin, instance, role).p_above())
    if test.claim == "more_than":
        beyond = below_margin  # the margin less the effect
        supports, opposes = _known(beyond.p_below()), _known(beyond.p_above())
        return Evidence(max(supports, known), max(opposes, known)), -beyond.value, beyond
    if test.claim == "same":
        sides = [above_margin, below_margin]
        nearest = min(sides, key=lambda side: side.value)
        supports = max(_known(side.p_above()) for side in sides)
        opposes = min(1.0, 2 * min(_known(side.p_below()) for side in sides))
        return Evidence(supports, max(opposes, known)), nearest.value, nearest
    side = above_margin if test.claim == "no_less" else below_margin
    return Evidence(_known(side.p_above()), max(_known(side.p_below()), known)), side.value, side


def _known(p: float) -> float:
    """A p-value; 1 where there is none, as from one base model with one problem."""
    return 1.0 if np.isnan(p) else float(p)


def judged(ledger: pd.DataFrame) -> pd.DataFrame:
    """The ledger with the columns `JUDGED`, which follow from the p-values of its tests and from nothing else."""
    groups: dict[Key, list[Any]] = {}
    pointers: dict[Key, str] = {}
    for row in ledger.itertuples():
        key = (row.place, row.id, row.variant)
        if row.same_as:
            pointers[key] = row.same_as
        else:
            groups.setdefault(key, []).append(row)
    told: dict[Key, dict[str, Any]] = {key: {"verdict": NOT_TESTABLE} for key in groups}
    testable = {key: rows for key, rows in groups.items() if all(pd.notna(row.p_for) for row in rows)}
    several = {key: rows for key, rows in testable.items() if min(row.models for row in rows) > 1}
    told |= {key: {"verdict": ONE_MODEL} for key in testable.keys() - several.keys()}
    for name, correct in CORRECTIONS.items():
        family = {key: rows for key, rows in several.items() if correction_of(rows[0]) == name}
        least = PRIMARIES[True] if name == HOLM_OURS else 0  # one of them is another study's
        told |= {key: {**verdict, "correction": name} for key, verdict in _corrected(family, correct, least).items()}
    for key, named in pointers.items():
        ids = [other for other in groups if other[1] == named]
        ids.sort(key=lambda other: not groups[other][0].primary)  # the primary rate speaks for a statement
        told[key] = {"verdict": told[ids[0]]["verdict"] if ids else NOT_TESTABLE}
    rows = [told[key] for key in ledger[KEYS].itertuples(index=False, name=None)]
    judged = pd.DataFrame(rows, index=ledger.index).reindex(columns=JUDGED)
    return ledger.assign(**{name: judged[name] for name in JUDGED})


def correction_of(row: Any) -> str:
    """Which statements are corrected together: primary ones and others, the paper's and ours apart."""
    if row.ours:
        return HOLM_OURS if row.primary else BH_OURS
    return HOLM if row.primary else BH


def _corrected(family: Mapping[Key, Sequence[Any]], correct: Correction, least: int) -> dict[Key, dict[str, Any]]:
    """Verdicts and p-values of statements that are corrected together, by their keys.

    Those that make the family up to ``least`` are tested elsewhere, and count with p = 1.
    """
    evidence = {key: [Evidence(row.p_for, row.p_against, row.p_within) for row in rows] for key, rows in family.items()}
    sides = {key: (p_holds(found), p_contradicted(found)) for key, found in evidence.items()}
    adjusted = _by_key({key: min(pair) for key, pair in sides.items()}, correct, least)
    bounded = {key: p_no_effect(evidence[key]) for key, rows in family.items() if all(map(_is_bounded, rows))}
    no_effect = _by_key(bounded, correct, least)
    return {
        key: {
            "verdict": verdict_of(
                *pair, adjusted[key], no_effect.get(key, 1.0), min(int(row.models) for row in family[key])
            ),
            "family": max(len(family), least),
            "p": min(pair),
            "p_adjusted": adjusted[key],
            "p_no_effect": no_effect.get(key, 1.0),
        }
        for key, pair in sides.items()
    }


def _is_bounded(row: Any) -> bool:
    """Whether a test that an effect is above 0 names the smallest that would matter."""
    return row.claim == "more" and pd.notna(row.margin)


def _by_key(p: Mapping[Any, float], correct: Correction, least: int) -> dict[Any, float]:
    others = [1.0] * (least - len(p))
    return dict(zip(p, correct(np.array([*p.values(), *others], dtype=float)).tolist(), strict=False))


def _needed(frame: pd.DataFrame) -> list[int | None]:
    """Per row, base models at which the least certain test of an open statement would decide; None of others."""
    needed: list[int | None] = [None] * len(frame)
    places: dict[Key, list[int]] = {}
    rows = list(frame.itertuples())
    for place, row in enumerate(rows):
        if row.verdict == OPEN and not row.same_as:
            places.setdefault((row.place, row.id, row.variant), []).append(place)
    for of_one in places.values():
        place = of_one[least_certain([Evidence(rows[each].p_for, rows[each].p_against) for each in of_one])]
        row = rows[place]
        level = LEVEL / PRIMARIES[row.ours] if row.primary else LEVEL
        of = (row.distance, row.decisive_se, int(row.models), level, row.decisive_se_problems)
        needed[place] = models_needed(*of)
    return needed
