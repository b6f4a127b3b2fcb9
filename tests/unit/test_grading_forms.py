"""benchmarks/grading_forms.py: a sample of gold answers, each in its usual forms and near misses, is graded right."""

import importlib.util
import json
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "grading_forms.py"


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location("benchmark_grading_forms", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_sample_of_every_form_is_graded_right(benchmark):
    report = benchmark.graded(benchmark.own_golds(), most=4, seed=1)
    assert len(report["forms"]) > 100 and len(report["near misses"]) > 30
    wrong = [
        (name, *case) for found in report.values() for name, cases in found.items() for case in cases if not case[-1]
    ]
    assert wrong == []


def test_the_sample_follows_from_the_seed_and_golds_may_be_read(benchmark, monkeypatch, capsys, tmp_path):
    golds, out = tmp_path / "golds.jsonl", tmp_path / "report.json"
    golds.write_text("".join(json.dumps({"problem": f"p{n}", "answer": str(n)}) + "\n" for n in range(20, 60)))
    reports = []
    for seed in ("0", "0", "1"):
        flags = ["--golds", str(golds), "--per-form", "3", "--seed", seed, "--json", str(out)]
        monkeypatch.setattr("sys.argv", ["grading_forms.py", *flags])
        benchmark.main()
        reports.append(out.read_text())
    assert reports[0] == reports[1] != reports[2]
    assert capsys.readouterr().out.startswith("40 gold answers, 40 distinct: 40 equal themselves")


def test_wrong_verdicts_are_listed(benchmark, monkeypatch, capsys):
    monkeypatch.setattr(benchmark.grader, "grade_many", lambda pairs, workers: [True] * len(pairs))
    monkeypatch.setattr("sys.argv", ["grading_forms.py"])
    benchmark.main()
    assert "near misses, one more: '1' for '0'" in capsys.readouterr().out
