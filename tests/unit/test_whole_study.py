"""benchmarks/whole_study.py: what it reads from a finished run, and that finished runs are kept."""

import json
import sys
from pathlib import Path

import pandas as pd
import pytest
from project import ROOT

sys.path.append(str(ROOT / "benchmarks"))
import whole_study

HEADER = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"


def finished(root: Path, place: str, seconds: float, processor: float, memory: object = 100) -> None:
    path = root / "logs" / "made" / f"{place}.benchmark.tsv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{HEADER}{seconds}\t0:00:00\t{memory}\t1\t1\t1\t0\t0\t50\t{processor}\n", encoding="utf-8")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Evaluations that take 2 s and a second per 1,000 tokens; training of two processes; a job never looked at."""
    for benchmark, tokens in (("a", 1_000), ("b", 3_000), ("c", 8_000)):
        finished(tmp_path, f"evaluate_model/m/base/{benchmark}", 2 + tokens / 1_000, 0)
        table = tmp_path / "results" / "made" / "evaluations" / "m" / "base" / f"{benchmark}.parquet"
        table.parent.mkdir(parents=True, exist_ok=True)
        pd.DataFrame({"response_tokens": [400, tokens - 400]}).to_parquet(table)
    finished(tmp_path, "pretrain_model/m", 15.5, 30, memory=900.5)
    finished(tmp_path, "list_runs", 0.4, 0, memory="NA")
    seconds = tmp_path / "results" / "made" / "training" / "m" / "grpo-1.seconds.parquet"
    seconds.parent.mkdir(parents=True)
    pd.DataFrame({"metric": ["generation"] * 3 + ["backward"], "value": [1.0, 2.0, 9.0, 0.5]}).to_parquet(seconds)
    return tmp_path


def test_rules_phases_and_memory_are_read_from_the_files_of_a_run(run):
    found = whole_study.read_run(run, "made", {"pretrain_model": 2})
    assert found["rules"] == pytest.approx({"pretrain_model": 0.5, "evaluate_model": 18 / 60, "list_runs": 0.4 / 60})
    assert found["phases"] == pytest.approx(
        {
            "largest job, MB": 900.5,
            "evaluation of a model, s": 5.0,
            "drawing, tokens/s": 1_000.0,
            "start of a job that draws, s": 2.0,
            "on-policy step, generation": 2.0,
            "on-policy step, backward": 0.5,
        }
    )


def test_no_line_goes_through_points_above_one_another():
    assert all(value != value for value in whole_study.line([5, 5, 5], [1, 2, 3]))


def test_equal_tables_have_one_digest_and_what_clocks_say_is_no_part_of_it(run):
    results = run / "results" / "made"
    before = whole_study.digest(results)
    (results / "training/m/grpo-1.seconds.parquet").write_bytes(b"other")
    assert whole_study.digest(results) == before
    (results / "evaluations/m/base/a.parquet").write_bytes(b"other")
    assert whole_study.digest(results) != before


def test_ratios_are_of_pairs_and_only_of_what_both_have():
    own, other = [{"a": 1.0, "b": 1.0}, {"a": 2.0, "b": 1.0}], [{"a": 4.0}, {"a": 4.0}]
    (row,) = whole_study.compared(own, other)
    assert row == {"what": "a", "this": 1.5, "other": 4.0, "ratio": 3.0, "least": 2.0, "most": 4.0}


def test_a_finished_run_is_read_and_not_run_again(tmp_path):
    tree = whole_study.Tree("abc", tmp_path / "nowhere")
    kept = tmp_path / "runs" / "abc-made-2-0.json"
    kept.parent.mkdir()
    kept.write_text(json.dumps({"whole": {"wall minutes": 3}}))
    assert whole_study.one_run(tree, ["--cores", "2"], "made", {}, tmp_path, 0) == {"whole": {"wall minutes": 3}}
