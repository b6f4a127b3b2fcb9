"""Where published checkpoints end: their table, what stands quoted beside it, and its figure."""

import runpy

import numpy as np
import pandas as pd
import pytest
from selfdistill.analysis import arms, quoted
from selfdistill.figures import drawing
from selfdistill.tables import CURVES, RUNS

ARM = {"teacher_update_rate": 0.0, "problem_set": "train", "problems": 100, "whole_set": True, "learning_rate": 1e-6}
KINDS = [("grpo", "none"), ("sdpo", "solution"), ("sdpo", "solution_without_thinking")]
METRICS = {"avg": 50.0, "pass@16": 80.0, "L": 9000.0, "E_substring": 120.0}


def runs() -> pd.DataFrame:
    """Three runs of a model that were trained elsewhere, and one that was trained here."""
    rows = [
        {**ARM, "study": "s", "model": "m", "family": "deepseek_r1_7b", "thinking": "on", "method": method}
        | {"context": context, "top_k": 100, "run": f"{method}-{context}-released", "draw": 0, "seed": 0}
        for method, context in KINDS
    ]
    here = rows[0] | {"run": "grpo-here", "learning_rate": 1e-3}
    return pd.DataFrame([*rows, here])[RUNS.columns]


def curves() -> pd.DataFrame:
    """The base model at step 0 and the last checkpoint of every run, on two benchmarks."""
    rows = []
    for number, run in enumerate(runs().to_dict("records")):
        for benchmark in ("aime24", "amc23"):
            for step in (0, 100):
                for metric, value in METRICS.items():
                    shown = value - (number + 1) * (step > 0)
                    point = {"benchmark": benchmark, "step": step, "metric": metric, "value": shown}
                    point |= {"low": shown - 3, "high": shown + 3, "models": 1, "confidence": 0.95, "runs": 1}
                    rows.append({**run, **point, "samples": 480, "origin": "measured", "band": "problems"})
    return pd.DataFrame(rows).reindex(columns=CURVES.columns)


def test_ends_are_those_of_what_was_trained_elsewhere_each_once():
    table = arms.ends_table(curves(), runs())
    assert len(table) == 4 * 2 * len(METRICS)  # base and three runs, benchmarks
    values = table[(table["metric"] == "avg") & (table["benchmark"] == "aime24")].set_index("row")["value"]
    assert values.to_dict() == {"base": 50.0, "GRPO": 49.0, "SDPO": 48.0, "SDPO without think": 47.0}
    assert set(table["model"]) == {"deepseek_r1_7b"}


def test_thinking_switched_off_is_a_model_of_its_own():
    off = arms.ends_table(curves().assign(thinking="off"), runs().assign(thinking="off"))
    assert set(off["model"]) == {"deepseek_r1_7b, thinking off"}


@pytest.fixture
def drawn():
    """The figure, with the paper's values beside."""
    table = pd.concat([arms.ends_table(curves(), runs()), quoted.released()], ignore_index=True)
    return runpy.run_path(str(drawing.script_of("released")))["draw"](table, "s")


def test_the_figure_shows_every_interval_and_what_is_quoted_of_this_model(drawn):
    accuracy = drawn.figure.subfigs[0].axes[0]
    hollow = [line for line in accuracy.lines if line.get_markerfacecolor() == "none"]
    assert sorted(float(x) for line in hollow for x in line.get_xdata()) == [54.7, 56.0, 89.3, 91.1]
    bounds = [segment[:, 0].tolist() for lines in accuracy.collections for segment in lines.get_segments()]
    assert len(bounds) == 8 and all(np.isclose(high - low, 6) for low, high in bounds)
    panels = drawn.figure.subfigs[0].axes
    assert [axes.get_xlabel() for axes in panels][:2] == ["accuracy (%)", "pass@16 (%)"]
    assert len(panels) == len(METRICS)  # none of V, which was not measured
    assert [label.get_text() for label in accuracy.get_yticklabels()] == ["AIME24", "AMC23"]


def test_what_differs_is_named_differently(drawn):
    (legend,) = drawn.figure.legends
    names = [text.get_text() for text in legend.get_texts()]
    assert names == ["base model", "GRPO", "SDPO", "SDPO without think", "paper (quoted)"]
