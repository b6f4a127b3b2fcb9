"""Rows of tables and curves: which quantities lend each other their spread, and what each base model's value is."""

import json

import numpy as np
import pandas as pd
import pytest
from selfdistill.analysis import quantities
from selfdistill.analysis.estimates import ENOUGH_MODELS, estimate, spread_of
from selfdistill.analysis.quantities import Quantity

LEVEL = 0.95


def values(seed: int, *, between: float, models: int = 3) -> dict[str, pd.Series]:
    rng = np.random.default_rng(seed)
    table = between * rng.standard_normal((models, 1)) + rng.standard_normal((models, 20))
    return {f"m{number}": pd.Series(row) for number, row in enumerate(table)}


def shown(*found: Quantity) -> pd.DataFrame:
    return pd.DataFrame(quantities.rows(found, LEVEL))


def bounds(frame: pd.DataFrame, row: int, kind: str = "") -> tuple[float, float]:
    return frame[f"{kind}low"].iloc[row], frame[f"{kind}high"].iloc[row]


def test_quantities_of_a_kind_lend_their_spread_and_others_do_not():
    like = [values(seed, between=2.0) for seed in range(4)]
    other, aside = values(9, between=50.0), values(10, between=50.0)
    table = shown(
        *(Quantity({"n": n}, each, "a") for n, each in enumerate(like)),
        Quantity({"n": 4}, other, "b"),
        Quantity({"n": 5}, aside, "a", standard=False),
        *(Quantity({"n": 6 + n}, each, None) for n, each in enumerate(like)),
    )
    plain = [estimate(each, confidence=LEVEL) for each in [*like, other, aside]]
    spread = spread_of(plain[:4])
    for row, each in enumerate([*like, None, aside]):
        assert bounds(table, row, "plain_") == (plain[row].low, plain[row].high)
        if each is not None:
            moderated = estimate(each, confidence=LEVEL, spread=spread)
            assert bounds(table, row) == (moderated.low, moderated.high) != bounds(table, row, "plain_")
    for alone in (4, 6, 7, 8, 9):  # of its kind, or of none
        assert bounds(table, alone) == bounds(table, alone, "plain_")
    assert table["n"].tolist() == [*range(10)] and set(table["confidence"]) == {LEVEL}


@pytest.mark.parametrize("models", [1, ENOUGH_MODELS])
def test_neither_one_base_model_nor_enough_of_them_borrow(models):
    table = shown(*(Quantity({}, values(seed, between=2.0, models=models), "a") for seed in range(4)))
    assert (table["low"] == table["plain_low"]).all()
    assert set(table["models"]) == {models}


def test_each_base_models_value_stands_in_the_row_and_can_be_had_as_rows():
    own = {"a": pd.Series([1.0, 2.0]), "b": pd.Series([1 / 3, 1 / 3])}
    table = shown(Quantity({"metric": "L"}, own, "L"), Quantity({"metric": "E"}, {"a": own["a"]}, "E"))
    assert json.loads(table["by_model"][0]) == {"a": 1.5, "b": 0.333333}
    rows = quantities.by_model(table)
    assert rows[["metric", "base_model", "value"]].to_numpy().tolist() == [["L", "a", 1.5], ["L", "b", 0.333333]]
    assert rows[["low", "high"]].isna().all(axis=None)
    assert quantities.by_model(table.iloc[1:]).empty
