"""The command line: flags from signatures, one-sentence errors, and a sidecar beside every output."""

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from selfdistill import cli, files, stages, tables
from selfdistill.generation import Sampling
from selfdistill.records import provenance
from selfdistill.training.settings import SftSettings


def run(capsys, *arguments):
    status = cli.main(list(arguments))
    return status, capsys.readouterr().err


def test_a_stage_writes_its_output_and_its_sidecar(tmp_path, capsys):
    source = tmp_path / "problems.jsonl"
    source.write_text('{"problem": "What is 1+1?", "answer": "2"}\n')
    out = tmp_path / "problems.parquet"
    status, _ = run(capsys, "load-problems", "--source", "file", "--file", str(source), "--out", str(out))
    assert status == 0
    assert tables.read(out, "problems")["answer"].tolist() == ["2"]
    record = json.loads(provenance.sidecar_path(out).read_text())
    assert record["sha256"] == files.sha256_file(out)
    assert record["inputs"]["file"]["sha256"] == files.sha256_file(source)
    assert record["parameters"]["source"] == "file"
    assert record["command"][:2] == ["selfdistill", "load-problems"]
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", record["packages"]["torch"])


def test_bad_input_is_one_line_and_status_2(tmp_path, capsys):
    out = tmp_path / "problems.parquet"
    status, errors = run(
        capsys, "load-problems", "--source", "file", "--file", str(tmp_path / "none.jsonl"), "--out", str(out)
    )
    assert status == 2
    assert "Traceback" not in errors
    (line,) = [line for line in errors.splitlines() if line.startswith("selfdistill: ")]
    assert "none.jsonl" in line
    assert not out.exists() and not provenance.sidecar_path(out).exists()


@pytest.mark.parametrize("arguments", [["no-such-stage"], ["load-problems", "--no-such-flag", "1"], ["load-problems"]])
def test_unknown_words_stop_with_status_2(arguments):
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == 2


def test_settings_become_flags_and_come_back_as_settings(monkeypatch):
    seen = {}

    def sample_guidance(
        *,
        contexts: list[Path] = [],  # noqa: B006 (read only)
        sampling: Sampling,
        enable_thinking: bool | None = None,
    ):
        """A stage."""
        seen.update(sampling=sampling, contexts=contexts, thinking=enable_thinking)

    monkeypatch.setattr(stages, "STAGES", (sample_guidance,))
    assert cli.main(["sample-guidance", "--temperature", "0.6", "--max-tokens", "7", "--contexts"]) == 0
    assert seen == {"sampling": Sampling(0.6, 1.0, 0, 7), "contexts": [], "thinking": None}
    arguments = ["sample-guidance", "--temperature", "1", "--contexts", "a", "b", "--enable-thinking", "false"]
    assert cli.main(arguments) == 0
    assert seen["contexts"] == [Path("a"), Path("b")] and seen["thinking"] is False
    with pytest.raises(SystemExit):
        cli.main(["sample-guidance", "--temperature", "1", "--enable-thinking", "perhaps"])


def test_a_comparison_that_fails_has_status_1(monkeypatch):
    def compare() -> int:
        """A stage."""
        return 1

    monkeypatch.setattr(stages, "STAGES", (compare,))
    assert cli.main(["compare"]) == 1


def test_a_wrong_word_for_a_flag_is_told_and_nothing_runs(capsys):
    for flags, said in [
        (["--enable-thinking", "perhaps"], "'perhaps' is neither true nor false"),
        (["--samples", "many"], "invalid int value: 'many'"),
    ]:
        with pytest.raises(SystemExit) as stop:
            cli.main(["evaluate-model", *flags])
        assert stop.value.code == 2 and said in capsys.readouterr().err


def test_every_field_of_a_settings_class_is_a_flag(capsys):
    for stage, settings in [("train-sft", SftSettings), ("evaluate-model", Sampling)]:
        with pytest.raises(SystemExit) as stop:
            cli.main([stage, "--help"])
        text = capsys.readouterr().out
        assert stop.value.code == 0
        for field in dataclasses.fields(settings):
            assert f"--{field.name.replace('_', '-')} " in text


def test_a_list_that_is_required_may_not_be_empty(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["make-table-2", "--traces", "--confidence", "0.9"])
    assert stop.value.code == 2
    assert "--traces: expected at least one argument" in capsys.readouterr().err


def test_every_output_and_only_outputs_get_a_sidecar(tmp_path, monkeypatch):
    def make(*, table: Path, lists: list[Path], number: int, out: Path, out_card: Path, page: Path) -> None:
        """A stage."""
        for path in (out, out_card, page):
            path.write_text("x")

    monkeypatch.setattr(stages, "STAGES", (make,))
    inputs = [tmp_path / name for name in ("a", "b", "c")]
    for path in inputs:
        path.touch()
    outputs = {name: str(tmp_path / name) for name in ("out", "out-card", "page")}
    flags = [word for name, path in outputs.items() for word in (f"--{name}", path)]
    given = ["--table", str(inputs[0]), "--lists", *map(str, inputs[1:]), "--number", "3", *flags]
    assert cli.main(["make", *given]) == 0
    sidecars = sorted(path.name for path in tmp_path.glob("*.provenance.json"))
    assert sidecars == ["out-card.provenance.json", "out.provenance.json"]
    record = json.loads((tmp_path / sidecars[0]).read_text())
    assert set(record["inputs"]) >= {"table", "lists[0]", "lists[1]"}
    assert record["parameters"]["number"] == 3
    assert record["command"] == ["selfdistill", "make", *given]


def test_generated_pages_get_no_sidecar(tmp_path):
    page, schema = tmp_path / "README.md", tmp_path / "schema.yaml"
    assert cli.main(["document-config", "--page", str(page), "--schema", str(schema)]) == 0
    assert sorted(tmp_path.iterdir()) == [page, schema]


def test_every_stage_says_what_it_does():
    for stage in stages.STAGES:
        assert stage.__doc__ and stage.__doc__.strip().endswith("."), stage.__name__


def test_a_process_collects_young_garbage_and_leaves_what_is_old_when_it_ends():
    program = """
import atexit, gc, weakref
atexit.register(lambda: print("left alone:", gc.get_freeze_count() > 10_000))  # runs last
from selfdistill.cli import spare_collector
spare_collector()
class Node: pass
node = Node()
node.itself, gone = node, weakref.ref(node)
del node
kept = [[] for _ in range(100_000)]
print("collected:", gone() is None)
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (0, "collected: True\nleft alone: True\n")
