"""The command line: flags from signatures, one-sentence errors, and a sidecar beside every output."""

import json
import re

import pytest
from selfdistill import cli, provenance, stages, tables
from selfdistill.generation import Sampling


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
    assert record["sha256"] == provenance.sha256_file(out)
    assert record["inputs"]["file"]["sha256"] == provenance.sha256_file(source)
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
    assert [line for line in errors.splitlines() if line.startswith("selfdistill: ")]
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
        contexts: list[stages.Path] = [],  # noqa: B006 (read only)
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
    assert seen["contexts"] == [stages.Path("a"), stages.Path("b")] and seen["thinking"] is False
    with pytest.raises(SystemExit):
        cli.main(["sample-guidance", "--temperature", "1", "--enable-thinking", "perhaps"])


def test_a_comparison_that_fails_has_status_1(monkeypatch):
    def compare() -> int:
        """A stage."""
        return 1

    monkeypatch.setattr(stages, "STAGES", (compare,))
    assert cli.main(["compare"]) == 1


def test_every_stage_says_what_it_does():
    for stage in stages.STAGES:
        assert stage.__doc__ and stage.__doc__.strip().endswith("."), stage.__name__


def test_atomic_path_leaves_nothing_behind_on_an_error(tmp_path):
    target = tmp_path / "file"
    target.write_text("old")
    with pytest.raises(RuntimeError), provenance.atomic_path(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_two_writers_of_one_file_use_different_temporary_names(tmp_path):
    with provenance.atomic_path(tmp_path / "f") as first, provenance.atomic_path(tmp_path / "f") as second:
        assert first != second
        first.write_text("1")
        second.write_text("2")
    assert (tmp_path / "f").read_text() == "1"
