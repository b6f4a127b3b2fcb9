"""What contexts tell of responses: against transformers' own log-probabilities; what is finished is read again."""

from pathlib import Path

import pandas as pd
import pytest
import torch
from selfdistill import models, tables
from selfdistill.training import likelihoods as of_module
from selfdistill.training.likelihoods import likelihoods, sequence_logps
from tiny import prompt_of, save_tiny_model

SEQUENCES = [((5, 6, 7), (8, 9)), ((5,), (6, 7, 8, 9, 10)), (tuple(range(4, 20)), (21,)), ((9, 8), (7, 6, 5))]
TRACES = pd.DataFrame(
    {
        "model": "m",
        "setting": "solution",
        "problem_id": ["p", "p", "q"],
        "sample": [0, 1, 0],
        "response": ["a = 7", "so a = 3", "a = 7"],
        "finish_reason": ["stop", "length", "stop"],
    }
)


def by_hand(model: torch.nn.Module, prompt: tuple[int, ...], response: tuple[int, ...]) -> float:
    with torch.no_grad():
        logits = model(torch.tensor([[*prompt, *response]])).logits[0, len(prompt) - 1 : -1].double()
    return float(logits.log_softmax(-1).gather(-1, torch.tensor(response)[:, None]).sum())


@pytest.mark.parametrize("kind", ["Qwen3", "Llama"])
def test_log_probabilities_are_those_of_the_model_alone(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch):
    """Whatever is read beside a response, and however long it is."""
    model = models.load_model(save_tiny_model(tmp_path, kind=kind)).eval()
    wanted = [by_hand(model, *sequence) for sequence in SEQUENCES]
    assert sequence_logps(model, SEQUENCES) == pytest.approx(wanted, abs=1e-4)
    monkeypatch.setattr(of_module, "TOKENS", 8)
    assert sequence_logps(model, SEQUENCES) == pytest.approx(wanted, abs=1e-4)


def measured(manifest: Path, work_dir: Path, traces: pd.DataFrame = TRACES) -> pd.DataFrame:
    tokenizer = models.load_tokenizer(manifest)
    given = [prompt_of(tokenizer, f"Find a . a = {n} .", problem) for n, problem in ((7, "p"), (8, "q"))]
    alone = [prompt_of(tokenizer, "Find a .", "p"), given[1]]
    return likelihoods(traces, given, alone, manifest=manifest, work_dir=work_dir)


def test_a_row_holds_both_readings_of_a_response(manifest: Path, tmp_path: Path):
    found = measured(manifest, tmp_path)
    tokenizer, model = models.load_tokenizer(manifest), models.load_model(manifest).eval()
    texts = [("Find a . a = 7 .", "Find a ."), ("Find a . a = 7 .", "Find a ."), ("Find a . a = 8 .",) * 2]
    for row, (given, alone), trace in zip(found.to_dict("records"), texts, TRACES.to_dict("records"), strict=True):
        response = tokenizer(trace["response"])["input_ids"]
        response += [tokenizer.eos_token_id] * (trace["finish_reason"] == "stop")  # one that was cut has no end
        assert row["tokens"] == len(response)
        for name, prompt in (("given", given), ("alone", alone)):
            assert row[name] == pytest.approx(by_hand(model, tokenizer(prompt)["input_ids"], response), abs=1e-4)
    assert found["given"].iloc[2] == found["alone"].iloc[2]  # where the context says nothing
    assert (found["given"] - found["alone"]).iloc[:2].abs().min() > 1e-3
    tables.write(found, tmp_path / "information.parquet", tables.INFORMATION)


def test_finished_blocks_are_read_and_damaged_ones_are_made_again(
    manifest: Path, tmp_path: Path, upgrade, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(of_module, "BLOCK", 2)
    found, read = measured(manifest, tmp_path), []
    original = of_module.sequence_logps
    monkeypatch.setattr(of_module, "sequence_logps", lambda *given: read.append(given[1]) or original(*given))
    pd.testing.assert_frame_equal(measured(manifest, tmp_path), found)
    assert read == []
    first, _ = sorted(tmp_path.glob("*.json"))
    first.write_text(first.read_text()[:-5])
    pd.testing.assert_frame_equal(measured(manifest, tmp_path), found)
    assert len(read) == 1
    changed = TRACES.assign(response=["a = 7", "so a = 3", "a = 4"])
    assert measured(manifest, tmp_path, changed)["given"].iloc[2] != found["given"].iloc[2]
    assert len(read) == 2  # the block of the first two stands
    upgrade("torch")
    pd.testing.assert_frame_equal(measured(manifest, tmp_path), found)
    assert len(read) == 4  # nothing of another version stands
