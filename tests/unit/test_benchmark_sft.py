"""benchmarks/sft_step.py: both sides train on the same made-up responses, and the trainer is called as it is."""

import importlib.util
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "sft_step.py"


def test_both_sides_run(monkeypatch, capsys, tmp_path):
    spec = importlib.util.spec_from_file_location("benchmark_sft_step", SCRIPT)
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    for name, value in (("EXAMPLES", 32), ("STEPS", 2), ("REPEATS", 1)):
        monkeypatch.setattr(benchmark, name, value)
    out = tmp_path / "report.json"
    monkeypatch.setattr("sys.argv", ["sft_step.py", "--micro-batch-sizes", "16", "--json", str(out)])
    benchmark.main()
    ours, loop = map(float, capsys.readouterr().out.splitlines()[-1].split()[1:3])
    assert 0 < ours < 60 and 0 < loop < 60
    assert out.exists()
