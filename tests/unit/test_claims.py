"""The claims ledger on responses of known truth: what it must find, what it must not, and how it says so."""

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from selfdistill import tables
from selfdistill.analysis.estimates import estimate
from selfdistill.analysis.responses import per_problem
from selfdistill.claims import units as reading
from selfdistill.claims.effects import compared, instances, variants
from selfdistill.claims.export import cost, exported, public_word
from selfdistill.claims.ledger import judged, ledger
from selfdistill.claims.statements import PRIMARIES, Cell, Claim, Conflict, Role, name_of, read_claims, read_statements
from selfdistill.claims.statements import Test as Comparison
from selfdistill.claims.units import Part, Units, units
from selfdistill.claims.verdicts import (
    CONTRADICTED,
    HOLDS,
    NO_EFFECT,
    NOT_TESTABLE,
    ONE_MODEL,
    OPEN,
    Evidence,
    benjamini_hochberg,
    holm,
    models_needed,
    p_contradicted,
    p_holds,
)
from selfdistill.errors import UserError
from selfdistill.markers.counting import MARKERS
from selfdistill.pages.ledger_page import front, html, markdown, summary_line, with_verdicts
from selfdistill.records.attempts import GOES_ON

CONFIG = Path(__file__).parents[2] / "config"
ROLE = Role("m", "on", "train", {"grpo": [1e-4], "sdpo": [1e-4, 1e-3]}, "solution", "fixed", 100, "hard")
BASE = {"of": "evaluation", "method": "base", "benchmark": "easy"}
GRPO = BASE | {"method": "grpo", "learning_rate": 1e-4, "problem_set": "train", "seen": 800.0, "exposures": 1.0}
SDPO = GRPO | {"method": "sdpo", "context": "solution", "top_k": 100}
DROP = {"of": "evaluation", "metric": "avg", "more": {"method": "base"}, "less": {"method": "sdpo"}}
MODELS = tuple(f"m{number}" for number in range(8))
METRICS = ["score", "L", "E", "doubt", "kept", *MARKERS]


def part(
    mean: float,
    noise: float = 5.0,
    *,
    problems: Iterable[object] = range(40),
    seed: int = 0,
    hard: float = 30.0,
    **labels: Any,
) -> Part:
    """One set of responses: problems of very different difficulty, equal wherever they are the same, plus noise."""
    names = [f"p{name}" for name in problems]
    difficulty = np.array([np.random.default_rng([7, *map(ord, name)]).normal(0, hard) for name in names])
    drawn = np.random.default_rng([seed, *map(ord, str(sorted(map(str, labels.items()))))]).normal(0, noise, len(names))
    values = pd.DataFrame(
        {name: mean + difficulty + drawn for name in METRICS}, index=pd.Index(names, name="problem_id")
    )
    values["score"] = values["score"] / 100
    return {"family": "m", "base": "m0"} | labels, values.assign(rollouts=8.0)


def sides(effects: Sequence[float], more: dict[str, Any], less: dict[str, Any], **options: Any) -> list[Part]:
    """Two sets of responses per base model, whose means differ by ``effects``."""
    return [
        each
        for model, effect in zip(MODELS, effects, strict=False)
        for each in (
            part(50 + effect, base=model, **options, **more),
            part(50, base=model, **options, **less),
        )
    ]


def judge(
    tests: Sequence[dict[str, Any]], parts: Iterable[Part], role: Role | None = ROLE, **claim: Any
) -> pd.DataFrame:
    given = Claim.model_validate(
        {"id": "c", "section": "1", "statement": "It is so.", "role": "r", "tests": list(tests), **claim}
    )
    found, _ = ledger([given], units(parts), {"r": role}, confidence=0.95)
    tables._check_columns(list(found.columns), tables.LEDGER.schema, "ledger")
    return found


def verdict(tests: Sequence[dict[str, Any]], parts: Iterable[Part], **claim: Any) -> str:
    (found,) = judge(tests, parts, **claim)["verdict"].unique()
    return found


# --- verdicts -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("drop", "spread", "expected"), [(8, 1, HOLDS), (-8, 1, CONTRADICTED), (0.5, 8, OPEN), (-0.5, 8, OPEN)]
)
def test_a_planted_difference_is_found_in_its_sign_and_missed_where_base_models_differ(drop, spread, expected):
    effects = drop + spread * np.array([-1.5, -1, -0.5, -0.2, 0.2, 0.5, 1, 1.5])
    found = judge([DROP], sides(effects, BASE, SDPO))
    row = found.iloc[0]
    assert row["verdict"] == expected and row["variant"] == "lr 0.0001"
    assert row["low"] <= row["value"] <= row["high"] and row["value"] == pytest.approx(drop, abs=2)
    assert pd.isna(row["models_needed"]) == (expected != OPEN) or drop < 1


def test_an_effect_is_that_of_plain_pandas():
    parts = sides([3, 5, 9], BASE, SDPO)
    found = judge([DROP], parts).iloc[0]
    each = pd.Series(
        [
            100 * (before[1]["score"] - after[1]["score"]).mean()
            for before, after in zip(parts[::2], parts[1::2], strict=True)
        ]
    )
    assert found["value"] == pytest.approx(each.mean(), abs=1e-9)
    table = {
        model: 100 * (before[1]["score"] - after[1]["score"])
        for model, before, after in zip(MODELS, parts[::2], parts[1::2], strict=False)
    }
    plain = estimate(table, confidence=0.95)
    assert (found["low"], found["high"]) == pytest.approx((plain.low, plain.high), abs=1e-9)
    assert found["p_for"] == pytest.approx(plain.p_above(), abs=1e-12)


def test_false_verdicts_are_as_rare_as_stated():
    """Of 120 effects that are none, tested one by one at 5 %, about 6 get a verdict."""
    wrong = 0
    for number in range(120):
        truth = np.random.default_rng(number).normal(0, 6, 5)
        wrong += verdict([DROP], sides(truth, BASE, SDPO, seed=number, hard=0, problems=range(12))) != OPEN
    assert 1 <= wrong <= 14


def test_a_statement_holds_when_all_its_tests_do_and_falls_with_one():
    def both(easy: float, hard: float) -> str:
        parts = sides([easy] * 6, BASE, SDPO)
        return verdict([DROP], parts + sides([hard] * 6, BASE | {"benchmark": "hard"}, SDPO | {"benchmark": "hard"}))

    assert both(8, 8) == HOLDS
    assert both(8, 0) == OPEN
    assert both(8, -8) == CONTRADICTED


def test_one_base_model_gives_no_verdict_and_fewer_than_five_a_provisional_one():
    def of(number: int) -> str:
        return verdict([DROP], sides([8, 8.1, 7.9, 8.05, 7.95][:number], BASE, SDPO))

    assert of(1) == ONE_MODEL
    assert of(3) == f"{HOLDS} (provisional)"
    assert of(5) == HOLDS


def test_base_models_that_disagree_leave_open_what_one_would_seem_to_decide():
    assert verdict([DROP], sides([14, 6, -2], BASE, SDPO)) == OPEN
    assert verdict([DROP], sides([6, 6.5, 5.5], BASE, SDPO)).startswith(HOLDS)


def test_a_statement_in_which_arms_are_missing_says_so_and_has_no_verdict():
    found = judge([DROP], sides([8] * 5, BASE, GRPO))
    assert found["verdict"].tolist() == [NOT_TESTABLE]
    assert found["remark"].tolist() == ["no responses of SDPO at lr 0.0001 (thinking on, problem set 'train') on easy"]
    two = [DROP, DROP | {"less": {"method": "sdpo", "teacher": "moving"}}]
    found = judge(two, sides([8] * 5, BASE, SDPO))
    assert set(found["verdict"]) == {NOT_TESTABLE} and found["value"].notna().sum() == 1
    assert "moving teacher" in found["remark"].max()


def test_base_models_without_an_arm_are_left_out_and_named():
    parts = sides([8] * 6, BASE, SDPO)
    found = judge([DROP], parts[:-1])
    assert found["models"].tolist() == [5] and found["verdict"].tolist() == [HOLDS]
    assert found["remark"].tolist() == ["without m5, which lack some of the runs compared"]


def test_one_problem_decides_nothing():
    small = {"of": "training", "metric": "score", "over": "few", "more": {"method": "grpo"}, "less": {"method": "sdpo"}}
    few = {"of": "training", "when": "last", "benchmark": "", "seen": 1.0, "exposures": 480.0, "whole": False}
    arms = GRPO | few, SDPO | few
    found = judge([small], sides([20] * 6, *arms, problems=[1]))
    assert found["verdict"].tolist() == [NOT_TESTABLE] and "one problem" in found["remark"].iloc[0]
    own = [
        each
        for number, model in enumerate(MODELS)
        for each in (
            part(70, 1, base=model, problems=[number], hard=0, **arms[0]),
            part(50, 1, base=model, problems=[number], hard=0, **arms[1]),
        )
    ]
    assert verdict([small], own) == HOLDS  # a problem of its own for each base model


def test_a_role_without_models_cannot_be_tested():
    found = judge([DROP], [], role=None)
    assert found["verdict"].tolist() == [NOT_TESTABLE] and "no model of this study" in found["remark"].iloc[0]
    claim = Claim.model_validate({"id": "c", "section": "1", "statement": "s", "role": "nobody", "tests": [DROP]})
    with pytest.raises(UserError, match="unknown role 'nobody'"):
        ledger([claim], units([]), {"r": ROLE}, confidence=0.95)


def test_two_runs_of_one_seed_that_fit_one_description_are_no_evidence():
    parts = sides([8] * 5, BASE, SDPO)
    with pytest.raises(UserError, match="several runs of 'm4' with one seed fit SDPO"):
        judge([DROP], [*parts, parts[-1]])


def test_each_rate_is_a_variant_and_one_that_was_not_run_is_left_out():
    parts = sides([8] * 5, BASE, SDPO)
    assert judge([DROP], parts)["variant"].tolist() == ["lr 0.0001"]
    other = [each for each in sides([-8] * 5, BASE, SDPO | {"learning_rate": 1e-3}) if each[0]["method"] == "sdpo"]
    shifted = [(labels, values.assign(score=values["score"] + 0.16)) for labels, values in other]
    found = judge([DROP], [*parts, *shifted]).set_index("variant")["verdict"]
    assert found.to_dict() == {"lr 0.0001": HOLDS, "lr 0.001": CONTRADICTED}


# --- pairing ------------------------------------------------------------------------------------------------------
def test_rates_are_compared_within_each_base_model():
    dose = {"of": "evaluation", "metric": "avg"}
    dose |= {"more": {"method": "sdpo", "rate": "lowest"}, "less": {"method": "sdpo", "rate": "highest"}}
    parts = sides([4, 5, 6, 7, 8], SDPO, SDPO | {"learning_rate": 1e-3})
    found = judge([dose], parts).iloc[0]
    assert (found["variant"], found["verdict"], found["models"]) == ("", HOLDS, 5)
    assert found["value"] == pytest.approx(6, abs=2)
    assert found["test"] == "accuracy: SDPO at the lowest rate - SDPO at the highest rate > 0"
    alone = judge(
        [dose], parts, Role("m", "on", "train", {"grpo": [1e-4], "sdpo": [1e-4]}, "solution", "fixed", 100, "hard")
    )
    assert alone["verdict"].tolist() == [NOT_TESTABLE]
    assert alone["remark"].tolist() == ["one learning rate of SDPO, where rates are compared"]
    lacking = judge([dose], [each for each in parts if each[0]["learning_rate"] == 1e-4])
    assert "no responses of SDPO at the highest rate at lr 0.001" in lacking["remark"].iloc[0]


def test_problems_and_base_models_are_paired():
    """Unpaired, a difficulty of 30 points over 40 problems would hide an effect of 2."""
    assert verdict([DROP], sides([2, 2.2, 1.8, 2.1, 1.9], BASE, SDPO, noise=1)) == HOLDS


def test_a_run_s_end_is_set_against_its_own_start():
    """Base models at .3, .4 and .5 that each gain exactly .1, on other problems at the end than at the start."""
    window = GRPO | {"of": "training", "benchmark": ""}
    gain = {
        "of": "training",
        "metric": "score",
        "more": {"method": "grpo"},
        "less": {"method": "grpo", "when": "first"},
    }
    parts = [
        each
        for level, model in zip((30, 40, 50), MODELS, strict=False)
        for each in (
            part(level, 0, base=model, hard=0, problems=range(40), **(window | {"when": "first"})),
            part(level + 10, 0, base=model, hard=0, problems=range(40, 80), **(window | {"when": "last"})),
        )
    ]
    row = judge([gain], parts).iloc[0]
    assert (row["value"], row["low"], row["high"]) == pytest.approx((0.1, 0.1, 0.1), abs=1e-9)


def test_windows_of_other_problems_have_the_interval_of_two_samples():
    """One base model: the variance of a difference of means of two independent samples."""
    window = GRPO | {"of": "training", "benchmark": ""}
    gain = {"of": "training", "metric": "L", "more": {"method": "grpo"}, "less": {"method": "grpo", "when": "first"}}
    first, last = (
        part(mean, 5, problems=names, **(window | {"when": when}))
        for mean, names, when in ((40, range(60), "first"), (50, range(60, 120), "last"))
    )
    row = judge([gain], [first, last]).iloc[0]
    expected = math.sqrt(first[1]["L"].var() / 60 + last[1]["L"].var() / 60)
    assert row["value"] == pytest.approx(last[1]["L"].mean() - first[1]["L"].mean())
    assert row["se"] == pytest.approx(expected, rel=0.01)


def test_training_seeds_count_within_their_base_model():
    parts = sides([8, 8.5, 7.5, 8.2, 7.8], BASE, SDPO)
    second = [(labels | {"seed": 1}, values - 0.04) for labels, values in parts if labels["method"] == "sdpo"]
    one, two = judge([DROP], parts).iloc[0], judge([DROP], [*parts, *second]).iloc[0]
    assert one["models"] == two["models"] == 5
    assert two["value"] - one["value"] == pytest.approx(2)  # half of four points


def test_training_seeds_are_each_paired_on_the_problems_that_they_are_trained_on():
    base, run = BASE | {"benchmark": "trained"}, SDPO | {"benchmark": "trained"}
    test = DROP | {"benchmark": "trained"}
    parts = []
    for model, effect in zip(MODELS[:5], [8.0, 8.5, 7.5, 8.2, 7.8], strict=True):
        parts += [part(50 + effect, base=model, problems=range(80), **base)]
        for seed in (0, 1):
            own = range(40 * seed, 40 * seed + 40)
            labels, values = part(50 - 4 * seed, base=model, problems=own, **run)
            parts += [(labels | {"seed": seed}, values)]
    found = judge([test], parts).iloc[0]
    assert found["models"] == 5 and found["value"] == pytest.approx(10, abs=1)  # four points more of one of the two
    assert found["low"] > 8  # problems of very different difficulty are paired
    alone = judge([test], [each for each in parts if each[0].get("seed", 0) == 0]).iloc[0]
    assert alone["value"] == pytest.approx(8, abs=1)


def test_models_of_one_base_model_are_paired_whatever_their_thinking():
    off = BASE | {"thinking": "off"}
    test = {"of": "evaluation", "metric": "L", "more": {"method": "base", "thinking": "on"}, "less": {"method": "base"}}
    role = Role("m", "off", "train", {"grpo": [1e-4], "sdpo": [1e-4]})
    run = sides([0] * 5, GRPO | {"thinking": "off"}, GRPO | {"thinking": "off", "seed": 1})
    assert judge([test], [*sides([12] * 5, BASE, off), *run], role=role)["value"].iloc[0] == pytest.approx(12, abs=3)


# --- forms of tests -----------------------------------------------------------------------------------------------
SAME = {"of": "evaluation", "metric": "avg", "more": {"method": "grpo"}, "less": {"method": "base"}}


def changed(change: float, spread: float = 0.5) -> list[Part]:
    return sides(change + spread * np.array([-1, -0.5, 0, 0.5, 1, 0.2]), GRPO, BASE, noise=1)


def test_no_change_within_a_margin():
    same = SAME | {"claim": "same", "margin": 4}
    assert verdict([same], changed(0.5)) == HOLDS
    assert verdict([same], changed(-9)) == verdict([same], changed(9)) == CONTRADICTED
    assert verdict([same], changed(0.5, 15)) == OPEN  # no evidence of a change is none of its absence
    assert verdict([same], changed(4, 2)) == OPEN


def test_no_loss_and_little_gain_have_one_margin_each():
    no_less, little = (SAME | {"claim": claim, "margin": 4} for claim in ("no_less", "little"))
    assert [verdict([no_less], changed(change)) for change in (9, 0, -9)] == [HOLDS, HOLDS, CONTRADICTED]
    assert [verdict([little], changed(change)) for change in (9, 0, -9)] == [CONTRADICTED, HOLDS, HOLDS]


def test_a_directed_statement_can_be_shown_to_have_no_effect_worth_the_name():
    bounded = SAME | {"margin": 4}
    assert verdict([bounded], changed(0.1, 2)) == NO_EFFECT
    assert verdict([bounded], changed(9)) == HOLDS
    assert verdict([SAME], changed(0.1, 2)) == OPEN
    assert verdict([bounded, SAME | {"metric": "L"}], changed(0.1, 2)) == OPEN  # each effect has to be bounded


def test_a_margin_that_is_a_share_of_another_effect_carries_its_uncertainty():
    share = {"share": 0.25, "more": {"method": "base"}, "less": {"method": "sdpo"}}
    no_less = SAME | {"claim": "no_less", "margin": share}

    def of(loss: Sequence[float]) -> pd.Series:
        lost = [each for each in sides([-drop for drop in loss], SDPO, BASE, noise=1) if each[0]["method"] == "sdpo"]
        return judge([no_less], [*changed(-2), *lost]).iloc[0]

    row = of([20] * 6)
    assert row["margin"] == pytest.approx(5, abs=0.5) and row["verdict"] == HOLDS
    assert of([4] * 6)["verdict"] == CONTRADICTED
    assert of([60, -20, 60, -20, 60, -20])["verdict"] == OPEN
    assert of([-4] * 6)["verdict"] == OPEN  # a share of what is no loss is no margin to lie beyond


def test_more_than_a_share_of_another_effect_is_no_ratio():
    """Of what is no loss nothing is a share; and one base model that loses hardly anything decides nothing."""
    share = {"share": 0.5, "more": {"method": "base"}, "less": {"method": "sdpo"}}
    test = SAME | {"claim": "more_than", "margin": share}

    def of(change: float, loss: Sequence[float]) -> pd.Series:
        lost = [each for each in sides([-drop for drop in loss], SDPO, BASE, noise=1) if each[0]["method"] == "sdpo"]
        return judge([test], [*changed(change), *lost]).iloc[0]

    row = of(9, [10] * 6)
    assert row["verdict"] == HOLDS and row["test"] == "accuracy: GRPO - base > 0.5 (base - SDPO)"
    assert (row["value"], row["margin"]) == pytest.approx((9, 5), abs=1)
    assert of(1, [10] * 6)["verdict"] == CONTRADICTED
    assert of(5, [10] * 6)["verdict"] == OPEN
    assert of(9, [-10] * 6)["verdict"] == OPEN and of(-9, [-10] * 6)["verdict"] == OPEN
    assert of(9, [0.4, *[10] * 5])["verdict"] == HOLDS
    assert verdict([SAME | {"claim": "more_than", "margin": 4}], changed(9)) == HOLDS
    assert verdict([SAME | {"claim": "more_than", "margin": 4}], changed(1)) == CONTRADICTED


def test_a_base_model_whose_responses_define_no_effect_is_left_out_and_named():
    """V where no answer is accepted; where a margin is a share of it as well."""
    parts = sides([8, 8.5, 7.5, 8.2, 7.8], BASE, SDPO, noise=1)
    for labels, values in parts:
        values["accepted"] = 1.0
        values["verified"] = 0.9 if labels["method"] == "base" else 0.3 + 0.01 * MODELS.index(labels["base"])
    change = DROP | {"metric": "V"}
    tests = [change, change | {"claim": "more_than", "margin": {"share": 0.5} | {k: DROP[k] for k in ("more", "less")}}]
    for test in tests:
        assert judge([test], parts)[["models", "remark"]].iloc[0].tolist() == [5, ""]
    parts[3][1][["accepted", "verified"]] = 0.0  # SDPO of the second
    for test in tests:
        found = judge([test], parts).iloc[0]
        assert (found["models"], found["verdict"]) == (4, f"{HOLDS} (provisional)")
        assert found["remark"] == f"without {MODELS[1]}, whose responses do not define it"


def test_a_fraction_of_the_way_back_is_a_ratio_of_means():
    names = {"unguided": 90.0, "solution": 10.0, "solution_without_thinking": 50.0}
    parts = [
        part(mean, 2, of="guidance", setting=setting, base=model, hard=3)
        for model in MODELS[:5]
        for setting, mean in names.items()
    ]
    test = {"of": "guidance", "metric": "L"} | {
        "more": {"setting": "solution_without_thinking"},
        "less": {"setting": "solution"},
        "out_of": {"more": {"setting": "unguided"}, "less": {"setting": "solution"}},
    }
    row = judge([test], parts).iloc[0]
    assert row["value"] == pytest.approx(0.5, abs=0.02) and row["verdict"] == HOLDS
    assert verdict([test | {"than": 0.7}], parts) == CONTRADICTED
    alone = {"of": "guidance", "metric": "L", "less": {"setting": "solution"}, "than": 25.0}
    assert judge([alone], parts)["value"].iloc[0] == pytest.approx(15, abs=1)


def test_the_harder_benchmark_is_set_against_the_others():
    parts = sides([10] * 6, BASE, SDPO, hard=2)
    parts += sides([25] * 6, BASE | {"benchmark": "hard"}, SDPO | {"benchmark": "hard"}, hard=2)
    relative = DROP | {"benchmark": "hardest_against_others", "out_of": {"more": {"method": "base"}}}
    row = judge([relative], parts).iloc[0]
    assert row["value"] == pytest.approx(25 / 75 - 10 / 60, abs=0.03) and row["verdict"] == HOLDS
    assert judge([DROP | {"benchmark": "hardest"}], parts)["benchmark"].tolist() == ["hard"]


def test_v_is_verified_over_accepted_answers_of_all_problems():
    parts = sides([0, 0], BASE, SDPO)
    accepted = np.linspace(0, 1, 40)  # some problems have none
    for (_, values), share in zip(parts, (0.8, 0.1, 0.6, 0.2), strict=True):
        values["accepted"], values["verified"] = accepted, share * accepted
    row = judge([DROP | {"metric": "V"}], parts).iloc[0]
    assert row["value"] == pytest.approx((0.7 + 0.4) / 2) and row["metric"] == "V"
    for _, values in parts[1::2]:
        values[["accepted", "verified"]] = 0.0
    row = judge([DROP | {"metric": "V"}, DROP], parts).iloc[0]
    assert row["verdict"] == NOT_TESTABLE and row["remark"] == "a ratio needs a denominator other than 0"


def test_density_is_markers_over_tokens_of_all_responses():
    parts = []
    for model in MODELS[:5]:
        for labels, markers, tokens in ((BASE, 6.0, 100.0), (SDPO, 2.0, 50.0)):
            names, values = part(0, 0.2, base=model, hard=0, **labels)
            values = values.assign(E=markers + values["E"], L=tokens * np.linspace(0.5, 1.5, len(values)))
            parts.append((names, values))
    row = judge([DROP | {"metric": "density"}], parts).iloc[0]
    assert row["value"] == pytest.approx(60 - 40, abs=3) and row["verdict"] == HOLDS


def test_a_slope_is_that_of_least_squares_over_doublings_of_the_problems_seen():
    rising = {"of": "evaluation", "metric": "avg", "rising": {"method": "grpo"}, "along": "problems"}
    gains = {1.0: 0, 8.0: 3, 64.0: 6, 480.0: 9}
    arms = [
        part(50 + gain, 1, base=model, **(GRPO | {"seen": seen, "whole": seen == 480, "exposures": 480 / seen}))
        for model in MODELS[:5]
        for seen, gain in gains.items()
    ]
    row = judge([rising], arms).iloc[0]
    each = [
        np.polyfit(np.log2(list(gains)), [100 * v["score"].mean() for _, v in arms[4 * n : 4 * n + 4]], 1)[0]
        for n in range(5)
    ]
    assert row["value"] == pytest.approx(np.mean(each)) and row["verdict"] == HOLDS
    assert verdict([{**rising, "falling": rising["rising"], "rising": None}], arms) == CONTRADICTED
    assert verdict([rising], [arm for arm in arms if arm[0]["seen"] > 8]) == NOT_TESTABLE


def test_a_slope_along_checkpoints_begins_at_the_base_model():
    falling = {"of": "evaluation", "metric": "avg", "falling": {"method": "sdpo"}, "along": "steps"}
    parts = []
    for model in MODELS[:5]:
        parts.append(part(60, 1, base=model, **BASE))
        parts += [part(60 - 2 * at, 1, base=model, **SDPO, when="checkpoint", progress=at) for at in (3.0, 6.0, 10.0)]
    row = judge([falling], parts).iloc[0]
    assert row["value"] == pytest.approx(2, abs=0.2) and row["verdict"] == HOLDS


def test_slopes_of_two_runs_are_compared():
    steeper = {"of": "training", "metric": "L", "more": {"method": "sdpo"}, "along": "steps"}
    steeper |= {"less": {"method": "sdpo", "teacher": "moving"}}
    window = SDPO | {"of": "training", "benchmark": "", "when": "tenth"}
    parts = [
        part(100 - slope * tenth, 1, base=model, problems=range(10 * tenth, 10 * tenth + 10), hard=0,
             **(window | {"teacher_update_rate": rate, "progress": tenth - 0.5}))
        for model in MODELS[:5] for slope, rate in ((2, 0.0), (5, 0.05)) for tenth in range(1, 11)
    ]  # fmt: skip
    row = judge([steeper], parts).iloc[0]
    assert row["value"] == pytest.approx(3, abs=0.3) and row["verdict"] == HOLDS


def test_throughout_means_every_tenth_after_the_first():
    below = {
        "of": "training",
        "each": "tenth",
        "metric": "score",
        "more": {"method": "grpo"},
        "less": {"method": "sdpo"},
    }

    def with_gaps(gaps: Sequence[float]) -> pd.DataFrame:
        window = {"of": "training", "benchmark": "", "when": "tenth"}
        parts = [
            part(50 + gap * sign, 1, base=model, **(labels | window | {"progress": tenth + 0.5}))
            for model in MODELS[:6]
            for sign, labels in ((1, GRPO), (0, SDPO))
            for tenth, gap in enumerate(gaps)
        ]
        return judge([below], parts)

    found = with_gaps([0, *[5] * 9])
    assert found["part"].tolist() == [f"tenth {number}" for number in range(2, 11)]
    assert set(found["verdict"]) == {HOLDS}
    assert set(with_gaps([0, 5, 5, 0, *[5] * 6])["verdict"]) == {OPEN}


def test_few_problems_are_those_seen_often_and_their_mean_counts():
    few = {"of": "training", "over": "few", "metric": "score", "more": {"method": "grpo"}, "less": {"method": "sdpo"}}
    parts = []
    for seen, gap in ((1.0, 10), (8.0, 4), (64.0, 50)):
        window = {"of": "training", "benchmark": "", "whole": False, "seen": seen, "exposures": 480 / seen}
        parts += sides([gap] * 6, GRPO | window, SDPO | window, problems=range(int(seen)), noise=0.5, hard=0)
    row = judge([few], parts).iloc[0]
    assert row["part"] == "|D| = 1 and 8" and row["value"] == pytest.approx(0.07, abs=0.01) and row["verdict"] == HOLDS
    assert judge([few | {"over": "many"}], parts)["part"].tolist() == ["|D| = 64"]
    assert "50 times" in judge([few], parts[-12:])["remark"].iloc[0]


def test_each_marker_is_a_test():
    settings = [{"of": "guidance", "setting": setting} for setting in ("unguided", "solution")]
    test = {
        "of": "guidance",
        "metric": "E",
        "each": "marker",
        "more": {"setting": "unguided"},
        "less": {"setting": "solution"},
    }
    parts = sides([5] * 6, *settings)
    found = judge([test], parts)
    assert set(found["part"]) == {f'"{marker}"' for marker in MARKERS} and set(found["verdict"]) == {HOLDS}
    mended = [(labels, values.assign(wait=1.0)) for labels, values in parts]
    assert set(judge([test], mended)["verdict"]) == {OPEN}  # one that does not fall


def arms(link: float, *, number: int = 8, models: int = 6) -> list[Part]:
    """Runs whose markers and accuracy change together with ``link``, from 1 to -1."""
    parts = []
    for place, model in enumerate(MODELS[:models]):
        draw = np.random.default_rng(place)
        parts.append(part(50, 0.1, base=model, **BASE))
        for arm in range(number):
            change = draw.normal(0, 10)
            labels, values = part(50, 0.1, base=model, **(SDPO | {"learning_rate": 1e-5 * (arm + 1)}))
            other = link * change + (1 - abs(link)) * draw.normal(0, 10)
            parts.append((labels, values.assign(E=values["E"] + change, score=values["score"] + other / 100)))
    return parts


def test_the_rank_correlation_over_arms_is_taken_within_each_base_model():
    test = {"of": "evaluation", "correlation": {"of": "E", "with": "avg", "among": "sdpo"}}
    row = judge([test], arms(1.0)).iloc[0]
    assert row["value"] == pytest.approx(1, abs=0.1) and row["verdict"] == HOLDS and row["part"] == "8 arms"
    assert verdict([test], arms(-1.0)) == CONTRADICTED
    assert verdict([test], arms(0.0)) == OPEN
    found = judge([test], arms(1.0, number=4)).iloc[0]
    assert found["verdict"] == NOT_TESTABLE and "needs 5" in found["remark"]
    uneven = [each for each in arms(1.0) if each[0]["base"] != "m0" or each[0].get("learning_rate", 0) < 6.5e-5]
    assert judge([test], uneven)["part"].tolist() == ["6 arms"]  # those that all base models have
    grpo = {"of": "evaluation", "correlation": {"of": "E", "with": "avg", "among": "grpo"}}
    assert judge([grpo], arms(1.0))["verdict"].tolist() == [NOT_TESTABLE]


def test_an_arm_in_which_a_base_model_accepts_nothing_is_none_that_all_share():
    test = {"of": "evaluation", "correlation": {"of": "V", "with": "avg", "among": "sdpo"}}
    parts = [(labels, values.assign(accepted=1.0, verified=values["score"])) for labels, values in arms(1.0)]
    whole = judge([test], parts).iloc[0]
    assert whole["part"] == "8 arms" and whole["remark"].startswith("of these 8 arms alone; ")
    parts[3] = (parts[3][0], parts[3][1].assign(accepted=0.0, verified=0.0))  # the third arm of the first base model
    row = judge([test], parts).iloc[0]
    assert row["part"] == "7 arms" and row["models"] == 6
    assert row["remark"].startswith(
        "without 1 of 8 arms, in which V of a base model is not defined; of these 7 arms alone"
    )
    third = parts[3][0]["learning_rate"]
    rest = [each for each in parts if each[0].get("learning_rate") != third]
    assert row["value"] == judge([test], rest).iloc[0]["value"]
    few = [each for each in parts if each[0].get("learning_rate", 0) < 5.5e-5]
    row = judge([test], few).iloc[0]
    assert row["verdict"] == NOT_TESTABLE and row["remark"].endswith("not defined; a rank correlation needs 5")


def test_the_rank_correlation_is_that_of_scipy():
    parts = arms(0.4, models=1)
    test = {"of": "evaluation", "correlation": {"of": "E", "with": "avg", "among": "all"}}
    row = judge([test], parts).iloc[0]
    changes = [(values["E"].mean(), values["score"].mean()) for labels, values in parts if labels["method"] == "sdpo"]
    assert row["value"] == pytest.approx(stats.spearmanr(*zip(*changes, strict=True)).statistic)
    assert row["verdict"] == ONE_MODEL and pd.isna(row["low"])


def test_a_rank_correlation_says_what_it_is_once_arms_are_the_sample():
    """What is common to an arm is the same in all base models: sixteen of them know these arms, and no others."""
    draw = np.random.default_rng(4)
    common, parts = draw.normal(0, 10, (8, 2)), []
    for model in MODELS[:6]:
        parts.append(part(50, 0.1, base=model, **BASE))
        for number, (of, to) in enumerate(common):
            labels, values = part(50, 0.1, base=model, **(SDPO | {"learning_rate": 1e-5 * (number + 1)}))
            change, other = of + draw.normal(0, 1), to + draw.normal(0, 1)
            parts.append((labels, values.assign(E=values["E"] + change, score=values["score"] + other / 100)))
    row = judge([{"of": "evaluation", "correlation": {"of": "E", "with": "avg", "among": "sdpo"}}], parts).iloc[0]
    by_arm = {
        number: [values[["E", "score"]].mean() for labels, values in parts[number + 1 :: 9]] for number in range(8)
    }
    means = [np.mean([np.array([each["E"], each["score"]]) for each in own], axis=0) for own in by_arm.values()]
    reference = stats.spearmanr(*zip(*means, strict=True))
    assert reference.pvalue > 0.05 and min(row["p_for"], row["p_against"]) < 0.01
    told = f"over arms, averaged over base models: {reference.statistic:.2f}, p = {reference.pvalue:.2g}"
    assert row["remark"] == f"of these 8 arms alone; {told}"


def test_changes_that_are_equal_but_for_rounding_are_ties():
    test = {"of": "evaluation", "correlation": {"of": "E", "with": "avg", "among": "sdpo"}}
    parts = arms(0.3, models=1)
    row = judge([test], [(labels, values.assign(E=values["E"].round())) for labels, values in parts]).iloc[0]
    tie = parts[2][1]["E"].round().mean() - parts[1][1]["E"].round().mean()
    tied = [(labels, values.assign(E=values["E"].round())) for labels, values in parts]
    tied[1] = (tied[1][0], tied[1][1].assign(E=tied[1][1]["E"] + tie))
    near = [*tied]
    near[1] = (tied[1][0], tied[1][1].assign(E=tied[1][1]["E"] + 1e-12))
    first, second = (judge([test], each).iloc[0]["value"] for each in (tied, near))
    assert first == second != row["value"]


# --- corrections --------------------------------------------------------------------------------------------------
def test_holm_steps_down_as_in_a_worked_example():
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm(np.array([0.6, 0.7])).tolist() == [1, 1]


def test_benjamini_hochberg_is_scipy_s():
    p = np.random.default_rng(0).uniform(0, 0.2, 50)
    assert benjamini_hochberg(p) == pytest.approx(stats.false_discovery_control(p, method="bh"))


def test_a_statement_has_the_largest_p_for_it_and_the_smallest_times_their_number_against_it():
    tests = [Evidence(0.001, 0.999), Evidence(0.02, 0.98), Evidence(0.9, 0.1)]
    assert p_holds(tests) == 1 and p_holds(tests[:2]) == pytest.approx(0.04)
    assert p_contradicted(tests) == pytest.approx(0.6)


def test_primaries_stand_under_holm_and_all_others_under_benjamini_hochberg():
    claims = [
        Claim.model_validate(
            {"id": f"c{number}", "section": "1", "statement": "s", "role": "r", "tests": [DROP]}
            | ({"primary": {"rate": "matched", "expects": "more"}} if number < 3 else {})
        )
        for number in range(6)
    ]
    parts = sides([3, 1, 6, 2, 4], BASE, SDPO)
    found, _ = ledger(claims, units(parts), {"r": ROLE}, confidence=0.95)
    assert found["correction"].tolist() == ["Holm"] * 3 + ["Benjamini-Hochberg"] * 3
    assert found["p_adjusted"].tolist() == pytest.approx([found["p"][0] * 3] * 3 + [found["p"][0]] * 3)
    assert found["family"].tolist() == [3] * 6
    pd.testing.assert_frame_equal(judged(found)[found.columns], found)


def test_primaries_of_ours_count_five_wherever_the_others_are_tested():
    """One of them is another study's: its p is not known here, and that is no reason for a smaller family."""
    primary = {"primary": {"rate": "matched", "expects": "so"}, "ours": True}
    row = judge([DROP], sides([8, 8.5, 7.5, 8.2, 7.8], BASE, SDPO), **primary).iloc[0]
    assert (row["correction"], row["family"]) == ("Holm, ours", PRIMARIES[True])
    assert row["p_adjusted"] == pytest.approx(min(1.0, PRIMARIES[True] * row["p"]))


def test_statements_of_ours_have_a_correction_and_a_list_of_their_own():
    """However many there are, they change no verdict about the paper's."""
    statement = {"section": "1", "statement": "s", "role": "r", "tests": [DROP]}
    papers, ours = ([Claim.model_validate(statement | {"id": f"{name}{number}", "ours": name == "o"})
                     for number in range(count)] for name, count in (("p", 2), ("o", 3)))  # fmt: skip
    parts = sides([3, 1, 6, 2, 4], BASE, SDPO)
    alone, _ = ledger(papers, units(parts), {"r": ROLE}, confidence=0.95)
    found, _ = ledger([*ours, *papers], units(parts), {"r": ROLE}, confidence=0.95)
    assert found["family"].tolist() == [3] * 3 + [2] * 2
    assert found["correction"].tolist() == ["Benjamini-Hochberg, ours"] * 3 + ["Benjamini-Hochberg"] * 2
    pd.testing.assert_frame_equal(found[3:].reset_index(drop=True).drop(columns="place"), alone.drop(columns="place"))
    assert summary_line(found) == "Other statements: 2 holds. Other statements, ours and not the paper's: 3 holds"
    assert markdown(found, [], "s", "microcosm").index("| p0") < markdown(found, [], "s", "microcosm").index("| o0")


def test_a_statement_that_says_the_same_has_the_verdict_of_the_other_and_no_p():
    first = {"id": "a", "section": "1", "statement": "s", "role": "r", "tests": [DROP]}
    second = {"id": "b", "section": "1", "statement": "t", "same_as": "a"}
    claims = [Claim.model_validate(each) for each in (second, first)]
    found, _ = ledger(claims, units(sides([8] * 6, BASE, SDPO)), {"r": ROLE}, confidence=0.95)
    assert found["verdict"].tolist() == [HOLDS, HOLDS] and found["p"].isna().tolist() == [True, False]
    assert summary_line(found) == "Other statements: 1 holds"
    found, _ = ledger(claims, units(sides([14, 6, -2], BASE, SDPO)), {"r": ROLE}, confidence=0.95)
    assert found["verdict"].tolist() == [OPEN, OPEN] and found["models_needed"].notna().tolist() == [False, True]


def test_what_is_said_to_be_needed_gives_eighty_percent_power():
    distance, spread, level = 1.0, 2.0, 0.05 / 12
    needed = models_needed(distance, spread / math.sqrt(5), 5, level)
    assert needed is not None
    draws = np.random.default_rng(0).normal(distance, spread, (20_000, needed))
    p = stats.ttest_1samp(draws, 0, axis=1).pvalue
    assert np.mean(p < level) == pytest.approx(0.8, abs=0.02)
    fewer = np.mean(stats.ttest_1samp(draws[:, : needed - 2], 0, axis=1).pvalue < level)
    assert fewer < 0.8
    assert models_needed(0.01, spread, 5, level) is None and models_needed(0.0, 1, 5, level) is None
    assert models_needed(50.0, 0.5, 5, 0.05) == 2 or models_needed(50.0, 0.5, 5, 0.05) == 3


def test_what_problems_bring_in_no_number_of_base_models_averages_out():
    assert models_needed(1.0, 0.6, 16, 0.05) == models_needed(1.0, 0.6, 16, 0.05, 0.0)
    some, all_of_it = models_needed(1.0, 0.6, 16, 0.05, 0.3), models_needed(1.0, 0.6, 16, 0.05, 0.6)
    assert some is not None and some > models_needed(1.0, 0.6, 16, 0.05) and all_of_it is None


def test_an_open_statement_says_at_its_least_certain_test_what_would_decide():
    hard = {"benchmark": "hard"}
    found = judge([DROP], [*sides([40, 41, 39], BASE, SDPO), *sides([14, 6, -2], BASE | hard, SDPO | hard)])
    assert found["verdict"].tolist() == [OPEN, OPEN]
    assert found.set_index("benchmark")["models_needed"].notna().to_dict() == {"easy": False, "hard": True}
    assert markdown(found, [], "s", "microcosm").count("would need") == 1


# --- the list -----------------------------------------------------------------------------------------------------
def test_the_shipped_list_is_whole():
    from selfdistill.config import ROLES

    claims, conflicts = read_statements(CONFIG / "claims.yaml")
    assert {claim.role for claim in claims if claim.role} == set(ROLES)
    assert len(conflicts) == 4 and len(claims) >= 80
    for claim in claims:
        assert claim.tests or claim.untestable or claim.same_as, claim.id
        assert claim.shown_in, claim.id
    primaries = [claim for claim in claims if claim.primary]
    assert Counter(claim.ours for claim in primaries) == PRIMARIES and not any(claim.taught for claim in primaries)


def test_the_primaries_are_those_of_the_preregistration():
    text = (CONFIG.parent / "docs" / "preregistration.md").read_text()
    primaries = [claim for claim in read_claims(CONFIG / "claims.yaml") if claim.primary]
    places = {False: ("## Primaries", "## Margins"), True: ("## Primaries of ours", "## Changes")}
    for ours, (begin, end) in places.items():
        table = text.partition(begin)[2].partition(end)[0]
        assert table.count("\n|") - 2 == PRIMARIES[ours]
        assert all(f"| {claim.id} |" in table for claim in primaries if claim.ours == ours)


def test_a_primary_statement_is_primary_at_one_rate():
    """Whatever rates its role has: the matched one, the highest one, or none."""
    cells = units(
        [part(50, of="sft", data="guided", learning_rate=rate, benchmark="easy") for rate in (1e-4, 3e-4)]
    ).cells
    for claim in read_claims(CONFIG / "claims.yaml"):
        if claim.primary is not None:
            rates = [rate for _, rate in variants(claim, ROLE, cells)]
            assert (rates == [None]) == (claim.primary.rate is None), claim.id


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("claims: [{id: a, section: s, statement: t}]", "claim 'a': .*role and tests, or says why"),
        ("claims: [{id: a, section: s, statement: t, untestable: x, colour: red}]", "claim 'a': unknown key 'colour'"),
        (
            "claims: [{id: a, section: s, statement: t, role: r, tests: [{of: sft, metric: avg, more: {data: base}}]}]",
            "'more' or 'less' alone needs 'than'",
        ),
        (
            "claims: [{id: a, section: s, statement: t, untestable: x, ours: true, published: '3'}]",
            "claim 'a': a claim of ours is not published",
        ),
        (
            "claims: [&c {id: a, section: s, statement: t, untestable: x}, *c]",
            "2 statements are called 'a'",
        ),
        ("claims: [{id: a, section: s, statement: t, same_as: b}]", "no statement with tests is called 'b'"),
        (
            "claims: [{id: a, section: s, statement: t, role: r, tests: [&t {of: sft, metric: avg, more: {data: base}, "
            "less: {data: guided}}]}, {id: b, section: s, statement: u, role: r, tests: [*t]}]",
            "claim 'b': its tests are those of 'a'; write 'same_as: a'",
        ),
        (
            "claims: [{id: a, section: s, statement: t, role: r, tests: [{of: sft, metric: avg, more: {data: base}, "
            "less: {data: guided}, claim: same}]}]",
            "needs a 'margin'",
        ),
        ("nothing: 1", "a list of statements"),
    ],
)
def test_a_malformed_list_is_told_in_one_sentence(tmp_path: Path, text: str, sentence: str):
    (tmp_path / "claims.yaml").write_text(text)
    with pytest.raises(UserError, match=sentence) as told:
        read_claims(tmp_path / "claims.yaml")
    assert "\n" not in str(told.value)


def compared_in(of: str, **test: Any) -> dict[str, Any]:
    """A test of GRPO against SDPO."""
    return {"of": of, "metric": "L", "more": {"method": "grpo"}, "less": {"method": "sdpo"}} | test


SLOPE = {"more": None, "less": None, "along": "steps", "rising": {"method": "grpo"}}
CORRELATED = {"of": "evaluation", "correlation": {"of": "E", "with": "avg", "among": "all"}}
SENSELESS = {
    "a metric of other responses": (
        compared_in("training", metric="kept"),
        "claim 'my-x': tests.0.metric: 'kept' is no metric of training; known there: score, avg, L, E, V, density",
    ),
    "the information": (compared_in("evaluation", metric="information"), "metric: 'information' is no metric of eval"),
    "score of data sets": (
        {"of": "sets", "metric": "score", "more": {"data": "guided"}, "less": {"data": "unguided"}},
        "metric: 'score' is no metric of sets; known there: L, E, density",
    ),
    "a metric of a correlation": (
        CORRELATED | {"correlation": {"of": "gain", "with": "avg", "among": "all"}},
        "correlation.of: 'gain' is no metric of evaluation; known there: score, ",
    ),
    "each marker of another metric": (
        {"of": "guidance", "metric": "score", "each": "marker", "more": {"setting": "solution"},
         "less": {"setting": "unguided"}},
        "metric: 'each: marker' counts markers, which is E (found 'score')",
    ),
    "each marker of data sets": (
        {"of": "sets", "metric": "E", "each": "marker", "more": {"data": "guided"}, "less": {"data": "unguided"}},
        "each: single markers are not counted in sets",
    ),
    "a benchmark of training": (
        compared_in("training", benchmark="hardest"),
        "benchmark: means nothing of training; it is for sft, evaluation, alignment",
    ),
    "a benchmark of fine-tuning": (
        {"of": "sft", "metric": "avg", "benchmark": "trained", "more": {"data": "base"}, "less": {"data": "guided"}},
        "benchmark: 'trained' is no benchmark of sft; known there: hardest, hardest_against_others",
    ),
    "a window of checkpoints": (
        compared_in("evaluation", when="whole"),
        "when: 'whole' is no time of evaluation; known there: last, half",
    ),
    "a cell's window": (
        compared_in("training", less={"method": "sdpo", "when": "half"}),
        "less.when: 'half' is no time of training; known there: first, last, start, middle, end, whole",
    ),
    "when of guidance": (
        {"of": "guidance", "metric": "L", "when": "first", "more": {"setting": "solution"},
         "less": {"setting": "unguided"}},
        "when: means nothing of guidance; it is for training, evaluation",
    ),
    "over of alignment": (compared_in("alignment", metric="gain", over="few"), "over: means nothing of alignment; it"),
    "a slope of alignment": (compared_in("alignment", metric="gain") | SLOPE, "along: means nothing of alignment; it"),
    "a correlation of training": (CORRELATED | {"of": "training"}, "correlation: means nothing of training; it is for"),
    "a margin of a correlation": (
        CORRELATED | {"margin": {"share": 0.5, "more": {"method": "sdpo"}}},
        "margin: does not count beside a correlation, unless it is a number",
    ),
    "a correlation below a margin": (
        CORRELATED | {"claim": "little", "margin": 0.1},
        "claim: does not count beside a correlation",
    ),
    "tenths of checkpoints": (
        compared_in("evaluation", each="tenth"),
        "each: does not count beside 'of: evaluation', which has no tenths",
    ),
    "a window of each tenth": (
        compared_in("training", each="tenth", when="whole"),
        "when: does not count beside 'each: tenth'",
    ),
    "a window of a slope": (
        compared_in("training", **SLOPE | {"rising": {"method": "grpo", "when": "end"}}),
        "rising.when: does not count beside 'along: steps'",
    ),
    "two benchmarks over sizes": (
        compared_in("evaluation", over="few", benchmark="hardest_against_others"),
        "benchmark: does not count beside 'over'",
    ),
    "sizes of the base model": (
        compared_in("evaluation", over="few", more={"method": "base"}, less={"method": "grpo", "problems": "whole"}),
        "over: does not count beside runs on the whole set and base models alone",
    ),
    "a number beside two sides": (compared_in("training", than=5.0), "than: does not count beside two sides"),
    "a number beside a slope": (compared_in("training", than=5.0, **SLOPE), "than: does not count beside two sides"),
    "a setting of training": (
        compared_in("training", less={"setting": "solution"}),
        "less.setting: means nothing of training; known there: thinking, method, context, ",
    ),
    "a margin's cell": (
        compared_in("training", claim="little", margin={"share": 0.5, "more": {"method": "sdpo", "place": "other"}}),
        "margin.more.place: means nothing of training; known there: thinking, method, ",
    ),
    "a cell of nothing": (
        compared_in("training", less={"thinking": "on"}),
        "less: expected 'method', which says what responses are compared",
    ),
    "a cell of two": (
        {"of": "sft", "metric": "avg", "more": {"data": "base", "words": "mine"}, "less": {"data": "guided"}},
        "more: expected 'data' or 'words', found both",
    ),
    "the base model in training": (
        compared_in("training", less={"method": "base"}),
        "less.method: 'base' has no responses of training; those that a run begins with are 'when: first'",
    ),
    "a teacher of GRPO": (
        compared_in("training", more={"method": "grpo", "teacher": "moving"}),
        "more.teacher: does not count beside 'method: grpo'",
    ),
    "a context of the base model": (
        compared_in("evaluation", more={"method": "base", "context": "solution"}),
        "more.context: does not count beside 'method: base'",
    ),
    "the whole set without 'over'": (
        compared_in("evaluation", more={"method": "grpo", "problems": "whole"}),
        "more.problems: does not count beside a test without 'over'",
    ),
    "two equal sides": (
        compared_in("training", more={"method": "sdpo", "when": "last"}),
        "more: the same as 'less', from which it does not differ",
    ),
    "a margin of nothing": (compared_in("training", claim="same", margin=0), "'margin' is the size of an effect, a "),
    "a margin below 0": (compared_in("training", claim="same", margin=-5), "a number above 0 (found -5)"),
    "no number": (compared_in("training", less=None, than=math.nan), "than: Input should be a finite number"),
}  # fmt: skip


@pytest.mark.parametrize("case", SENSELESS)
def test_a_test_that_asks_in_vain_is_told_in_one_sentence(case, tmp_path: Path):
    test, sentence = SENSELESS[case]
    claim = {"id": "my-x", "section": "1", "statement": "It is so.", "role": "r", "tests": [test]}
    (tmp_path / "claims.yaml").write_text(json.dumps({"claims": [claim]}).replace("NaN", ".nan"))
    with pytest.raises(UserError) as told:
        read_claims(tmp_path / "claims.yaml")
    assert sentence in str(told.value) and "\n" not in str(told.value), told.value


@pytest.mark.parametrize("name", ["My-x", "my_x", "my--x", "-my", "my x", ""])
def test_a_name_that_is_not_in_kebab_case_is_refused(name, tmp_path: Path):
    claim = {"id": name, "section": "1", "statement": "It is so.", "untestable": "x"}
    (tmp_path / "claims.yaml").write_text(json.dumps({"claims": [claim]}))
    with pytest.raises(UserError, match="id: a name has lower-case letters and digits, with single"):
        read_claims(tmp_path / "claims.yaml")


def test_a_statement_may_name_a_context_of_a_study_s_own():
    names = {"solution_without_thinking": "SDPO c = s without think", "answer_only": "SDPO c = answer_only"}
    assert {context: name_of(Cell(method="sdpo", context=context)) for context in names} == names
    test = Comparison.model_validate(DROP | {"less": {"method": "sdpo", "context": "answer_only"}})
    base, usual = part(60, **BASE), SDPO | {"learning_rate": 1e-4}
    for context, missing in (("answer_only", ""), ("solution", "no responses of SDPO c = answer_only")):
        made = units([base, part(50, **usual | {"context": context})]).cells
        [found] = instances(test, ROLE, made, 1e-4)
        assert found.missing.startswith(missing) and bool(found.bases) == (not missing)


def test_no_two_statements_make_the_same_comparison_of_one_study():
    """Roles may differ in name only: of the default study, no statement's tests are all another's."""
    import yaml
    from pydantic import TypeAdapter

    given = yaml.safe_load((CONFIG.parent / "config.yaml").read_text())["claims"]["roles"]
    roles = {name: role and TypeAdapter(Role).validate_python(role) for name, role in given.items()}
    seen: dict[str, str] = {}
    for claim in read_claims(CONFIG / "claims.yaml"):
        role = roles.get(claim.role or "")
        if claim.tests and role is not None:
            said = repr((role, sorted(map(repr, claim.tests))))
            assert said not in seen, f"{claim.id} is {seen[said]}"
            seen[said] = claim.id


# --- units --------------------------------------------------------------------------------------------------------
def traces(
    model: str, run: str, setting: str, *, problems: int = 3, samples: int = 2, steps: Iterable[int] | None = None
):
    rows = [
        {"problem_id": f"p{problem}", "sample": samples * problem + sample, "step": step}
        for step in steps or [None]
        for problem in range(problems)
        for sample in range(samples)
    ]
    frame = pd.DataFrame(rows).astype({"step": "Int32"})
    for column in tables.TRACES.columns:
        if column not in frame:
            frame[column] = 1 if column.startswith(("substring", "word")) or column == "response_tokens" else "x"
    correct = frame["sample"] % 2 == 0
    length = 10 * (frame["step"].fillna(1).astype(int))
    return frame.assign(
        model=model, run=run, setting=setting, correct=correct, response_tokens=length, accepted=True, verified=correct
    )


RUNS = pd.DataFrame(
    {
        "study": "s", "model": "m", "run": ["grpo-a", "sdpo-b"], "family": "f", "thinking": "on",
        "method": ["grpo", "sdpo"], "context": ["none", "solution"], "teacher_update_rate": [np.nan, 0.05],
        "problem_set": "train", "problems": [500, 8], "whole_set": [True, False], "learning_rate": 1e-4,
        "top_k": [None, 100], "draw": 0, "seed": 0,
    }
)  # fmt: skip
KNOWN = {"m": {"family": "f", "thinking": "on", "base": "weights"}}


def test_training_is_cut_into_windows_that_say_how_many_problems_were_seen_and_how_often():
    rollouts = traces("m", "sdpo-b", "sdpo-b", problems=3, samples=4, steps=range(1, 21))
    parts = list(reading.training_parts(rollouts, RUNS, KNOWN, window=2, rollouts_per_prompt=4))
    found = Units(pd.DataFrame([labels for labels, _ in parts]), [values for _, values in parts])
    length = {labels["when"]: values["L"].mean() for labels, values in parts if labels["when"] != "tenth"}
    assert length == {"first": 15, "last": 195, "whole": 105, "start": 15, "middle": 65, "end": 185}
    tenths = {labels["progress"]: values["L"].mean() for labels, values in parts if labels["when"] == "tenth"}
    assert tenths == {number + 0.5: 20 * number + 15 for number in range(10)}
    row = found.cells.iloc[0]
    assert (row["seen"], row["exposures"], row["teacher_update_rate"], row["top_k"]) == (3, 20, 0.05, 100)
    assert (row["base"], row["whole"], row["seed"]) == ("weights", False, 0)
    assert set(parts[0][1]["rollouts"]) == {8} and set(parts[2][1]["rollouts"]) == {80}


def test_values_are_the_means_per_problem_that_tables_show():
    part = traces("m", "base", "easy", problems=4, samples=4)
    part["substring_wait"], part["substring_likely"] = range(16), 5
    values, shown = reading.values_of(part), per_problem(part)
    for name, other in {"score": "score", "L": "L", "E": "E_substring", "wait": "substring_wait"}.items():
        pd.testing.assert_series_equal(values[name], shown[other], check_names=False, check_dtype=False)
    assert (values["doubt"] == values["E"] - values["likely"] - values["check"]).all()
    with pytest.raises(UserError, match="twice"):
        reading.values_of(pd.concat([part, part]))


def test_checkpoints_and_the_base_models_on_the_same_questions():
    along = traces("m", "grpo-a", "easy", steps=(10, 20, 30))
    parts = list(reading.evaluation_parts(along, RUNS, KNOWN, {"seen": 3.0, "exposures": 1.0}))
    assert [(labels["when"], labels.get("progress")) for labels, _ in parts if labels["when"] == "checkpoint"] == [
        ("checkpoint", pytest.approx(10 / 3)), ("checkpoint", pytest.approx(20 / 3)), ("checkpoint", 10),
    ]  # fmt: skip
    by_when = {labels["when"]: values["L"].mean() for labels, values in parts if labels["when"] != "checkpoint"}
    assert by_when == {"half": 100, "last": 300}
    (labels, values), *more = reading.base_parts(traces("m", "base", "easy"), KNOWN)
    assert labels["method"] == "base" and labels["base"] == "weights" and not more and len(values) == 3


def test_what_a_solution_keeps_without_its_thinking():
    solutions = pd.DataFrame(
        {
            "model": "m", "problem_id": ["p", "p", "q"], "sample": [0, 1, 0], "correct": [False, True, True],
            "response": ["<think>wrong</think> no", "<think>" + "x" * 78 + "</think>seven", "<think>a</think>b"],
        }
    )  # fmt: skip
    ((labels, values),) = reading.solution_parts(solutions, KNOWN)
    assert labels["of"] == "solutions" and values["kept"].tolist() == pytest.approx([5 / 98, 1 / 17])


# --- what else asks -----------------------------------------------------------------------------------------------
def test_files_compared_are_those_of_both_sides():
    parts = [(labels | {"file": f"{labels['method']}-{labels['base']}"}, v) for labels, v in sides([8] * 2, BASE, SDPO)]
    claim = Claim.model_validate({"id": "c", "section": "1", "statement": "s", "role": "r", "tests": [DROP]})
    cells = units(parts).cells
    assert compared(claim, ROLE, cells) == ["base-m0", "base-m1", "sdpo-m0", "sdpo-m1"]
    assert compared(claim, None, cells) == []
    (found,) = instances(Comparison.model_validate(DROP), ROLE, cells, 1e-3)
    assert found.missing == "no responses of SDPO at lr 0.001 (thinking on, problem set 'train') on easy"


# --- pages and export ---------------------------------------------------------------------------------------------
def shown() -> tuple[pd.DataFrame, pd.DataFrame, list[Conflict]]:
    common = {"section": "5.1", "statement": "A <b>bold</b> claim | so.", "role": "r", "published": "54.7"}
    first = common | {"id": "c", "tests": [DROP], "primary": {"rate": "matched", "expects": "base above"}}
    second = common | {"id": "d", "tests": [DROP | {"metric": "L"}], "taught": True}
    third = {"id": "e", "section": "6", "statement": "t", "untestable": "Nobody can know."}
    conflict = Conflict(id="d", section="6.1", statement="78 %", conflict="It is 55 %.")
    parts = [(labels | {"file": f"evaluations/{labels['base']}/{labels['method']}/easy.parquet"}, values)
             for labels, values in sides([8] * 6, BASE, SDPO)]  # fmt: skip
    claims = [Claim.model_validate(each) for each in (second, first, third)]
    found, effects = ledger(claims, units(parts), {"r": ROLE}, confidence=0.95)
    return found, effects, [conflict]


def test_the_page_says_the_scale_first_primaries_before_others_and_conflicts_apart():
    found, _, conflicts = shown()
    text, page = markdown(found, conflicts, "s", "microcosm"), html(found, conflicts, "s", "microcosm")
    assert text.splitlines()[0].startswith("Scale: microcosm")
    assert page.index("Scale: microcosm") < page.index("<h1>") and front(found, conflicts, "paper").startswith(
        "<p><strong>Scale"
    )
    assert text.index("| c (lr 0.0001)") < text.index("| d (lr 0.0001)") < text.index("78 % It is 55 %.")
    assert "**holds** p < 0.0001 (Holm)" in text and "taught" in text and "nan" not in text and "None" not in text
    assert summary_line(found) == (
        "Primary statements: 1 holds. Other statements: 1 holds (1 of them taught); 1 not testable in this study"
    )
    assert "A &lt;b&gt;bold&lt;/b&gt; claim" in page and "<script" not in page and "claim \\| so." in text
    assert "published (quoted): 54.7" in page and "6 base models, 40 problems" in page
    names = re.findall(r" id='([^']+)'", page)
    assert "c-lr-0.0001" in names and len(set(names)) == len(names)
    with pytest.raises(UserError, match="unknown scale 'laptop'"):
        markdown(found, conflicts, "s", "laptop")


def test_what_a_study_says_of_itself_stands_above_its_ledger():
    found, _, conflicts = shown()
    pages = [write(found, conflicts, "s", "microcosm", "Half <of> it.") for write in (markdown, html)]
    pages.append(front(found, conflicts, "microcosm", "Half <of> it."))
    assert "**Half <of> it.**" in pages[0] and all("<strong>Half &lt;of&gt; it.</strong>" in page for page in pages[1:])
    assert all(page.index("Half ") < page.index("Primary statements") for page in pages)


def test_a_page_takes_the_verdicts_between_its_marks():
    found, _, _ = shown()
    page = with_verdicts("a\n<!-- ledger -->old<!-- end of ledger -->\nb", found)
    assert ">old<" not in page and "| 5.1 | A <b>bold</b> claim \\| so. (lr 0.0001) | holds, *taught* |" in page
    assert page.startswith("a\n") and page.endswith("\nb")
    with pytest.raises(UserError, match="no place for the ledger"):
        with_verdicts("nothing", found)


def test_an_open_statement_says_how_many_base_models_it_needs():
    found = judge([DROP], sides([14, 6, -2], BASE, SDPO))
    line = markdown(found, [], "s", "microcosm")
    assert f"would need {found['models_needed'].iloc[0]:.0f} base models" in line
    assert found["models_needed"].iloc[0] > 3


def test_the_ledger_travels(tmp_path: Path):
    found, effects, conflicts = shown()
    for name in {name for files in found["files"].dropna() for name in files}:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    study = {"study": "s", "scale": "microcosm", "note": "Half."}
    content = json.loads(json.dumps(exported(found, effects, conflicts, **study, results=tmp_path, logs=tmp_path)))
    assert content["note"] == "Half."
    assert content["scale"] == "microcosm" and [each["id"] for each in content["conflicts"]] == ["d"]
    taught, primary, other = content["statements"]
    assert (primary["verdict"], primary["public"], other["public"]) == (HOLDS, "toy", "inconclusive")
    assert taught["taught"] and primary["primary"] and primary["correction"] == {"name": "Holm", "statements": 1}
    (test,) = primary["tests"]
    assert test["effect"]["value"] == found.set_index("id").loc["c", "value"] and test["effect"]["unit"] == "points"
    assert test["base_models"] == 6 and test["by_base_model"].keys() == {f"m{n}" for n in range(6)}
    assert np.mean(list(test["by_base_model"].values())) == pytest.approx(test["effect"]["value"])
    assert set(primary["files"]) == content["files"].keys() and len(content["files"]) == 12
    assert primary["cost"]["unmeasured"] == primary["cost"]["jobs"] > 0 and primary["cost"]["hours"] is None


def test_verdicts_in_public_words():
    assert [public_word(verdict, "paper") for verdict in (HOLDS, CONTRADICTED, NO_EFFECT, OPEN, NOT_TESTABLE)] == [
        "verified", "falsified", "falsified", "inconclusive", "inconclusive",
    ]  # fmt: skip
    assert public_word(f"{HOLDS} (provisional)", "microcosm") == "toy"
    assert public_word(ONE_MODEL, "microcosm") == "inconclusive"


def test_the_cost_of_a_statement_is_that_of_its_jobs_once_each(tmp_path: Path):
    for job, seconds in {
        "train_onpolicy/m/run": 60,
        "evaluate_checkpoints/m/run": 30,
        "evaluate_model/m/base/easy": 6,
    }.items():
        path = tmp_path / f"{job}.benchmark.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"s\tcpu_time\n{seconds}\t{2 * seconds}\n")
    files = [
        "evaluations/m/run/along_training.parquet",
        "traces/m/rollouts/run.parquet",
        "evaluations/m/base/easy.parquet",
    ]
    assert cost(files, tmp_path) == {"jobs": 3, "unmeasured": 0, "processor_minutes": 3.2, "hours": round(96 / 3600, 4)}
    assert cost([*files, "traces/m/solution.parquet"], tmp_path)["processor_minutes"] is None
    (tmp_path / "train_onpolicy/m/run.log").write_text(f"selfdistill train-onpolicy: 60.0 s, {GOES_ON}\n")
    assert cost(files, tmp_path) == {"jobs": 3, "unmeasured": 1, "processor_minutes": None, "hours": None}
