"""The arithmetic behind the pages about costs: operations, benchmark files, trained tokens and the fit."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
from selfdistill.planning.ranges import exactly
from selfdistill.planning.work import Work
from torch.utils.flop_counter import FlopCounterMode
from transformers import Qwen3Config, Qwen3ForCausalLM

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
HEADER = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", BENCHMARKS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for their module
    spec.loader.exec_module(module)
    return module


where = script("where_time_goes")
scaling = script("scaling")


# --- operations -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("tied", [True, False])
def test_operations_are_those_that_torch_counts(tied):
    config = Qwen3Config(
        vocab_size=50, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, head_dim=12,
        num_key_value_heads=2, tie_word_embeddings=tied, attn_implementation="eager",
    )  # fmt: skip
    sequences, tokens = 2, 24
    ids = torch.randint(50, (sequences, tokens))
    model = Qwen3ForCausalLM(config)
    shape = where.Shape.of(config)
    with FlopCounterMode(display=False) as forward:
        logits = model(ids).logits
    with FlopCounterMode(display=False) as backward:
        logits.sum().backward()
    counted = forward.get_total_flops()
    # Without a fused kernel every token is multiplied with all: the mean context is the whole sequence. The rotary
    # embedding's angles are a product too, which the floor leaves out.
    assert counted == pytest.approx(shape.operations(sequences * tokens, tokens, where.FORWARD), rel=1e-3)
    both = counted + backward.get_total_flops()
    assert both == pytest.approx(shape.operations(sequences * tokens, tokens, where.TRAINING), rel=1e-3)


def test_drawn_tokens_go_forward_and_trained_ones_back_as_well():
    shape = where.Shape(multiplying=1000, attention_width=10)
    work = Work(rolled_out=exactly(10), onpolicy=exactly(30), length=exactly(8))
    each = 1000 + 2 * 10 * 4  # multiplications: parameters, and keys and values of half a response
    assert where.operations_of(work, shape) == 10 * 2 * each + 30 * 6 * each
    assert where.operations_of(Work(), shape) == 0


# --- benchmark files ------------------------------------------------------------------------------------------------
def job(rule: str, name: str, threads: int = 1) -> SimpleNamespace:
    return SimpleNamespace(rule=rule, benchmark=f"logs/{name}.benchmark.tsv", threads=threads)


def write(root: Path, name: str, seconds: float, processor: float | str) -> None:
    path = root / f"logs/{name}.benchmark.tsv"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"{HEADER}{seconds}\t0:00:00\t1\t1\t1\t1\t0\t0\t50\t{processor}\n", encoding="utf-8")


def test_processor_time_is_added_up_by_rule_and_extended_to_the_end_of_a_job(tmp_path):
    write(tmp_path, "a", 100, 40)  # last looked at after 15.5 + 2 x 30 s
    write(tmp_path, "b", 200, 100)  # after 15.5 + 6 x 30 s
    write(tmp_path, "wide", 100, 120)
    write(tmp_path, "short", 1.5, "NA")
    jobs = [job("draw", "short"), job("train", "a"), job("train", "b"), job("train", "absent"), job("pre", "wide", 2)]
    found = {rule.rule: rule for rule in where.by_rule(jobs, tmp_path, lambda of: 7.0)}
    assert list(found) == ["pre", "train", "draw"]
    assert found["train"].jobs == 2
    assert found["train"].operations == 14
    assert found["train"].seconds == pytest.approx(40 * 100 / 75.5 + 100 * 200 / 195.5)
    assert found["pre"].seconds == pytest.approx(120 * 100 / 75.5)
    assert found["draw"].seconds == 1.5


def test_the_floor_is_shown_as_a_share_of_its_rule_and_missing_where_there_is_none():
    rules = [where.Rule("train", 2, 120.0, 6e12), where.Rule("draw", 1, 60.0, 0.0), where.Rule("list", 3, 60.0, 0.0)]
    frame = where.table(where.without_small(rules), where.Rate(1e11, 9e10, 2e11))
    assert list(frame["rule"]) == ["train", "2 other rules"]
    assert list(frame["share"]) == [0.5, 0.5]
    assert frame["floor"][0] == 1.0
    assert frame["of_minutes"][0] == 0.5
    assert frame[["floor", "of_minutes"]].iloc[1].isna().all()


# --- the fit --------------------------------------------------------------------------------------------------------
KNOWN = (0.02, 1.5e-4, 2e-7, 4e-9)


def points() -> list:
    every = dict.fromkeys(point for of in scaling.FACTORS.values() for point in of)
    return [point for point in every if point.processes == 1]


def test_trained_tokens_are_counted_in_passes():
    # The student reads 32 + 64 tokens with gradient, the teacher 64 more without, at a third of a pass.
    assert scaling.Point(length=64, batch=8).trained == pytest.approx(8 * (96 + 160 / 3))


def test_the_fit_finds_known_coefficients():
    seconds = [float(scaling.terms(point) @ KNOWN) for point in points()]
    found = scaling.fit(points(), seconds)
    assert found.coefficients == pytest.approx(KNOWN, rel=1e-6)
    assert found.worst == pytest.approx(0, abs=1e-6)
    base = scaling.BASE
    assert found.rate(base) == pytest.approx(base.trained / float(scaling.terms(base) @ KNOWN))


def test_a_point_is_predicted_from_the_others_alone():
    seconds = [float(scaling.terms(point) @ KNOWN) for point in points()]
    wrong = points().index(scaling.Point(batch=8))
    seconds[wrong] *= 2
    assert scaling.fit(points(), seconds).errors[wrong] == pytest.approx(-0.5, abs=1e-6)


def test_no_coefficient_is_negative():
    falling = [1 / (1 + point.length) for point in points()]
    assert min(scaling.fit(points(), falling).coefficients) >= 0
