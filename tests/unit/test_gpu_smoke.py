"""benchmarks/gpu_smoke.py on the CPU: its report, what does not fit, and its exit status."""

import importlib.util
import json
import math
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import forks
import pandas as pd
import pytest
import torch

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "gpu_smoke.py"
LIMIT = 0.006  # GiB: the smaller of the tiny shapes fits, the larger one does not
PHASES = ["teacher", "student", "loss", "backward", "optimizer", "step"]


@dataclass
class Finished:
    """What the script printed and wrote."""

    text: str
    report: dict[str, Any]

    def table(self, name: str) -> pd.DataFrame:
        return pd.DataFrame(self.report[name])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    written = tmp_path_factory.mktemp("gpu_smoke") / "report.json"
    options = ["--device", "cpu", "--tiny", "--steps", "2", "--memory-limit", str(LIMIT), "--json", str(written)]
    ended = forks.start([str(SCRIPT), *options], cwd=written.parent, env=os.environ, packages=forks.TRAINING)
    text, _ = ended.communicate()
    assert ended.returncode == 0, text
    return Finished(text, json.loads(written.read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    """The script as a module, on one thread."""
    specification = importlib.util.spec_from_file_location("gpu_smoke", SCRIPT)
    module = importlib.util.module_from_spec(specification)
    sys.modules["gpu_smoke"] = module  # where dataclasses look for it
    specification.loader.exec_module(module)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield module
    torch.set_num_threads(threads)
    del sys.modules["gpu_smoke"]


def measured(script: ModuleType, limit: int, *, response: int = 128) -> tuple[pd.DataFrame, dict[str, Any]]:
    rows, memory = script.measure_shape(
        "tiny", script.TINY_SHAPES["Qwen3-1.7B"], script.Lengths(32, response), steps=1,
        device=torch.device("cpu"), teacher_dtype=torch.bfloat16, limit=limit,
    )  # fmt: skip
    return pd.DataFrame(rows), memory


# --- the whole script ---------------------------------------------------------------------------------------------
def test_the_microcosm_agrees_between_the_precisions(finished: Finished):
    table = finished.table("parity").set_index("quantity")
    for method, metrics in {"sft": "loss", "grpo": "score rollout_ratio", "sdpo": "divergence rollout_ratio"}.items():
        assert {f"{method} {metric}" for metric in metrics.split()} <= set(table.index)
    assert table["ok"].all()
    assert table[["device", "cpu", "difference"]].notna().all(axis=None)
    assert table.loc["sdpo divergence", "device"] > 0
    assert table["difference"].max() > 0  # else both sides were one and the same
    assert finished.report["failed"] == []


def test_seconds_are_told_for_every_method_and_precision(finished: Finished):
    table = finished.table("seconds").set_index(["method", "device"])
    assert set(table.index) == {(m, d) for m in ("sft", "grpo", "sdpo") for d in ("cpu bfloat16", "cpu float32")}
    assert (table["step"] > 0).all()
    assert (table.loc["sdpo", ["generation", "teacher", "student", "backward"]] > 0).all(axis=None)
    assert table.loc[("grpo", "cpu bfloat16"), "rescoring"] > 0  # in bfloat16 the sampler's numbers are not reused


def test_the_memory_saving_loss_is_the_plain_one(finished: Finished):
    table = finished.table("loss")
    assert set(table["precision"]) == {"float32", "bfloat16"}
    assert table["ok"].all() and len(table) == 6


def test_a_step_of_real_shapes_is_timed_by_phase(finished: Finished):
    table = finished.table("shapes")
    rows = table[table["model"] == "Qwen3-1.7B"]
    assert rows["phase"].tolist() == PHASES
    assert (rows["seconds"] > 0).all() and rows["loss"].map(math.isfinite).all() and rows["note"].isna().all()
    assert rows.set_index("phase")["tokens/s"].drop("optimizer").gt(0).all()
    assert rows["seconds"].iloc[:-1].sum() == pytest.approx(rows["seconds"].iloc[-1])


def test_what_does_not_fit_is_said_with_its_bytes_and_left_out(finished: Finished):
    table = finished.table("shapes")
    rows = table[table["model"] == "Qwen3-8B"]
    assert rows["phase"].tolist() == ["step"] and rows["seconds"].isna().all()
    note = rows["note"].iloc[0]
    assert note.startswith("does not fit: about ") and " bytes)" in note and "skipped because of memory" in note
    assert f"Qwen3-8B, response of 128 tokens: {note}" in finished.text


def test_the_report_holds_the_machine_the_options_and_the_memory_model(finished: Finished):
    assert finished.report["machine"]["torch"] == torch.__version__
    assert {"device", "driver", "cuda", "memory GiB"} <= set(finished.report["machine"])
    assert finished.report["options"]["memory_limit"] == LIMIT
    memory = finished.table("memory").set_index("model")
    assert (memory["Adam states"] == 2 * memory["master weights"]).all()
    assert (memory["estimated peak"] > memory[["teacher", "master weights", "Adam states"]].sum(axis=1)).all()
    for title in ("seconds per step", "means over steps", "one SDPO step", "memory model", "all checks passed"):
        assert title in finished.text


# --- its parts ------------------------------------------------------------------------------------------------------
def test_the_response_is_halved_until_it_fits(script: ModuleType):
    shape, lengths = script.TINY_SHAPES["Qwen3-1.7B"], script.Lengths(32, 32)
    limit = script.memory_model(shape, lengths, torch.bfloat16)["estimated peak"]
    rows, memory = measured(script, limit)
    assert rows["response"].tolist() == [128, 64, *[32] * len(PHASES)]
    assert rows["note"].iloc[:2].str.startswith("does not fit").all()
    assert memory["response"] == 32


def test_running_out_of_memory_is_a_row_too(script: ModuleType, monkeypatch: pytest.MonkeyPatch):
    original = script.distillation_terms

    def distillation_terms(states: torch.Tensor, *arguments: object, **options: object):
        if len(states) > 64:
            raise torch.OutOfMemoryError("Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 1 GiB")
        return original(states, *arguments, **options)

    monkeypatch.setattr(script, "distillation_terms", distillation_terms)
    rows, _ = measured(script, 2**40)
    assert rows["response"].tolist() == [128, *[64] * len(PHASES)]
    assert rows["note"].iloc[0] == "does not fit: out of memory (loss): Tried to allocate 2.00 GiB"


def test_where_the_weights_alone_do_not_fit_nothing_is_tried(script: ModuleType):
    rows, memory = measured(script, 1000)
    assert len(rows) == 1 and rows["note"].iloc[0].endswith("no response length would")
    assert memory["response"] == 128 and math.isnan(memory["measured peak"])


def test_the_bytes_of_the_paper_models_are_known(script: ModuleType):
    counted = {name: shape.parameters() for name, shape in script.SHAPES.items()}
    assert counted == {"Qwen3-1.7B": 1_720_574_976, "Qwen3-8B": 8_190_735_360}


def test_a_difference_beyond_its_tolerance_fails(script: ModuleType):
    metrics = {quantity.split()[1]: 1.0 for quantity in script.TOLERANCES} | {"loss": 1.0}
    same = {method: {"metrics": metrics} for method in ("sft", "grpo", "sdpo")}
    other = same | {"sft": {"metrics": metrics | {"loss": 1.1}}, "grpo": {"metrics": metrics | {"loss": math.nan}}}
    none = pd.DataFrame({"quantity": [], "precision": [], "ok": pd.Series([], dtype=bool)})
    timed = pd.DataFrame({"model": ["a", "a", "b"], "loss": [math.inf, math.inf, 1.0], "note": None})
    assert script.failures(none, script.parity(same, same), timed[2:]) == []
    assert script.failures(none, script.parity(other, same), timed) == ["sft loss", "grpo loss (finite)", "loss of a"]


def test_without_a_gpu_it_says_so(script: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", None)
    assert script.main([]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1 and "(it is the CPU build) sees no CUDA device" in said.err
